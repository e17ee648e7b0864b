"""The daemon with several processes: it starts them, and starts again those that die."""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import Sequence
from typing import Final, final

from distio.runtime.keeping import LOST, Child, Keeper
from distio.runtime.launching import Lifeline, Program, StartLog, describe_exit
from distio.runtime.python_options import python_options
from distio.runtime.refusals import system_refused

__all__ = ["REFUSED", "Supervisor"]

log: Final = logging.getLogger("distio.worker")

REFUSED: Final = 64
"""The exit code of a worker that can't join, and won't if it is started again (EX_USAGE)."""
_A_MOMENT_SECONDS: Final = 1.0


@final
class Supervisor:
    """Keeps some worker processes until they are told to end.

    Args:
        processes: how many.
        arguments: the command line of each.
        joins_again: whether a worker that has lost its coordinator is started again.
        grace: how many seconds a worker has that is told to end.
    """

    def __init__(
        self, processes: int, arguments: Sequence[str], *, joins_again: bool, grace: float
    ) -> None:
        self._processes = processes
        self._arguments = arguments
        self._joins_again = joins_again
        self._grace = grace
        self._keeper = Keeper(self)
        self._code = 0

    def run(self) -> int:
        """Keep them; return the exit code of the daemon.

        Raises:
            ClusterError: they can't be started.
        """
        lifeline = Lifeline()
        program = Program("distio_worker.main", options=python_options())

        def launch(child: Child) -> tuple[subprocess.Popen[bytes], StartLog | None]:
            given = "--lifeline", str(lifeline.reader)
            return program.start(*self._arguments, *given, inherits=[lifeline.reader]), None

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_end)
        try:
            for _ in range(self._processes):
                self._keeper.add(Child(launch))
        except OSError as error:
            self._keeper.stop(self._grace, signal.SIGTERM)
            raise system_refused(f"start {self._processes} worker processes", error) from error
        finally:
            self._keeper.run()
            lifeline.close()
        return self._code

    def _told_to_end(self, number: int, frame: object) -> None:
        """The second time, there is no grace."""
        is_first = not self._keeper.is_stopping
        grace = self._grace + _A_MOMENT_SECONDS if is_first else 0.0
        self._keeper.stop(grace, signal.SIGTERM)
        self._code = 0

    def started(self, child: Child) -> None:
        """Each says itself that it has joined."""

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        """One that was told to end, or can't join, isn't started again."""
        assert child.process is not None
        name = f"worker process {child.process.pid}"
        if code == 0:
            log.info("%s has ended, as it was told to", name)
            return None
        if code == REFUSED or (code == LOST and not self._joins_again):
            self._code = REFUSED if REFUSED in (code, self._code) else LOST
            return None  # it has said why
        reason = "it has lost its coordinator" if code == LOST else describe_exit(code)
        return self._again(child, f"{name}: {reason}", lived)

    def refused(self, child: Child, error: OSError) -> float | None:
        """The system may allow it later."""
        return self._again(child, f"a worker process can't be started: {error}", 0.0)

    def _again(self, child: Child, what: str, lived: float) -> float:
        seconds = child.backoff.next(lived=lived)
        log.error("%s; it is started again %s", what, f"in {seconds:g} s" if seconds else "now")
        return seconds

    def killed(self, child: Child) -> None:
        """Its time is over."""
        assert child.process is not None
        log.error(
            "worker process %d hasn't ended within %g s of being told to, and is killed",
            child.process.pid,
            self._grace,
        )
