"""Fibers that wait in a queue when their worker is lost are served in the order of their asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Ok, Queue, io, resource
from distio.testing import Crash, Simulation, simulate

Program = IO[Any, Any, Any]

WAITING: Final = 6
LOST_AT: Final = 0.6
"""When all of them wait, in seconds."""


def guarded(made: IO[Any, Any, Any]) -> Program:
    """While one fiber has a lock for a second, others ask for it, one after another.

    The value is the order in which they get it.
    """

    def work(both: Sequence[Any]) -> Program:
        lock, order = both

        def ask(n: int) -> Program:
            noted = lock.with_(io.sleep(0.01).then(order.put(n)))
            return io.sleep(0.05 * n).then(noted)

        def wait(fibers: Any) -> Program:
            return io.sleep(1.0).then(io.pure(fibers))

        begun: Program = lock.with_(
            io.parallel([ask(n) for n in range(1, 1 + WAITING)]).flat_map(wait)
        )
        return begun.flat_map(io.wait).then(io.zip([order.take() for _ in range(WAITING)]))

    return io.zip(made, Queue.create()).flat_map(work)


def taken() -> Program:
    """Fibers take from a queue, one after another; the value is who got which item."""

    def work(both: Sequence[Queue[Any]]) -> Program:
        items, order = both

        def ask(n: int) -> Program:
            return io.sleep(0.05 * n).then(items.take().flat_map(lambda got: order.put((n, got))))

        def put(fibers: Any) -> Program:
            return (
                io.sleep(1.0)
                .then(io.zip([items.put(n) for n in range(1, 1 + WAITING)]))
                .then(io.wait(fibers))
            )

        begun = io.parallel([ask(n) for n in range(1, 1 + WAITING)]).flat_map(put)
        return begun.then(io.zip([order.take() for _ in range(WAITING)])).map(sorted)

    return io.zip(Queue.create(), Queue.create()).flat_map(work)


def after_a_loss(main: Callable[[], Program], seed: int) -> Simulation[Any, Any]:
    fault = Crash(f"worker-{1 + seed % 2}", at=LOST_AT)
    return simulate(
        main, seed=seed, members=3, threads=1 + seed % 3, faults=[fault], snapshots="suspensions"
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "made", [resource.reentrant_lock, resource.semaphore(1)], ids=["lock", "semaphore"]
)
def test_fibers_of_a_lost_worker_get_a_lock_in_the_order_in_which_they_had_asked(
    made: IO[Any, Any, Any], seed: int
) -> None:
    result = after_a_loss(lambda: guarded(made), seed).result
    assert result == Ok([*range(1, 1 + WAITING)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_fibers_of_a_lost_worker_get_the_items_for_which_they_had_asked_first(seed: int) -> None:
    result = after_a_loss(taken, seed).result
    assert result == Ok([(n, n) for n in range(1, 1 + WAITING)])
