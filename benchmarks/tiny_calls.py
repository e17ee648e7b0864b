"""How long does each of many calls take that do nothing, on two workers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks._timing import SPAWN, seconds
from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.peers import WORKERS, Peer, candidates_of, local_cluster, same
from distio import Cluster, io


def closure(n: int) -> Callable[[], int]:
    return lambda: n


def per_call(run: Callable[[int], list[Any]], count: int) -> float:
    """Microseconds of each; all values have to be there."""
    found: list[Any] = []
    took = seconds(lambda: found.extend(run(count)))
    assert found == list(range(count))
    return took / count * 1e6


# -- ours, in programs ------------------------------------------------------------------------


def closures(cluster: Cluster, count: int) -> list[Any]:
    """A fiber for each."""
    program = io.parallel([io.defer(closure(n)) for n in range(count)]).flat_map(io.wait)
    results = program.run(None, on=cluster).unsafe_get()
    return [result.unsafe_get() for result in results]


def traversed(cluster: Cluster, count: int) -> list[Any]:
    """Batches that fit; never more than two for each worker at a time."""
    program = io.traverse_par(range(count), io.pure, at_most=2 * WORKERS)
    return list(program.run(None, on=cluster).unsafe_get())


def on_cluster(run: Callable[[Cluster, int], list[Any]]) -> Start:
    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        with local_cluster() as cluster:
            yield lambda: per_call(lambda count: run(cluster, count), count)

    return start


# -- the others' ------------------------------------------------------------------------------


def mapped(peer: Peer, count: int) -> Measure:
    return lambda: per_call(lambda count: peer.map(same, range(count)), count)


def submitted(peer: Peer, count: int) -> Measure:
    def run(count: int) -> list[Any]:
        waits = [peer.submit(same, n) for n in range(count)]
        return [wait() for wait in waits]

    return lambda: per_call(run, count)


@contextmanager
def in_large_chunks(count: int) -> Iterator[Measure]:
    """As someone divides them who knows how long calls take."""
    with ProcessPoolExecutor(WORKERS, SPAWN) as pool:
        size = max(1, count // (4 * WORKERS))
        yield lambda: per_call(
            lambda count: list(pool.map(same, range(count), chunksize=size)), count
        )


def candidates() -> list[Candidate]:
    distio, *others = candidates_of(mapped, shares={"dask": 0.1, "Ray": 0.2})
    return [
        distio,
        Candidate("distio, a fiber each", on_cluster(closures)),
        Candidate("distio, traverse_par", on_cluster(traversed)),
        *others,
        Candidate("ProcessPoolExecutor, 8 chunks", in_large_chunks, "Python"),
    ]


QUESTIONS = [
    Question(
        __file__,
        "tiny-calls",
        "How long does each of 10,000 calls take that do nothing?",
        "µs",
        candidates(),
        (10_000, 2_000, 20),
        goal="distio.map at most 1.3 times joblib",
        says="distio.map, Pool, joblib and mpire send calls in batches by themselves. "
        "ProcessPoolExecutor, dask and Ray send each on its own, unless they are told otherwise.",
    ),
    Question(
        __file__,
        "tiny-calls-100000",
        "How long does each of 100,000 take?",
        "µs",
        [each for each in candidates() if each.of not in ("distributed", "ray")],
        (100_000, 0, 0),
        rounds=3,
    ),
    Question(
        __file__,
        "submits",
        "How long does each of 2,000 calls take that are submitted one by one?",
        "µs",
        candidates_of(submitted, shares={"dask": 0.2}),
        (2_000, 500, 10),
        says="Each call has a future of its own, which is asked for its value.",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
