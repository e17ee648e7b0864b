"""The work of a hand that reports failures; see `failures.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from distio.coordination.executor.tasks import HostServices
    from distio.coordination.member import Member
    from distio.core.fiber import Fiber

__all__ = ["ReportFailures"]


@final
class ReportFailures:
    """Failures are to be reported that nobody can ask for any more.

    Args:
        fiber: the one that has just ended by one of them; its end is told afterwards.
    """

    __slots__ = ("fiber",)

    def __init__(self, fiber: Fiber | None = None) -> None:
        self.fiber = fiber

    def run(self, host: HostServices) -> None:
        """Report them."""
        host.report_failures()

    def commit(self, member: Member) -> None:
        """The fiber has ended."""
        if self.fiber is not None and member.is_running(self.fiber.run):
            member.runs[self.fiber.run].has_ended(self.fiber)
