"""Small programs that a lost worker must not harm, each with the Results that it can have.

The Results that a program can have without faults are found by running it under seeds. With faults
it may have one of these, or end because a worker was lost; where nothing may be lost, it may not
end so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from distio import IO, Ok, Queue, Var, child, io, resource, supervise
from distio.testing import Simulation, simulate

Program = IO[Any, Any, Any]

_WORDS_OF_A_LOSS: Final = ("WorkerLost(", "ClusterClosed(", "were lost with")
_SEEDS: Final = range(6)


# -- pipelines --------------------------------------------------------------------------------


def _producer(queue: Queue[Any], who: int, items: int, n: int = 0) -> Program:
    if n == items:
        return io.pure(None)
    one = io.random.flat_map(lambda chance: io.yield_.then(queue.put((who, n, chance))))
    return one.flat_map(lambda _: io.defer_io(_producer, queue, who, items, n + 1))


def _stage(source: Queue[Any], target: Queue[Any]) -> Program:
    def one(item: Any) -> Program:
        return io.yield_.then(io.zip_par(io.pure(item), io.yield_)).flat_map(
            lambda both: target.put(both[0])
        )

    return source.take().flat_map(one).flat_map(lambda _: io.defer_io(_stage, source, target))


def pipeline(producers: int, stages: int, items: int, capacity: int | None) -> Program:
    """Items of chance go through two queues; the value is which came, and how many are left."""

    def work(queues: Sequence[Queue[Any]]) -> Program:
        source, target = queues
        count = producers * items

        def collected(stages: Any, makers: Any) -> Program:
            taken = io.zip([target.take()] * count)
            ended = io.wait(makers).then(io.zip_par([each.cancel() for each in stages]))
            left = ended.then(target.size())
            return taken.flat_map(
                lambda seen: left.map(lambda size: (sorted(each[:2] for each in seen), size))
            )

        begun = io.parallel([_stage(source, target).attempt()] * stages)
        made = io.parallel([io.zip_par(_producer(source, n, items)) for n in range(producers)])
        return begun.flat_map(lambda some: made.flat_map(lambda makers: collected(some, makers)))

    return io.zip(Queue.create(capacity), Queue.create()).flat_map(work)


# -- locks and variables ----------------------------------------------------------------------


def guarded(fibers: int, rounds: int) -> Program:
    """Fibers count in a variable by a lock and by updates, two at a time."""

    def work(lock: Any, var: Var[int], two: Any, n: int = 0) -> Program:
        if n == rounds:
            return io.pure(None)
        by_lock = var.get().flat_map(
            lambda seen: io.yield_.then(io.sleep(0.001), var.set(seen + 1))
        )
        by_update = var.update(lambda seen: (seen + 100, None))
        one: Program = two.with_(lock.with_(by_lock.then(by_update)))
        return one.flat_map(lambda _: io.defer_io(work, lock, var, two, n + 1))

    def start(made: Sequence[Any]) -> Program:
        return io.zip_par([io.zip_par(work(*made)) for _ in range(fibers)]).then(made[1].get())

    made = io.zip(resource.reentrant_lock, Var.create(0), resource.semaphore(2))
    return made.flat_map(start)


# -- what is easily overlooked ----------------------------------------------------------------


def cancelled_by_one_that_has_ended() -> Program:
    """A fiber is cancelled by another of its member, which has ended when the member is lost."""

    def cancel(fibers: Any) -> Program:
        cancelling = io.parallel(fibers[0].cancel_soon()).flat_map(io.wait)
        ended = cancelling.then(io.sleep(1), io.wait(fibers))
        return ended.map(lambda results: results[0].is_panic())

    return io.parallel(io.sleep(50)).flat_map(cancel)


def seen_by_another_tree() -> Program:
    """A fiber ends by chance, another one sees how; both must say the same afterwards."""

    def see(fibers: Any) -> Program:
        return io.wait(fibers).flat_map(lambda results: io.from_result(results[0]))

    def compare(fibers: Any) -> Program:
        seen = io.parallel(see(fibers)).flat_map(see)
        return seen.flat_map(
            lambda first: io.sleep(1).then(see(fibers)).map(lambda second: first == second)
        )

    return io.parallel(io.random).flat_map(compare)


def outlives_its_parent() -> Program:
    """A child goes on when its parent has ended, and is waited for later."""
    parent = io.parallel(io.sleep(1).then(io.pure(7)))
    return io.zip_par(parent, io.pure(0)).flat_map(lambda results: io.wait(results[0]))


def orphans_that_put(children: int) -> Program:
    """Children put one item each; if their parent is run again, so must not they be."""

    def put(queue: Queue[int]) -> Program:
        child = io.yield_.then(io.sleep(0.02), queue.put(1))
        family = io.yield_.then(io.zip_par([child] * children))
        return io.zip_par(family.attempt()).then(io.sleep(5), queue.size())

    return Queue.create().flat_map(put)


def after_a_time_limit() -> Program:
    """A fiber gives up waiting for an item and goes on; it must not wait for the item again."""

    def wait(queue: Queue[str]) -> Program:
        late = queue.take().timeout(0.05, io.pure("late"))
        return io.zip_par(late.flat_map(lambda item: io.sleep(0.5).then(io.pure(item))))

    return Queue.create(1).flat_map(wait)


# -- trees and supervisors --------------------------------------------------------------------


def tree(depth: int) -> Program:
    """Fibers that start fibers; the sum of the leaves."""
    if depth == 0:
        return io.sleep(0.01).then(io.pure(1))
    return io.zip_par(tree(depth - 1), io.yield_.then(tree(depth - 1))).map(sum)


def supervised() -> Program:
    """A supervisor starts a child anew until it has put three items."""

    def start(queue: Queue[int]) -> Program:
        def work() -> Program:
            put = io.yield_.then(queue.put(1), queue.size())
            return put.flat_map(lambda size: io.pure(None) if size >= 3 else io.error(size))

        return supervise(child(io.defer_io(work), restart="transient")).then(queue.size())

    return Queue.create().flat_map(start)


# -- the catalogue ----------------------------------------------------------------------------


class Case(NamedTuple):
    """One program, and what may be lost of it."""

    main: Callable[[], Program]
    wrong: str
    """How it goes wrong if recovery does."""
    hides_losses: bool = False
    """Whether it goes on after a loss in its own way, so that its Result tells nothing of that."""


CASES: Final[dict[str, Case]] = {
    "pipeline": Case(lambda: pipeline(1, 2, 2, None), "an item comes twice, or never"),
    "pipeline with room for one": Case(lambda: pipeline(1, 2, 2, 1), "the same"),
    "pipeline that keeps nothing": Case(lambda: pipeline(1, 2, 2, 0), "the same"),
    "lock, semaphore and variable": Case(lambda: guarded(2, 2), "an update is lost, or twice"),
    "cancelled by one that has ended": Case(
        cancelled_by_one_that_has_ended, "the fiber is run again, and not cancelled"
    ),
    "seen by another tree": Case(seen_by_another_tree, "a fiber has two Results"),
    "outlives its parent": Case(outlives_its_parent, "the child is lost, and nobody is told"),
    "orphans that put": Case(lambda: orphans_that_put(2), "a child is made again, and puts again"),
    "after a time limit": Case(after_a_time_limit, "the fiber waits again, for ever"),
    "tree": Case(lambda: tree(2), "a subtree is counted twice, or never"),
    "supervisor": Case(supervised, "a child is started once more", hides_losses=True),
}


@cache
def possible(name: str) -> frozenset[str]:
    """The Results that a program has without faults, as text."""
    main = CASES[name].main
    found = set()
    for seed in _SEEDS:
        result = simulate(main, seed=seed, members=2, threads=1).result
        assert isinstance(result, Ok), f"{name} without faults: {result!r}"
        found.add(repr(result))
    return frozenset(found)


def is_lost(result: Any) -> bool:
    """Whether a Result, or one inside of it, says that a worker was lost."""
    return any(word in repr(result) for word in _WORDS_OF_A_LOSS)


def judge(name: str, *, may_lose: bool) -> Callable[[Simulation[Any, Any]], None]:
    """The check of a program: its Result is one that it can have without faults.

    Args:
        name: that of the program in the catalogue.
        may_lose: whether it may also have ended because a worker was lost.
    """

    def check(simulation: Simulation[Any, Any]) -> None:
        result = simulation.result
        if may_lose and (CASES[name].hides_losses or is_lost(result)):
            return
        assert repr(result) in possible(name), f"{name}: {CASES[name].wrong}: {result!r}"

    return check
