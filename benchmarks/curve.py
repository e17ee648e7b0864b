"""What do keys cost on TCP? A child takes a value to a worker and back, with keys and without.

The goal is 1.5 times as long with keys, for values up to 10 KB; larger ones take as long as it
takes to encrypt and decrypt them, on four connections.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks._timing import medians, show, take_turns
from distio import Cluster, io
from distio.runtime.keys import make_cluster_keys

SIZES = {"100 B": (100, 60), "10 KB": (10_000, 60), "1 MB": (1_000_000, 15), "100 MB": (10**8, 1)}
"""How large the value is, and how many round trips are one measurement."""
ROUNDS = 5
GOAL = 1.5


@contextmanager
def process(*command: str) -> Iterator[str]:
    """A process of ours, and the first line that it prints, if it is a coordinator."""
    started = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout is not None
    try:
        yield started.stdout.readline() if command[1:2] == ("coordinator",) else ""
    finally:
        started.terminate()
        started.wait()
        started.stdout.close()


@contextmanager
def cluster(*options: str, keys: Path | None = None) -> Iterator[Cluster]:
    """A coordinator, one worker, and this process, over TCP."""
    own = [] if keys is None else [f"--keys={keys}"]
    bind = ["--bind", "tcp://127.0.0.1:0"]
    with ExitStack() as stack:
        line = stack.enter_context(process("distio.cli.main", "coordinator", *bind, *options, *own))
        url = line.split()[-1]
        stack.enter_context(process("distio_worker.main", url, *own))
        joined = stack.enter_context(Cluster.connect(url, keys=keys, snapshots="off"))
        joined.submit(io.pure(None), None).result()  # waits for the worker
        yield joined


def same(data: bytes) -> bytes:
    return data


def round_trip(place: Cluster, size: int, times: int) -> float:
    """The median time of so many, in seconds."""
    data, found = os.urandom(size), []
    for _ in range(times):
        begun = time.perf_counter()
        (answer,) = place.run(io.zip_par(io.defer(same, data)), None).unsafe_get()
        found.append(time.perf_counter() - begun)
        assert len(answer) == size
    return median(found)


def main() -> None:
    os.environ.pop("DISTIO_KEYS", None)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        keys = Path(directory, "keys")
        make_cluster_keys(keys)
        with cluster("--insecure") as plain, cluster(keys=keys) as keyed:
            for name, (size, times) in SIZES.items():

                def without(size: int = size, times: int = times) -> float:
                    return round_trip(plain, size, times)

                def with_keys(size: int = size, times: int = times) -> float:
                    return round_trip(keyed, size, times)

                without(times=1), with_keys(times=1)
                found = medians(
                    take_turns({"without": without, "with": with_keys}, ROUNDS),
                )
                ratio = found["with"] / found["without"]
                goal = f"≤ {GOAL}" if size <= 10_000 else "—"
                columns = [f"{found[each] * 1e3:.2f}" for each in ("without", "with")]
                rows.append([name, *columns, f"{ratio:.2f}", goal])
    show(
        f"to a worker and back over TCP on loopback, medians of {ROUNDS} measurements in turn",
        ["value", "without keys, ms", "with keys, ms", "times", "goal"],
        rows,
    )


if __name__ == "__main__":
    main()
