"""distio and its peers on the same number of worker processes, asked in their own words.

None of them forks: a fork would copy the locks of threads that are open, alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple

import distio
from benchmarks._timing import SPAWN
from benchmarks.harness.question import Candidate, Measure

__all__ = ["AT_A_GLANCE", "PEERS", "WORKERS", "Peer", "candidates_of", "local_cluster"]

WORKERS: Final = 2


class Peer(NamedTuple):
    """A library whose workers wait."""

    map: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
    """All results, in the way in which its users call a function for each item of a list."""
    submit: Callable[..., Callable[[], Any]]
    """Begins a call of a function with its arguments; what it returns waits for the value."""


Opens = Callable[..., AbstractContextManager[Peer]]
"""Takes the number of workers, unless it is to be `WORKERS`."""


def same(n: int) -> int:
    return n


@contextmanager
def local_cluster(workers: int = WORKERS) -> Iterator[distio.Cluster]:
    """A cluster of ours whose workers have all joined."""
    with distio.Cluster.local(workers=workers, threads=1) as cluster:
        cluster.wait_for(workers=workers)
        yield cluster


@contextmanager
def of_distio(workers: int = WORKERS) -> Iterator[Peer]:
    with local_cluster(workers) as cluster, distio.Executor(on=cluster) as executor:
        yield Peer(
            lambda f, items: list(distio.map(f, items, on=cluster)),
            lambda f, *arguments: executor.submit(f, *arguments).result,
        )


@contextmanager
def of_pool(workers: int = WORKERS) -> Iterator[Peer]:
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(same, range(2 * workers))
        yield Peer(
            pool.map,
            lambda f, *arguments: pool.apply_async(f, arguments).get,
        )


@contextmanager
def of_executor(workers: int = WORKERS) -> Iterator[Peer]:
    with ProcessPoolExecutor(workers, SPAWN) as executor:
        list(executor.map(same, range(2 * workers)))
        yield Peer(
            lambda f, items: list(executor.map(f, items)),
            lambda f, *arguments: executor.submit(f, *arguments).result,
        )


@contextmanager
def of_joblib(workers: int = WORKERS) -> Iterator[Peer]:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    def run(f: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(Parallel(workers)(delayed(f)(item) for item in items))

    def submit(f: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        waits: Callable[[], Any] = get_reusable_executor(workers).submit(f, *arguments).result
        return waits

    yield Peer(run, submit)
    get_reusable_executor(workers).shutdown(kill_workers=True)


@contextmanager
def of_mpire(workers: int = WORKERS) -> Iterator[Peer]:
    from mpire import WorkerPool

    with WorkerPool(workers, start_method="spawn", keep_alive=True) as pool:
        pool.map(same, range(2 * workers))
        yield Peer(
            pool.map,
            lambda f, *arguments: pool.apply_async(f, arguments).get,
        )


@contextmanager
def of_dask(workers: int = WORKERS) -> Iterator[Peer]:
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", **options) as hosts,
        Client(hosts) as client,
    ):
        yield Peer(
            lambda f, items: list(client.gather(client.map(f, items, pure=False))),
            lambda f, *arguments: client.submit(f, *arguments, pure=False).result,
        )


@contextmanager
def of_ray(workers: int = WORKERS) -> Iterator[Peer]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=workers,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.getcwd(),  # which is removed when this process has ended
        include_dashboard=False,
        object_store_memory=512 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    remotes: dict[Callable[..., Any], Any] = {}

    def remote(f: Callable[..., Any]) -> Any:
        if f not in remotes:
            remotes[f] = ray.remote(f)
        return remotes[f].remote

    def run(f: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        begin = remote(f)
        found: list[Any] = ray.get([begin(item) for item in items])
        return found

    def submit(f: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        reference = remote(f)(*arguments)
        return lambda: ray.get(reference)

    try:
        run(same, range(2 * workers))
        yield Peer(run, submit)
    finally:
        ray.shutdown()


PEERS: Final[Mapping[str, tuple[str, Opens]]] = {
    "distio": ("distio", of_distio),
    "Pool": ("Python", of_pool),
    "ProcessPoolExecutor": ("Python", of_executor),
    "joblib": ("joblib", of_joblib),
    "mpire": ("mpire", of_mpire),
    "dask": ("distributed", of_dask),
    "Ray": ("ray", of_ray),
}
"""By name: the distribution, and how it is opened."""

AT_A_GLANCE: Final = ["distio", "ProcessPoolExecutor", "joblib", "dask", "Ray"]
"""The candidates in the table of README."""


def candidates_of(
    measured: Callable[[Peer, int], Measure],
    *,
    names: Sequence[str] = tuple(PEERS),
    shares: Mapping[str, float] | None = None,
    prepare: Callable[[], object] = lambda: None,
) -> list[Candidate]:
    """A candidate for each peer.

    Args:
        measured: makes the measure of an open peer.
        names: the peers.
        shares: by name, the part of the work that a slow one gets.
        prepare: is called before a peer is opened.
    """

    def starter(opens: Opens) -> Callable[[int], AbstractContextManager[Measure]]:
        @contextmanager
        def start(count: int) -> Iterator[Measure]:
            prepare()
            with opens() as peer:
                yield measured(peer, count)

        return start

    return [
        Candidate(name, starter(PEERS[name][1]), PEERS[name][0], (shares or {}).get(name, 1.0))
        for name in names
    ]
