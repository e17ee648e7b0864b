"""How a program gets a cluster whose workers aren't its own processes: a provider or an engine
starts them, on whatever hosts."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Self

from distio.coordination.settings import GRACE_SECONDS, MAX_LOSSES
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.core import expect
from distio.errors import ClusterClosed, ClusterError, MatchError
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.runtime.adapting import StartsWorkers
from distio.runtime.addresses import ipc_path, own_address
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.fleet import Fleet
from distio.runtime.link import LinkedHost
from distio.runtime.process_options import ProcessOptions
from distio.runtime.process_supervisor import MAX_RESTARTS, WITHIN_SECONDS, RestartLimit
from distio.runtime.processes import LocalProcesses
from distio.runtime.provider import Provider
from distio.runtime.refusals import require_sockets, telling_refusals
from distio.runtime.roster import wait_for_workers
from distio.runtime.submitting import LEVELS, Submits
from distio.runtime.symmetric import Meeting, rank_of, serve_rank
from distio.runtime.workers import Worker

__all__ = ["StartsElsewhere"]


def _check_start(provider: Any, workers: Any, threads: Any, timeout: Any) -> None:
    where = "Cluster.start"
    if not isinstance(provider, Provider):
        raise MatchError(
            f'{where}: expected a provider of hosts, like SSH(["node1"]) of distio.providers, but '
            f"got {expect.shown(provider)}"
        )
    for name, count in (("workers", workers), ("threads", threads)):
        if wrong := expect.no_count(count, f"{where}, {name}"):
            raise MatchError(wrong)
    if timeout is not None and (wrong := expect.no_window(timeout, f"{where}, timeout")):
        raise MatchError(wrong)


class StartsElsewhere(Submits):
    """The part of a `Cluster` that is about workers on other hosts."""

    @classmethod
    @abstractmethod
    def _around(
        cls,
        host: LinkedHost,
        coordinator: LocalProcesses,
        stop: Callable[[], None],
        snapshots: Snapshots,
        provider: StartsWorkers | None = None,
    ) -> Self:
        """The cluster of a coordinator here, which `stop` ends; `provider` adapts it."""

    @abstractmethod
    def close(self) -> None:
        """End the cluster. A second call does nothing."""

    @classmethod
    def start(
        cls,
        provider: Provider,
        workers: int,
        threads: int = 1,
        *,
        tags: Mapping[str, str] | None = None,
        resources: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
        bind: str = "",
        grace: float = GRACE_SECONDS,
        max_restarts: int = MAX_RESTARTS,
        within_seconds: float = WITHIN_SECONDS,
        timeout: float | None = None,
        snapshots: Snapshots = SNAPSHOTS,
        max_losses: int = MAX_LOSSES,
        snapshot_memory: int = IN_MEMORY_BYTES,
        patience: float = PATIENCE_SECONDS,
        journal: str | PathLike[str] | bool = False,
        accept_changed_code: bool = False,
        keep_snapshots: int = 0,
    ) -> Self:
        """Start a coordinator here, and workers on the hosts of a provider.

        A worker that ends is started again, as those of `Cluster.local` are. One that has ended
        three times before it has joined is given up, and the last lines that it wrote are logged.
        The cluster ends when no worker is left. When this program ends, in whatever way, so do the
        workers.

        Args:
            provider: has the hosts: `distio.providers` has some.
            workers: the number of workers.
            threads: the number of threads in each that step fibers.
            tags: what each worker is like, for `needs` and `prefer` of `io.placed`.
            resources: the amount of each resource that each worker has, for `needs`.
            environment: variables for the workers.
            bind: where the coordinator listens; by default where the provider needs it.
            grace: as for `Cluster.local`.
            max_restarts: the largest number of restarts of each worker in `within_seconds`.
            within_seconds: the time for which a restart counts, in seconds.
            timeout: the longest time to wait for the first worker, in seconds; None: as long as the
                provider lets it wait for a place.
            snapshots: as for `Cluster.local`.
            max_losses: as for `Cluster.local`.
            snapshot_memory: as for `Cluster.local`.
            patience: the longest time in which a host may give no sign of life, in seconds.
            journal: as for `Cluster.local`.
            accept_changed_code: as for `Cluster.local`.
            keep_snapshots: as for `Cluster.local`.

        Returns:
            The cluster, when the first worker has joined. `wait_for` waits for more of them.

        Raises:
            ClusterError: the cluster can't be started, and why: a host isn't reached, say.
            TimeoutError: no worker has joined in time.
            TypeError: an argument is of another kind.
        """
        _check_start(provider, workers, threads, timeout)
        options = ProcessOptions(
            grace=grace,
            max_restarts=max_restarts,
            within_seconds=within_seconds,
            max_losses=max_losses,
            snapshot_memory=snapshot_memory,
            patience=patience,
            journal=journal,
            keep_snapshots=keep_snapshots,
            bind=bind or provider.bind,
            workers_are_elsewhere=True,
        )
        options.require_right("Cluster.start")
        expect.one_of(LEVELS, snapshots, "Cluster.start", "snapshots")
        like = Worker(threads, tags=tags or {}, resources=resources or {})
        with telling_refusals("start a coordinator"):
            require_sockets(have_threads=ipc_path(options.bind or "ipc://") is None)
            coordinator = LocalProcesses([], options)
            fleet = Fleet(
                provider,
                coordinator,
                workers,
                like,
                accepts_other_code=bool(accept_changed_code),
                environment=dict(environment or {}),
                patience=patience,
                new_limit=partial(RestartLimit, max_restarts, within_seconds),
            )
            try:
                cluster = cls._around(
                    coordinator.join(), coordinator, fleet.close, snapshots, fleet
                )
            except BaseException:
                fleet.close()
                raise
        try:
            fleet.begin(cluster._host)
            wait_for_workers(cluster._host, 1, timeout)
        except ClusterClosed as error:
            cluster.close()
            raise ClusterError(str(error)) from None
        except BaseException:
            cluster.close()
            raise
        return cluster

    @classmethod
    def symmetric(
        cls,
        threads: int = 1,
        *,
        directory: str | PathLike[str] | None = None,
        bind: str = "",
        timeout: float = 120.0,
        grace: float = GRACE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        snapshots: Snapshots = SNAPSHOTS,
    ) -> Self:
        """Make a cluster of the processes that srun or mpirun has started.

        All of them run the same program. The one of rank 0 gets the cluster. In the others this
        call doesn't return: each becomes a worker, and exits with 0 when rank 0 closes the cluster.

        Args:
            threads: the number of threads in each worker that step fibers.
            directory: a directory that all hosts share, for the file by which the processes find
                each other; by default `.distio` in the home directory.
            bind: where the coordinator of rank 0 listens. By default at a socket in a private
                directory, if the engine says that all processes are on one host.
            timeout: the longest time to wait for each other, in seconds.
            grace: as for `Cluster.local`.
            patience: the longest time in which a process may give no sign of life, in seconds.
            snapshots: as for `Cluster.local`.

        Returns:
            The cluster, when all others have joined: one that came later could find it closed.

        Raises:
            ClusterError: no engine has started this process, or the others aren't found.
            TimeoutError: some have not joined in time.
        """
        rank = rank_of(os.environ)
        if rank.size < 2:
            raise ClusterError(
                "Cluster.symmetric takes at least 2 processes, a client and a worker, but there is "
                "1; start more of them, or use Cluster.local"
            )
        shared = Path.home() / ".distio" if directory is None else Path(directory)
        meeting = Meeting(shared, rank.job)
        if rank.number:
            serve_rank(rank, meeting, threads, timeout)
        meeting.remove()
        if not bind and not rank.is_on_one_host:
            bind = f"tcp://{own_address()}:0"
        options = ProcessOptions(
            grace=grace, patience=patience, bind=bind, workers_are_elsewhere=True
        )
        coordinator = LocalProcesses([], options)

        def stop() -> None:
            meeting.remove()
            coordinator.stop()

        try:
            cluster = cls._around(coordinator.join(), coordinator, stop, snapshots)
        except BaseException:
            stop()
            raise
        try:
            meeting.announce(coordinator.url, coordinator.keys_of("worker"))
            wait_for_workers(cluster._host, rank.size - 1, timeout)
        except BaseException:
            cluster.close()
            raise
        return cluster
