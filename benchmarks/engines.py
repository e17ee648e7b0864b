"""Do workers beside those of Dask, or in actors of Ray, compute as much as local ones? Goal: 0.9.

Both engines run on this machine, so all clusters have the same cores. Of each, the best of many
turns counts: how busy the machine is differs more than they do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks._timing import seconds, show, take_turns
from benchmarks.cpu import CPU_SECONDS, FIBERS, run
from distio import Cluster

ROUNDS = 8
START_SECONDS = 90.0


@contextmanager
def on_dask() -> Iterator[Cluster]:
    """A cluster beside the two workers of a Dask of its own."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {
        "dashboard_address": None,
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,
    }
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **options) as hosts,
        Client(hosts) as client,
        Cluster.on_dask(client, timeout=START_SECONDS) as cluster,
    ):
        yield cluster


@contextmanager
def on_ray() -> Iterator[Cluster]:
    """A cluster in two actors of a Ray of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        num_cpus=2,
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        with Cluster.on_ray(2, timeout=START_SECONDS) as cluster:
            yield cluster
    finally:
        ray.shutdown()


def start_all(stack: ExitStack) -> tuple[dict[str, Cluster], dict[str, float]]:
    """All clusters whose engines are installed, and how many seconds each took."""
    clusters: dict[str, Cluster] = {}
    starts: dict[str, float] = {}

    def start(name: str, kind: Callable[[], AbstractContextManager[Cluster]]) -> None:
        cluster = stack.enter_context(kind())
        cluster.wait_for(workers=2, timeout=START_SECONDS)
        clusters[name] = cluster

    kinds: dict[str, Callable[[], AbstractContextManager[Cluster]]] = {
        "Cluster.local": lambda: Cluster.local(2),
        "on Dask": on_dask,
        "on Ray": on_ray,
    }
    for name, kind in kinds.items():
        try:
            starts[name] = seconds(partial(start, name, kind))
        except ModuleNotFoundError as missing:
            print(f"left out: {name}, as {missing.name} isn't installed")
    return clusters, starts


def main() -> None:
    with ExitStack() as stack:
        clusters, starts = start_all(stack)
        for cluster in clusters.values():
            run(cluster)
        turns = {name: partial(seconds, partial(run, each)) for name, each in clusters.items()}
        found = take_turns(turns, ROUNDS)
    best = min(found["Cluster.local"])
    show(
        f"{FIBERS} fibers of {CPU_SECONDS * 1000:.0f} ms of CPU on 2 workers, best of {ROUNDS}; "
        "goal: 0.90",
        ["", "seconds", "times local", "started in"],
        [
            [name, f"{min(times):.2f}", f"{best / min(times):.2f}", f"{starts[name]:.2f} s"]
            for name, times in found.items()
        ],
    )


if __name__ == "__main__":
    main()
