"""How long does it take to see where 100,000 fibers stand, and what do others feel of it?

A coordinator, two workers, and a program whose fibers wait for a value, each in a function of
`io.do`. An observer lists all of them. Meanwhile another one asks the coordinator for its numbers,
again and again: the longest of its waits is how long a page has stopped others. Goal: all fibers
within 2 s, and no wait of a tenth of a second.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any, Final

from distio import IO, Cluster, Deferred, io
from distio.runtime.observing import Observer, observing

FIBERS: Final = 100_000
GROUPS: Final = 100
ROUNDS: Final = 5


@io.do
async def waits(value: Deferred[Any]) -> Any:
    return await value.get()


def group(value: Deferred[Any], size: int) -> IO[Any, Any, Any]:
    """A fiber that starts so many, which wait where it is."""
    return io.parallel([waits(value) for _ in range(size)]).flat_map(io.wait)


def program(fibers: int) -> IO[Any, Any, Any]:
    """A program of so many fibers, which wait for a value; and of one that might set it some
    day."""
    return Deferred.create().flat_map(
        lambda value: io.zip_par(
            [io.sleep(1_000_000), *[group(value, fibers // GROUPS) for _ in range(GROUPS)]]
        )
    )


@contextmanager
def cluster_at(url: str) -> Iterator[Cluster]:
    """A coordinator and two workers, as processes."""
    with ExitStack() as stack:
        commands = [["distio.cli.main", "coordinator", "--bind", url]]
        commands += [["distio_worker.main", url, "--retry", "20"]] * 2
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        with Cluster.connect(url, retry=20) as cluster:
            yield cluster


def await_fibers(observer: Observer, count: int) -> None:
    """Wait until so many are there, and wait themselves."""
    while True:
        states = observer.overview().cluster.states
        if sum(states.values()) > count and states["ready or running"] == 0:
            return
        time.sleep(0.2)


def ask(url: str, end: str) -> list[float]:
    """Ask for the numbers until a file is there, and note how long each answer takes."""
    waits = []
    with observing(url) as observer:
        while not os.path.exists(end):
            began = time.perf_counter()
            observer.overview()
            waits.append(time.perf_counter() - began)
            time.sleep(0.002)
    return waits


def main() -> None:
    """Print the figures."""
    fibers = int(sys.argv[1]) if len(sys.argv) > 1 else FIBERS
    with tempfile.TemporaryDirectory() as directory:
        url = f"ipc://{directory}/coordinator"
        with cluster_at(url) as cluster, observing(url) as observer:
            handle = cluster.submit(program(fibers), None, snapshots="off")
            await_fibers(observer, fibers)
            quiet = waits_during(url, lambda: time.sleep(ROUNDS / 2))
            times: list[float] = []
            busy = waits_during(url, lambda: list_fibers(observer, fibers, times))
            handle.cancel()
    print(f"{fibers} fibers: listed in {statistics.median(times):.2f} s, at most {max(times):.2f}")
    for name, waits in (("nothing", quiet), ("a dump", busy)):
        median, longest = 1000 * statistics.median(waits), 1000 * max(waits)
        print(f"beside {name}, a question waits for {median:.1f} ms, at most {longest:.0f} ms")


def list_fibers(observer: Observer, fibers: int, times: list[float]) -> None:
    """List them, again and again, and note how long that takes."""
    for _ in range(ROUNDS):
        began = time.perf_counter()
        dump = observer.dump(None)
        times.append(time.perf_counter() - began)
        assert len(dump.fibers) > fibers, "some are missing"
        assert not dump.silent, dump.silent


def waits_during(url: str, act: Callable[[], None]) -> list[float]:
    """How long the answers of the coordinator take meanwhile; another process asks."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, tempfile.TemporaryDirectory() as at:
        end = os.path.join(at, "end")
        asking = pool.submit(ask, url, end)
        act()
        open(end, "w").close()
        return asking.result()


if __name__ == "__main__":
    main()
