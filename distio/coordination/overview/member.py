"""A member's part in the overview: it tells of the fibers that are here, page by page.

Rules
-----
- A listing has the fibers that were here when it began. Those that have ended or left by the time
  of their page aren't told, or are told to be ready.
- A page costs as much as its fibers. So nothing else waits for longer than that, however many
  fibers there are.
- A listing keeps fibers alive, and what they hold. So they are dropped by a task, as objects of the
  user are; a listing that nobody asks for any more ends with its observer.
- A member makes few listings at a time: a further one ends the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from itertools import chain
from typing import Any, Final, NamedTuple, final

from distio.coordination.dispatch import handles
from distio.coordination.executor.discarding import DropObjects
from distio.coordination.executor.tasks import Task, Work
from distio.coordination.feature.member import MemberFeature
from distio.coordination.overview.words import READY, RUNS, tell_fiber, tell_id
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.core.standing import Standing
from distio.protocol.messages import overview as m

__all__ = ["PAGE", "InHandNow", "Overview"]

PAGE: Final = 1_000
"""How many fibers a page has."""
_MOST_LISTINGS: Final = 4
_ARRIVED: Final = "has come, and isn't opened yet"


class InHandNow(NamedTuple):
    """Work that a thread of the pool has."""

    work: Work
    standing: Standing


@final
class Overview(MemberFeature):
    """The listings of this member that aren't told to their ends."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._listings: dict[int, deque[Work | m.FiberTold]] = {}
        self.in_hand: Callable[[], Sequence[InHandNow]] = tuple
        """The function that says what the threads of the pool have; the host knows."""

    @handles
    def list_fibers(self, message: m.ListFibers) -> None:
        """Send a page."""
        if message.page == 0:
            while len(self._listings) >= _MOST_LISTINGS:
                self._end(next(iter(self._listings)))
            self._listings[message.listing] = deque(self.begin(message.run))
        listing = self._listings.get(message.listing)
        is_cut = listing is None
        told: list[m.FiberTold] = []
        if listing is not None:
            taken = [listing.popleft() for _ in range(min(PAGE, len(listing)))]
            told = [fiber for work in taken for fiber in self.tell(work)]
            self._drop(taken)
            if not listing:
                del self._listings[message.listing]
        is_last = message.listing not in self._listings
        page = m.pack_page(told)
        self._state.send(m.FibersListed(message.listing, page, is_last, is_cut))

    @handles
    def stop_listing(self, message: m.StopListing) -> None:
        """The observer is gone."""
        if message.listing in self._listings:
            self._end(message.listing)

    def begin(self, run: int | None) -> Iterator[Work | m.FiberTold]:
        """The fibers that are here now, of one run or of all; the host tells of them later."""
        state = self._state
        for work, standing in self.in_hand():
            if run is None or run == _run_of(work):
                yield from self._tell_work(work, standing)
        for work in chain(state.ready, state.parked.values(), state.set_aside.values()):
            if run is None or run == _run_of(work):
                yield work

    def tell(self, work: Work | m.FiberTold) -> Iterator[m.FiberTold]:
        """Tell of what was here when the listing began."""
        if isinstance(work, m.FiberTold):
            yield work
        elif isinstance(work, Task):
            yield from self._tell_work(work, None, _ARRIVED)
        elif self._state.parked.get(work.id) is work:
            yield tell_fiber(work)
        elif not _has_ended(work):
            yield tell_fiber(work, READY)

    def _tell_work(
        self, work: Work, standing: Standing | None, state: str = RUNS
    ) -> Iterator[m.FiberTold]:
        """Tell of a fiber with an executor, or of all that are in a task."""
        fiber: Any = work if isinstance(work, Fiber) else getattr(work, "fiber", None)
        if isinstance(fiber, Fiber):
            if fiber.id not in self._state.parked:  # else it is told among these
                yield tell_fiber(fiber, state, standing)
        elif isinstance(work, Task):
            run = work.run_id
            for id in work.fiber_ids() if run is not None else ():
                yield tell_id(id, run or 0, state)

    def _end(self, listing: int) -> None:
        self._drop(self._listings.pop(listing))

    def _drop(self, taken: Sequence[Any]) -> None:
        fibers = [each for each in taken if not isinstance(each, m.FiberTold)]
        if fibers:
            self._state.queue(DropObjects(fibers))

    # -- hooks ----------------------------------------------------------------------------

    def run_ended(self, run: LocalRun) -> None:
        """The listings drop the fibers of the run."""
        for id, listing in [*self._listings.items()]:
            fibers = [each for each in listing if _run_of(each) == run.id]
            if fibers:
                self._listings[id] = deque(each for each in listing if _run_of(each) != run.id)
                self._drop(fibers)

    def coordinator_lost(self, reason: str) -> None:
        """End all listings: there is no coordinator that asks."""
        for listing in [*self._listings]:
            self._end(listing)

    def leftovers(self) -> Mapping[str, Sized]:
        return {"listings of fibers": [each for each in self._listings.values() if each]}


def _run_of(work: Work | m.FiberTold) -> int | None:
    return work.run_id if isinstance(work, Task) else work.run


def _has_ended(fiber: Fiber) -> bool:
    return fiber.handle is not None and fiber.handle.outcome is not None
