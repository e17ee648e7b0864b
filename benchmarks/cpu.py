"""How much faster are two worker processes than one thread on pure CPU work? Goal: 1.8 times."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks._timing import SPAWN, medians, seconds, show, take_turns
from distio import Cluster, io

FIBERS = 64
CPU_SECONDS = 0.05
ROUNDS = 3


def burn(_: int = 0) -> int:
    """Use as much CPU time as was asked for, however long that takes on a busy machine."""
    turns, until = 0, time.thread_time() + CPU_SECONDS
    while time.thread_time() < until:
        turns += 1
    return turns


def run(on: Cluster | None) -> None:
    program = io.parallel([io.defer(burn) for _ in range(FIBERS)]).flat_map(io.wait)
    results = program.run(None, on=on).unsafe_get()
    assert all(result.is_ok() for result in results)


def main() -> None:
    with (
        Cluster.local(workers=2, threads=1) as cluster,
        ProcessPoolExecutor(2, mp_context=SPAWN) as pool,
    ):
        list(pool.map(burn, range(2)))
        run(cluster)
        found = take_turns(
            {
                "distio, one thread": lambda: seconds(lambda: run(None)),
                "distio, 2 workers": lambda: seconds(lambda: run(cluster)),
                "process pool of 2": lambda: seconds(lambda: list(pool.map(burn, range(FIBERS)))),
            },
            ROUNDS,
        )
    middle = medians(found)
    alone = middle["distio, one thread"]
    show(
        f"{FIBERS} fibers of {CPU_SECONDS * 1000:.0f} ms of CPU, median of {ROUNDS}; goal: 1.80",
        ["", "seconds", "speed-up"],
        [[name, f"{t:.2f}", f"{alone / t:.2f}"] for name, t in middle.items()],
    )


if __name__ == "__main__":
    main()
