"""A host whose coordinator is lost: it decides for itself until its fibers have released."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from distio.coordination.standalone import Solo
from distio.coordination.state.local_run import LocalRun

if TYPE_CHECKING:
    from distio.runtime.host import Host

__all__ = ["Alone"]


@final
class Alone:
    """Takes the place of the link. All its methods are called with the host's mutex held.

    Args:
        host: whose coordinator is lost.
        reason: why, for the Results of runs.
        grace: how many seconds its fibers may take to release what they hold.
    """

    def __init__(self, host: Host, reason: str, grace: float) -> None:
        self._host = host
        self._changed = threading.Condition(host.mutex)
        self._gives_up = False
        self.ended: list[LocalRun] = []
        """Runs that are over, of which `tell` tells."""
        self._tells: list[Callable[[], None]] = []
        self._solo = Solo(time.monotonic(), host.member, reason, grace)
        self.exchange()

    def exchange(self) -> None:
        """There may be something to decide; or time has passed."""
        host = self._host
        self._solo.exchange(time.monotonic())
        if host.member.state.ended_runs:
            ended, tell = host.tickets.take_ended(host.member)
            self.ended += ended
            self._tells.append(tell)
        host.wake()
        self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all is released, or the time for that is over."""
        while not (self._solo.is_over or self._gives_up or self._host.is_stopping):
            due = self._solo.next_deadline()
            self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
            self.exchange()

    def give_up(self) -> None:
        """Wait no longer."""
        self._gives_up = True
        self._changed.notify_all()

    def tell(self) -> None:
        """Tell those who wait for the runs that have ended (the mutex need not be held)."""
        while self._tells:
            self._tells.pop()()
