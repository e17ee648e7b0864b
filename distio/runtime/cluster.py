"""Clusters, as a program sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from distio._display.html import table
from distio._display.progress import Progress
from distio._hints import hint_at, says_instead
from distio.coordination.settings import GRACE_SECONDS, MAX_LOSSES
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.core.pickling.spaces import current_space
from distio.errors import ClusterError, MatchError, NotPicklable
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.result import Result
from distio.runtime.adapting import Adapting, StartsWorkers, bounds_for
from distio.runtime.engines.clusters import OnEngines
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.handshake import connect
from distio.runtime.joining import join
from distio.runtime.keys import chosen_keys
from distio.runtime.link import LinkedHost
from distio.runtime.logs import log
from distio.runtime.process_options import START_SECONDS, ProcessOptions, workers_asked_for
from distio.runtime.process_supervisor import MAX_RESTARTS, WITHIN_SECONDS
from distio.runtime.processes import LocalProcesses, LocalProvider
from distio.runtime.refusals import require_sockets, telling_refusals
from distio.runtime.rooted_run import RootedRun
from distio.runtime.roster import MemberStatus, cluster_as_html, list_members, wait_for_workers
from distio.runtime.run import run_showing
from distio.runtime.standalone import prepare
from distio.runtime.submitting import LEVELS
from distio.runtime.threads import OnlyOnce, start_thread
from distio.runtime.workers import Worker

__all__ = ["Cluster"]

R = TypeVar("R")
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

_MAY_TAKE_SECONDS: Final = 3.0
_WORKERS: Final = "use workers=4, the number of processes"
_THREADS: Final = "use threads=4, the number of threads in each process"
_ANSWER_SECONDS: Final = 0.5
"""The time for which a notebook waits for the members of a cluster that it shows."""


@hint_at("Cluster")
class Cluster(OnEngines):
    """A coordinator and its workers, on which programs run.

    >>> from distio import Cluster, io
    >>> with Cluster.local(workers=2) as cluster:
    ...     io.zip_par([io.pure(n) for n in range(3)]).run(None, on=cluster)
    Ok(success=[0, 1, 2])
    """

    if not TYPE_CHECKING:  # users make none by the class

        def __new__(cls, *arguments: Any, **options: Any) -> Self:
            if not (arguments and isinstance(arguments[0], LinkedHost)):
                raise TypeError(
                    "Cluster isn't called itself; use Cluster.local(workers=4) for processes of "
                    "this machine, or Cluster.connect(url) for a cluster that is there already"
                )
            return super().__new__(cls)

    def __init__(
        self,
        host: LinkedHost,
        threads: int,
        processes: LocalProcesses | None = None,
        *,
        stop: Callable[[], None] | None = None,
        snapshots: Snapshots = SNAPSHOTS,
        provider: StartsWorkers | None = None,
    ) -> None:
        super().__init__(host, snapshots)
        self._processes = processes
        self._provider = provider
        """Starts and stops workers, if this process can."""
        self._adapting: Adapting | None = None
        self._stop = stop or (None if processes is None else processes.stop)
        """Ends the processes that end with it."""
        listen = OnlyOnce(host.listen)
        try:
            host.start(threads, "distio-client")
            self._link = start_thread("distio-link", listen, host.fail)
        except BaseException:  # of the system, or of a handler of signals
            host.leaving.request()
            listen()  # which closes the link
            raise
        current_space().reach.add(id(self), None if processes is None else processes.path)

    @classmethod
    @says_instead(
        max_workers=_WORKERS,
        n_jobs=_WORKERS,
        n_workers=_WORKERS,
        num_cpus=_WORKERS,
        num_workers=_WORKERS,
        processes=_WORKERS,
        nthreads=_THREADS,
        pool_size=_THREADS,
        threads_per_worker=_THREADS,
    )
    def local(
        cls,
        workers: int | Sequence[Worker] | None = None,
        threads: int = 1,
        *,
        blas_threads: int | None = None,
        grace: float = GRACE_SECONDS,
        restart: bool = True,
        max_restarts: int = MAX_RESTARTS,
        within_seconds: float = WITHIN_SECONDS,
        timeout: float = START_SECONDS,
        snapshots: Snapshots = SNAPSHOTS,
        max_losses: int = MAX_LOSSES,
        snapshot_memory: int = IN_MEMORY_BYTES,
        patience: float = PATIENCE_SECONDS,
        journal: str | PathLike[str] | bool = True,
        accept_changed_code: bool = False,
        keep_snapshots: int = 0,
    ) -> Self:
        """Start a cluster of worker processes on this machine.

        Args:
            workers: the number of processes; by default one for each core that this process may
                use, by its affinity, the quota of its container, and PYTHON_CPU_COUNT. Or a list
                that says of each what it is like, by a `Worker`.
            threads: the number of threads in each process that step fibers, if `workers` is a
                number.
            blas_threads: the number of threads that libraries for numbers (BLAS, OpenMP) start in
                each process; by default its share of these cores, where variables like
                OMP_NUM_THREADS don't say otherwise.
            restart: whether a worker process that has ended is started again: at once, and if it
                ends again soon, after 0.1 s, 0.2 s and so on, up to 5 s. A worker is given up after
                too many restarts, or when it ends three times in a row before it has joined. The
                cluster ends when no worker is left.
            max_restarts: the largest number of restarts of each worker in `within_seconds`.
            within_seconds: the time for which a restart counts, in seconds.
            timeout: the longest time that the start of a process may take, in seconds; the machine
                may be busy.
            grace: the time in which a run that is cut short, by `cancel`, a Deadlock or `close`,
                may release what it holds, in seconds.
            snapshots: what is kept of the fibers of its runs, so that they go on when their worker
                is lost; see `Cluster.run`.
            max_losses: the largest number of workers that are lost while they step a fiber. Then
                the fiber isn't given to another one, since it may be what ends them: it ends in a
                Panic that holds `WorkerLost`. A fiber that only waits meanwhile isn't suspected.
            snapshot_memory: without a journal: the most memory, in bytes, for what is kept of
                fibers (snapshots, fibers that sleep for long or wait for a worker, outcomes). All
                beyond that is in a temporary file without a name. With a journal, all that is large
                is there.
            patience: the longest time that a process may be stopped (by SIGSTOP, or Ctrl-Z), in
                seconds. Then the process is killed, and its fibers go on elsewhere. A process
                that computes for long isn't stopped, in whatever code.
            journal: whether all that the coordinator is told is kept on the disk. If the
                coordinator's process is lost, it is started again, and goes on from there. True,
                the default: in a temporary directory, which is removed with the cluster. A
                directory: in that one. If this program ends, in whatever way, so do its processes;
                a cluster that is started with the same directory later goes on with the runs that
                have a name. False: nowhere, so the cluster ends with its coordinator.
            accept_changed_code: whether fibers go on here that are in the journal, and were saved
                when functions or classes that they name had other code. Otherwise they wait for
                that code, and a warning names what has changed.
            keep_snapshots: the number of cuts that are kept in the journal. A cut has all runs as
                they were at one moment, for `distio inspect`; one is made a minute after something
                has changed.

        Returns:
            The cluster. A `with` block closes it.

        Raises:
            ClusterError: the cluster can't be started; the message says why.
            TypeError: `timeout`, `grace`, `within_seconds` or `patience` is no such number of
                seconds, `max_restarts`, `max_losses`, `snapshot_memory` or `keep_snapshots` no
                whole number, or `snapshots` none of the three words; or cuts are to be kept without
                a directory for the journal.
            ValueError: `max_restarts`, `snapshot_memory` or `keep_snapshots` is below 0, or
                `max_losses` below 1.
        """
        options = ProcessOptions(
            blas_threads=blas_threads,
            grace=grace,
            restart=restart,
            max_restarts=max_restarts,
            within_seconds=within_seconds,
            start_seconds=timeout,
            max_losses=max_losses,
            snapshot_memory=snapshot_memory,
            patience=patience,
            journal=journal,
            accepts_other_code=bool(accept_changed_code),
            keep_snapshots=keep_snapshots,
        )
        options.require_right("Cluster.local")
        expect.one_of(LEVELS, snapshots, "Cluster.local", "snapshots")
        each = workers_asked_for(workers, threads, blas_threads)
        with telling_refusals(f"start a local cluster of {len(each)} workers"):
            require_sockets(have_threads=False)
            processes = LocalProcesses(each, options)
            try:
                provider = LocalProvider(processes)
                return cls(processes.join(), 1, processes, snapshots=snapshots, provider=provider)
            except BaseException:
                processes.stop()
                raise

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        timeout: float = 10.0,
        patience: float = PATIENCE_SECONDS,
        retry: float = 0.0,
        snapshots: Snapshots = SNAPSHOTS,
        keys: str | PathLike[str] | None = None,
    ) -> Self:
        """Join the cluster whose coordinator listens at `url`.

        Args:
            url: the address, as `distio coordinator` prints it; or several, with commas between
                them, if another coordinator may stand in for the first: `"tcp://a:1,tcp://b:1"`.
            timeout: the longest time to wait for an answer, in seconds.
            patience: the longest time in which the coordinator may give no sign of life, in
                seconds: its process may be stopped, or the network down. After that the
                coordinator counts as lost, and runs end.
            retry: for how many seconds to try again while no coordinator listens there; 0: not at
                all. The first failure is logged as a warning of the logger `distio`.
            snapshots: what is kept of the fibers of runs that are started here, so that they go on
                when their worker is lost; see `Cluster.run`.
            keys: the folder with the keys of this program, which `distio keygen` or `distio keys
                add` has made where the coordinator is; None: the one that the environment variable
                DISTIO_KEYS names, if it is set. At an ipc address no keys are needed.

        Returns:
            The cluster. A `with` block closes it.

        Raises:
            KeyRefused: the coordinator doesn't accept the keys, or one side lacks them.
            ClusterError: no coordinator answers there, or the versions don't match.
            TypeError: `timeout` or `patience` is no number of seconds above 0, `retry` none from
                0, or `snapshots` none of the three words.
        """
        for seconds in (timeout, patience):
            if wrong := expect.no_window(seconds, "Cluster.connect"):
                raise MatchError(wrong)
        expect.one_of(LEVELS, snapshots, "Cluster.connect", "snapshots")
        expect.seconds(retry, "Cluster.connect", "retry")

        folder = chosen_keys(keys)

        def connect_within(seconds: float) -> LinkedHost:
            return connect(url, "client", 1, timeout=seconds, patience=patience, keys=folder)

        host = join(url, connect_within, retry, log=log.log, timeout=timeout)
        with telling_refusals(f"join the cluster at {url}"):
            prepare()
            return cls(host, 1, snapshots=snapshots)

    def run(
        self,
        io: IO[R, E, A],
        context: R,
        *,
        snapshots: Snapshots | None = None,
        progress: Progress = None,
    ) -> Result[E, A]:
        """Run a program as `program.run(context, on=cluster)` does.

        The root lives in this process, its children on the workers. When a worker is lost, its
        fibers go on at others, as they were in their last snapshots:

        - `"suspensions"`: a snapshot is taken of a fiber when it comes to its worker, and each time
          before it does something that other fibers see: a call of a queue, a changed `Var`, its
          end. So whatever it does happens once. Functions that it has called since the snapshot are
          called again.
        - `"births"`: a snapshot is taken when a fiber comes to its worker, and no more. If other
          fibers have seen something of it since, it ends in a Panic that holds `WorkerLost`.
        - `"off"`: all fibers of a lost worker end so.

        Args:
            io: the program.
            context: the value that `io.read` computes.
            snapshots: one of the three words; None: that of the cluster.
            progress: as for `IO.run`.

        Returns:
            The Result of the program.

        Raises:
            MatchError: `io` is no IO, `snapshots` no such word, or `progress` something else.
        """
        level = self._level("Cluster.run", snapshots)
        progress = expect.progress(progress, "Cluster.run")
        return run_showing(self._runner(level), require_io(io, "Cluster.run"), context, progress)

    @classmethod
    def _around(
        cls,
        host: LinkedHost,
        coordinator: LocalProcesses,
        stop: Callable[[], None],
        snapshots: Snapshots,
        provider: StartsWorkers | None = None,
    ) -> Self:
        return cls(host, 1, coordinator, stop=stop, snapshots=snapshots, provider=provider)

    def _runner(self, snapshots: Snapshots | None = None) -> RootedRun:
        return RootedRun(self._host, snapshots or self._snapshots)

    @property
    def url(self) -> str:
        """The address at which the coordinator listens; other programs of this user may `connect`
        there."""
        return self._host.url

    def members(self) -> list[MemberStatus]:
        """The processes that belong to the cluster now, this one included, as they have joined.

        >>> with Cluster.local(workers=2) as cluster:
        ...     [each.kind for each in cluster.wait_for(workers=2)]
        ...     sorted(each.kind for each in cluster.members())
        ['worker', 'worker']
        ['client', 'worker', 'worker']

        Raises:
            ClusterClosed: the cluster is closed, or its coordinator lost.
        """
        self._require_open()
        return list_members(self._host)

    def wait_for(self, *, workers: int, timeout: float | None = None) -> list[MemberStatus]:
        """Wait until the cluster has so many workers; those that leave don't count.

        Args:
            workers: the number of workers.
            timeout: the longest time to wait, in seconds; None: no limit.

        Returns:
            The workers, of which there may be more.

        Raises:
            TimeoutError: the time is over; the message names the workers that are there.
            MatchError: `workers` is no whole number from 1, or `timeout` no number of seconds.
            ClusterClosed: the cluster is closed, or its coordinator lost.
        """
        self._require_open()
        if wrong := expect.no_count(workers, "Cluster.wait_for, workers"):
            raise MatchError(wrong)
        if timeout is not None:
            timeout = expect.seconds(timeout, "Cluster.wait_for", "timeout")
        return wait_for_workers(self._host, workers, timeout)

    def adapt(
        self,
        minimum: int,
        maximum: int,
        *,
        idle_seconds: float = 30.0,
        provider: StartsWorkers | None = None,
    ) -> None:
        """Start workers when fibers wait for room, and stop those that have nothing to do.

        Returns at once. A later call takes the place of this one.

        Args:
            minimum: the least number of workers.
            maximum: the largest number of workers, those that are being started included.
            idle_seconds: the time after which a worker that has hosted no fiber is drained and
                stopped, in seconds.
            provider: starts and stops workers; None: this process does, for `Cluster.local`. Those
                that it starts are like the last one that `Cluster.local` was asked for.

        Raises:
            MatchError: an argument is of another kind, or `maximum` is less than `minimum`.
            ClusterError: this cluster can't start workers, as it was joined by `connect`.
            ClusterClosed: the cluster is closed, or its coordinator lost.

        >>> from distio import Cluster, io
        >>> with Cluster.local(workers=1) as cluster:
        ...     cluster.adapt(1, 2)
        ...     busy = cluster.submit(io.traverse_par(range(4), lambda _: io.sleep(0.01)), None)
        ...     busy.result().is_ok()
        True
        """
        self._require_open()
        least = expect.whole(minimum, "Cluster.adapt", "minimum is a whole number from 1")
        most = expect.whole(maximum, "Cluster.adapt", "maximum is a whole number from 1")
        if most < least:
            raise MatchError(f"Cluster.adapt: maximum is at least minimum, but {most} < {least}")
        idle = expect.seconds(idle_seconds, "Cluster.adapt", "idle_seconds")
        if provider is None:
            if self._provider is None:
                raise ClusterError(
                    "Cluster.adapt: this cluster can't start workers by itself, as somebody else "
                    "does; give a provider"
                )
            provider = self._provider
        if self._adapting is not None:
            self._adapting.stop()
        bounds = bounds_for(least, most, idle, START_SECONDS, provider.worker)
        self._adapting = Adapting(self._host, provider, bounds)

    def close(self) -> None:
        """End the cluster. A second call does nothing.

        Runs that go on are cancelled. `close` returns when they have released what they hold, or
        when their `grace` is over. A run that a second Ctrl-C has given up isn't waited for. A
        named run of a cluster that this process has joined goes on; one of `Cluster.local` ends
        with the cluster.

        In a forked child `close` ends nothing: the cluster goes on for the process that made it.
        """
        if self._is_closed or self._host.is_inherited:
            return
        self._is_closed = True
        if self._adapting is not None:
            self._adapting.stop()
        current_space().reach.remove(id(self))
        try:
            self._host.runs.finish("the cluster was closed")
        finally:
            self._end()

    def _end(self) -> None:
        if self._stop is not None:
            self._stop()
        self._host.leaving.request()
        if threading.current_thread() is not self._link:  # it may be, in a `__del__`
            self._link.join(_MAY_TAKE_SECONDS)
        self._host.deliveries.finish(_MAY_TAKE_SECONDS)

    def __repr__(self) -> str:
        return f"<Cluster at {self.url}{', closed' * self._is_over}>"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the members, if the coordinator answers at once."""
        if self._is_over:
            return table(f"cluster at {self.url}", [("state", "closed")])
        return cluster_as_html(self._host, _ANSWER_SECONDS)

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._host.is_inherited

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the cluster, while the event loop goes on: coroutines of fibers may have to end
        there."""
        from distio.runtime.loops import call_elsewhere  # few need it

        await call_elsewhere(self.close)
