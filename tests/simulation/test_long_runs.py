"""A run that goes on for long keeps nothing of ended fibers, wherever its fibers have moved."""

from __future__ import annotations

import gc
from collections.abc import Sequence, Sized
from typing import Any

import pytest

from distio import IO, Deferred, Ok, Queue, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member
from distio.testing import MOVE_ON_WAKE, Components, simulate

Program = IO[Any, Any, Any]


# -- a server ---------------------------------------------------------------------------------


def answer(question: tuple[int, Deferred[int]]) -> Program:
    n, reply = question
    return reply.set(n + 1)


def serve(questions: Queue[Any]) -> Program:
    """Answer questions until the queue is closed; each in a fiber of its own."""
    one = questions.take().flat_map(lambda question: io.parallel(answer(question)))
    return io.rec(lambda again: one.then(again)).catch(lambda closed: io.pure(None))


def ask(questions: Queue[Any], n: int) -> Program:
    made = Deferred.create()
    return made.flat_map(lambda reply: questions.put((n, reply)).then(reply.get()))


def handed_on(n: int) -> Program:
    """A handle that comes back in an outcome, and is waited for then."""

    def again(results: Sequence[Any]) -> Program:
        return io.wait(results[0].success)

    return io.parallel(io.parallel(io.yield_.then(io.pure(n)))).flat_map(io.wait).flat_map(again)


def given_away(n: int) -> Program:
    """Handles in a queue, some of which no fiber takes."""

    def talk(queue: Queue[Any]) -> Program:
        put = io.parallel(io.pure(n), io.yield_).flat_map(queue.put)
        return io.zip_par(put, put, queue.take().flat_map(io.wait))

    return Queue.create().flat_map(talk)


def requests(questions: Queue[Any], n: int) -> Program:
    """The requests that arrive at one time."""
    unheard = io.parallel(io.yield_)
    late = io.sleep(60).timeout(0.001, io.pure("too late"))
    each = io.zip_par(unheard, late, handed_on(n), given_away(n), ask(questions, n))
    return each.map(lambda results: None)


def server(rounds: int) -> Program:
    """Serve so many rounds of requests; the value is the sizes of collections when all is quiet."""

    def go_on(questions: Queue[Any], n: int) -> Program:
        if n < rounds:
            return requests(questions, n).then(
                io.sleep(0.001), io.defer_io(go_on, questions, n + 1)
            )
        quiet = io.sleep(1).then(io.defer(gc.collect), io.sleep(1))
        return quiet.then(io.defer(kept)).flat_map(
            lambda seen: questions.close().then(io.pure(seen))
        )

    return Queue.create().flat_map(
        lambda questions: io.zip_par(go_on(questions, 0), serve(questions)).map(lambda all: all[0])
    )


# -- sizes of collections ---------------------------------------------------------------------


MEMBERS: list[Member] = []
COORDINATORS: list[Coordinator] = []
"""The machines of the simulation."""


def member(*args: Any, **options: Any) -> Member:
    """A member whose fibers move whenever they wake."""
    MEMBERS.append(MOVE_ON_WAKE.member(*args, **options))
    return MEMBERS[-1]


def coordinator() -> Coordinator:
    COORDINATORS.append(Coordinator())
    return COORDINATORS[-1]


def kept() -> dict[str, int]:
    """The sizes of the machines' collections."""
    sized: dict[str, Sequence[Sized]] = {
        "handles of fibers here": [each.state.hosted for each in MEMBERS],
        "handles of fibers elsewhere": [each.state.awaited for each in MEMBERS],
        "handles that have left": [
            each.features.references.leftovers()["counts of handles that left"] for each in MEMBERS
        ],
        "fibers of runs": [run.known for each in MEMBERS for run in each.state.runs.values()],
        "locks": [each.features.locks.leftovers()["locks"] for each in MEMBERS],
        "records": [each.fibers for each in COORDINATORS],
        "references": [each.features.references for each in COORDINATORS],
        "unverified waits": [each.features.unverified_waits for each in COORDINATORS],
        "entries": [each.features.primitives for each in COORDINATORS],
        "timers": [each.features.timers.heap for each in COORDINATORS],
    }
    return {name: sum(len(each) for each in of_name) for name, of_name in sized.items()}


def kept_after(rounds: int, seed: int, members: int) -> dict[str, int]:
    MEMBERS.clear()
    COORDINATORS.clear()
    parts = Components(member=member, coordinator=coordinator)
    simulation = simulate(server(rounds), members=members, seed=seed, components=parts)
    assert isinstance(simulation.result, Ok), simulation
    seen: dict[str, int] = simulation.result.success
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_run_that_goes_on_for_long_keeps_no_more_than_a_short_one(seed: int, members: int) -> None:
    short, long = (kept_after(rounds, seed, members) for rounds in (2, 12))
    grown = {name: (short[name], long[name]) for name in short if long[name] > short[name] + 4}
    assert not grown
