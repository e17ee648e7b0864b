"""The task that lets sleepers leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from distio.coordination.executor.tasks import Task

__all__ = ["PutAwaySleepers"]


@final
class PutAwaySleepers(Task):
    """Sleepers of one run, which stay parked until they leave.

    Args:
        run: their run.
        sleepers: (fiber, timer) of each.
        next: called when an executor takes this, or goes on with it; returns what it does then.
    """

    __slots__ = ("_next", "_run", "_sleepers")

    def __init__(
        self,
        run: int,
        sleepers: Sequence[tuple[int, int]],
        next: Callable[[Sequence[tuple[int, int]]], Task | None],
    ) -> None:
        self._run = run
        self._sleepers = sleepers
        self._next = next

    @property
    def is_chore(self) -> bool:
        """The fibers may as well sleep on where they are."""
        return True

    @property
    def run_id(self) -> int:
        """The run of the sleepers."""
        return self._run

    def commit(self) -> Task | None:
        """Do what is next."""
        return self._next(self._sleepers)

    def dropped(self) -> bool:
        """Drop the task: the run needs the fibers no more."""
        return True
