"""What the benchmarks share: taking turns, medians, a table, how peers' processes start.

Each script asks one question and answers it next to a peer, measured in the same run:

==============  =====================================================  ==============  ======
script          question                                               peer            goal
==============  =====================================================  ==============  ======
glance.py       what README shows: a list of calls, a cold script, a   process pool,   —
                killed worker                                          joblib, dask,
                                                                       Ray
interpreter.py  how long does a program of pure steps take?            raffiot         ≤ 1/2
fibers.py       how long do many fibers, and many yields, take?        raffiot,        —
                                                                       asyncio
cpu.py          how much faster are two processes on pure CPU work?    bare processes  ≥ 1.8
hosts.py        how much do workers over ssh compute?                   local cluster   ≥ 0.9
main_job.py     how much faster is indexing the standard library?      bare processes  ≥ 1.6
roundtrip.py    how long until a child on a worker has answered?       ZeroMQ echo     ≤ 10
curve.py        what do keys cost on TCP?                              without keys    ≤ 1.5
throughput.py   how many tiny tasks a second?                          process pool    —
plain.py        how fast are map, Executor and the backend of          joblib,         ≤ 1.3,
                joblib?                                                process pool,   ≥ 5,
                                                                       loky            ≤ 1.1
large.py        what do large values cost, and in memory?              process pool,   —
                                                                       joblib
bounded.py      how long do many items take, four at a time?           process pool    —
locks.py        how fast does a contended lock go from hand to hand?   asyncio,        ≤ 1.5
                                                                       a manager,
                                                                       dask
queues.py       how fast do items go through a queue?                  asyncio,        ≤ 2
                                                                       a manager,
                                                                       dask            ≥ 5
memory.py       how much memory does a sleeping fiber take?            raffiot,        ≤ 1,000
                                                                       asyncio
sleepers.py     how much memory do fibers take that sleep for long,    —               ≤ 1,000
                on a cluster?
cancelling.py   how long does it take to cancel: fibers, the losers    asyncio         ≤ 0.3 s,
                of a race, a run?                                                      30 µs
loss.py         how long until a killed worker's fiber goes on?        —               ≤ 50 ms
recovery.py     how much later does a run end if a worker is killed?   process pool,  ≤ 0.3 s,
                what do snapshots cost?                                joblib, dask    5 %, 20 %
snapshot.py     how long does it take to pickle a fiber that waits?     —               ≤ 30 µs
suspension.py   what does it cost to save a fiber before it acts?       —               ≤ 60 µs
drain.py        how long until a worker's 10,000 fibers have moved?     —               ≤ 1 s
durable.py      how many suspensions a second are durable, what does    DBOS            ≥ 5,000,
                a journal cost, how soon is a cluster back?                            10 %, 2 s
simulation.py   how many steps does a simulation do in a second?       —               ≥ 20,000
coordinator.py  what does a shipped fiber cost the machine, and with    —               flat
                what does that grow?
soak.py         does the memory of a server stay flat?                 —               flat
startup.py      how long does a cluster take to start, and what does   —               —
                it cost while it is idle?
==============  =====================================================  ==============  ======

Times depend on what else the machine does; the peers tell how much of it was to be had.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

__all__ = [
    "SPAWN",
    "START_SECONDS",
    "medians",
    "processor_of",
    "seconds",
    "show",
    "take_turns",
]

SPAWN: Final = multiprocessing.get_context("spawn")
"""How a peer starts processes: a fork would copy the locks of an open cluster's threads, alone."""
START_SECONDS: Final = 60.0
"""A benchmark fails if a process of a peer isn't ready by then."""


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    gc.collect()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def processor_of(*pids: int) -> float:
    """How many seconds these processes have computed: other work on the machine counts less."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)  # see clock_getcpuclockid(3)


def take_turns(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure each once a round, A B A B: what disturbs one disturbs the others."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: median(times) for name, times in found.items()}


def show(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    console = Console(width=100)
    console.print(title, highlight=False)
    console.print(table)
