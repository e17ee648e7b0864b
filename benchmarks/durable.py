"""What does a journal cost, how many fibers a second are durable, how soon is a cluster back?

A suspension is durable when the coordinator has the snapshot in its journal, and the fiber goes on
after that (`io.checkpoint`). The peer, DBOS Transact on SQLite, commits each step of a workflow; it
takes turns with distio if it is installed.

The coordinator is killed while fibers are parked; it is back when a program that was begun after
the kill has its Result. DBOS is back when the first step runs in another process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._timing import show
from benchmarks.main_job import index
from distio import IO, Cluster, io

ROUNDS = 5
WORKERS = 2
STEPS = {1: 300, 64: 100}
"""By number of fibers at once: the suspensions of each."""
PARKED = 10_000
HAS_PEER = find_spec("dbos") is not None
PEER = Path(__file__).parent / "harness" / "dbos_steps.py"


def chain(left: int) -> IO[Any, Any, Any]:
    """Wait again and again until a snapshot is stored."""
    if not left:
        return io.pure(None)
    return io.checkpoint.then(io.defer_io(chain, left - 1))


def durable(fibers: int, steps: int) -> float:
    """Durable suspensions a second."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Cluster.local(WORKERS, journal=directory) as cluster,
    ):
        cluster.run(io.zip_par([chain(2)] * 4), None).unsafe_get()
        begun = time.perf_counter()
        cluster.run(io.zip_par([chain(steps)] * fibers), None).unsafe_get()
        return fibers * steps / (time.perf_counter() - begun)


@contextmanager
def daemons(sync: str) -> Iterator[str]:
    """The URL of a coordinator whose journal survives so much, with workers."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as ends:

        def start(module: str, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", module, *arguments]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            ends.callback(process.communicate)
            ends.callback(process.terminate)
            return process

        journal = "--journal", f"{directory}/journal", "--sync", sync
        coordinator = start(
            "distio.cli.main", "coordinator", "--insecure", "--bind", "tcp://127.0.0.1:0", *journal
        )
        assert coordinator.stdout is not None
        url = coordinator.stdout.readline().split()[-1]
        start("distio_worker.main", url, "--processes", str(WORKERS))
        yield url


def durable_on_daemons(fibers: int, steps: int, sync: str) -> float:
    """Durable suspensions a second, on daemons over TCP."""
    with daemons(sync) as url, Cluster.connect(url, timeout=60) as cluster:
        cluster.run(io.zip_par([chain(2)] * 4), None).unsafe_get()
        begun = time.perf_counter()
        cluster.run(io.zip_par([chain(steps)] * fibers), None).unsafe_get()
        return fibers * steps / (time.perf_counter() - begun)


def of_peer(*arguments: object) -> float:
    """The seconds that the peer prints."""
    done = subprocess.run(
        [sys.executable, str(PEER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return float(done.stdout.split()[-1])


def back_after_kill(parked: int) -> float:
    """Seconds from the kill of the coordinator until a program has its Result."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Cluster.local(WORKERS, journal=f"{directory}/journal") as cluster,
    ):
        started = io.parallel([io.sleep(50)] * parked)
        run = cluster.submit(started.then(io.defer(Path(directory, "parked").touch)), None)
        while not Path(directory, "parked").exists():
            time.sleep(0.01)
        assert cluster._processes is not None
        begun = time.perf_counter()
        os.kill(cluster._processes.coordinator.pid, signal.SIGKILL)
        cluster.run(io.zip_par([io.pure(None)] * 4), None).unsafe_get()
        seconds = time.perf_counter() - begun
        run.cancel()
        run.result()
        return seconds


def price() -> Sequence[float]:
    """Seconds of the main job, without a journal, with a private one, and in a directory."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for journal in (False, True, directory):
            with Cluster.local(WORKERS, journal=journal) as cluster:
                cluster.run(io.zip_par([io.pure(None)] * 4), None).unsafe_get()
                begun = time.perf_counter()
                index(cluster)
                found.append(time.perf_counter() - begun)
    return found


def row(question: str, values: Sequence[float], unit: str, digits: int = 0) -> list[str]:
    low, high = min(values), max(values)
    middle = f"{median(values):,.{digits}f} {unit}"
    return [question, middle, f"{low:,.{digits}f}–{high:,.{digits}f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    steps: dict[tuple[str, int], list[float]] = {}
    for _ in range(asked.rounds):
        for fibers, each in STEPS.items():
            steps.setdefault(("distio", fibers), []).append(durable(fibers, each))
            for sync in ("process", "power"):
                found_here = durable_on_daemons(fibers, each, sync)
                steps.setdefault((f"distio, --sync {sync}", fibers), []).append(found_here)
            if HAS_PEER:
                found = of_peer("steps", min(fibers, 8), 100)
                steps.setdefault(("DBOS", min(fibers, 8)), []).append(found)
    rows = [
        row(f"{who}, {fibers} at once", found, "steps/s") for (who, fibers), found in steps.items()
    ]
    rows.append(
        row(
            f"distio, coordinator killed amid {PARKED:,} parked fibers",
            [back_after_kill(PARKED) for _ in range(asked.rounds)],
            "s until back",
            2,
        )
    )
    if HAS_PEER:
        back = [of_peer("resume") for _ in range(asked.rounds)]
        rows.append(row("DBOS, process killed amid a workflow", back, "s until back", 2))
    prices = [price() for _ in range(asked.rounds)]
    rows.append(row("main job without a journal", [each[0] for each in prices], "s", 2))
    for n, what in enumerate(("a private journal", "a journal in a directory"), 1):
        rows.append(row(f"main job with {what}", [each[n] for each in prices], "s", 2))
        rows.append(row("ratio", [each[n] / each[0] for each in prices], "", 3))
    show("what is durable", ["question", "median", "min–max"], rows)


if __name__ == "__main__":
    main()
