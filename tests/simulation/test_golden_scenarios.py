"""Golden scenarios: the messages of members and the coordinator, in order, as text.

Each file in `golden` is the history of one small program. A change of a protocol shows there as a
difference of text; `pytest tests/simulation/test_golden_scenarios.py --rewrite-golden` writes them
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from distio import IO, Deferred, Queue, Worker, io, resource
from distio.testing import Crash, Fault, Leave, simulate

GOLDEN: Final = Path(__file__).with_name("golden")

Program = IO[Any, Any, Any]


def _joined_and_done(history: Sequence[str]) -> list[str]:
    """The part of a history in which the program runs, without the handshakes before it."""
    first = next(n for n, line in enumerate(history) if "client: steps fiber" in line)
    return list(history[first:])


def children() -> Program:
    """Two fibers run on the worker, and their outcomes come home."""
    return io.zip_par(io.pure(1), io.pure(2))


def lock() -> Program:
    """A lock is lent to one worker, recalled for the other, and lent to that."""
    held = resource.lock("door").with_(io.sleep(0.01))
    return io.zip_par(held, held)


def limited_queue() -> Program:
    """A fiber waits for room in a queue, another one for an item."""

    def talk(queue: Queue[int]) -> Program:
        puts = io.sequence(queue.put(1), queue.put(2))
        return io.zip_par(puts, io.sleep(0.01).then(queue.take(), queue.take()))

    return Queue.create(1).flat_map(talk)


def unlimited_queue() -> Program:
    """Putting into a queue without a limit is delegated to a worker."""

    def talk(queue: Queue[int]) -> Program:
        puts = io.sequence([queue.put(n) for n in range(3)])
        return io.zip_par(puts, io.sleep(0.01).then(queue.take(), queue.take(), queue.take()))

    return Queue.create().flat_map(talk)


def withdrawn_call() -> Program:
    """A fiber is cancelled while it waits for a deferred value."""

    def wait(value: Deferred[int]) -> Program:
        return io.parallel(value.get()).flat_map(
            lambda fibers: io.sleep(0.01).then(fibers[0].cancel())
        )

    return Deferred.create().flat_map(wait)


def status() -> Program:
    """A fiber asks for the status of a fiber on the worker."""
    return io.parallel(io.sleep(0.02)).flat_map(
        lambda fibers: (
            io.sleep(0.01)
            .then(fibers[0].status())
            .flat_map(lambda found: io.wait(fibers).then(io.pure(found.state)))
        )
    )


def deadlock() -> Program:
    """Two fibers wait for a value that nobody sets."""
    return Deferred.create().flat_map(lambda value: io.zip_par(value.get(), value.get()))


def failing_resource() -> Program:
    """A run of fibers that hold something is cut short by a failure."""
    held = resource.lock("door").with_(io.sleep(1))
    return io.zip_par(held, io.sleep(0.01).then(io.error("no")), fail_fast=True)


def sleeping() -> Program:
    """Two fibers sleep, each on a worker."""
    return io.zip_par([io.sleep(0.02)] * 2)


def placed() -> Program:
    """Two fibers need what one of two workers has, one after the other."""
    job = io.placed(io.sleep(0.01), needs={"gpu": 1})
    return io.zip_par(job, job)


Members = int | Sequence[Worker]

SCENARIOS: Final[dict[str, tuple[Callable[[], Program], Members, Sequence[Fault]]]] = {
    "children": (children, 1, ()),
    "deadlock": (deadlock, 1, ()),
    "failure_cancels_siblings": (failing_resource, 1, ()),
    "lock_goes_to_another_worker": (lock, 2, ()),
    "placed_fibers": (placed, [Worker(), Worker(resources={"gpu": 1})], ()),
    "queue_with_a_limit": (limited_queue, 2, ()),
    "queue_without_a_limit": (unlimited_queue, 2, ()),
    "status": (status, 1, ()),
    "withdrawn_call": (withdrawn_call, 1, ()),
    "worker_is_lost": (sleeping, 2, (Crash("worker-2", at=0.01),)),
    "worker_leaves": (sleeping, 2, (Leave("worker-2", at=0.01),)),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_has_the_messages_of_its_golden_text(
    name: str, request: pytest.FixtureRequest
) -> None:
    make, workers, faults = SCENARIOS[name]
    simulation = simulate(make, members=workers, threads=1, latency=0.001, faults=faults)
    lines = [f"# {make.__doc__}", "", *_joined_and_done(simulation.history)]
    text = "\n".join([*lines, "", repr(simulation.result), ""])
    file = GOLDEN / f"{name}.txt"
    if request.config.getoption("--rewrite-golden"):
        file.write_text(text)
    assert text == file.read_text()


def test_golden_texts_and_scenarios_have_the_same_names() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(SCENARIOS)
