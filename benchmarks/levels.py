"""What do the levels of snapshots cost, by which fibers survive the loss of their worker?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from benchmarks._timing import seconds
from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.peers import local_cluster
from benchmarks.main_job import ROOT
from benchmarks.queues import hand_offs
from benchmarks.tiny_calls import closure
from distio import Cluster, Queue, Var, io
from distio.protocol.domains import Snapshots
from examples import index_sources

LEVELS: Final[tuple[Snapshots, ...]] = ("suspensions", "births", "off")

Run = Callable[[Cluster, Snapshots, int], None]
"""Runs a program that does something so many times."""


def index(cluster: Cluster, level: Snapshots, _: int) -> None:
    program = index_sources.program(ROOT, lambda: None)
    cluster.run(program, None, snapshots=level).unsafe_get()


def closures(cluster: Cluster, level: Snapshots, count: int) -> None:
    program = io.parallel([io.defer(closure(n)) for n in range(count)]).flat_map(io.wait)
    results = cluster.run(program, None, snapshots=level).unsafe_get()
    assert [result.unsafe_get() for result in results] == list(range(count))


def puts(cluster: Cluster, level: Snapshots, count: int) -> None:
    """One fiber on a worker puts items, each a call of the coordinator and so a suspension."""

    def put_all(queue: Queue[int], left: int) -> Any:
        more = queue.put(left).flat_map(lambda _: put_all(queue, left - 1))
        return more if left else io.pure(None)

    made = Queue.create(count + 1).flat_map(
        lambda queue: io.zip_par(io.defer_io(put_all, queue, count))
    )
    cluster.run(made, None, snapshots=level).unsafe_get()


def updates(cluster: Cluster, level: Snapshots, count: int, *, fibers: int) -> None:
    """Fibers on workers update one variable, by turns."""

    def update(total: Var[int], left: int) -> Any:
        once = total.update(lambda n: (n + 1, None))
        return once.flat_map(lambda _: update(total, left - 1)) if left else io.pure(None)

    def run(total: Var[int]) -> Any:
        each = io.defer_io(update, total, count // fibers)
        return io.zip_par([each] * fibers).then(total.get())

    program = Var.create(0).flat_map(run)
    found = cluster.run(program, None, snapshots=level).unsafe_get()
    assert found == count // fibers * fibers


def passes(cluster: Cluster, level: Snapshots, count: int) -> None:
    """Items go through a queue without a limit, from worker to worker."""
    cluster.run(hand_offs(count, None), None, snapshots=level).unsafe_get()


def at(level: Snapshots, run: Run, per: float) -> Start:
    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        with local_cluster() as cluster:
            yield lambda: seconds(lambda: run(cluster, level, count)) / count * per

    return start


def question(
    name: str, what: str, run: Run, counts: tuple[int, int, int], unit: str = "µs", per: float = 1e6
) -> Question:
    return Question(
        __file__,
        f"levels-{name}",
        f"What do snapshots cost: {what}?",
        unit,
        [Candidate(f"snapshots={level}", at(level, run, per)) for level in LEVELS],
        counts,
    )


QUESTIONS = [
    question("job", "the standard library indexed", index, (1, 0, 0), "s", 1.0),
    question("closures", "each of 10,000 fibers that do nothing", closures, (10_000, 0, 0)),
    question("puts", "an item put into a queue by a worker", puts, (2_000, 0, 10)),
    question("passes", "an item from worker to worker", passes, (2_000, 0, 0)),
    question("update", "an update of a Var", partial(updates, fibers=1), (2_000, 0, 0)),
    question("updates", "the same by two fibers", partial(updates, fibers=2), (2_000, 0, 10)),
]

if __name__ == "__main__":
    main(QUESTIONS)
