"""How much faster do two workers index the standard library than one thread? Goal: 1.6 times.

Two bare processes that do half of it each, and merge nothing, tell what was to be had.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks._timing import medians, seconds, show, take_turns
from distio import Cluster
from examples import index_sources

ROUNDS = 2
ROOT = index_sources.STANDARD_LIBRARY


def index(on: Cluster | None) -> Any:
    return index_sources.program(ROOT, lambda: None).run(None, on=on).unsafe_get()


def bare_processes(count: int) -> None:
    command = [sys.executable, __file__]
    shares = [
        subprocess.Popen([*command, str(share), str(count)], stdout=subprocess.DEVNULL)
        for share in range(count)
    ]
    assert all(process.wait() == 0 for process in shares)


def work_on_share(share: int, count: int) -> None:
    for batch in index_sources.in_batches(index_sources.find_sources(ROOT))[share::count]:
        index_sources.index_batch(ROOT, batch).run(None).unsafe_get()


def main() -> None:
    with Cluster.local(workers=2, threads=1) as cluster:
        assert index(cluster) == index(None)
        found = take_turns(
            {
                "distio, one thread": lambda: seconds(lambda: index(None)),
                "distio, 2 workers": lambda: seconds(lambda: index(cluster)),
                "2 bare processes": lambda: seconds(lambda: bare_processes(2)),
            },
            ROUNDS,
        )
    middle = medians(found)
    alone = middle["distio, one thread"]
    show(
        f"indexing the standard library, median of {ROUNDS}; goal: 1.60",
        ["", "seconds", "speed-up"],
        [[name, f"{t:.1f}", f"{alone / t:.2f}"] for name, t in middle.items()],
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work_on_share(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
