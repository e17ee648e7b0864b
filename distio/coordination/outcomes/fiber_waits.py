"""The waits of one member's fibers for fibers: which fiber waits for which outcomes.

A fiber that waits is entered with each fiber that it waits for (`Handle.waiters`). When enough of
them have ended it is struck out everywhere, in the step that wakes it: no entry outlives its wait,
so none can wake the same fiber from a later one.

A wait for fibers of another run is entered in `CrossRunWaits` as well, so that it ends with that
run.

A function that is told of ends is entered in the same way (`Listener`). A task calls it, with all
that have ended by then.

An outcome that is elsewhere is asked for once. Its handle stays in `MemberState.awaited` until the
outcome is there, even if those who wanted it have gone on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from distio.coordination.dispatch import answers
from distio.coordination.feature.member import MemberFeature, WaitsOfRun
from distio.coordination.invariants.member import check_waiters
from distio.coordination.outcomes.cross_run_waits import CrossRunWaits, without_outcome
from distio.coordination.outcomes.tasks import ReportEnds
from distio.coordination.outcomes.waiter import NO_WAITERS, Listener, Waiter
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import RemoteFiber, origin_of
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle
from distio.protocol import requests as rq

__all__ = ["FiberWaits"]


class FiberWaits(MemberFeature):
    """The waits of one member's fibers for fibers."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._cross_run_waits = CrossRunWaits()

    # -- what fibers ask ------------------------------------------------------------------

    @answers
    def await_fibers(self, fiber: Fiber, request: rq.AwaitFibers) -> Fiber | None:
        """Answer with the Results of these fibers, or park `fiber` until enough are there."""
        state = self._state
        run = state.runs[fiber.run]
        ask: dict[int, list[int]] = {}
        others: list[int] = []
        own: list[Handle[Any, Any, Any]] = []
        pending: list[Handle[Any, Any, Any]] = []
        for stated in request.handles:
            if stated.outcome is not None or stated.location is run.location:
                handle = stated
            else:
                handle = self._own(run, stated, ask, others)
            own.append(handle)
            if handle.outcome is None:
                pending.append(handle)
            elif run.unobserved:
                run.unobserved.pop(handle.id, None)
        for id, fibers in ask.items():
            state.ask_for(id, fibers)
        missing = request.enough - (len(own) - len(pending))
        if missing <= 0:
            fiber.value = own
            return fiber
        waiter = request.registration = Waiter(fiber, own, missing)
        for handle in pending:
            waiter.enter(handle)
        if others:
            self._cross_run_waits.enter(waiter, others)
        state.park(fiber)
        return None

    @answers
    def tell_ends(self, fiber: Fiber, request: rq.TellEnds) -> Fiber:
        """Have a function called when any of these fibers has ended, and go on with `fiber`."""
        run = self._state.runs[fiber.run]
        ask: dict[int, list[int]] = {}
        others: list[int] = []
        listener = Listener(run.id, request.tell)
        for stated in request.handles:
            handle = self._own(run, stated, ask, others)
            if handle.outcome is None:
                listener.enter(handle)
            else:
                self._hears(listener, handle)
        assert not others, "they are children of the fiber"
        for id, fibers in ask.items():
            self._state.ask_for(id, fibers)
        fiber.value = None
        return fiber

    def _own(
        self,
        run: LocalRun,
        stated: Handle[Any, Any, Any],
        ask: dict[int, list[int]],
        others: list[int],
    ) -> Handle[Any, Any, Any]:
        """The handle in which this member keeps an outcome that isn't there yet.

        Args:
            run: that of the fiber that waits.
            stated: the handle that the fiber has.
            ask: gets, by run, the fibers that are elsewhere and haven't been asked for.
            others: gets the run of the handle's fiber, if that is another one.
        """
        state, id = self._state, stated.id
        origin = origin_of(stated)
        behind = run if origin is run.location else state.run_of(stated)
        if behind is None and origin is not None:
            return without_outcome(id)  # its run is over, or none of this member's
        if behind is not None and type(stated.location) is not RemoteFiber:
            handle: Handle[Any, Any, Any] | None = stated
        else:
            handle = state.hosted.get(id) or state.awaited.get((behind or run).id, id)
        if handle is None:
            asker = behind or run
            handle = stated
            state.awaited.add(asker.id, handle)
            handle.waiters = (
                handle.waiters or NO_WAITERS
            )  # if it comes and goes, it is still asked for
            asker.known.add(id)
            ask.setdefault(asker.id, []).append(id)
        if handle is not stated:
            behind = state.run_of(handle)
        if behind is not None and behind is not run:
            others.append(behind.id)
        return handle

    def mark_observed(self, fiber: Fiber) -> None:
        """The fiber goes on, and sees what has come of those that it waited for, by now."""
        run = self._state.runs.get(fiber.run)
        if run is not None and run.unobserved:
            for handle in fiber.value:
                if type(handle) is Handle:  # not if it has moved since: see `outcome_in`
                    run.unobserved.pop(handle.id, None)

    # -- outcomes -------------------------------------------------------------------------

    def set_outcome(self, handle: Handle[Any, Any, Any], outcome: Any) -> None:
        """The outcome is there: wake the fibers for which it was enough."""
        handle.outcome = outcome
        waiters, handle.waiters = handle.waiters, None
        if waiters:
            for waiter, times in [*waiters.items()]:  # a wait that is over empties its own
                if type(waiter) is Listener:
                    self._hears(waiter, handle)
                    continue
                waiter.missing -= times
                fiber: Fiber = waiter.fiber
                if waiter.missing <= 0 and self._state.parked.get(fiber.id) is fiber:
                    self._wake(waiter)

    def _hears(self, listener: Listener, handle: Handle[Any, Any, Any]) -> None:
        """The fiber of this handle has ended, as a function is to be told."""
        if not listener.ended:
            self._state.queue(ReportEnds(listener))
        listener.ended.append(handle)
        behind = self._state.run_of(handle)
        if behind is not None:
            behind.unobserved.pop(handle.id, None)

    def _wake(self, waiter: Waiter) -> None:
        """Enough of the fibers have ended for which this fiber waits."""
        fiber = waiter.fiber
        self._strike_out(waiter)
        fiber.value = waiter.handles
        self._state.unpark(fiber)

    def _strike_out(self, waiter: Waiter) -> None:
        """The fiber waits no longer: those that haven't ended yet need not tell it."""
        assert isinstance(waiter.request, rq.AwaitFibers)
        waiter.request.registration = None  # they refer to each other
        for handle in waiter.handles:
            if handle.waiters:
                waiter.strike_out(handle)
        waiter.alone.clear()  # it refers to itself
        if waiter.others:
            self._cross_run_waits.leave(waiter)

    # -- hooks ----------------------------------------------------------------------------

    def withdraw(self, fiber: Fiber, request: rq.AwaitFibers) -> bool:
        self._strike_out(request.registration)
        return True

    def run_ended(self, run: LocalRun) -> None:
        """Fibers of other runs that still wait for those of this run are told that it is over."""
        for waiter in self._cross_run_waits.take(run.id):
            for index, handle in enumerate(waiter.handles):
                if handle.outcome is None and origin_of(handle) is run.location:
                    if handle.waiters:
                        waiter.strike_out(handle)
                    waiter.handles[index] = without_outcome(handle.id)
                    waiter.missing -= 1
            if waiter.missing <= 0:
                self._wake(waiter)
        if run.alive:  # a handle that is kept must not keep the fiber
            for fiber in self._state.parked_on(rq.AwaitFibers, run.id):
                assert isinstance(fiber.request, rq.AwaitFibers)
                self._strike_out(fiber.request.registration)

    def add_waits(self, waits: WaitsOfRun) -> None:
        for fiber in self._state.parked_on(rq.AwaitFibers, waits.run.id):
            assert isinstance(fiber.request, rq.AwaitFibers)
            waiter: Waiter = fiber.request.registration
            pending = [each.id for each in waiter.handles if each.outcome is None]
            waits.for_fibers.append((fiber.id, pending))
            waits.for_runs += [(fiber.id, other) for other in waiter.others]

    def validate(self) -> None:
        check_waiters(self._state)

    def leftovers(self) -> Mapping[str, Sized]:
        return {"waits for other runs": self._cross_run_waits}
