"""What does the journal of a local cluster cost? Goal: 15 % of a round trip's processor time.

Clusters with and without a private journal take turns. The processor time is that of all processes,
or of the coordinator alone; that of other programs on the machine isn't in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks._timing import processor_of, show
from benchmarks.main_job import index
from benchmarks.roundtrip import trips_of_cluster
from benchmarks.tiny_calls import closures
from distio import Cluster, io

ROUNDS = 7
TRIPS = 300
CLOSURES = 10_000


class Cost(NamedTuple):
    """Of one measure, in seconds."""

    wall: float
    processor: float
    coordinator: float


def measured(cluster: Cluster, action: Callable[[Cluster], Any]) -> Cost:
    processes = cluster._processes
    assert processes is not None
    coordinator = processes.coordinator.pid
    workers = [member.pid for member in cluster.members() if member.kind == "worker"]

    def used() -> float:
        return time.process_time() + processor_of(coordinator, *workers)

    at, all_before, before = time.perf_counter(), used(), processor_of(coordinator)
    action(cluster)
    return Cost(time.perf_counter() - at, used() - all_before, processor_of(coordinator) - before)


ACTIONS: dict[str, tuple[Callable[[Cluster], Any], int, int]] = {
    f"round trip, of {TRIPS}": (lambda cluster: trips_of_cluster(cluster)(TRIPS), 15, TRIPS),
    f"{CLOSURES:,} closures": (lambda cluster: closures(cluster, CLOSURES), 7, 1),
    "main job": (index, 1, 1),
}
"""The actions, how often each is done with each pair of clusters, and by what its costs are
divided."""


def measure_by_turns(action: Callable[[Cluster], Any], turns: int) -> tuple[Cost, Cost]:
    """The costs on a cluster without a journal, and on one with; these take turns, A B B A."""
    found: list[list[Cost]] = [[], []]
    with Cluster.local(2, journal=False) as without, Cluster.local(2, journal=True) as with_it:
        pair = without, with_it
        for cluster in pair:
            cluster.run(io.zip_par([io.pure(None)] * 4), None).unsafe_get()
            action(cluster)
        for turn in range(turns):
            for which in (0, 1) if turn % 2 else (1, 0):
                found[which].append(measured(pair[which], action))
    return _middle(found[0]), _middle(found[1])


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(*map(median, zip(*costs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="pairs of clusters")
    parser.add_argument("--only", default="", help="measure those whose names begin so")
    asked = parser.parse_args()
    rows = []
    for name, (action, turns, divisor) in ACTIONS.items():
        if not name.startswith(asked.only):
            continue
        pairs = []
        for _ in range(asked.rounds):
            pairs.append(measure_by_turns(action, turns))
            print(name, *[[round(each, 3) for each in cost] for cost in pairs[-1]], flush=True)
        for field, what in enumerate(Cost._fields):
            without, with_it = ([pair[which][field] for pair in pairs] for which in (0, 1))
            unit, digits = (1e6 / divisor, 0) if divisor > 1 else (1, 2)
            ratios = [b / a for a, b in zip(without, with_it)]
            rows.append(
                [
                    f"{name}: {what}",
                    f"{median(without) * unit:,.{digits}f}",
                    f"{median(with_it) * unit:,.{digits}f}",
                    f"{median(ratios):.3f}",
                    f"{min(ratios):.2f}–{max(ratios):.2f}",
                ]
            )
    columns = ["", "without, s or µs", "with", "ratio", "least–most"]
    show(f"a private journal, {asked.rounds} pairs of clusters", columns, rows)


if __name__ == "__main__":
    main()
