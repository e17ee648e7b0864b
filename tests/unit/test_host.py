"""The threads of a pool: what one of them promises to its link."""

from __future__ import annotations

from distio import io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.runtime.host import Host


class TimerLink:
    """Counts who has promised to wait for the next timer, and who has taken it back."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.promises = 0

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        """Nothing is carried."""

    def idle(self) -> float | None:
        self.promises += 1
        # while it looked for the next timer, one has fired
        self.host.member.queue(self.host.member.start_root(io.pure(1), None))
        return 60.0

    def timer_wait_ended(self) -> None:
        self.promises -= 1


def test_a_thread_that_finds_work_after_all_does_not_keep_the_watch() -> None:
    host = Host(Member(1))
    link = host.link = TimerLink(host)
    assert host._next(Executor(host.member, host))
    assert link.promises == 0  # else nobody would ever wait for the next timer again
