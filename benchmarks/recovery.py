"""How much later does a program end if a worker is killed, and what do snapshots cost?

The first table has a killed process amid many naps, beside a process pool and, if they are
installed, joblib and dask. Runs with and without the kill take turns. The others have the
three levels of snapshots beside each other, by the clock and by processor time.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from benchmarks._timing import SPAWN, medians, processor_of, seconds, show, take_turns
from benchmarks.main_job import ROOT
from benchmarks.queues import hand_offs
from benchmarks.throughput import TASKS, closure
from distio import Cluster, Queue, Var, io
from distio.protocol.domains import Snapshots
from examples import index_sources

NAPS, NAP_SECONDS = 64, 0.05
KILL_AFTER: Final = 0.4
"""The seconds after which a worker is killed."""
ROUNDS = 5
CALLS: Final = 2_000
LEVELS: Final[tuple[Snapshots, ...]] = ("off", "births", "suspensions")

NapAll = Callable[[], Any]
"""Naps on two processes, all at once."""


# -- a killed process -------------------------------------------------------------------------


def nap(n: int) -> int:
    time.sleep(NAP_SECONDS)
    return n


def who_naps(n: int) -> int:
    nap(n)
    return os.getpid()


@contextmanager
def of_distio() -> Iterator[tuple[NapAll, NapAll]]:
    def napping(function: Callable[[int], int], count: int) -> NapAll:
        program = io.zip_par([io.defer(function, n) for n in range(count)])
        return lambda: program.run(None, on=cluster).unsafe_get()

    with Cluster.local(workers=2) as cluster:
        yield napping(who_naps, 8), napping(nap, NAPS)


@contextmanager
def of_pool() -> Iterator[tuple[NapAll, NapAll]]:
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        yield lambda: list(pool.map(who_naps, range(8))), lambda: list(pool.map(nap, range(NAPS)))


@contextmanager
def of_joblib() -> Iterator[tuple[NapAll, NapAll]]:
    from joblib.externals.loky import ProcessPoolExecutor as Loky

    with Loky(2) as pool:
        yield lambda: list(pool.map(who_naps, range(8))), lambda: list(pool.map(nap, range(NAPS)))


@contextmanager
def of_dask() -> Iterator[tuple[NapAll, NapAll]]:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:

        def napping(function: Callable[[int], int], count: int) -> NapAll:
            return lambda: client.gather(client.map(function, range(count), pure=False))

        yield napping(who_naps, 8), napping(nap, NAPS)


def until_all_naps(start: Callable[[], Any], *, kills: bool) -> float:
    """How many seconds all naps take; infinite if they fail."""
    with start() as (who, naps):
        places = sorted(set(who()))
        began = time.perf_counter()
        killer = threading.Timer(KILL_AFTER, os.kill, (places[0], signal.SIGKILL))
        if kills:
            killer.start()
        try:
            is_right = naps() == list(range(NAPS))
        except Exception:  # noqa: BLE001 (each peer has a class of its own for it)
            is_right = False
        took = time.perf_counter() - began
        killer.cancel()
        return took if is_right else float("inf")


def show_killed() -> None:
    peers: dict[str, Callable[[], Any]] = {"distio": of_distio, "process pool": of_pool}
    for module, peer in (("joblib", of_joblib), ("distributed", of_dask)):
        if find_spec(module):
            peers[module] = peer
    measures = {
        f"{name} {kills}": partial(until_all_naps, peer, kills=kills)
        for name, peer in peers.items()
        for kills in (False, True)
    }
    middle = medians(take_turns(measures, ROUNDS))
    rows = []
    for name in peers:
        calm, killed = middle[f"{name} False"], middle[f"{name} True"]
        late = "fails" if killed == float("inf") else f"{killed - calm:.2f}"
        rows.append([name, f"{calm:.2f}", late])
    what = f"{NAPS} naps of {NAP_SECONDS * 1e3:.0f} ms on 2 workers, one killed amid them"
    show(f"{what}, median of {ROUNDS}; goal: ≤ 0.3 s late", ["", "s, calm", "s late"], rows)


# -- the price of the levels ------------------------------------------------------------------


def index(cluster: Cluster, level: Snapshots) -> None:
    program = index_sources.program(ROOT, lambda: None)
    cluster.run(program, None, snapshots=level).unsafe_get()


def closures(cluster: Cluster, level: Snapshots) -> None:
    program = io.parallel([io.defer(closure(n)) for n in range(TASKS)]).flat_map(io.wait)
    results = cluster.run(program, None, snapshots=level).unsafe_get()
    assert [result.unsafe_get() for result in results] == list(range(TASKS))


def put_all(queue: Queue[int], left: int = CALLS) -> Any:
    return queue.put(left).flat_map(lambda _: put_all(queue, left - 1)) if left else io.pure(None)


def puts(cluster: Cluster, level: Snapshots) -> None:
    """One fiber on a worker puts items, each a call of the coordinator and so a suspension."""
    made = Queue.create(CALLS + 1).flat_map(lambda queue: io.zip_par(io.defer_io(put_all, queue)))
    cluster.run(made, None, snapshots=level).unsafe_get()


def updates(cluster: Cluster, level: Snapshots, *, fibers: int) -> None:
    """Fibers on workers update one variable, by turns."""

    def update(total: Var[int], left: int) -> Any:
        once = total.update(lambda n: (n + 1, None))
        return once.flat_map(lambda _: update(total, left - 1)) if left else io.pure(None)

    def run(total: Var[int]) -> Any:
        each = io.defer_io(update, total, CALLS // fibers)
        return io.zip_par([each] * fibers).then(total.get())

    program = Var.create(0).flat_map(run)
    assert cluster.run(program, None, snapshots=level).unsafe_get() == CALLS


def passes(cluster: Cluster, level: Snapshots) -> None:
    """Items go through a queue without a limit, from worker to worker."""
    cluster.run(hand_offs(CALLS, None), None, snapshots=level).unsafe_get()


WORKLOADS: Final[dict[str, tuple[Callable[[Cluster, Snapshots], None], int]]] = {
    "the main job": (index, 0),
    f"{TASKS:,} closures": (closures, TASKS),
    "put, bounded queue": (puts, CALLS),
    "queue without a limit, between workers": (passes, CALLS),
    "update of a Var, one fiber": (partial(updates, fibers=1), CALLS),
    "update of a Var, two fibers": (partial(updates, fibers=2), CALLS),
}
"""By name: what is run, and how many operations that is, if each of them is of interest."""


def show_levels() -> None:
    by_clock, by_processor = [], []
    with Cluster.local(workers=2) as cluster:
        for name, (run, count) in WORKLOADS.items():
            clock, processor = costs(cluster, run)
            by_clock.append([name, *compared(clock, count)])
            by_processor.append([name, *compared(processor, count)])
    columns = ["", "s, off", *LEVELS[1:], *[f"µs, {level}" for level in LEVELS]]
    show(f"what snapshots cost, on 2 workers, median of {ROUNDS}", columns, by_clock)
    show("the same in processor time of all processes", columns, by_processor)


def costs(
    cluster: Cluster, run: Callable[[Cluster, Snapshots], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """By level, the median time of a run, and that of the processors."""
    processes = cluster._processes
    assert processes is not None
    pids = [os.getpid(), processes.coordinator.pid, *[each.pid for each in processes.workers]]
    used: dict[str, list[float]] = {level: [] for level in LEVELS}

    def measure(level: Snapshots) -> float:
        before = processor_of(*pids)
        took = seconds(partial(run, cluster, level))
        used[level].append(processor_of(*pids) - before)
        return took

    for level in LEVELS:
        run(cluster, level)
    took = take_turns({level: partial(measure, level) for level in LEVELS}, ROUNDS)
    return medians(took), medians(used)


def compared(found: dict[str, float], count: int) -> list[str]:
    """The cells of a row: seconds, how much more, and microseconds of each operation."""
    each = [f"{found[level] / count * 1e6:.0f}" if count else "" for level in LEVELS]
    more = [f"{found[level] / found['off'] - 1:+.0%}" for level in LEVELS[1:]]
    return [f"{found['off']:.2f}", *more, *each]


def main() -> None:
    show_killed()
    show_levels()


if __name__ == "__main__":
    main()
