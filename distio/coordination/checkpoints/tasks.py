"""The task by which a fiber goes on that must not leave before."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from distio.coordination.executor.tasks import Task
from distio.core.fiber import Fiber

__all__ = ["GoOn"]


@final
class GoOn(Task):
    """A fiber goes on here: a task isn't given to others, as a fiber that is ready may be.

    Args:
        fiber: the fiber.
        tell: called when the fiber goes on; returns the fiber, or None if nobody wants it any more.
    """

    __slots__ = ("_tell", "fiber")

    def __init__(self, fiber: Fiber, tell: Callable[[Fiber], Fiber | None]) -> None:
        self.fiber = fiber
        self._tell = tell

    @property
    def run_id(self) -> int:
        """The run of the fiber."""
        return self.fiber.run

    def fiber_ids(self) -> list[int]:
        """The fiber."""
        return [self.fiber.id]

    def commit(self) -> Fiber | None:
        """The executor goes on with the fiber."""
        return self._tell(self.fiber)

    def dropped(self) -> bool:
        """Drop the task: the run needs the fiber no more."""
        return True
