"""How long until a killed worker's fiber goes on elsewhere, or is known to be lost?

Goal: the loss is seen within 50 ms of the kill -9. The first row is the time until the function of
the fiber is called again on another worker, which is the time to see the loss and to place the
fiber. The second row is the time until a fiber that isn't placed again is a `WorkerLost`.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks._timing import show
from distio import Cluster, io
from distio.protocol.domains import Snapshots

ROUNDS = 10


def stay(directory: Path) -> int:
    """Tell that this process has begun, and when; the first one stays."""
    is_first = not any(directory.iterdir())
    name = directory / ("first" if is_first else "second")
    name.with_suffix(".new").write_text(f"{os.getpid()} {time.monotonic()}")
    name.with_suffix(".new").rename(name)
    if is_first:
        time.sleep(1000)
    return os.getpid()


def note(path: Path) -> tuple[int, float]:
    """The process that has begun, and when."""
    pid, moment = path.read_text().split()
    return int(pid), float(moment)


def pids(cluster: Cluster) -> set[int]:
    """The workers that take fibers."""
    fibers = [io.defer(time.sleep, 0.001).then(io.defer(os.getpid))] * 4
    return set(io.zip_par(fibers).run(None, on=cluster).unsafe_get())


def from_kill(snapshots: Snapshots) -> float:
    """Milliseconds until the fiber goes on, or is lost."""
    with (
        tempfile.TemporaryDirectory() as name,
        Cluster.local(workers=2, snapshots=snapshots) as cluster,
    ):
        directory = Path(name)
        while len(pids(cluster)) < 2:  # a cluster begins with its first worker
            pass
        doomed = cluster.submit(io.defer(stay, directory), None)
        while not (directory / "first").exists():
            time.sleep(0.001)
        pid, _ = note(directory / "first")
        start = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        result = doomed.result(timeout=30)
        end = time.monotonic()
        if snapshots == "off":
            assert result.is_panic()
        else:
            assert result.is_ok()
            _, end = note(directory / "second")
        return (end - start) * 1e3


def main() -> None:
    logging.disable()  # distio logs each loss
    rows = []
    for what, snapshots in (("begins again elsewhere", "births"), ("is a WorkerLost", "off")):
        level: Snapshots = "off" if snapshots == "off" else "births"
        times = sorted(from_kill(level) for _ in range(ROUNDS))
        rows.append([what, f"{median(times):.1f}", f"{times[-1]:.1f}"])
    show(
        f"from kill -9 until the fiber …, {ROUNDS} times; goal: 50 ms",
        ["the fiber …", "median, ms", "worst, ms"],
        rows,
    )


if __name__ == "__main__":
    main()
