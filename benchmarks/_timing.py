"""The helpers of benchmarks: taking turns, medians, a table, how peers' processes start."""

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
