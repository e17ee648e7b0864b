"""The daemon with several processes: it starts them, and starts again those that die."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

from distio.protocol.messages import WorkerExited
from distio.runtime.child_processes import ChildProcess, describe_exit
from distio.runtime.ending_signals import signals_to_end
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.launching import Lifeline, OwnStderr, Program, StartLog
from distio.runtime.post_mortem import MemoryWatch, examine
from distio.runtime.process_supervisor import (
    LOST,
    MAX_RESTARTS,
    NEAR_LIMIT,
    WITHIN_SECONDS,
    Child,
    ProcessSupervisor,
    RestartLimit,
)
from distio.runtime.python_options import python_options
from distio.runtime.refusals import system_refused
from distio.runtime.telling import tell_at_sigusr1
from distio.runtime.workers import Worker
from distio_worker.host import FAILED
from distio_worker.reporting import Reporter

__all__ = ["REFUSED", "Supervisor"]

log: Final = logging.getLogger("distio.worker")

REFUSED: Final = 64
"""The exit code of a worker that can't join, and won't if it is started again (EX_USAGE)."""
_A_MOMENT_SECONDS: Final = 1.0


@final
class Supervisor:
    """Keeps some worker processes until they are told to end.

    Args:
        workers: what each is like.
        url: where the coordinator listens.
        arguments: the rest of the command line of each.
        retry: for how many seconds a worker tries to join, also one that is started again because
            it has lost its coordinator; 0: it isn't.
        grace: how many seconds a worker has that is told to end.
        max_restarts: how often each is started again at most because it has ended,
        within_seconds: in such a time.
        patience: for how many seconds a worker may be stopped.
        keys: the folder of their keys; None: they have none.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        url: str,
        arguments: Sequence[str],
        *,
        retry: float,
        grace: float,
        max_restarts: int = MAX_RESTARTS,
        within_seconds: float = WITHIN_SECONDS,
        patience: float = PATIENCE_SECONDS,
        keys: Path | None = None,
    ) -> None:
        self._new_limit = partial(RestartLimit, max_restarts, within_seconds)
        self._workers = workers
        self._arguments = [url, *arguments, *([] if keys is None else [f"--keys={keys}"])]
        self._joins_again = retry > 0
        self._grace = grace
        self._supervised = ProcessSupervisor(self, patience)
        self._memory = MemoryWatch()
        self._serials = itertools.count(1)
        self._reporter = Reporter(url, patience, retry, keys)
        self._code = 0

    def run(self) -> int:
        """Keep the processes; return the exit code of the daemon.

        Raises:
            ClusterError: they can't be started.
        """
        lifeline, stderr = Lifeline(), OwnStderr()
        program = Program("distio_worker.main", options=python_options())

        def launch(worker: Worker, child: Child) -> tuple[ChildProcess, StartLog | None]:
            child.serial = next(self._serials)
            log = StartLog(stderr.descriptor)
            inherits = [lifeline.reader, stderr.descriptor, child.new_box()]
            given = [*self._arguments, *worker.options(), "--family", self._reporter.family]
            given += ["--serial", str(child.serial)]
            for option, descriptor in zip(("--lifeline", "--stderr", "--black-box"), inherits):
                given += [option, str(descriptor)]
            return program.start(*given, inherits=inherits, log=log), log

        self._supervised.hear_signals()
        tell_at_sigusr1()
        for number in signals_to_end():
            signal.signal(number, self._told_to_end)
        try:
            for worker in self._workers:
                self._supervised.add(Child(partial(launch, worker), self._new_limit()))
            self._reporter.start()
        except OSError as error:
            self._supervised.stop(self._grace, signal.SIGTERM)
            raise system_refused(f"start {len(self._workers)} worker processes", error) from error
        finally:
            self._supervised.run()
            self._reporter.close()
            lifeline.close()
            stderr.close()
        return self._code

    def _told_to_end(self, number: int, frame: object) -> None:
        """The second time, there is no grace."""
        is_first = not self._supervised.is_stopping
        grace = self._grace + _A_MOMENT_SECONDS if is_first else 0.0
        self._supervised.stop(grace, signal.SIGTERM)
        self._code = 0

    def started(self, child: Child) -> None:
        """Do nothing: each worker says itself that it has joined."""

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        """Decide whether to start a worker again: not one that was told to end, or can't join."""
        assert child.process is not None
        name = f"worker process {child.process.pid}"
        is_lost = code == LOST
        exit, in_hand = examine(code, child.box, self._memory)
        reason = "lost the coordinator" if is_lost else describe_exit(code)
        if code == NEAR_LIMIT:
            reason = "has left, as it came near its memory limit"
        if child.was_stopped:
            reason = f"killed, because it was stopped for {self._supervised.patience:g} s"
        # one that has lost its coordinator has ended by itself, whatever its fibers did
        self._reporter.tell(WorkerExited(child.serial, reason, exit, [] if is_lost else in_hand))
        if code == 0:
            log.info("%s has ended, as it was told to", name)
            return None
        if code == REFUSED or (is_lost and not self._joins_again):
            self._code = REFUSED if REFUSED in (code, self._code) else LOST
            return None  # it has said why
        if not is_lost and (details := str(exit).strip()):
            log.error("%s ended: %s; %s", name, reason, details)
        seconds = self._again(child, f"{name}: {reason}", lived, counts=not is_lost)
        if seconds is None:
            self._code = FAILED
        return seconds

    def refused(self, child: Child, error: OSError) -> float | None:
        """The system may allow it later."""
        return self._again(child, f"a worker process can't be started: {error}", 0.0, counts=False)

    def _again(self, child: Child, what: str, lived: float, *, counts: bool) -> float | None:
        seconds = child.again(lived, counts=counts)
        if seconds is None:
            last_lines = "" if child.log is None else child.log.last_lines()
            log.error("%s; %s%s", what, child.limit, last_lines)
        else:
            log.error(
                "%s; the process is started again %s",
                what,
                f"in {seconds:g} s" if seconds else "now",
            )
        return seconds

    def killed(self, child: Child) -> None:
        """The time of the child is over."""
        assert child.process is not None
        log.error(
            "worker process %d hasn't ended within %g s of being told to, and is killed",
            child.process.pid,
            self._grace,
        )
