"""A member's part in cancellation: who is to be told, who wakes, and what it waits for no more.

Rules
-----
- A fiber that is parked wakes at once, and is struck out wherever it waits; unless it can't be
  cancelled there, then it is only marked. One that is ready or in a hand is told when it is taken,
  or before it is parked.
- What can't be stopped (a call on another thread) is waited for, unless it is to be abandoned.
- Whoever isn't here is the coordinator's business: it finds the host, or remembers it until there
  is one. A fiber that leaves before it was told is told there.
- A fiber in a hand may wait for a run of its own, in a function. Then that run is stopped when the
  fiber is cancelled; the fiber itself is told when the function has returned.
- The cancellation of a run reaches the fibers that are here now, and those that come; but not
  those that were started by who couldn't be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final

from distio.coordination.executor.tasks import CancelBlockingCall
from distio.coordination.outcomes.member import is_of
from distio.coordination.outcomes.waits import give_up_waiting
from distio.coordination.state.location import LocalFiber, RemoteFiber, origin_of, run_behind
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m
from distio.protocol import requests as rq

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["Cancelling"]

_ALL: Final = 0
"""The region that is all of a fiber's program."""


@final
class Cancelling:
    """Which fibers of a member are to be cancelled and haven't been told."""

    __slots__ = (
        "_fibers",
        "_is_all_cancelled",
        "_member",
        "_runs",
        "_watched",
        "is_pending",
    )

    def __init__(self, member: Member) -> None:
        self._member = member
        self._fibers: dict[int, dict[int, list[int]]] = {}
        """By run: fibers that are ready, or in hand, and the regions of them."""
        self._runs: set[int] = set()
        """Those that are cancelled as a whole."""
        self._is_all_cancelled = False
        """Whether all fibers of the member are, whatever their run."""
        self.is_pending = False
        """Whether there is anybody to be told."""
        self._watched: dict[int, tuple[Fiber, Callable[[], None]]] = {}
        """Fibers in hands that wait for nested runs, and what stops these."""

    def __len__(self) -> int:
        return len(self._fibers) + len(self._runs) + len(self._watched)

    # -- who is to be cancelled -----------------------------------------------------------

    def ask(self, run: int, handles: Sequence[Handle[Any, Any, Any]], region: int) -> None:
        """A fiber of this run cancels these, or a region of them."""
        elsewhere: dict[int, list[tuple[int, int]]] = {}
        for stated in handles:
            behind = run_behind(self._member.runs, stated)
            if behind is None and origin_of(stated) is not None:
                continue  # its run is over, or none of this member's
            is_here = behind is not None and type(stated.location) is not RemoteFiber
            handle = stated if is_here else self._member.hosted.get(stated.id)
            if handle is None:
                asker = run if behind is None else behind.id
                elsewhere.setdefault(asker, []).append((stated.id, region))
            else:
                self._cancel(handle, region)
        self._member.outbox += [m.CancelFibers(*each) for each in elsewhere.items()]

    def hear(self, message: m.FibersCancelled) -> None:
        """These are here, or have left meanwhile."""
        for id, region in message.pending_cancels:
            handle = self._member.hosted.get(id)
            if handle is None or not is_of(handle, message.run):
                self._member.stale += 1
            else:
                self._cancel(handle, region)

    def hear_of_run(self, message: m.RunCancelled) -> None:
        """All that is here, and all that comes."""
        run = message.run
        if run not in self._member.runs:
            self._member.stale += 1
        elif run not in self._runs:
            self._runs.add(run)
            self._wake_all([each for each in self._member.parked.values() if each.run == run])

    def cancel_all(self) -> None:
        """The member leaves: all fibers that are here, and those that still come."""
        self._is_all_cancelled = True
        self._wake_all([*self._member.parked.values()])

    def _wake_all(self, parked: Sequence[Fiber]) -> None:
        self.is_pending = True
        for fiber in parked:
            if not fiber.exempt_from_run_cancel:
                self._wake(fiber, _ALL)
        for fiber, _ in list(self._watched.values()):
            self._stop_if_cancelled(fiber)

    def is_run_cancelled(self, run: int) -> bool:
        """Whether this run is cancelled as a whole."""
        return run in self._runs

    def _is_cancelled(self, fiber: Fiber) -> bool:
        """Whether it is cancelled together with others."""
        return (
            self._is_all_cancelled or fiber.run in self._runs
        ) and not fiber.exempt_from_run_cancel

    def _cancel(self, handle: Handle[Any, Any, Any], region: int) -> None:
        """Cancel a fiber that is here, unless it has ended."""
        fiber = self._member.parked.get(handle.id)
        if fiber is not None:
            self._wake(fiber, region)
        elif handle.outcome is None and isinstance(handle.location, LocalFiber):
            fibers = self._fibers.setdefault(handle.location.run, {})
            fibers.setdefault(handle.id, []).append(region)
            self.is_pending = True
            if handle.id in self._watched:
                self._stop_if_cancelled(self._watched[handle.id][0])

    # -- those that are parked ------------------------------------------------------------

    def _wake(self, fiber: Fiber, region: int) -> None:
        fiber.cancel(region)
        if not fiber.can_be_cancelled_now(waits=True):
            return
        request = fiber.request
        if type(request) is rq.AwaitBlocking:
            if request.stop is not None:
                self._member.queue(CancelBlockingCall(request))
            if not request.is_abandoned:
                return
        if isinstance(request, rq.CallPrimitive) and not self._member.primitives.give_up(
            fiber, request
        ):
            return
        self._give_up(fiber, request)
        fiber.unwind(waits=True)
        self._member.unpark(fiber)

    def _give_up(self, fiber: Fiber, request: rq.Request | None) -> None:
        """It waits no longer."""
        if isinstance(request, rq.AwaitFibers):
            give_up_waiting(self._member, fiber, request)
        elif isinstance(request, rq.Acquire):
            self._member.locks.give_up(fiber, request.lock)
        elif isinstance(request, rq.Sleep):
            self._member.outbox.append(m.StopTimer(fiber.id, request.timer))

    # -- those that wait for a run in a function ------------------------------------------

    def watch(self, fiber: Fiber, stop: Callable[[], None]) -> None:
        """A function of this fiber, which is in a hand, waits for what `stop` ends.

        Args:
            fiber: the fiber.
            stop: called once, when the fiber is cancelled, with the mutex held: it returns at once.
        """
        self._watched[fiber.id] = fiber, stop
        self._stop_if_cancelled(fiber)

    def unwatch(self, fiber: Fiber) -> None:
        """It waits no longer."""
        self._watched.pop(fiber.id, None)

    def _stop_if_cancelled(self, fiber: Fiber) -> None:
        keys = list(self._fibers.get(fiber.run, {}).get(fiber.id, ()))
        if self._is_cancelled(fiber):
            keys.append(_ALL)
        if fiber.can_be_cancelled_now(waits=True) or any(
            fiber.can_be_cancelled_by(key) for key in keys
        ):
            _, stop = self._watched.pop(fiber.id)
            stop()

    # -- those that are not ---------------------------------------------------------------

    def tell(self, fiber: Fiber) -> None:
        """It has been taken, or has asked for something: if it is to be cancelled, it knows now."""
        for region in self._take(fiber.run, fiber.id):
            fiber.cancel(region)
        if self._is_cancelled(fiber):
            fiber.cancel(_ALL)

    def left(self, fibers: Sequence[Fiber]) -> None:
        """These have left for elsewhere: who wasn't told is to be told there."""
        run = fibers[0].run
        pending_cancels = [
            (each.id, region) for each in fibers for region in self._take(run, each.id)
        ]
        if pending_cancels:
            self._member.outbox.append(m.CancelFibers(run, pending_cancels))

    def ended(self, fiber: Fiber) -> None:
        """It has ended, whether it was told or not."""
        self._take(fiber.run, fiber.id)

    def _take(self, run: int, id: int) -> Sequence[int]:
        """The regions of a fiber that are to be cancelled; they are forgotten."""
        fibers = self._fibers.get(run)
        if fibers is None:
            return ()
        regions = fibers.pop(id, ())
        if not fibers:
            del self._fibers[run]
            self.is_pending = bool(self._fibers or self._runs or self._is_all_cancelled)
        return regions

    def run_gone(self, run: int) -> None:
        """There is nobody left to be told."""
        self._fibers.pop(run, None)
        self._runs.discard(run)
        for fiber, stop in list(self._watched.values()):
            if fiber.run == run:
                self.unwatch(fiber)
                stop()
        self.is_pending = bool(self._fibers or self._runs or self._is_all_cancelled)
