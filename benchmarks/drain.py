"""How long it takes to move the parked fibers of a worker that leaves.

`python benchmarks/drain.py [FIBERS]`: about so many fibers wait at each of two workers, and one of
them is told to leave. Goal: 10,000 fibers in a second. The first time is that from the signal to
the exit of the process, when all of its fibers are with the coordinator; the second is that until
the last one waits again at the other worker. The processor time is that of both workers and of the
coordinator: one after the other has most of the work.
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from benchmarks._timing import processor_of
from distio import IO, Cluster, Queue, io

ROUNDS: Final = 3
LOOKS_EACH_SECONDS: Final = 0.005


class Move(NamedTuple):
    """How many fibers have moved, and in how many seconds."""

    fibers: int
    until_exit: float
    until_parked: float
    processor: float


def processor_of_the_dead() -> float:
    """How many seconds all children of this process have computed that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parked(gate: Queue[None], told: Queue[tuple[int, int]], n: int) -> IO[Any, Any, None]:
    return io.defer(os.getpid).flat_map(lambda pid: told.put((n, pid))).then(gate.take())


def settled(fiber: Any) -> IO[Any, Any, float]:
    """When this fiber waits again, after it has moved."""

    def look(status: Any) -> IO[Any, Any, float]:
        if status.restored and status.state not in ("running", "on its way"):
            return io.defer(time.perf_counter)
        return io.sleep(LOOKS_EACH_SECONDS).then(settled(fiber))

    waits: IO[Any, Any, float] = fiber.status().flat_map(look)
    return waits


def measure(fibers: int) -> Move:
    with Cluster.local(2) as cluster:
        processes = cluster._processes
        assert processes is not None
        workers, coordinator = processes.workers, processes.coordinator.pid
        others: list[int] = []
        """The processes that go on."""

        def leave(places: Sequence[tuple[int, int]]) -> tuple[list[int], float, float, float]:
            """One worker leaves.

            Returns:
                Which fibers it has had, when it was told to leave, when it left, and how many
                seconds it and the others had computed before.
            """
            time.sleep(0.5)  # the last ones are parked
            counts = [sum(pid == each.pid for _, pid in places) for each in workers]
            worker = workers[counts.index(min(counts, key=lambda count: abs(count - fibers)))]
            others.extend({*[each.pid for each in workers], coordinator} - {worker.pid})
            before = processor_of(*others, worker.pid) + processor_of_the_dead()
            began = time.perf_counter()
            worker.send_signal(signal.SIGTERM)
            worker.wait()
            left = time.perf_counter()
            numbers = sorted(n for n, pid in places if pid == worker.pid)
            return numbers, began, left, before

        def main(queues: Any) -> IO[Any, Any, Move]:
            gate, told = queues
            all_told = io.zip([told.take()] * (2 * fibers))

            def moved(started: Sequence[Any], found: tuple[list[int], float, float, float]) -> Any:
                numbers, began, left, before = found
                last = settled(started[numbers[-1]])  # they are moved in their order
                opened = io.zip_par([gate.put(None)] * (2 * fibers)).then(io.wait(started))

                def measured(at: float) -> Move:
                    used = processor_of(*others) + processor_of_the_dead() - before
                    return Move(len(numbers), left - began, at - began, used)

                return last.map(measured).flat_map(lambda move: opened.then(io.pure(move)))

            begun = io.parallel([parked(gate, told, n) for n in range(2 * fibers)])
            left = all_told.flat_map(lambda places: io.blocking(leave, places))
            return begun.flat_map(
                lambda started: left.flat_map(lambda found: moved(started, found))
            )

        queues = io.zip(Queue.create(), Queue.create())
        return queues.flat_map(main).run(None, on=cluster).unsafe_get()


if __name__ == "__main__":
    fibers = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for move in (moves := [measure(fibers) for _ in range(ROUNDS)]):
        print(
            f"{move.fibers:,} fibers: {move.until_exit:.2f} s until the worker has left, "
            f"{move.until_parked:.2f} s until the last one waits again, {move.processor:.2f} s of "
            f"processor time"
        )
    each = statistics.median(move.until_parked / move.fibers for move in moves)
    used = statistics.median(move.processor / move.fibers for move in moves)
    print(f"median for 10,000: {each * 10_000:.2f} s, and {used * 10_000:.2f} s of processor time")
