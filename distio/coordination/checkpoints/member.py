"""A member's part in checkpoints: its fibers say what must not be done again.

Rules
-----
- A fiber that has ended a step is saved with the outcome, and goes on: the snapshot leaves before
  anything that the fiber does next.
- A fiber at a checkpoint is saved as it is after the checkpoint, and waits until the coordinator
  has stored the snapshot.
- A fiber that goes on from its snapshot in doubt calls its function here, and leaves only then: to
  leave before would be to begin again, and might have no end.
- If there can be no snapshot, a checkpoint fails, and nothing has changed: older snapshots are as
  good as before. A step that can't be saved isn't undone: its fiber has no snapshot then.
- A fiber that came here by a snapshot in which it waits at a checkpoint goes on: it is stored.
- In runs that keep only how fibers came (`births`), the fiber can't begin again from there. The
  coordinator is told, and a checkpoint waits until it knows.
- Where nothing is kept of fibers, there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distio.coordination.cancellation.member import Cancellation
from distio.coordination.checkpoints.tasks import GoOn
from distio.coordination.dispatch import answers, handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import MemberFeature
from distio.coordination.recovery.member import Answer, Recovery
from distio.coordination.recovery.tasks import Condition
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.core.snapshot import would_doubt
from distio.errors import NotPicklable, TracedException
from distio.protocol.messages import checkpoints as m
from distio.protocol.requests import checkpoints as rq
from distio.result import Panic

__all__ = ["Checkpoints"]


class Checkpoints(MemberFeature):
    """The checkpoints of one member's fibers, and the ends of their steps."""

    def __init__(self, state: MemberState, recovery: Recovery, cancellation: Cancellation) -> None:
        """
        Args:
            state: what is known of fibers here.
            recovery: takes the snapshots.
            cancellation: knows which fibers are to be told.
        """
        self._state = state
        self._recovery = recovery
        self._cancellation = cancellation
        self._waits = 0
        """The number of waits so far."""

    # -- where nothing is kept ------------------------------------------------------------

    @answers
    def pass_by(self, fiber: Fiber, request: rq.Checkpoint | rq.Save) -> Fiber:
        """Let the fiber go on: nothing is to be stored, or it is already."""
        return fiber

    # -- where snapshots are --------------------------------------------------------------

    def guarded(self) -> Mapping[type, Answer]:
        """The answers to fibers of which snapshots may be taken."""
        return {rq.Checkpoint: self._checkpoint, rq.Save: self._save}

    def _save(self, fiber: Fiber, request: rq.Save) -> Fiber | Task | None:
        if fiber.tree is None:
            return fiber
        return self._recovery.save(fiber, "has ended a step", self.pass_by)

    def _checkpoint(self, fiber: Fiber, request: rq.Checkpoint) -> Fiber | Task | None:
        if fiber.tree is None:
            return fiber
        effect = "has passed a checkpoint"
        return self._recovery.save(fiber, effect, self._wait, Condition(self._refuse))

    def _wait(self, fiber: Fiber, request: rq.Checkpoint) -> None:
        """The snapshot was sent: wait until it is stored."""
        self._waits += 1
        request.number = self._waits
        self._state.park(fiber)
        self._state.send(m.AwaitStored(fiber.run, fiber.id, request.number))

    def _refuse(self, fiber: Fiber, request: rq.Checkpoint, reason: str) -> Fiber:
        """Let the fiber, of which there is no snapshot, fail at the checkpoint."""
        refusal = NotPicklable(f"a checkpoint can't be stored: {reason}")
        fiber.failure = Panic([TracedException(refusal, str(refusal))], [])
        return fiber

    @handles
    def stored(self, message: m.Stored) -> None:
        """The fiber goes on, unless it waits for something else by now."""
        fiber = self._state.parked.get(message.fiber)
        request: Any = None if fiber is None else fiber.request
        if fiber is None or type(request) is not rq.Checkpoint or request.number != message.number:
            self._state.stale += 1
        elif would_doubt(fiber):
            del self._state.parked[fiber.id]
            self._state.queue(GoOn(fiber, self._tell))
        else:
            self._state.unpark(fiber)

    def _tell(self, fiber: Fiber) -> Fiber | None:
        """The fiber goes on, and hears first of its cancellation."""
        if fiber.run not in self._state.runs:
            return None
        if self._cancellation.is_pending:
            self._cancellation.tell(fiber)
        return fiber
