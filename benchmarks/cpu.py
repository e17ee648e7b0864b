"""How long do calls take that compute for 50 ms, or for 2, on two workers?

On one thread 64 of the long ones take 3.2 s, and 1,000 of the short ones 2 s. Two workers that did
nothing else would take the half of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks._timing import seconds
from benchmarks.harness import Candidate, Measure, Question, main
from benchmarks.harness.peers import Peer, candidates_of, local_cluster
from benchmarks.harness.question import each_time
from distio import Cluster, io

FIBERS = 64
CPU_SECONDS = 0.05
SHORT_SECONDS = 0.002


def burn(_: int = 0, cpu_seconds: float = CPU_SECONDS) -> int:
    """Use as much CPU time as was asked for, however long that takes on a busy machine."""
    turns, until = 0, time.thread_time() + cpu_seconds
    while time.thread_time() < until:
        turns += 1
    return turns


def run(on: Cluster | None, fibers: int = FIBERS, cpu_seconds: float = CPU_SECONDS) -> None:
    work = [io.defer(burn, cpu_seconds=cpu_seconds) for _ in range(fibers)]
    program = io.parallel(work).flat_map(io.wait)
    results = program.run(None, on=on).unsafe_get()
    assert all(result.is_ok() for result in results)


def mapped(peer: Peer, count: int) -> Measure:
    return lambda: seconds(lambda: peer.map(burn, range(count)))


def burn_shortly(_: int) -> int:
    return burn(cpu_seconds=SHORT_SECONDS)


def mapped_shortly(peer: Peer, count: int) -> Measure:
    return lambda: seconds(lambda: peer.map(burn_shortly, range(count)))


@contextmanager
def a_fiber_each(count: int) -> Iterator[Measure]:
    with local_cluster() as cluster:
        yield lambda: seconds(lambda: run(cluster, count))


def candidates() -> list[Candidate]:
    one_thread = each_time(lambda count: seconds(lambda: run(None, count)))
    distio, *others = candidates_of(mapped)
    return [
        distio,
        Candidate("distio, a fiber each", a_fiber_each),
        *others,
        Candidate("distio, one thread", one_thread),
    ]


QUESTIONS = [
    Question(
        __file__,
        "busy-calls",
        f"How long do {FIBERS} calls of 50 ms of CPU take on two workers?",
        "s",
        candidates(),
        (FIBERS, 16, 2),
        rounds=3,
        goal="at most 1/1.8 of one thread",
    ),
    Question(
        __file__,
        "short-calls",
        "How long do 1,000 calls of 2 ms of CPU take on two workers?",
        "s",
        candidates_of(mapped_shortly),
        (1_000, 200, 20),
        rounds=3,
        goal="1.1 times joblib",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
