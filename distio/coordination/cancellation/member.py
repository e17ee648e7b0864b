"""A member's part in cancellation: it marks and wakes fibers, and withdraws their requests.

Rules
-----
- A fiber that is parked wakes at once, and is struck out wherever it waits; unless it can't be
  cancelled there, then it is only marked. One that is ready or with an executor is told when it is
  taken, or before it is parked.
- A call that can't be stopped (on another thread) is waited for, unless it is to be abandoned.
- A fiber that isn't here is the coordinator's business: it finds the host, or remembers the
  cancellation until there is one. A fiber that leaves before it was told is told there.
- A fiber with an executor may wait for a run of its own, in a function. Then that run is stopped
  when the fiber is cancelled; the fiber itself is told when the function has returned.
- The cancellation of a run reaches the fibers that are here now, and those that come; but not
  those that were started by one that couldn't be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Final

from distio.coordination.dispatch import answers, handles
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.state.failure import is_cancellation
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import LocalFiber, RemoteFiber, is_of, origin_of
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle
from distio.protocol import messages as m
from distio.protocol import requests as rq

__all__ = ["Cancellation"]

_ALL: Final = 0
"""The region that is all of a fiber's program."""


class Cancellation(MemberFeature):
    """The fibers of a member that are to be cancelled, and haven't been told."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._fibers: dict[int, dict[int, list[int]]] = {}
        """By run: fibers that are ready, or with an executor, and the regions of them."""
        self._runs: set[int] = set()
        """The runs that are cancelled as a whole."""
        self._is_all_cancelled = False
        """Whether all fibers of the member are, whatever their run."""
        self.is_pending = False
        """Whether there is anybody to be told."""
        self._watched: dict[int, tuple[Fiber, list[Callable[[], None]]]] = {}
        """Fibers in whose functions something goes on that can be stopped, and what stops it: a
        function may wait for a nested run within calls that are made in turn."""

    # -- cancelling -----------------------------------------------------------------------

    @answers
    def cancel(self, fiber: Fiber, request: rq.CancelFibers) -> Fiber:
        """A fiber cancels others, or a region of them; it is answered at once."""
        state, region = self._state, request.region
        elsewhere: dict[int, list[tuple[int, int]]] = {}
        told: dict[int, list[tuple[int, int]]] = {}
        for stated in request.handles:
            behind = state.run_of(stated)
            if behind is None and origin_of(stated) is not None:
                continue  # its run is over, or none of this member's
            is_here = behind is not None and type(stated.location) is not RemoteFiber
            handle = stated if is_here else state.hosted.get(stated.id)
            if handle is None:
                asker = fiber.run if behind is None else behind.id
                elsewhere.setdefault(asker, []).append((stated.id, region))
            else:
                self._cancel(handle, region)
                location = handle.location
                run = state.runs.get(location.run) if isinstance(location, LocalFiber) else None
                if run is not None and (handle.id in run.trees or handle.id in run.unopened):
                    told.setdefault(run.id, []).append((handle.id, region))
        for id, cancels in elsewhere.items():
            state.send(m.CancelFibers(id, cancels))
        for id, cancels in told.items():  # one of them may have to be told again
            state.send(m.CancelFibers(id, cancels, is_told=True))
        return fiber

    @handles
    def fibers_cancelled(self, message: m.FibersCancelled) -> None:
        """Cancel these fibers, unless they have left meanwhile."""
        for id, region in message.pending_cancels:
            handle = self._state.hosted.get(id)
            if handle is None or not is_of(handle, message.run):
                self._state.stale += 1
            else:
                self._cancel(handle, region)

    @handles
    def run_cancelled(self, message: m.RunCancelled) -> None:
        """Cancel all fibers of a run that are here, and those that come."""
        run = message.run
        if run not in self._state.runs:
            self._state.stale += 1
        elif run not in self._runs:
            self._runs.add(run)
            self._wake_all([each for each in self._state.parked.values() if each.run == run])
            for run_is_cancelled in self._state.hooks.run_is_cancelled:
                run_is_cancelled(self._state.runs[run])

    def cancel_rest(self) -> None:
        """The member leaves: all fibers that end with it, of those here and those that come."""
        self._is_all_cancelled = True
        parked = self._state.parked.values()
        self._wake_all([fiber for fiber in parked if self._ends_with_member(fiber)])

    def cancel_parked(self, fiber: Fiber) -> None:
        """The member leaves, and this fiber ends with it after all; it is parked, or ready."""
        if fiber.id in self._state.parked and not fiber.exempt_from_run_cancel:
            self._wake(fiber, _ALL)

    def _wake_all(self, parked: Sequence[Fiber]) -> None:
        self.is_pending = True
        for fiber in parked:
            if not fiber.exempt_from_run_cancel:
                self._wake(fiber, _ALL)
        for fiber, _ in list(self._watched.values()):
            self._stop_if_cancelled(fiber)

    def is_lost_by_leaving(self, fiber: Fiber) -> bool:
        """Whether this fiber, which has ended, ends only because its member leaves."""
        if not self._state.is_leaving or fiber.run in self._runs:
            return False
        return is_cancellation(fiber) and self._ends_with_member(fiber)

    def untold(self) -> list[int]:
        """The fibers that are to be cancelled, and haven't been told."""
        return [id for fibers in self._fibers.values() for id in fibers]

    def is_run_cancelled(self, run: int) -> bool:
        """Whether this run is cancelled as a whole."""
        return run in self._runs

    def _is_cancelled(self, fiber: Fiber) -> bool:
        """Whether the fiber is cancelled together with others."""
        if fiber.exempt_from_run_cancel:
            return False
        if fiber.run in self._runs:
            return True
        return self._is_all_cancelled and self._ends_with_member(fiber)

    def _ends_with_member(self, fiber: Fiber) -> bool:
        """Whether this fiber can't go on when its member has left."""
        tree, run = fiber.tree, self._state.runs[fiber.run]
        if fiber.id in run.bound:
            return False  # a call is made to its end
        return not self._is_awaited(fiber.run) if tree is None else tree.is_doomed

    def _is_awaited(self, run: int) -> bool:
        """Whether a function of a fiber that doesn't end with the member waits for this run."""
        outer_runs = [each for each in self._state.runs.values() if run in each.nested.values()]
        return any(each.snapshots != "off" or self._is_awaited(each.id) for each in outer_runs)

    def _cancel(self, handle: Handle[Any, Any, Any], region: int) -> None:
        """Cancel a fiber that is here, unless it has ended."""
        fiber = self._state.parked.get(handle.id)
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
        if self._state.hooks.withdraw(fiber):
            self._state.unpark(fiber)
            fiber.unwind(waits=True)

    # -- those that wait for a run in a function ------------------------------------------

    def watch(self, fiber: Fiber, stop: Callable[[], None]) -> None:
        """A function of this fiber, which an executor has, has begun; `stop` ends it.

        Args:
            fiber: the fiber.
            stop: called once, when the fiber is cancelled, with the mutex held: it returns at once.
        """
        self._watched.setdefault(fiber.id, (fiber, []))[1].append(stop)
        self._stop_if_cancelled(fiber)

    def unwatch(self, fiber: Fiber) -> None:
        """The function is over that has begun last."""
        _, stops = self._watched.get(fiber.id, (fiber, []))
        del stops[-1:]
        if not stops:
            self._watched.pop(fiber.id, None)

    def _stop_if_cancelled(self, fiber: Fiber) -> None:
        keys = list(self._fibers.get(fiber.run, {}).get(fiber.id, ()))
        if self._is_cancelled(fiber):
            keys.append(_ALL)
        if fiber.can_be_cancelled_now(waits=True) or any(
            fiber.can_be_cancelled_by(key) for key in keys
        ):
            self._stop(fiber)

    def _stop(self, fiber: Fiber) -> None:
        for stop in reversed(self._watched.pop(fiber.id)[1]):
            stop()

    # -- those that are not ---------------------------------------------------------------

    def tell(self, fiber: Fiber) -> None:
        """A fiber that was taken, or has asked for something, learns of its cancellation."""
        for region in self._take(fiber.run, fiber.id):
            fiber.cancel(region)
        if self._is_cancelled(fiber):
            fiber.cancel(_ALL)

    def tell_parked(self, fiber: Fiber) -> None:
        """A fiber was parked that wasn't with an executor before, or was for a task."""
        if not self.is_pending:
            return
        for region in [*self._take(fiber.run, fiber.id), *[_ALL] * self._is_cancelled(fiber)]:
            if self._state.parked.get(fiber.id) is fiber:
                self._wake(fiber, region)
            else:
                fiber.cancel(region)

    def fibers_left(self, departure: Departure) -> None:
        """A fiber that has left before it was told is to be told there."""
        if not self.is_pending:
            return
        run = departure.run.id
        pending_cancels = [
            (each.id, region) for each in departure.fibers for region in self._take(run, each.id)
        ]
        if pending_cancels:
            self._state.send(m.CancelFibers(run, pending_cancels))

    def fiber_ended(self, fiber: Fiber) -> None:
        """The fiber has ended, whether it was told or not."""
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

    def run_ended(self, run: LocalRun) -> None:
        """No fiber of this run is left to be told."""
        self._fibers.pop(run.id, None)
        self._runs.discard(run.id)
        for fiber, _ in list(self._watched.values()):
            if fiber.run == run.id:
                self._stop(fiber)
        self.is_pending = bool(self._fibers or self._runs or self._is_all_cancelled)

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "fibers that are to be cancelled": self._fibers,
            "runs that are cancelled": self._runs,
            "fibers that wait for nested runs": self._watched,
        }
