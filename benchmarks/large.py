"""What do large values cost: arguments, results, global variables, and how much memory is that?

Each library has a process of its own, in which it does what a script would do; each case is done by
one after another, in turns. joblib needn't be installed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

import distio
from benchmarks._timing import SPAWN, medians, seconds, show, take_turns
from distio import Cluster, io

WORKERS: Final = 2
ROUNDS: Final = 3
MB: Final = 1_000_000
LOOK_EVERY_SECONDS: Final = 0.005

TABLE = np.arange(100 * MB // 8, dtype=np.float64)
SMALLER = np.arange(20 * MB // 8, dtype=np.float64)
TEXT = bytes(100 * MB)


def ends(array: Any) -> float:
    return float(array[0] + array[-1])


def made(count: int) -> Any:
    return np.arange(count, dtype=np.float64)


def of_table(place: int) -> float:
    return float(TABLE[place])


def of_smaller(place: int) -> float:
    return float(SMALLER[place])


def of_text(place: int) -> int:
    return TEXT[place]


Calls = tuple[Callable[[Any], Any], Sequence[Any]]


def array_in() -> Calls:
    return ends, [TABLE + 1.0]  # another one each time


def items_in() -> Calls:
    return ends, [np.full(50 * MB // 8, float(number)) for number in range(6)]


CASES: Final[dict[str, Callable[[], Calls]]] = {
    "100 MB in": array_in,
    "100 MB out": lambda: (made, [100 * MB // 8]),
    "6 items of 50 MB": items_in,
    "100 MB global, 60 calls": lambda: (of_table, range(60)),
    "20 MB global, 200 calls": lambda: (of_smaller, range(200)),
    "100 MB of bytes, 60 calls": lambda: (of_text, range(60)),
}

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Sequence[Any]]


@contextmanager
def by_parallel() -> Iterator[Map]:
    with Cluster.local(workers=WORKERS) as cluster:

        def run(f: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
            calls = io.parallel([io.defer(f, item) for item in items]).flat_map(io.wait)
            outcomes = calls.run(None, on=cluster).unsafe_get()
            return [outcome.unsafe_get() for outcome in outcomes]

        yield run


@contextmanager
def by_map() -> Iterator[Map]:
    yield lambda f, items: list(distio.map(f, items, workers=WORKERS))


@contextmanager
def by_pool() -> Iterator[Map]:
    """Its processes import this module: each has made the global variables of its own."""
    with ProcessPoolExecutor(WORKERS, SPAWN) as pool:
        yield lambda f, items: list(pool.map(f, items))


@contextmanager
def by_joblib() -> Iterator[Map]:
    from joblib import Parallel, delayed

    with Parallel(n_jobs=WORKERS) as parallel:
        yield lambda f, items: list(parallel(delayed(f)(item) for item in items) or [])


LIBRARIES: Final = {
    "distio": by_parallel,
    "distio.map": by_map,
    "process pool": by_pool,
    "joblib": by_joblib,
}


def drive(name: str) -> None:
    """Do each case that a line of standard input names; print how many seconds it took."""
    with LIBRARIES[name]() as run:
        run(abs, range(4))
        for line in sys.stdin:
            f, items = CASES[line.strip()]()
            print(seconds(lambda f=f, items=items: run(f, items)), flush=True)  # type: ignore[misc]


class Driver:
    """A library in its process."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, name]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self, case: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(case, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def peak(self, case: str) -> float:
        """How many MB more than at first all its processes have, at most, with shared memory."""
        before, most, is_over = self._memory(), [0.0], threading.Event()

        def look() -> None:
            while not is_over.wait(LOOK_EVERY_SECONDS):
                most.append(self._memory() - before)

        looking = threading.Thread(target=look)
        looking.start()
        self.seconds(case)
        is_over.set()
        looking.join()
        return max(most) / MB

    def _memory(self) -> float:
        program = psutil.Process(self._process.pid)
        pids = [program.pid, *[child.pid for child in program.children(recursive=True)]]
        own = 0
        for pid in pids:
            with suppress(OSError):
                own += kilobytes(f"/proc/{pid}/status", "RssAnon")
        return (own + kilobytes("/proc/meminfo", "Shmem")) * 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def kilobytes(path: str, name: str) -> int:
    lines = Path(path).read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def main() -> None:
    names = [name for name in LIBRARIES if name != "joblib" or find_spec("joblib") is not None]
    drivers = {name: Driver(name) for name in names}
    times, peaks = [], []
    for case in CASES:
        measures = {name: lambda each=each: each.seconds(case) for name, each in drivers.items()}  # noqa: B023
        took = medians(take_turns(measures, ROUNDS))
        times.append([case, *[f"{each:.3f}" for each in took.values()]])
        peaks.append([case, *[f"{driver.peak(case):,.0f}" for driver in drivers.values()]])
        print(*times[-1], "MB:", *peaks[-1][1:], flush=True)
    for driver in drivers.values():
        driver.close()
    show(f"seconds on {WORKERS} workers, medians of {ROUNDS}", ["", *names], times)
    show("MB that all processes have more, at most", ["", *names], peaks)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        drive(sys.argv[1])
    else:
        main()
