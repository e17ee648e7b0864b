"""Tasks that take snapshots of fibers, and let fibers go on from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, final

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.outcomes.mentioned import outcomes_of
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Leaving
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.snapshot import dump_captured, why_not_captured
from distio.protocol.requests import CallPrimitive
from distio.protocol.text import str_of

__all__ = ["Captured", "Condition", "RepeatRequest", "TakeSnapshots", "Taken"]

Following = Fiber | Task | None

_MOST_BYTES_TOGETHER: Final = 32 * 1024
"""Fibers share no larger pickle: to let one of them go on is to open it all."""


@final
class Captured:
    """A fiber at the moment at which its snapshot is to be taken.

    Args:
        fiber: the fiber.
        state: a copy of what there is to it; empty if it can't be looked at.
        held: (lock, its tokens, how many of them) that it holds.
        is_waiting: whether it waits for what it has asked for.
        refusal: why it can't go on elsewhere, whatever it is; empty: that is to be tried.
    """

    __slots__ = (
        "destination",
        "fiber",
        "held",
        "is_calling",
        "is_waiting",
        "refusal",
        "state",
        "timer",
        "tree",
    )

    def __init__(
        self,
        fiber: Fiber,
        state: tuple[Any, ...] = (),
        held: Sequence[tuple[int | str, int, int]] = (),
        *,
        is_waiting: bool = False,
        refusal: str = "",
    ) -> None:
        self.destination: Destination = ANYWHERE
        """The destination at which the fiber goes on: a call of an actor does where the object
        is."""
        self.fiber = fiber
        self.tree = fiber.tree
        """The tree that it was in: it is in another one when it has been saved since."""
        self.state = state
        self.timer = 0
        """The timer of its sleep, if another thread may step it when it wakes; else 0."""
        self.held = held
        self.is_waiting = is_waiting
        self.is_calling = is_waiting and type(fiber.request) is CallPrimitive
        """Whether the fiber waits for the reply of a primitive."""
        self.refusal = refusal


class Condition(NamedTuple):
    """The condition for snapshots taken though nobody sees anything yet: there may be none."""

    refused: Callable[..., Following]
    """Called if there are none. It answers the fiber that asks for them:
    `(fiber, request, reason=reason)`; or, if no fiber does, it gets the task that was to follow."""
    needs_all: bool = False
    """Whether each of the fibers has to be saved; else the one that asks."""


class Taken(NamedTuple):
    """Snapshots that were taken."""

    run: LocalRun
    received: int
    """How many messages the member had handled when the fibers were captured."""
    effect: str
    """The effect that others see then, in words."""
    snapshots: Sequence[tuple[Sequence[Captured], Dumped | None, str]]
    """(fibers, their pickle or None, why there is none)."""
    outcomes: Sequence[tuple[int, Leaving]]
    """Outcomes of fibers that have ended here, to which snapshots or what is said next refer."""
    fiber: Fiber | None
    """The fiber that does what others see."""
    then: Any
    """The action that answers it, or the task that comes next."""
    condition: Condition | None
    """None: there is no way back, and the coordinator is told of what can't be saved."""

    @property
    def calling(self) -> list[int]:
        """The fibers that wait for the replies of primitives."""
        fibers = [each for together, _, _ in self.snapshots for each in together]
        return [each.fiber.id for each in fibers if each.is_calling]

    def why_none(self) -> str:
        """The reason why nothing is to be saved; empty: something is."""
        if self.condition is None:
            return ""
        needed = [
            reason
            for together, _, reason in self.snapshots
            if self.condition.needs_all or together[0].fiber is self.fiber
        ]
        return next(filter(None, needed), "")


@final
class TakeSnapshots(Task):
    """Fibers are to be pickled as they are.

    Args:
        run: that of the fibers.
        captured: the fibers; those that are to share a pickle are together.
        received: how many messages the member has handled.
        mentioned: handles of fibers in what is said next.
        effect: what others see then, in words.
        fiber: the fiber that does what others see.
        then: what answers it, or the task that comes next.
        condition: under which they are sent; None: they are.
        taken: called with the snapshots; returns what the executor goes on with.
    """

    __slots__ = ("_captured", "_mentioned", "_result", "_taken")

    def __init__(
        self,
        run: LocalRun,
        captured: Sequence[Sequence[Captured]],
        received: int,
        mentioned: Sequence[Handle[Any, Any, Any]],
        effect: str,
        fiber: Fiber | None,
        then: Any,
        condition: Condition | None,
        taken: Callable[[Taken], Following],
    ) -> None:
        self._captured = captured
        self._mentioned = mentioned
        self._taken = taken
        self._result = Taken(run, received, effect, (), (), fiber, then, condition)

    @property
    def run_id(self) -> int:
        """The run of the fibers."""
        return self._result.run.id

    @property
    def fiber(self) -> Fiber | None:
        """The fiber that does what others see."""
        return self._result.fiber

    def fiber_ids(self) -> list[int]:
        """The fiber that is to be answered, or those that are to leave."""
        result = self._result
        return [*result.then.fiber_ids()] if result.fiber is None else [result.fiber.id]

    def run(self, host: HostServices) -> None:
        """Pickle the fibers, and the outcomes to which they refer."""
        writer = Writer(attaches=True)
        snapshots: list[tuple[Sequence[Captured], Dumped | None, str]] = []
        mentioned = [*self._mentioned]
        pending = [*reversed(self._captured)]
        while pending:
            together = pending.pop()
            captured = together[0]
            dumped, reason = None, captured.refusal
            if not reason:
                try:
                    states = [(each.fiber, each.state) for each in together]
                    dumped = dump_captured(states, writer=writer)
                    if len(together) > 1 and len(dumped.bare) > _MOST_BYTES_TOGETHER:
                        middle = len(together) // 2
                        pending += [together[middle:], together[:middle]]
                        continue
                    mentioned += dumped.handles
                except BaseException as error:  # noqa: BLE001 (the fiber is told to be unsaved)
                    if len(together) > 1:  # one of them is to blame
                        pending += [[each] for each in reversed(together)]
                        continue
                    reason = _why_unsaved(captured, error)
            snapshots.append((together, dumped, reason))
        outcomes = outcomes_of(mentioned, self._result.run) if mentioned else ()
        self._result = self._result._replace(snapshots=snapshots, outcomes=outcomes)

    def commit(self) -> Following:
        """The snapshots leave, and the executor goes on."""
        return self._taken(self._result)


def _why_unsaved(captured: Captured, error: BaseException) -> str:
    """The reason why something can't be pickled, with its place; found once in a row, as it takes
    long."""
    tree = captured.fiber.tree
    is_known = tree is None or tree.is_unsaved
    return str_of(error) if is_known else why_not_captured(captured.state, error)


@final
class RepeatRequest(Task):
    """A fiber goes on from a snapshot in which it waits: it asks again.

    Args:
        fiber: the fiber.
        repeat: asks for it; returns what the executor goes on with.
    """

    __slots__ = ("_repeat", "fiber")

    def __init__(self, fiber: Fiber, repeat: Callable[[Fiber], Following]) -> None:
        self.fiber = fiber
        self._repeat = repeat

    @property
    def run_id(self) -> int:
        """The run of the fiber."""
        return self.fiber.run

    def fiber_ids(self) -> list[int]:
        """The fiber."""
        return [self.fiber.id]

    def commit(self) -> Following:
        """The fiber asks again."""
        return self._repeat(self.fiber)

    def dropped(self) -> bool:
        """Drop the task: the run needs the fiber no more."""
        return True
