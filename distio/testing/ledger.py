"""What must hold across a whole simulated cluster, whatever its machines believe.

The machines check themselves (`validate`); this keeps its own book of where each fiber is, from
what is seen from outside: which process steps it, which messages carry it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from distio.errors import InvariantBroken
from distio.protocol.ids import name_of
from distio.testing.history import History

__all__ = ["Ledger"]

_ON_ITS_WAY: Final = "on its way"
_GONE: Final = "gone with its process"
_ENDED: Final = "ended"


@final
class Ledger:
    """Where each fiber is."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._place: dict[int, str] = {}
        self._epoch: dict[int, int] = {}
        self._asleep: dict[int, float] = {}
        self._ended_at: dict[int, str] = {}
        """Where each fiber has ended, until that process is no more."""
        self._may_return: set[int] = set()
        """Those that a lost process had, or whose end perhaps nobody else has heard of."""
        self.restored = 0
        """How many fibers went on, or began again, after their process was lost."""

    def made(self, fibers: Iterable[int], who: str) -> None:
        """These were made by this process."""
        for fiber in fibers:
            self._require(fiber not in self._place, fiber, "was made twice")
            self._place[fiber] = who

    def stepped(self, fiber: int, epoch: int, who: str, now: float) -> None:
        """This process steps it."""
        self._is_at(fiber, who, "is stepped by")
        self._require(epoch == self._epoch.get(fiber, 0), fiber, f"is stepped in epoch {epoch}")
        deadline = self._asleep.pop(fiber, now)
        self._require(now >= deadline, fiber, f"woke {deadline - now:g} s early")

    def cancelled(self, fiber: int) -> None:
        """It sleeps no longer: it unwinds."""
        self._asleep.pop(fiber, None)

    def sleeps(self, fiber: int, until: float) -> None:
        """It must not go on before this moment."""
        self._asleep[fiber] = until

    def left(self, fibers: Iterable[tuple[int, int]], who: str) -> None:
        """This process has sent them away."""
        for fiber, _ in fibers:
            self._is_at(fiber, who, "is sent away by")
            self._place[fiber] = _ON_ITS_WAY

    def arrived(self, fibers: Iterable[tuple[int, int]], who: str) -> list[int]:
        """They were placed in this process; return those that come from a lost one."""
        restored = []
        for fiber, epoch in fibers:
            if fiber in self._may_return:
                self._may_return.discard(fiber)
                self._asleep.pop(fiber, None)
                self._place[fiber] = _ON_ITS_WAY
                self.restored += 1
                restored.append(fiber)
            self._is_at(fiber, _ON_ITS_WAY, f"arrives at {who} while it is not")
            before = self._epoch.get(fiber, 0)
            self._require(epoch > before, fiber, f"goes from epoch {before} to epoch {epoch}")
            self._place[fiber] = who
            self._epoch[fiber] = epoch
        return restored

    def ended(self, fiber: int, who: str) -> None:
        """Its outcome was recorded."""
        self._is_at(fiber, who, "ends at")
        self._place[fiber] = _ENDED
        self._ended_at[fiber] = who

    def lost(self, who: str) -> None:
        """This process is no more, and all its fibers with it."""
        for fiber, place in self._place.items():
            if place == who:
                self._place[fiber] = _GONE
                self._may_return.add(fiber)
            elif self._ended_at.get(fiber) == who:
                del self._ended_at[fiber]
                self._may_return.add(fiber)

    def stranded(self) -> list[int]:
        """The fibers that should have ended and haven't."""
        return [fiber for fiber, place in self._place.items() if place not in (_ENDED, _GONE)]

    def _is_at(self, fiber: int, place: str, what: str) -> None:
        known = self._place.get(fiber, "unknown")
        self._require(known == place, fiber, f"{what} {place}, but it is {known}")

    def _require(self, holds: bool, fiber: int, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"fiber {name_of(fiber)} {what}", self._history.of(fiber))
