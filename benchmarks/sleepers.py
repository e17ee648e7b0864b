"""How much memory do fibers take that sleep for long, on a cluster?

A fiber on a worker starts them, a thousand at a time. When no process computes any more, each is
asked for its resident memory; before, it was asked before they were started. Beside the number
that each fiber costs stand the most that a process had meanwhile, and how long all of it took.
With `--journal`, the coordinator has one, and the bytes of its files are a row of their own. With
`--threads=N`, workers have so many.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks._timing import show
from distio import IO, Cluster, io

COUNTS = 10_000, 100_000
TOGETHER = 1_000
LOOK_EVERY = 0.25
CALM_SECONDS = 2.0
"""Sleepers are put away a second after they fall asleep."""


def start(count: int) -> IO[Any, Any, None]:
    """Start sleepers, whose handles nobody keeps."""
    if not count:
        return io.pure(None)
    some = min(TOGETHER, count)
    started: IO[Any, Any, None] = io.parallel([io.sleep(3600)] * some).then(
        io.defer_io(start, count - some)
    )
    return started


class Watch:
    """The processes of a cluster, and what they have used."""

    def __init__(self) -> None:
        here = psutil.Process()
        coordinator, *workers = here.children()
        self.processes = {"program": here, "coordinator": coordinator}
        self.processes |= {f"worker {n}": each for n, each in enumerate(workers, 1)}
        self.before = self.resident()
        self.most = dict(self.before)

    def resident(self) -> dict[str, int]:
        return {name: each.memory_info().rss for name, each in self.processes.items()}

    def wait_until_calm(self) -> None:
        """Look until no process has computed for a while."""
        used, calm_since = 0.0, time.monotonic()
        while time.monotonic() - calm_since < CALM_SECONDS:
            time.sleep(LOOK_EVERY)
            now = sum(sum(each.cpu_times()[:2]) for each in self.processes.values())
            if now - used > 0.1 * LOOK_EVERY:
                calm_since = time.monotonic()
            used = now
            for name, resident in self.resident().items():
                self.most[name] = max(self.most[name], resident)


def rows_of(count: int, journal: Path | None, threads: int) -> list[list[str]]:
    keeps = journal or False
    with Cluster.local(workers=2, threads=threads, grace=60, journal=keeps) as cluster:
        cluster.submit(io.pure(None), None).result()
        watch, begun = Watch(), time.monotonic()
        run = cluster.submit(start(count), None)
        watch.wait_until_calm()
        seconds = time.monotonic() - begun - CALM_SECONDS
        asleep = watch.resident()
        files = [] if journal is None else [each.stat().st_size for each in journal.iterdir()]
        begun = time.monotonic()
        run.cancel()
        run.result()
        cancelled = time.monotonic() - begun
    on_disk = [[f"{count:,}", "files of the journal", f"{sum(files) / count:,.0f}", "", "", ""]]
    return on_disk * bool(files) + [
        [
            f"{count:,}",
            name,
            f"{(asleep[name] - watch.before[name]) / count:,.0f}",
            f"{watch.most[name] / 2**20:,.0f}",
            f"{seconds:.1f}",
            f"{cancelled:.1f}",
        ]
        for name in asleep
    ]


def main() -> None:
    has_journal = "--journal" in sys.argv
    counts = [int(each) for each in sys.argv[1:] if each.isdecimal()] or COUNTS
    threads = [int(each[10:]) for each in sys.argv if each.startswith("--threads=")] or [1]
    columns = ["fibers", "process", "bytes each", "most MiB", "asleep after s", "cancelled in s"]
    rows = []
    for count in counts:
        with TemporaryDirectory() as directory:
            rows += rows_of(count, Path(directory) if has_journal else None, threads[0])
    show("fibers that sleep for an hour", columns, rows)


if __name__ == "__main__":
    main()
