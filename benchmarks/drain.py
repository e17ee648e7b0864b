"""How long a worker with many parked fibers takes to leave: `python benchmarks/drain.py [FIBERS]`.

The time is that from the signal to the exit of the process. Then all its fibers are placed.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from typing import Any

from distio import IO, Cluster, Queue, io

ROUNDS = 3


def parked(gate: Any) -> IO[Any, Any, Any]:
    return gate.take().map(lambda _: os.getpid())


def measure(fibers: int) -> tuple[float, float]:
    """Return how long the worker took to leave, and then all fibers to be back at work."""
    with Cluster.local(1) as cluster:
        processes = cluster._processes
        assert processes is not None

        def main(gates: list[Any]) -> IO[Any, Any, Any]:
            gate, told = gates
            waits = [told.put(None).then(parked(gate)) for _ in range(fibers)]
            all_parked = io.zip_par([told.take()] * fibers)
            leaves = io.blocking(leave)
            opened = io.zip_par([gate.put(None)] * fibers)
            return io.parallel(*waits).flat_map(
                lambda started: all_parked.then(leaves).flat_map(
                    lambda took: opened.then(io.wait(started)).map(lambda _: took)
                )
            )

        def leave() -> float:
            (worker,) = processes.workers
            began = time.perf_counter()
            worker.send_signal(signal.SIGTERM)
            worker.wait()
            return time.perf_counter() - began

        began = time.perf_counter()
        result = io.zip(Queue.create(), Queue.create()).flat_map(main).run(None, on=cluster)
        return result.unsafe_get(), time.perf_counter() - began


if __name__ == "__main__":
    fibers = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = [measure(fibers) for _ in range(ROUNDS)]
    left = [took for took, _ in rounds]
    print(f"a worker with {fibers:,} parked fibers leaves in {statistics.median(left):.2f} s", left)
    print(f"the whole program: {statistics.median(whole for _, whole in rounds):.2f} s")
