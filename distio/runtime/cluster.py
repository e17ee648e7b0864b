"""Clusters, as a program sees them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, TypeVar, final

from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.core.pickling.spaces import current_space
from distio.errors import CannotShip, ClusterClosed, ClusterError, MatchError
from distio.protocol.messages import WorkerExited
from distio.result import Result
from distio.runtime.addresses import private_directory
from distio.runtime.cores import share_of_cores, thread_limits, usable_cores
from distio.runtime.host import log
from distio.runtime.interrupts import interruptible
from distio.runtime.launching import Lifeline, describe_exit, interrupts_wait, start_program
from distio.runtime.link import START_SECONDS, LinkedHost, connect
from distio.runtime.main_thread import serving_on_main, wake_main_thread
from distio.runtime.nesting import stopped_with_its_fiber, waiting
from distio.runtime.python_options import import_options, python_options
from distio.runtime.records import tagging
from distio.runtime.refusals import require_descriptors, system_refused
from distio.runtime.tickets import CLOSED, Ticket, closed, inherited

__all__ = ["Cluster", "RunHandle"]

E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

_MAY_TAKE_SECONDS: Final = 3.0


class RunHandle(Generic[E, A]):
    """A run that `Cluster.submit` started."""

    def __init__(self, host: LinkedHost, ticket: Ticket) -> None:
        self._host = host
        self._ticket = ticket

    def done(self) -> bool:
        """Whether the run, its root and all that it started, has ended."""
        return self._ticket.is_over

    def cancel(self) -> None:
        """Cancel all its fibers, wherever they are; returns at once.

        They release what they hold. The Result of a run whose root is cancelled is a Panic that
        holds `Cancelled`.

        Raises:
            ClusterClosed: this process was forked from the one that has submitted the run.
        """
        self._host.refuse_in_child()
        self._host.cancel_run(self._ticket.run)

    def result(self, timeout: float | None = None) -> Result[E, A]:
        """Wait for the run to end.

        Args:
            timeout: for how many seconds at most; None: as long as it takes.

        Raises:
            TimeoutError: it took longer. The run goes on; ask again.
            BaseException: what a signal handler has raised meanwhile on the main thread, like
                KeyboardInterrupt at Ctrl-C, or SystemExit at SIGTERM. The run goes on.
        """
        expected = "a number of seconds"
        if timeout is not None and (wrong := expect.no_time(timeout, "result", expected)):
            raise MatchError(wrong)
        if not self._ticket.is_over:
            with waiting(), interruptible(wake_main_thread, lambda: "") as interrupted:
                self._ticket.wait(timeout, unless=lambda: interrupted.is_ending)
        if not self._ticket.is_over:
            raise TimeoutError(f"the run has not ended within {timeout:g} seconds")
        return self._ticket.result()

    def __reduce__(self) -> NoReturn:
        raise CannotShip(
            "a RunHandle belongs to the process that has submitted the run; wait for the result "
            "there, and pass that"
        )


@final
class _Runner:
    """A run whose root is in this process, for the thread that waits for it."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._ticket: Ticket | None = None
        self._is_cancelled = False

    def run(self, io: IO[Any, Any, Any], context: Any) -> Result[Any, Any]:
        if self._host.is_inherited:
            return closed(inherited(self._host.process))
        stop = self.cancel
        with (
            waiting(),
            interruptible(stop, self._describe),
            stopped_with_its_fiber(stop),
            serving_on_main(wake_main_thread),
            tagging,
        ):
            self._ticket = self._host.begin(io, context)
            if self._is_cancelled:
                self.cancel()
            self._ticket.wait()
            return self._ticket.result()

    def cancel(self) -> None:
        """Cancel the run, also if it is still to begin; returns at once."""
        self._is_cancelled = True
        if self._ticket is not None:
            self._host.cancel_run(self._ticket.run)

    def _describe(self) -> str:
        return "" if self._ticket is None else self._host.describe_run(self._ticket.run)


class Cluster:
    """A coordinator and its workers, on which programs run.

    >>> from distio import Cluster, io
    >>> with Cluster.local(workers=2) as cluster:
    ...     io.zip_par([io.pure(n) for n in range(3)]).run(None, on=cluster)
    Ok(success=[0, 1, 2])
    """

    def __init__(self, host: LinkedHost, threads: int, processes: _Processes | None = None) -> None:
        self._host = host
        self._processes = processes
        self._is_closed = False
        current_space().reach.add(id(self), None if processes is None else processes.path)
        host.start(threads, "distio-client")
        self._link = threading.Thread(target=host.listen, name="distio-link", daemon=True)
        self._link.start()

    @classmethod
    def local(
        cls, workers: int | None = None, threads: int = 1, *, blas_threads: int | None = None
    ) -> Self:
        """Start a cluster of worker processes on this machine.

        Args:
            workers: how many processes; by default one for each core that this process may use,
                by its affinity, the quota of its container, and PYTHON_CPU_COUNT.
            threads: how many threads each of them steps fibers with.
            blas_threads: how many threads libraries for numbers (BLAS, OpenMP) start in each of
                them; by default its share of these cores, where variables like OMP_NUM_THREADS
                don't say otherwise.

        Raises:
            ClusterError: it can't be started, and why.
        """
        if workers is None:
            workers = usable_cores()
        counts = {"workers": workers, "threads": threads, "blas_threads": blas_threads}
        for name, number in counts.items():
            is_left_out = name == "blas_threads" and number is None
            if not (is_left_out or expect.is_count(number)):
                raise ClusterError(
                    f"a local cluster takes at least 1 worker of at least 1 thread, "
                    f"but got {name}={number!r}; give whole numbers from 1"
                )
        try:
            require_descriptors()
            processes = _Processes(workers, threads, blas_threads)
            try:
                host = processes.join()
            except BaseException:
                processes.stop()
                raise
        except OSError as error:
            raise system_refused(f"start a local cluster of {workers} workers", error) from error
        cluster = cls(host, 1, processes)
        processes.watch(host)
        return cluster

    @classmethod
    def connect(cls, url: str, *, timeout: float = 10.0) -> Self:
        """Join the cluster whose coordinator listens at `url`.

        Args:
            url: as `distio coordinator` prints it.
            timeout: how many seconds to wait for its answer.

        Raises:
            ClusterError: nobody answers there, or the versions don't match.
            TypeError: `timeout` is no number of seconds above 0.
        """
        if wrong := expect.no_window(timeout, "Cluster.connect"):
            raise MatchError(wrong)
        return cls(connect(url, "client", 1, timeout=timeout), 1)

    def run(self, io: IO[Any, E, A], context: Any) -> Result[E, A]:
        """What `io.run(context, on=cluster)` does."""
        return self._runner().run(require_io(io, "Cluster.run"), context)

    def _runner(self) -> _Runner:
        return _Runner(self._host)

    def submit(self, io: IO[Any, E, A], context: Any) -> RunHandle[E, A]:
        """Start `io` on a worker, root and all, and don't wait for it.

        Raises:
            CannotShip: the program or its context can't be pickled; the message says why.
            ClusterClosed: the cluster is closed, or this process was forked from the one that
                has made it.
        """
        self._host.refuse_in_child()
        if self._is_closed:
            raise ClusterClosed(CLOSED)
        ticket = self._host.submit(require_io(io, "Cluster.submit"), context)
        return RunHandle(self._host, ticket)

    def close(self) -> None:
        """End the cluster; runs that go on are cut short. May be called again.

        In a forked child it ends nothing: the cluster goes on for the process that has made it.
        """
        if self._is_closed or self._host.is_inherited:
            return
        self._is_closed = True
        current_space().reach.remove(id(self))
        if self._processes is not None:
            self._processes.stop()
        self._host.leave()
        if threading.current_thread() is not self._link:  # it may be, in a `__del__`
            self._link.join(_MAY_TAKE_SECONDS)
        self._host.deliveries.finish(_MAY_TAKE_SECONDS)

    def __reduce__(self) -> NoReturn:
        raise CannotShip(
            "a Cluster belongs to the process that made it; return a program instead of running "
            "it on the cluster, or call Cluster.connect where it is needed"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Processes:
    """The processes of a local cluster.

    Raises:
        ClusterError, OSError: they can't be started; those that were have ended again.
    """

    def __init__(self, workers: int, threads: int, blas_threads: int | None) -> None:
        self.family = secrets.token_hex(8)
        self.path = list(sys.path)
        """Where the workers look for modules."""
        self._is_stopping = False
        self._alive = workers
        self._lock = threading.RLock()  # a `__del__` may close the cluster in the midst
        self._started: list[subprocess.Popen[bytes]] = []
        self._directory = private_directory()
        self.url = f"ipc://{self._directory / 'coordinator'}"
        try:
            self._lifeline = Lifeline()
        except BaseException:
            _remove(self._directory)
            raise
        try:
            with interrupts_wait():
                self._start(workers, threads, blas_threads)
        except BaseException:
            self.stop()
            raise
        self.coordinator, *self.workers = self._started

    def _start(self, workers: int, threads: int, blas_threads: int | None) -> None:
        lifeline = self._lifeline
        coordinator = (self.url, str(self._directory), str(lifeline.reader))
        self._started.append(
            start_program(
                "distio.runtime.coordinator_process",
                *coordinator,
                lifeline=lifeline,
                options=import_options(),
            )
        )
        worker = [self.url, "--threads", str(threads), "--family", self.family]
        worker += ["--lifeline", str(lifeline.reader)]
        options = python_options()
        limits = thread_limits(blas_threads, share_of_cores(workers), os.environ)
        for _ in range(workers):
            self._started.append(
                start_program(
                    "distio_worker.local",
                    *worker,
                    lifeline=lifeline,
                    options=options,
                    environment=limits,
                )
            )

    def join(self) -> LinkedHost:
        """Join the coordinator when it is there; as long as it lives, it has only not begun yet."""
        coordinator = os.pidfd_open(self.coordinator.pid)
        try:
            return connect(
                self.url,
                "client",
                1,
                family=self.family,
                timeout=START_SECONDS,
                coordinator=coordinator,
            )
        finally:
            os.close(coordinator)

    def watch(self, host: LinkedHost) -> None:
        """Tell the coordinator how worker processes end; end with the coordinator."""
        for worker in self.workers:
            threading.Thread(target=self._watch, args=(worker, host), daemon=True).start()
        threading.Thread(target=self._watch_coordinator, args=(host,), daemon=True).start()

    def _watch(self, worker: subprocess.Popen[bytes], host: LinkedHost) -> None:
        reason = describe_exit(worker.wait())
        with self._lock:
            if self._is_stopping:
                return
            self._alive -= 1
        log.warning("worker process %d was lost: %s", worker.pid, reason)
        host.say(WorkerExited(worker.pid, reason))
        if self._alive == 0:
            host.close(f"the last worker process was lost: {reason}")

    def _watch_coordinator(self, host: LinkedHost) -> None:
        reason = describe_exit(self.coordinator.wait())
        if not self._is_stopping:
            log.error("the coordinator process was lost: %s", reason)
            host.close(f"the coordinator process was lost: {reason}")

    def stop(self) -> None:
        """End all of them, and remove what they leave behind."""
        with self._lock:
            self._is_stopping = True
        self._lifeline.close()
        for process in reversed(self._started):
            try:
                process.wait(_MAY_TAKE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _remove(self._directory)


def _remove(directory: Path) -> None:
    for path in directory.glob("*"):
        path.unlink(missing_ok=True)
    if directory.exists():
        directory.rmdir()
