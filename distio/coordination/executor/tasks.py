"""A task is a piece of work besides stepping a fiber: it runs user code, so it has two halves.

A pool thread calls `run` without the mutex, for pickling, unpickling and calls run user code. The
thread then calls `commit` under the mutex, and the feature that has made the task gets the outcome.
Each conversation has tasks of its own, in its `tasks.py`. To step a fiber, by far the most frequent
work, is no task: the executor does it itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from distio.coordination.executor.services import HostServices
from distio.core.fiber import Fiber

__all__ = ["Task", "Work"]


class Task:
    """Base of all tasks."""

    __slots__ = ()

    @property
    def is_chore(self) -> bool:
        """Whether a host that stops may leave the task undone."""
        return False

    @property
    def run_id(self) -> int | None:
        """The run whose code it runs; None: there is no one run."""
        return None

    def fiber_ids(self) -> Sequence[int]:
        """The fibers that are in this task, and so nowhere else."""
        return ()

    def taken(self) -> Task | None:
        """An executor is about to run this task; return what is to be run, None if nothing is."""
        return self

    def run(self, host: HostServices) -> None:
        """Do the part that may run user code (mutex not held)."""

    def commit(self) -> Fiber | Task | None:
        """Tell the member what came of it (mutex held); return what the executor goes on with."""

    def dropped(self) -> bool:
        """The run of this task was cut short; return whether the task leaves the queue."""
        return False


Work = Fiber | Task
"""A piece of work in a member's queue."""
