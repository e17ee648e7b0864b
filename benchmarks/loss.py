"""How long until a killed worker's fiber is known to be lost, with the reason? Goal: 100 ms."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks._timing import show
from distio import Cluster, io

ROUNDS = 5


def stay(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    time.sleep(1000)


def from_kill_to_panic() -> float:
    with tempfile.TemporaryDirectory() as directory, Cluster.local(workers=2) as cluster:
        path = Path(directory) / "pid"
        doomed = cluster.submit(io.defer(stay, path), None)
        while not (path.exists() and path.read_text().endswith("\n")):
            os.sched_yield()
        start = time.perf_counter()
        os.kill(int(path.read_text()), signal.SIGKILL)
        assert doomed.result(timeout=10).is_panic()
        return time.perf_counter() - start


def main() -> None:
    times = sorted(from_kill_to_panic() for _ in range(ROUNDS))
    show(
        f"from kill -9 to WorkerLost, {ROUNDS} times; goal: 100 ms",
        ["median, ms", "worst, ms"],
        [[f"{median(times) * 1e3:.1f}", f"{times[-1] * 1e3:.1f}"]],
    )


if __name__ == "__main__":
    main()
