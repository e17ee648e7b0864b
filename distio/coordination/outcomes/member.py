"""A member's part in outcomes that leave it, or come to it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.invariants.member import check_handles
from distio.coordination.outcomes.cross_run_waits import unknown
from distio.coordination.outcomes.fiber_waits import FiberWaits
from distio.coordination.outcomes.tasks import PickleOutcome
from distio.coordination.pressure.member import Pressure
from distio.coordination.references.member import References
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import LocalFiber, RemoteFiber, is_of
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle, as_cancelled
from distio.core.outcomes import Leaving, Packed
from distio.core.where import in_fiber
from distio.errors import ProcessExit, TracedException, WorkerLost
from distio.protocol import messages as m
from distio.protocol.endings import CANCELLED
from distio.protocol.ids import name_of
from distio.result import Panic

__all__ = ["Outcomes", "lost_with"]

_CLUSTER = "the cluster"
_SMALL_BYTES: Final = 1024
"""Where a fiber has ended its outcome is kept a little longer than needed, if it is no larger."""
_MOST_EXITS: Final = 100
"""How many workers are known in detail that were lost."""


def lost_with(
    worker: str, reason: str, fiber: int, exit: ProcessExit | None = None
) -> Panic[Any, Any]:
    """The outcome of a fiber that was lost with its worker.

    Args:
        worker: the name of the worker.
        reason: why it was lost.
        fiber: the fiber.
        exit: how the process of the worker has ended, if that is known.
    """
    text = str(WorkerLost(worker, reason))  # the details are in the error
    panic = Panic[Any, Any]([TracedException(WorkerLost(worker, reason, exit), text)], [])
    return in_fiber(panic, name_of(fiber), None)  # the text names the worker, but not the fiber


class Outcomes(MemberFeature):
    """The outcomes of one member's fibers that others ask for, and those that it asks for."""

    def __init__(
        self, state: MemberState, references: References, waits: FiberWaits, pressure: Pressure
    ) -> None:
        self._state = state
        self._pressure = pressure
        self._references = references
        self._waits = waits
        self.asked: set[int] = set()
        """Fibers here for whose outcome fibers elsewhere wait."""
        self._exits: OrderedDict[str, ProcessExit] = OrderedDict()
        """By worker that was lost: how its process ended."""

    # -- outcomes of fibers here ----------------------------------------------------------

    @handles
    def send_outcomes(self, message: m.SendOutcomes) -> None:
        """Fibers elsewhere wait for these outcomes: those that are there go out at once."""
        state = self._state
        run = state.runs.get(message.run)
        for fiber, epoch in message.fibers:
            handle = state.hosted.get(fiber)
            if run is None or handle is None or not is_of(handle, run.id):
                state.send(m.OutcomeUnknown(fiber, epoch, message.run))
                continue
            run.unobserved.pop(fiber, None)
            if handle.outcome is None:
                self.asked.add(fiber)
                run.known.add(fiber)
            else:
                run.posting += 1
                task = PickleOutcome(run.id, handle, self._pickled)
                if not self._pressure.holds_back(run.id, task):
                    state.ready.appendleft(task)

    def _pickled(self, run: int, fiber: int, outcome: Leaving) -> None:
        if run in self._state.runs:
            self._state.runs[run].posting -= 1
            self.post(fiber, outcome)

    def post(self, fiber: int, outcome: Leaving) -> None:
        """The outcome was pickled for others."""
        if outcome.handles:
            self._references.export(outcome.handles)
        self.asked.discard(fiber)
        self._state.post(fiber, outcome)

    @handles
    def drop_outcomes(self, message: m.DropOutcomes) -> None:
        """Drop these outcomes: no fiber can ask for them any more."""
        state = self._state
        for fiber, exposed in message.fibers:
            if fiber not in state.hosted or not self._references.is_dropped(fiber, exposed):
                continue
            handle = state.hosted.pop(fiber)
            self.asked.discard(fiber)
            if isinstance(handle.location, LocalFiber) and fiber not in state.awaited:
                run = state.runs.get(handle.location.run)
                if run is not None:
                    run.known.discard(fiber)
                    run.sent_outcomes.discard(fiber)

    # -- outcomes of fibers elsewhere -----------------------------------------------------

    @handles
    def take_outcomes(self, message: m.Outcomes) -> None:
        """Outcomes that were awaited have come."""
        references = dict(message.references)
        outcome = Packed(b"")
        for index, (fiber, payload) in enumerate(zip(message.fibers, message.payloads)):
            keys = references.get(index)
            if keys or payload != outcome.payload:  # many in a row may be the same, such as None
                outcome = Packed(payload, self._references.come(keys) if keys else ())
            handles = self._state.awaited.take_all(fiber)
            if len(payload) <= _SMALL_BYTES:
                for handle in handles:
                    if type(handle.location) is RemoteFiber:
                        handle.location.put_off(self._state.given_back_later)
            self._arrived(handles, outcome)

    @handles
    def worker_ended(self, message: m.WorkerEnded) -> None:
        """Fibers of a worker whose process has ended are lost, as the next messages say."""
        self._exits[message.worker] = message.exit
        if len(self._exits) > _MOST_EXITS:
            self._exits.popitem(last=False)

    @handles
    def fiber_lost(self, message: m.FiberLost) -> None:
        """The outcome of a fiber will never come."""
        if message.worker:
            exit = self._exits.get(message.worker)
            panic = lost_with(message.worker, message.reason, message.fiber, exit)
        elif message.reason == CANCELLED:
            panic = Panic([as_cancelled(name_of(message.fiber))], [])
        else:
            panic = unknown(message.fiber, message.reason)
        if message.run:
            handle = self._state.awaited.take(message.run, message.fiber)
            handles = [] if handle is None else [handle]
        else:
            handles = self._state.awaited.take_all(message.fiber)
        self._arrived(handles, panic)

    def _arrived(self, handles: Sequence[Handle[Any, Any, Any]], outcome: Any) -> None:
        state = self._state
        if not handles:
            state.stale += 1
        for handle in handles:
            if handle.id not in state.hosted:
                behind = state.run_of(handle)
                if behind is not None:
                    behind.known.discard(handle.id)
                for waiting in handle.waiters or ():
                    state.runs[waiting.run].known.discard(handle.id)
            self._waits.set_outcome(handle, outcome)

    # -- hooks ----------------------------------------------------------------------------

    def fibers_left(self, departure: Departure) -> None:
        """The handles of these fibers stay; outcomes that are waited for here are asked for."""
        ask = [fiber.id for fiber in departure.fibers if self._leaves(departure.run, fiber)]
        if ask:
            self._state.ask_for(departure.run.id, ask)

    def _leaves(self, run: LocalRun, fiber: Fiber) -> bool:
        """A fiber has left: its handle is that of a fiber elsewhere; return if it is waited for."""
        handle, fiber.handle = fiber.handle, None
        assert handle is not None
        if self._state.hosted.pop(fiber.id, None) is not None:
            self._references.left(fiber.id)
            run.known.discard(fiber.id)
        self.asked.discard(fiber.id)
        handle.location = RemoteFiber(run.location, fiber.id, self._state.given_back)
        if handle.waiters is None:
            return False
        self._state.awaited.add(run.id, handle)
        run.known.add(fiber.id)
        return True

    def run_ended(self, run: LocalRun) -> None:
        """Drop the handles of this run's fibers, for which no fiber can ask any more."""
        for id in run.known:
            self._state.hosted.pop(id, None)
            self._references.left(id)
            self._state.awaited.take(run.id, id)
            self.asked.discard(id)

    def coordinator_lost(self, reason: str) -> None:
        """Outcomes that are elsewhere are lost, and nobody is left who asks for those here."""
        self.asked.clear()
        for id in list(self._state.awaited):
            self.fiber_lost(m.FiberLost(id, _CLUSTER, reason))

    def validate(self) -> None:
        check_handles(self._state.hosted, self._state.awaited.values(), self.asked)

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "handles of fibers here": self._state.hosted,
            "handles of fibers elsewhere": self._state.awaited,
            "fibers that are asked for": self.asked,
        }
