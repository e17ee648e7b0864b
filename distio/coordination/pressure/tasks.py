"""Tasks that go on with what was held: starts of fibers, and outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from distio.coordination.executor.tasks import Task
from distio.core.fiber import Fiber

__all__ = ["AskAgain", "LetOutcomeGo"]


@final
class AskAgain(Task):
    """A fiber that was held asks again.

    Args:
        fiber: the fiber.
        ask: asks for it; returns what the executor goes on with.
    """

    __slots__ = ("_ask", "fiber")

    def __init__(self, fiber: Fiber, ask: Callable[[Fiber], Fiber | Task | None]) -> None:
        self.fiber = fiber
        self._ask = ask

    @property
    def run_id(self) -> int:
        """The run of the fiber."""
        return self.fiber.run

    def fiber_ids(self) -> list[int]:
        """The fiber."""
        return [self.fiber.id]

    def commit(self) -> Fiber | Task | None:
        """The fiber asks again."""
        return self._ask(self.fiber)

    def dropped(self) -> bool:
        """Drop the task: the run needs the fiber no more."""
        return True


@final
class LetOutcomeGo(Task):
    """An outcome that was held back may leave.

    Args:
        take: called when an executor takes this; returns the task that lets one leave, if any may.
    """

    __slots__ = ("_take",)

    def __init__(self, take: Callable[[], Task | None]) -> None:
        self._take = take

    def taken(self) -> Task | None:
        """The first one is next."""
        return self._take()
