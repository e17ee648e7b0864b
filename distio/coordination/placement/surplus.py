"""The fibers that a member gives away, when another one has nothing to do.

Rules
-----
- The oldest fibers go first, and they may be in the midst of their programs.
- A member whose threads are all busy gives away fibers that have come and haven't begun: as the
  bytes in which they came, which needs no thread. So none of them waits behind a long function.
- All others are pickled by a task, as soon as a thread is free.
- A member with a free thread begins what it has got, and answers when it has opened that. (If it
  gave it away as well, two of them could pass fibers to and fro for ever.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from typing import Any, Final, NamedTuple, final

import msgspec

from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task, Work
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.placement.member import Placement
from distio.coordination.placement.tasks import OfferFibers, UnpickleChunk, as_it_came
from distio.coordination.recovery.member import Recovery
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of

__all__ = ["Surplus"]

_MOST_BYTES: Final = 64 * 1024
"""The size of chunks that are kept until their fibers have begun."""


@final
class Arrival(NamedTuple):
    """The place of a fiber in the chunk in which it came."""

    chunk: m.Chunk
    place: int


class Surplus(MemberFeature):
    """The fibers that one member gives away."""

    def __init__(self, state: MemberState, placement: Placement, recovery: Recovery) -> None:
        self._state = state
        self._placement = placement
        self._recovery = recovery
        self.unbegun: dict[int, Arrival] = {}
        """Fibers that have come, were opened, and haven't begun. (An executor takes them out.)"""
        self._unanswered: m.StealRequest | None = None
        """A request that is answered when a chunk was opened."""

    @handles
    def steal(self, message: m.StealRequest) -> None:
        """Another member has nothing to do: offer it some of the oldest fibers."""
        is_busy = self._state.stepping >= self._state.threads
        if not (is_busy and self._give_as_they_came(message)):
            self._offer_soon(message)

    def _offer_soon(self, message: m.StealRequest) -> None:
        offer = partial(self._offer, message)
        self._state.ready.appendleft(OfferFibers(message.count, offer))

    # -- fibers that haven't begun --------------------------------------------------------

    def _give_as_they_came(self, message: m.StealRequest) -> bool:
        """Let about so many of the oldest fibers leave as they came; return whether any did."""

        def fibers_in(work: Work, count: int) -> int:
            if type(work) is UnpickleChunk and _fits(work.chunk, message, count):
                return len(work.chunk.fibers)
            is_unbegun = isinstance(work, Fiber) and work.id in self.unbegun
            return int(is_unbegun and _may_go(work, message.thieves))

        taken = self._take_oldest(message.count, fibers_in)
        opened: dict[int, list[Fiber]] = {}
        for work in taken:
            if isinstance(work, Fiber):
                opened.setdefault(id(self.unbegun[work.id].chunk), []).append(work)
            elif isinstance(work, UnpickleChunk):
                self._leave(as_it_came(work.chunk), work.stand_ins(), were_opened=False)
        for fibers in opened.values():
            arrivals = [self.unbegun[fiber.id] for fiber in fibers]
            chunk = _part(arrivals[0].chunk, [arrival.place for arrival in arrivals])
            self._leave(chunk, fibers, were_opened=True)
        return bool(taken)

    def _take_oldest(self, wanted: int, fibers_in: Callable[[Work, int], int]) -> list[Work]:
        """Take the oldest work out of `ready`, until there are so many fibers in it.

        Args:
            wanted: how many.
            fibers_in: called with work and how many fibers were taken by then; returns how many
                this adds, 0 if it stays.
        """
        ready, count = self._state.ready, 0
        taken: list[Work] = []
        passed: list[Work] = []
        while ready and count < wanted:
            work = ready.popleft()
            size = fibers_in(work, count)
            (taken if size else passed).append(work)
            count += size
        ready.extendleft(reversed(passed))
        return taken

    def _leave(self, chunk: m.Chunk, fibers: Sequence[Fiber], *, were_opened: bool) -> None:
        offer = m.Offer([chunk])
        self._placement.leave_as_they_came(chunk, fibers, offer, were_opened=were_opened)

    # -- others ---------------------------------------------------------------------------

    def _offer(self, message: m.StealRequest, count: int) -> Task | None:
        """Take out up to so many of the oldest ready fibers, to be shipped."""

        def fibers_in(work: Work, _: int) -> int:
            is_free = isinstance(work, Fiber) and not work.is_pinned
            return int(is_free and _may_go(work, message.thieves))

        by_run: dict[int, list[Fiber]] = {}
        for fiber in self._take_oldest(count, fibers_in):
            assert isinstance(fiber, Fiber)
            self.unbegun.pop(fiber.id, None)
            by_run.setdefault(fiber.run, []).append(fiber)
        if not by_run:
            self._unanswered = message
            self._answer_in_vain()
            return None
        shipping: Task | None = None
        for fibers in by_run.values():
            ship = self._placement.ship(fibers, then=shipping)
            shipping = self._recovery.before_leaving(fibers, ship)
        return shipping

    # -- hooks ----------------------------------------------------------------------------

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """Those that haven't begun can leave as they came, until they begin.

        Those that have brought locks along have registered them here.
        """
        unanswered, self._unanswered = self._unanswered, None
        if unanswered is not None:
            self._offer_soon(unanswered)
        if _can_leave(chunk) and not chunk.held and len(chunk.payload) <= _MOST_BYTES:
            kept = as_it_came(chunk)
            for place, fiber in enumerate(fibers):
                if fiber.request is None:
                    self.unbegun[fiber.id] = Arrival(kept, place)

    def chunk_dropped(self, chunk: m.Chunk) -> None:
        self._answer_in_vain()

    def fibers_left(self, departure: Departure) -> None:
        self._answer_in_vain()
        for fiber in departure.fibers:
            self.unbegun.pop(fiber.id, None)

    def _answer_in_vain(self) -> None:
        """There is nothing to give, unless a chunk is still to be opened."""
        if self._unanswered is None:
            return
        if not any(run.unopened for run in self._state.runs.values()):
            self._unanswered = None
            self._state.send(m.Offer([]))

    def coordinator_lost(self, reason: str) -> None:
        """The one that takes its place has asked for nothing."""
        self._unanswered = None

    def run_ended(self, run: LocalRun) -> None:
        if run.alive and self.unbegun:
            for id in [id for id, arrival in self.unbegun.items() if arrival.chunk.run == run.id]:
                del self.unbegun[id]

    def validate(self) -> None:
        here = {work.id for work in self._state.ready if isinstance(work, Fiber)}
        for id in self.unbegun.keys() - here - self._state.set_aside.keys():
            raise DistioBug(f"fiber {name_of(id)} isn't waiting to begin")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"fibers that haven't begun": self.unbegun}


def _fits(chunk: m.Chunk, message: m.StealRequest, count: int) -> bool:
    """Whether an unopened chunk may go where this many fibers go already.

    A chunk isn't cut, so the first one may be too large.
    """
    size = count + len(chunk.fibers)
    is_small = size <= message.count or (not count and size <= 2 * message.count)
    return is_small and _can_leave(chunk) and _suits(chunk.needs, message.thieves)


def _can_leave(chunk: m.Chunk) -> bool:
    """Whether the fibers of a chunk can go on anywhere, and have something to do."""
    return not (chunk.actor or chunk.target or chunk.is_waiting)


def _part(chunk: m.Chunk, indexes: Sequence[int]) -> m.Chunk:
    """Some of the fibers of a chunk, in the payload of all; their owners are known."""
    fibers, places = [chunk.fibers[index] for index in indexes], chunk.places
    if len(fibers) < len(chunk.fibers):
        places = [places[index] if places else index for index in indexes]
    return msgspec.structs.replace(chunk, fibers=fibers, places=places, owners=[], scopes=[])


def _may_go(fiber: Any, thieves: Sequence[m.Thief]) -> bool:
    """Whether a ready fiber can be hosted by a member that has nothing to do.

    One that fails as cancelled is at its end sooner than it would arrive there.
    """
    return fiber.unwinding is None and _suits(fiber.needs, thieves)


def _suits(needs: m.Needs | None, thieves: Sequence[m.Thief]) -> bool:
    """Whether one of these members has what a fiber needs."""
    return needs is None or any(
        needs.tags.items() <= each.tags.items()
        and all(each.free.get(name, 0) >= amount for name, amount in needs.amounts.items())
        for each in thieves
    )
