"""The task that reports failures; see `member.py`."""

from __future__ import annotations

from typing import final

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber

__all__ = ["ReportFailures"]


@final
class ReportFailures(Task):
    """Failures are to be reported that nobody can ask for any more.

    Args:
        state: the member's.
        fiber: the fiber that has just ended by one of them; its end is told afterwards.
    """

    __slots__ = ("_state", "fiber")

    def __init__(self, state: MemberState, fiber: Fiber | None = None) -> None:
        self._state = state
        self.fiber = fiber

    @property
    def is_chore(self) -> bool:
        """Whether no fiber waits for the report."""
        return self.fiber is None

    @property
    def run_id(self) -> int | None:
        """The run of the fiber."""
        return None if self.fiber is None else self.fiber.run

    def fiber_ids(self) -> list[int]:
        """The fiber."""
        return [] if self.fiber is None else [self.fiber.id]

    def run(self, host: HostServices) -> None:
        """Report the failures."""
        host.report_failures()

    def commit(self) -> None:
        """The fiber has ended."""
        if self.fiber is not None and self.fiber.run in self._state.runs:
            self._state.runs[self.fiber.run].has_ended(self.fiber)
