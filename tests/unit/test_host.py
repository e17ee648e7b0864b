"""A host's threads: the promises that they give their link."""

from __future__ import annotations

from distio import io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.runtime.host import Host


class TimerLink:
    """A link that counts the promises to wait for the next timer, less those taken back."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.promises = 0

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        """Carry nothing."""

    def idle(self) -> float | None:
        self.promises += 1
        # a timer has fired while the thread looked for the next one
        self.host.member.queue(self.host.member.start_root(io.pure(1), None))
        return 60.0

    def timer_wait_ended(self) -> None:
        self.promises -= 1


def test_host_thread_that_finds_work_after_all_takes_back_its_promise_to_the_link() -> None:
    host = Host(Member(1))
    link = host.link = TimerLink(host)
    assert host._next(Executor(host.member, host))
    assert link.promises == 0  # else no thread would ever wait for the next timer again
