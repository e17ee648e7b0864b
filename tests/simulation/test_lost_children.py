"""A fiber in a scope that is lost for good is a failure like any other: the scope ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Queue, Var, io
from distio.errors import WorkerLost
from distio.testing import Crash, Fault, simulate

Io = IO[Any, Any, Any]

LONG: Final = 1000
LOST: Final[list[Fault]] = [Crash("worker-1", at=5.0)]
COUNT: Final = 6
SEEDS: Final = 16


def started(scope: Any, children: Sequence[Io]) -> Io:
    return io.sequence([scope.start(child) for child in children])


def in_the_body(children: Sequence[Io]) -> Io:
    """The program of the scope goes on, and waits for nobody."""
    return io.scope(lambda scope: started(scope, children).then(io.sleep(LONG)))


def all_or_nothing(children: Sequence[Io]) -> Io:
    return io.zip_par(children, fail_fast=True)


def in_an_inner_scope(children: Sequence[Io]) -> Io:
    """Children that were started by another fiber of the scope."""

    def start(scope: Any) -> Io:
        inner = started(scope, children).then(io.sleep(LONG))
        begun: Io = scope.start(inner)
        return begun.then(io.sleep(LONG))

    return io.scope(start)


def at_the_end(children: Sequence[Io]) -> Io:
    """The program of the scope is over, and it waits for its fibers."""
    return io.scope(lambda scope: started(scope, children))


SCOPES: Final[dict[str, Callable[[Sequence[Io]], Io]]] = {
    "the body goes on": in_the_body,
    "all or nothing": all_or_nothing,
    "inner scope": in_an_inner_scope,
    "the scope waits": at_the_end,
}


def is_lost(result: Any) -> bool:
    return isinstance(result, Panic) and any(
        isinstance(each.exception, WorkerLost) for each in result.exceptions
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["root", "at a worker"])
@pytest.mark.parametrize("scope", SCOPES)
def test_scope_ends_when_one_of_its_fibers_is_lost_for_good(
    scope: str, *, is_elsewhere: bool
) -> None:
    """The others release what they hold, and the Result says which worker was lost."""

    def use(released: Queue[Any]) -> Io:
        sleeper = io.yield_.then(io.sleep(LONG).finally_(lambda _: released.put("released")))
        owner: Io = SCOPES[scope]([sleeper] * COUNT).attempt()
        if is_elsewhere:
            owner = io.zip_par([owner, io.sleep(0.1)]).map(lambda both: both[0])
        return owner.flat_map(lambda result: released.size().map(lambda size: (result, size)))

    sizes = []
    for seed in range(SEEDS):
        simulation = simulate(
            Queue.create().flat_map(use), seed=seed, members=3, threads=1, faults=LOST,
            snapshots="off",
        )  # fmt: skip
        if not isinstance(simulation.result, Ok) or not is_lost(simulation.result.success[0]):
            continue  # the owner itself was lost, or nothing that mattered
        assert simulation.virtual_seconds < LONG / 2
        sizes.append(simulation.result.success[1])
    assert max(sizes) >= 1


def test_scope_hears_of_a_fiber_that_could_not_be_saved_and_was_lost_beside_its_owner() -> None:
    """The fiber and its owner are at one worker; the owner goes on elsewhere."""

    def child(seen: Var[int]) -> Io:
        def with_a_lock(lock: Any) -> Io:
            return seen.set(1).then(io.sleep(LONG)).map(lambda _: lock)

        return io.defer(threading.Lock).flat_map(with_a_lock)

    def owner(seen: Var[int]) -> Io:
        return io.scope(lambda scope: scope.start(child(seen)).then(io.sleep(LONG))).attempt()

    simulation = simulate(
        Var.create(0).flat_map(lambda seen: io.zip_par([owner(seen)])), seed=1, members=2,
        threads=1, faults=[Crash("worker-2", at=5.0)], snapshots="suspensions",
    )  # fmt: skip
    assert isinstance(simulation.result, Ok)
    assert is_lost(simulation.result.success[0])
    assert simulation.virtual_seconds < LONG / 2
