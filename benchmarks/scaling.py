"""Measures the gain of more workers, up to one for each core.

The number behind each name is that of its workers. Twice the workers can at best halve the time;
virtual cores that share a real one bring less, to everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks._timing import seconds
from benchmarks.cpu import burn, run
from benchmarks.harness import Candidate, Measure, Question, main
from benchmarks.harness.peers import PEERS, local_cluster
from distio import Cluster
from distio.runtime.cores import usable_cores
from examples import index_sources

PEER_NAMES = ["distio", "Pool", "joblib", "dask"]


def numbers_of_workers(cores: int) -> list[int]:
    """1, 2, 4, and so on, and as many as there are cores."""
    return sorted({*(2**n for n in range(cores.bit_length())), cores})


def calls_on(name: str, workers: int) -> Candidate:
    distribution, opens = PEERS[name]

    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        with opens(workers) as peer:
            yield lambda: seconds(lambda: peer.map(burn, range(count)))

    return Candidate(f"{name}, {workers}", start, distribution)


def on_cluster(work: Callable[[Cluster, int], object], workers: int) -> Candidate:
    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        with local_cluster(workers) as cluster:
            yield lambda: seconds(lambda: work(cluster, count))

    return Candidate(f"distio, {workers}", start)


def index(cluster: Cluster, _: int) -> None:
    """The main job: whatever the count, it has as much to do as the standard library has files."""
    program = index_sources.program(index_sources.STANDARD_LIBRARY, lambda: None)
    program.run(None, on=cluster).get()


def short_fibers_on(workers: int) -> Candidate:
    return on_cluster(lambda cluster, count: run(cluster, count * workers, 0.001), workers)


NUMBERS = numbers_of_workers(usable_cores())

QUESTIONS = [
    Question(
        __file__,
        "scaling-calls",
        "How long do 160 calls of 50 ms of CPU take?",
        "s",
        [calls_on(name, workers) for name in PEER_NAMES for workers in NUMBERS],
        (160, 32, 2),
        rounds=2,
        warms_up=False,
        says="One worker that did nothing else would need 8 s.",
    ),
    Question(
        __file__,
        "scaling-fibers",
        "How long do 160 fibers of 50 ms of CPU take?",
        "s",
        [on_cluster(run, workers) for workers in NUMBERS],
        (160, 32, 2),
        rounds=2,
        warms_up=False,
    ),
    Question(
        __file__,
        "scaling-short-fibers",
        "How long do 1,000 fibers of 1 ms of CPU take for each worker?",
        "s",
        [short_fibers_on(workers) for workers in NUMBERS],
        (1_000, 200, 5),
        rounds=3,
        says="What is more than 1 s is what fibers cost in the coordinator and the client, which "
        "more workers don't share.",
    ),
    Question(
        __file__,
        "scaling-main-job",
        "How long does the index of the standard library take?",
        "s",
        [on_cluster(index, workers) for workers in NUMBERS],
        (1, 1, 0),
        rounds=3,
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
