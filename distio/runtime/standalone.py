"""A host that has lost its coordinator drives one of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from distio.coordination.state.local_run import LocalRun
from distio.runtime.forks import without_forks

if TYPE_CHECKING:
    from distio.runtime.host import Host

__all__ = ["StandaloneDriver", "prepare"]


def prepare() -> None:
    """Import the machine of a coordinator, which a process needs that loses its own.

    A process that starts has no time for it. It is done before it is needed, when there may be no
    descriptor left to open a file with, or another version of distio in its place.
    """
    with without_forks():  # in a child that another thread forks it would stay half imported
        import distio.coordination.standalone  # noqa: F401


@final
class StandaloneDriver:
    """Drives a `StandaloneCoordinator` in the place of the link, until the fibers have released.

    All methods are called with the host's mutex held.

    Args:
        host: the host that has lost its coordinator.
        reason: why, for the Results of runs.
        grace: how many seconds the fibers may take to release what they hold.
        is_fenced: see `StandaloneCoordinator`.
    """

    def __init__(self, host: Host, reason: str, grace: float, *, is_fenced: bool) -> None:
        self._host = host
        self._changed = threading.Condition(host.mutex)
        self._gives_up = False
        self.ended: list[LocalRun] = []
        """The runs that are over, of which `tell` tells."""
        self._tells: list[Callable[[], None]] = []
        from distio.coordination.standalone import StandaloneCoordinator  # see `prepare`

        self._standalone = StandaloneCoordinator(
            time.monotonic(), host.member, reason, grace, is_fenced=is_fenced
        )
        self.exchange()

    def exchange(self) -> None:
        """Exchange messages with the coordinator; tell it that time has passed."""
        host = self._host
        self._standalone.exchange(time.monotonic())
        if host.member.state.ended_runs:
            ended, tell = host.pending_runs.take_ended(host.member)
            self.ended += ended
            self._tells.append(tell)
        host.wake()
        self._changed.notify_all()

    def finish(self) -> None:
        """Wait until the fibers have released everything, or the grace is over."""
        while not (self._standalone.is_over or self._gives_up or self._host.is_stopping):
            due = self._standalone.next_deadline()
            self._changed.wait(None if due is None else max(0.0, due - time.monotonic()))
            self.exchange()

    def give_up(self) -> None:
        """End the wait of `finish`."""
        self._gives_up = True
        self._changed.notify_all()

    def tell(self) -> None:
        """Wake the threads that wait for the ended runs (the mutex need not be held)."""
        while self._tells:
            self._tells.pop()()
