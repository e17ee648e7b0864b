"""The ledger of fibers: it must hold across a simulated cluster, whatever the machines believe.

The machines check themselves (`validate`); this keeps its own book of where each fiber is, from
what is seen from outside: which process steps it, which messages carry it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, final

from distio.errors import InvariantBroken
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of, name_of
from distio.protocol.messages.code import ChunkReturned
from distio.protocol.messages.cold import FibersPutAway
from distio.protocol.pieces import Bytes, joined
from distio.testing.history import History

__all__ = ["Ledger"]

_ON_ITS_WAY: Final = "on its way"
_GONE: Final = "gone with its process"
_ENDED: Final = "ended"
_LONG: Final = 60.0
"""Cancellations have come after so many virtual seconds, whatever befalls the network."""


@final
class Ledger:
    """The place of each fiber."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._place: dict[int, str] = {}
        self._epoch: dict[int, int] = {}
        self._asleep: dict[int, float] = {}
        self._first_sleep: dict[tuple[int, float], float] = {}
        """By fiber and seconds: when such a sleep of the fiber ends, if it has had one."""
        self._ended_at: dict[int, str] = {}
        """By fiber that has ended in a process that is still there: which one."""
        self._forgotten: set[int] = set()
        """The fibers that have ended in a process that is no more."""
        self._left_from: dict[int, str] = {}
        """By fiber that was sent away: by which process, until the coordinator hears of it."""
        self._told: dict[int, int | None] = {}
        """By fiber of which others have heard how it ended: a hash of that; None: it is lost."""
        self._owner: dict[int, int] = {}
        """By fiber: the one that ends after it."""
        self._lost_at: dict[int, float] = {}
        """By fiber that is lost for good: when somebody has heard of it."""
        self.restored = 0
        """How many times fibers came back, after their process was lost."""

    def made(self, fibers: Iterable[int], who: str, owner: int = 0) -> None:
        """Fibers were made by this process.

        Args:
            fibers: which.
            who: the process.
            owner: the fiber that ends after them; 0: none.
        """
        for fiber in fibers:
            if fiber in self._place:
                self._fail(fiber, "was made twice")
            self._place[fiber] = who
            if owner:
                self._owner[fiber] = owner

    def set_out(self, fiber: int, who: str) -> None:
        """Note that this process has made the fiber, if the fiber isn't known."""
        self._place.setdefault(fiber, who)

    def stepped(self, fiber: int, epoch: int, who: str, now: float) -> None:
        """Note that this process steps the fiber."""
        self._is_at(fiber, who, "is stepped by")
        if epoch != self._epoch.get(fiber, 0):
            self._fail(fiber, f"is stepped in epoch {epoch}")
        deadline = self._asleep.pop(fiber, now)
        if now < deadline:
            self._fail(fiber, f"woke {deadline - now:g} s early")

    def stepped_by_lost(self, fiber: int, who: str) -> None:
        """Note that a lost process steps the fiber, which may go on elsewhere."""
        self._fail(fiber, f"is stepped by {who}, which was held for lost before")

    def cancelled(self, fiber: int) -> None:
        """The fiber sleeps no longer: it unwinds."""
        self._asleep.pop(fiber, None)

    def sleeps(self, fiber: int, now: float, seconds: float) -> None:
        """The fiber must not go on before so many seconds are over."""
        self._asleep[fiber] = now + seconds
        self._first_sleep.setdefault((fiber, seconds), now + seconds)

    def sleeps_on(self, fiber: int, seconds: float) -> None:
        """The fiber sleeps for the rest of a time that has begun when it first slept so long."""
        first = self._first_sleep.get((fiber, seconds))
        if first is None:
            self._fail(fiber, f"sleeps on for {seconds:g} s, but has never begun")
        self._asleep[fiber] = first

    # -- what is said ---------------------------------------------------------------------

    def said(self, batch: Iterable[m.MemberMessage], who: str) -> None:
        """Note the messages that this process has said."""
        for message in batch:
            for fibers in _leaving_with(message):
                self.left(fibers, who)

    def reached(self, batch: Iterable[m.MemberMessage]) -> None:
        """The coordinator has heard these, from a member."""
        for message in batch:
            for fibers in _leaving_with(message):
                self.offered(fibers)

    def heard(self, message: m.CoordinatorMessage, who: str, now: float = 0.0) -> Sequence[int]:
        """Note a message that this process has heard.

        Returns:
            The fibers that come back with it after a loss.
        """
        if isinstance(message, m.Place):
            return self.arrived(message.chunk.fibers, who)
        if isinstance(message, m.Outcomes):
            for fiber, payload in zip(message.fibers, message.payloads):
                self.told(fiber, payload)
        elif isinstance(message, m.NamedRunEnded):
            self.told(message.run, message.payload)
        elif isinstance(message, m.FiberLost):
            self.told(message.fiber, None)
            self._lost_at.setdefault(message.fiber, now)
        return ()

    # -- where fibers are -----------------------------------------------------------------

    def left(self, fibers: Iterable[tuple[int, int]], who: str) -> None:
        """Note that this process has sent the fibers away."""
        for fiber, _ in fibers:
            self._is_at(fiber, who, "is sent away by")
            self._place[fiber] = _ON_ITS_WAY
            self._left_from[fiber] = who

    def offered(self, fibers: Iterable[tuple[int, int]]) -> None:
        """The coordinator has heard that these were sent away: it has them, whoever is lost."""
        for fiber, _ in fibers:
            self._left_from.pop(fiber, None)
            if self._place.get(fiber) == _GONE:
                self._place[fiber] = _ON_ITS_WAY

    def arrived(self, fibers: Iterable[tuple[int, int]], who: str) -> list[int]:
        """Fibers were placed in this process.

        Returns:
            Those that were gone with their process, and come back.
        """
        returned = []
        for fiber, epoch in fibers:
            if home_of(fiber) == NOBODY:
                self._place.setdefault(fiber, _ON_ITS_WAY)  # as the root of a named run
            if self._place.get(fiber) == _GONE or fiber in self._forgotten:
                returned.append(fiber)
                self._forgotten.discard(fiber)
                if fiber in self._told:
                    self._fail(fiber, "comes back, but others know how it ended")
                self._asleep.pop(fiber, None)
                self._place[fiber] = _ON_ITS_WAY
                self.restored += 1
            self._is_at(fiber, _ON_ITS_WAY, f"arrives at {who} while it is not")
            before = self._epoch.get(fiber, 0)
            if epoch <= before:
                self._fail(fiber, f"goes from epoch {before} to epoch {epoch}")
            self._place[fiber] = who
            self._epoch[fiber] = epoch
            self._left_from.pop(fiber, None)
        return returned

    def ended(self, fiber: int, who: str, now: float = 0.0, *, is_cancelled: bool = False) -> None:
        """Note the end of the fiber: its outcome was recorded."""
        self._is_at(fiber, who, "ends at")
        owner = self._owner.get(fiber)
        while owner is not None and not is_cancelled:
            if now > self._lost_at.get(owner, now) + _LONG:
                self._fail(fiber, "goes on for long, though its owner is lost")
            owner = self._owner.get(owner)
        self._place[fiber] = _ENDED
        self._ended_at[fiber] = who

    def lost(self, who: str) -> None:
        """Note that this process is no more, and with it all its fibers, and how they ended."""
        for fiber, place in self._place.items():
            is_there = place == who or self._left_from.get(fiber) == who
            if is_there and place != _ENDED:
                self._place[fiber] = _GONE
        for fiber in [fiber for fiber, place in self._ended_at.items() if place == who]:
            del self._ended_at[fiber]
            self._forgotten.add(fiber)

    def told(self, fiber: int, outcome: Bytes | None) -> None:
        """Somebody has heard how a fiber ended.

        Args:
            fiber: the fiber.
            outcome: its outcome, as bytes; None: it was lost.
        """
        if outcome is None:
            self._told.setdefault(fiber, None)
            return
        known, told = self._told.get(fiber), hash(joined(outcome))
        self._told[fiber] = told
        if known not in (None, told):
            self._fail(fiber, "has ended in two ways")

    def stranded(self) -> list[int]:
        """The fibers that should have ended and haven't."""
        return [fiber for fiber, place in self._place.items() if place not in (_ENDED, _GONE)]

    def _is_at(self, fiber: int, place: str, what: str) -> None:
        known = self._place.get(fiber, "unknown")
        if known != place:
            self._fail(fiber, f"{what} {place}, but it is {known}")

    def _fail(self, fiber: int, what: str) -> NoReturn:
        raise InvariantBroken(f"fiber {name_of(fiber)} {what}", self._history.of(fiber))


def _leaving_with(message: m.MemberMessage) -> list[list[tuple[int, int]]]:
    """The fibers that leave a member with a message."""
    if isinstance(message, m.Offer):
        return [chunk.fibers for chunk in message.chunks]
    if isinstance(message, ChunkReturned):
        return [message.chunk.fibers]
    return [message.fibers] if isinstance(message, FibersPutAway) else []
