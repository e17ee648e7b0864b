"""Clusters on the engines that people run already: `Cluster.on_dask`, `Cluster.on_ray`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, Self, get_args

from distio.coordination.settings import GRACE_SECONDS
from distio.core import expect
from distio.errors import ClusterClosed, ClusterError, MatchError
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.runtime.addresses import own_address
from distio.runtime.engines.hosted import Launch
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.process_options import ProcessOptions
from distio.runtime.processes import LocalProcesses
from distio.runtime.refusals import telling_refusals
from distio.runtime.roster import wait_for_workers
from distio.runtime.starting import StartsElsewhere
from distio.runtime.submitting import LEVELS

__all__ = ["OnEngines"]

Strategy = Literal["SPREAD", "PACK", "STRICT_SPREAD", "STRICT_PACK"]


class Engine(Protocol):
    """The engine that has the workers."""

    def begin(self) -> None: ...
    def end(self) -> None: ...


class OnEngines(StartsElsewhere):
    """The part of a `Cluster` that is about other engines."""

    @classmethod
    def on_dask(
        cls,
        client: Any,
        *,
        workers: Iterable[str] | None = None,
        processes: int | None = None,
        threads: int = 1,
        grace: float = GRACE_SECONDS,
        timeout: float | None = None,
        patience: float = PATIENCE_SECONDS,
        snapshots: Snapshots = SNAPSHOTS,
    ) -> Self:
        """Start workers beside those of a Dask cluster, and a coordinator here.

        Dask decides which hosts there are: a worker of it that comes later gets workers, too, and
        the fibers of one that goes go on elsewhere. Adaptive scaling closes none beside which
        fibers live. Tasks of Dask and fibers share the cores: each knows nothing of the other. The
        resources of a worker of Dask are those of the workers beside it.

        Args:
            client: a `distributed.Client` that isn't asynchronous.
            workers: the addresses or names of workers of Dask; None: all, and those that come.
            processes: how many processes beside each; None: as many as it has threads.
            threads: the number of threads in each process that step fibers.
            grace: as for `Cluster.local`.
            timeout: the longest time to wait for the first worker, in seconds; None: no limit, as
                Dask may have to wait for hosts.
            patience: as for `Cluster.start`.
            snapshots: as for `Cluster.local`.

        Returns:
            The cluster, when the first worker has joined. `wait_for` waits for more of them.
            `close` ends the workers; Dask goes on.

        Raises:
            ClusterError: `client` is something else, Dask isn't installed, or the workers can't be
                started, and why.
            TimeoutError: no worker has joined in time.
        """
        try:
            from distio.runtime.engines.on_dask import OnDask
        except ImportError as error:
            raise _not_installed("Dask", "dask", error) from error

        if processes is not None and (wrong := expect.no_count(processes, "Cluster.on_dask")):
            raise MatchError(wrong)

        def host(coordinator: LocalProcesses) -> Engine:
            launch = _launch(coordinator, threads, patience)
            return OnDask(client, launch, processes, workers, coordinator.keys_of("observer"))

        bind = _bind(OnDask.is_here(client))
        return cls._hosted("on_dask", host, bind, grace, timeout, patience, snapshots)

    @classmethod
    def on_ray(
        cls,
        workers: int,
        *,
        cpus: float = 1,
        gpus: float = 0,
        memory: float | None = None,
        resources: Mapping[str, float] | None = None,
        threads: int = 1,
        strategy: Strategy = "SPREAD",
        runtime_env: Mapping[str, Any] | None = None,
        grace: float = GRACE_SECONDS,
        timeout: float | None = None,
        patience: float = PATIENCE_SECONDS,
        snapshots: Snapshots = SNAPSHOTS,
    ) -> Self:
        """Start workers in the actors of a Ray cluster, and a coordinator here.

        `ray.init` was called before. A placement group asks Ray for what the workers need, so Ray
        adds nodes if it can. Ray starts an actor again whose node or process was lost; a worker
        that ends alone is started again beside its actor. The fibers of a node that Ray drains go
        on elsewhere. The things that Ray gives an actor (CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS, the
        `runtime_env`) its worker has as well.

        Args:
            workers: the number of workers.
            cpus: what each needs, in Ray's words; so are the next three.
            gpus: see there; a worker has the resource `gpu` as well.
            memory: in bytes.
            resources: named ones; a worker has them as well.
            threads: the number of threads in each that step fibers.
            strategy: how Ray spreads the workers over nodes.
            runtime_env: as Ray takes it.
            grace: as for `Cluster.local`.
            timeout: the longest time to wait for the first worker, in seconds; None: no limit, as
                Ray may have to wait for nodes.
            patience: as for `Cluster.start`.
            snapshots: as for `Cluster.local`.

        Returns:
            The cluster, when the first worker has joined. `wait_for` waits for more of them.
            `close` ends the workers; Ray goes on.

        Raises:
            ClusterError: Ray isn't installed, isn't initialized, or refuses, and why.
            TimeoutError: no worker has joined in time.
        """
        try:
            import ray

            from distio.runtime.engines.on_ray import Bundle, OnRay
        except ImportError as error:
            raise _not_installed("Ray", "ray", error) from error

        if not ray.is_initialized():
            raise ClusterError("Cluster.on_ray runs on a Ray cluster; call ray.init first")
        if wrong := expect.no_count(workers, "Cluster.on_ray, workers"):
            raise MatchError(wrong)
        expect.one_of(get_args(Strategy), strategy, "Cluster.on_ray", "strategy")
        bundle = Bundle(cpus, gpus, memory, dict(resources or {}))

        def host(coordinator: LocalProcesses) -> Engine:
            launch = _launch(coordinator, threads, patience)
            return OnRay(launch, workers, bundle, strategy, runtime_env)

        bind = _bind(OnRay.is_here())
        return cls._hosted("on_ray", host, bind, grace, timeout, patience, snapshots)

    @classmethod
    def _hosted(
        cls,
        name: str,
        host: Callable[[LocalProcesses], Engine],
        bind: str,
        grace: float,
        timeout: float | None,
        patience: float,
        snapshots: Snapshots,
    ) -> Self:
        """A cluster whose coordinator is here, and whose workers somebody else starts."""
        where = f"Cluster.{name}"
        expect.one_of(LEVELS, snapshots, where, "snapshots")
        for seconds in [patience] if timeout is None else [patience, timeout]:
            if wrong := expect.no_window(seconds, where):
                raise MatchError(wrong)
        if wrong := expect.no_time(grace, where, "grace is a number of seconds"):
            raise MatchError(wrong)
        engines: list[Engine] = []

        def stop() -> None:
            coordinator.stop()  # which tells the workers
            for engine in engines:
                engine.end()

        with telling_refusals("start a coordinator"):
            options = ProcessOptions(
                grace=grace, patience=patience, bind=bind, workers_are_elsewhere=True
            )
            coordinator = LocalProcesses([], options)
            try:
                cluster = cls._around(coordinator.join(), coordinator, stop, snapshots)
            except BaseException:
                coordinator.stop()
                raise
        try:
            engine = host(coordinator)
            engines.append(engine)
            engine.begin()
            wait_for_workers(cluster._host, 1, timeout)
        except ClusterClosed as error:
            cluster.close()
            raise ClusterError(str(error)) from None
        except BaseException:
            cluster.close()
            raise
        return cluster


def _launch(coordinator: LocalProcesses, threads: int, patience: float) -> Launch:
    if wrong := expect.no_count(threads, "threads"):
        raise MatchError(wrong)
    options = "--threads", str(threads), "--patience", f"{patience:g}"
    keys = tuple(coordinator.keys_of("worker").items())
    return Launch(coordinator.url, "", 1, options, keys=keys)


def _bind(is_here: bool) -> str:
    """The address at which the coordinator listens; empty: a socket that only this user reaches."""
    return "" if is_here else f"tcp://{own_address()}:0"


def _not_installed(what: str, extra: str, error: ImportError) -> ClusterError:
    return ClusterError(f"{what} isn't there ({error}); install distio[{extra}]")
