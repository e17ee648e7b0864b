"""How long until a no-op child on a worker has answered? Goal: 10 echoes of bare ZeroMQ.

Beside it: `multiprocessing.Pool`, and how long each of distio's processes computes for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.pool import Pool
from statistics import median, quantiles
from typing import Any

import zmq

from benchmarks._timing import SPAWN, processor_of, show
from distio import Cluster, io

TIMES = 300
ROUNDS = 3


def one_round_trip(_: int) -> Any:
    clock = io.defer(time.perf_counter)
    child = io.parallel(io.pure(1)).flat_map(io.wait)
    return clock.flat_map(
        lambda start: child.flat_map(lambda _: clock.map(lambda end: end - start))
    )


def of_distio(cluster: Cluster) -> list[float]:
    times: list[float] = (
        io.traverse(range(TIMES), one_round_trip).run(None, on=cluster).unsafe_get()
    )
    return times


def of_pool(pool: Pool) -> list[float]:
    times = []
    for n in range(TIMES):
        start = time.perf_counter()
        pool.apply(same, (n,))
        times.append(time.perf_counter() - start)
    return times


def same(n: int) -> int:
    return n


def processes_of(cluster: Cluster) -> dict[str, list[int]]:
    local = cluster._processes
    assert local is not None
    workers = [each.pid for each in local.workers]
    return {"client": [os.getpid()], "coordinator": [local.coordinator.pid], "workers": workers}


class Echo:
    """A process that sends back what it gets, on a core of its own or on ours.

    The kernel puts two such processes now on one core and now on two, and the latter takes three
    times as long; so both are measured, each with its processes tied to where they are to be.
    """

    def __init__(self, url: str, own: int, other: int) -> None:
        self._cores = os.sched_getaffinity(0)
        self._own = own
        self._peer = subprocess.Popen([sys.executable, __file__, url, str(other)])
        os.sched_setaffinity(0, {own})  # the threads of the context inherit it
        self._context: zmq.Context[Any] = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.connect(url)
        os.sched_setaffinity(0, self._cores)

    def measure(self) -> list[float]:
        os.sched_setaffinity(0, {self._own})
        times = []
        for _ in range(TIMES):
            start = time.perf_counter()
            self._dealer.send(b"x")
            self._dealer.recv()
            times.append(time.perf_counter() - start)
        os.sched_setaffinity(0, self._cores)
        return times

    def close(self) -> None:
        self._dealer.send(b"")
        self._peer.wait()
        self._context.destroy()


def echo(url: str, core: int) -> None:
    """What the other process does, until it is told to stop."""
    os.sched_setaffinity(0, {core})
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(url)
        while (parts := router.recv_multipart())[-1]:
            router.send_multipart(parts)


def main() -> None:
    first, *_, last = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as directory,
        Cluster.local(workers=2, threads=1) as cluster,
        SPAWN.Pool(2) as pool,
    ):
        echoes = {
            "ZeroMQ echo, two cores": Echo(f"ipc://{directory}/two", first, last),
            "ZeroMQ echo, one core": Echo(f"ipc://{directory}/one", first, first),
        }
        pids = processes_of(cluster)
        used = dict.fromkeys(pids, 0.0)

        def measured_distio() -> list[float]:
            before = {who: processor_of(*each) for who, each in pids.items()}
            found = of_distio(cluster)
            for who, each in pids.items():
                used[who] += processor_of(*each) - before[who]
            return found

        measures: dict[str, Callable[[], list[float]]] = {
            "distio": measured_distio,
            "multiprocessing.Pool": lambda: of_pool(pool),
        }
        measures |= {name: each.measure for name, each in echoes.items()}
        times: dict[str, list[float]] = {name: [] for name in measures}
        for turn in range(ROUNDS + 1):
            for name, measure in measures.items():
                measured = measure()
                times[name] += measured if turn else []  # the first is to warm up
        for each in echoes.values():
            each.close()
    ours = median(times["distio"])
    show(
        f"round trip, median of {TIMES * ROUNDS}; goal: 10 echoes",
        ["", "µs", "99 % below, µs", "distio takes so many"],
        [
            [
                name,
                f"{median(found) * 1e6:.0f}",
                f"{quantiles(found, n=100)[98] * 1e6:.0f}",
                f"{ours / median(found):.1f}",
            ]
            for name, found in times.items()
        ],
    )
    trips = TIMES * (ROUNDS + 1)
    show(
        "processor time of distio for a round trip",
        ["", "µs"],
        [[who, f"{seconds / trips * 1e6:.0f}"] for who, seconds in used.items()],
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        echo(sys.argv[1], int(sys.argv[2]))
    else:
        main()
