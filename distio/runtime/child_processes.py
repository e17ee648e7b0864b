"""A process that this program has started, in whichever way."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, final

from distio.runtime.ending_signals import OF_TERMINAL
from distio.runtime.stops import Stops, StopWatch
from distio.runtime.systems import watch_process

__all__ = [
    "ENDED_UNSEEN",
    "FIRST_FREE",
    "ChildProcess",
    "Spawned",
    "describe_exit",
    "interrupts_blocked",
]

FIRST_FREE: Final = 3
"""The descriptors below it are the standard streams."""
ENDED_UNSEEN: Final = -1000
"""In place of the exit code of a process whose fork server was killed."""


class ChildProcess(Protocol):
    """A process that this program has started."""

    @property
    def pid(self) -> int:
        """The id that the system has given it."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, when somebody has waited for its end; see `wait`."""

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """Kill it, unless it has ended."""

    def poll(self) -> int | None:
        """Look for its end: its exit code, or None if it lives still."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Args:
            timeout: for how many seconds.

        Returns:
            Its exit code; the negative number of a signal that has killed it.

        Raises:
            subprocess.TimeoutExpired: it lives still.
        """

    def watch_end(self) -> int:
        """A descriptor that becomes readable when it has ended; whoever asks closes it.

        Raises:
            OSError, CannotStartThread: the system refuses, and why.
        """

    def watch_stops(self, patience: float, wake: Callable[[], None]) -> Stops:
        """The judge of how long it has been stopped; ask once.

        Args:
            patience: for how many seconds it may be stopped.
            wake: called by another thread when it is stopped or goes on.

        Raises:
            OSError, CannotStartThread: the system refuses, and why.
        """

    @property
    def reports(self) -> int | None:
        """A descriptor that becomes readable when `hear` has something to do; None: never."""

    def hear(self) -> None:
        """Take up what was reported of it."""

    def close(self) -> None:
        """Close what it was watched by; it has ended."""


@final
class Spawned(subprocess.Popen[bytes]):
    """A process that was started as a program."""

    @property
    def reports(self) -> None:
        """Nobody reports: threads watch it."""
        return

    def watch_end(self) -> int:
        return watch_process(self.pid)

    def watch_stops(self, patience: float, wake: Callable[[], None]) -> Stops:
        return StopWatch(self.pid, patience, wake)

    def hear(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: each watch closes its own."""


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Ctrl-C comes to no process that is started here, until it lets it; nor does SIGHUP.

    A terminal sends these to the whole group of processes, and while one imports its modules, no
    handler of its own could be there in time.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_exit(code: int) -> str:
    """How a process ended, in words.

    >>> describe_exit(-9), describe_exit(3)
    ('killed by SIGKILL', 'exited with code 3')
    """
    if code == ENDED_UNSEEN:
        return "killed, because the fork server of its program was killed"
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with code {code}"
