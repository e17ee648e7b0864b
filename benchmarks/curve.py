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
from functools import partial
from pathlib import Path

from benchmarks._timing import medians, show, take_turns
from distio import Cluster, io
from distio.runtime.keys import make_cluster_keys

SIZES = {"100 B": (100, 300), "10 KB": (10_000, 300), "1 MB": (10**6, 60), "100 MB": (10**8, 3)}
"""How large the value is, and how many round trips of each kind are made, in turn."""
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


def round_trip(place: Cluster, data: bytes) -> float:
    """How many seconds one takes."""
    begun = time.perf_counter()
    (answer,) = place.run(io.zip_par(io.defer(same, data)), None).unsafe_get()
    taken = time.perf_counter() - begun
    assert len(answer) == len(data)
    return taken


def main() -> None:
    os.environ.pop("DISTIO_KEYS", None)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        keys = Path(directory, "keys")
        make_cluster_keys(keys)
        with cluster("--insecure") as plain, cluster(keys=keys) as keyed:
            for name, (size, rounds) in SIZES.items():
                data = os.urandom(size)
                measures = {
                    "without": partial(round_trip, plain, data),
                    "with": partial(round_trip, keyed, data),
                }
                take_turns(measures, 1)  # to warm up
                found = medians(take_turns(measures, rounds))
                ratio = found["with"] / found["without"]
                goal = f"≤ {GOAL}" if size <= 10_000 else "—"
                columns = [f"{found[each] * 1e3:.2f}" for each in ("without", "with")]
                rows.append([name, *columns, f"{ratio:.2f}", goal])
    show(
        "to a worker and back over TCP on loopback, medians of round trips in turn",
        ["value", "without keys, ms", "with keys, ms", "times", "goal"],
        rows,
    )


if __name__ == "__main__":
    main()
