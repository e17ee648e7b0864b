"""The ends of fibers and runs at a member, and of its membership.

Rules
-----
- A run is over when the coordinator says so. Then the member drops all that it has of the run, and
  names the fibers that are left before.
- A member that leaves saves its fibers that may go on elsewhere (see `recovery.draining`), and
  cancels the others, and those that still come. They release as they do after any cancellation. To
  other members, a fiber that ends so is lost with its member: its end isn't reported. When no fiber
  is left but those that are saved, the member says goodbye.
- A member whose machinery has failed can't release anything. It says goodbye at once, with the
  reason, and sends no other message.
"""

from __future__ import annotations

from collections.abc import Sequence

from distio.coordination.actors.member import Actors
from distio.coordination.cancellation.member import Cancellation
from distio.coordination.dispatch import answers, handles
from distio.coordination.durable.member import NamedRuns
from distio.coordination.endings.words import describe_unplaced
from distio.coordination.executor.tasks import Task
from distio.coordination.failures.member import Failures
from distio.coordination.failures.reporting import ReportFailures
from distio.coordination.feature.member import MemberFeature
from distio.coordination.outcomes.fiber_waits import FiberWaits
from distio.coordination.outcomes.member import Outcomes
from distio.coordination.outcomes.tasks import FinishFiber
from distio.coordination.pressure.member import Pressure
from distio.coordination.recovery.draining import Drain
from distio.coordination.recovery.member import Recovery
from distio.coordination.state.failure import is_cancellation
from distio.coordination.state.member import MemberState
from distio.coordination.status.words import describe_fibers_of
from distio.core.fiber import Fiber
from distio.core.ops.bounded import ChunkResult
from distio.core.outcomes import Leaving, dump_small
from distio.core.where import in_fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq

__all__ = ["Endings", "last_words"]


class Endings(MemberFeature):
    """The ends of one member's fibers, of its runs, and of its membership."""

    def __init__(
        self,
        state: MemberState,
        waits: FiberWaits,
        outcomes: Outcomes,
        failures: Failures,
        cancellation: Cancellation,
        recovery: Recovery,
        drain: Drain,
        pressure: Pressure,
        actors: Actors,
        named_runs: NamedRuns,
    ) -> None:
        self._state = state
        self._named_runs = named_runs
        self._recovery = recovery
        self._waits = waits
        self._outcomes = outcomes
        self._failures = failures
        self._cancellation = cancellation
        self._drain = drain
        self._pressure = pressure
        self._actors = actors

    # -- the end of a fiber ---------------------------------------------------------------

    @answers
    def finished(self, fiber: Fiber, request: rq.Finished) -> Task | None:
        """End a fiber: the fibers that wait for it get its outcome."""
        if fiber.failure is not None or type(fiber.value) is ChunkResult:
            self._locate_failures(fiber)
        asked = self._outcomes.asked
        is_saved = fiber.tree is not None and fiber.tree.head is fiber
        is_kept = is_saved and fiber.id in self._state.hosted
        if (fiber.id in asked or is_kept) and not self._cancellation.is_lost_by_leaving(fiber):
            if fiber.failure is None and not self._pressure.holds_outcomes(fiber.run):
                outcome = dump_small(fiber.value)
                if outcome is not None:
                    self._pickled(fiber, outcome, ())
                    return None
            finish = FinishFiber(fiber, self._state.runs[fiber.run], self._pickled)
            return None if self._pressure.holds_back(fiber.run, finish) else finish
        # the host that has started the run looks at the outcome of its root
        self.finish(fiber, is_observed=fiber.id == fiber.run)
        return None

    def _locate_failures(self, fiber: Fiber) -> None:
        """Add to the failures in this fiber where they happened."""
        worker = self._state.worker
        if type(fiber.value) is ChunkResult:  # the fiber has done well, but some items have not
            fiber.value.locate(fiber.label, worker)
        # for a cancelled fiber it doesn't matter where it was
        if fiber.failure is not None and fiber.id != fiber.run and not is_cancellation(fiber):
            fiber.failure = in_fiber(fiber.failure, fiber.label, worker)

    def _pickled(
        self, fiber: Fiber, outcome: Leaving, mentioned: Sequence[tuple[int, Leaving]]
    ) -> None:
        if fiber.run in self._state.runs:
            self._recovery.send_outcomes(self._state.runs[fiber.run], mentioned)
            if fiber.id == fiber.run:
                self._named_runs.root_ended(fiber.id, outcome)
            is_asked = fiber.id in self._outcomes.asked
            self._outcomes.post(fiber.id, outcome)
            run = self._state.runs[fiber.run]
            if run.snapshots != "off":
                run.sent_outcomes.add(fiber.id)
            self.finish(fiber, is_observed=is_asked)

    def finish(self, fiber: Fiber, *, is_observed: bool = False) -> None:
        """End a fiber, and wake the fibers here that wait for it.

        Args:
            fiber: a fiber whose run goes on.
            is_observed: whether another process has got the outcome already.
        """
        handle, run = fiber.handle, self._state.runs[fiber.run]
        assert handle is not None
        is_lost = self._state.is_leaving and self._cancellation.is_lost_by_leaving(fiber)
        if fiber.tree is not None:
            fiber.tree.rest.pop(fiber.id, None)
            fiber.tree = None
        if fiber.is_pinned and run.bound:
            self._actors.call_ended(run, fiber.id)
        if fiber.holds or fiber.needs is not None or self._cancellation.is_pending:
            for fiber_ended in self._state.hooks.fiber_ended:
                fiber_ended(fiber)
        is_observed = is_observed or bool(handle.waiters)
        self._waits.set_outcome(handle, fiber.outcome())
        del handle
        if is_lost:
            run.alive -= 1
        elif fiber.failure is None or not self._failures.note(run, fiber, is_observed=is_observed):
            run.has_ended(fiber)
        else:
            self._state.ready.appendleft(ReportFailures(self._state, fiber))

    # -- the end of a run -----------------------------------------------------------------

    @handles
    def run_over(self, message: m.RunEnded) -> None:
        """Drop all that is here of a run that is over."""
        state = self._state
        run = state.runs.pop(message.run, None)
        if run is None:
            state.stale += 1
            return
        unreleased = []
        if run.alive and message.overdue:
            unreleased.append(f"{describe_fibers_of(state, run)} ({message.overdue})")
        if message.unplaced:
            unreleased.append(describe_unplaced(message))
        run.unreleased = "; ".join(unreleased)
        state.progress.forget(run.id)
        for run_ended in state.hooks.run_ended:
            run_ended(run)
        state.ended_runs.append((run, message))

    # -- the end of the membership --------------------------------------------------------

    def leave(self, seconds: float) -> None:
        """Leave the cluster, as soon as no fiber is left here that doesn't go on elsewhere.

        Args:
            seconds: how long that may take; the coordinator watches over it.
        """
        if not self._state.is_leaving:
            self._state.is_leaving = True
            self._state.send(m.Leaving(seconds))
            self._pressure.let_all_go()
            self._drain.begin()
            self._cancellation.cancel_rest()

    def after_flush(self) -> None:
        """Say goodbye, if the member leaves and all fibers that are left go on elsewhere."""
        state = self._state
        is_idle = state.is_leaving and not (state.has_left or state.load)
        if is_idle and self._actors.are_gone() and self._drain.is_over():
            state.has_left = True
            state.is_to_be_heard = not state.offers_children
            state.send(m.Goodbye(is_to_be_heard=state.is_to_be_heard))


def last_words(reason: str) -> list[m.MemberMessage]:
    """The last messages of a member that can't go on.

    Args:
        reason: why; fibers that wait for those of the member hear it.
    """
    return [m.Goodbye(reason)]
