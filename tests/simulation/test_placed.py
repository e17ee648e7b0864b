"""Placed fibers on a simulated cluster: capacity is never exceeded, whatever befalls workers."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Errors, Ok, Worker, io
from distio.coordination.placement.coordinator import Placement
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.places import Places
from distio.errors import InvariantBroken, TimedOut
from distio.protocol import messages as m
from distio.testing import Crash, Leave, Restart, simulate

Program = IO[Any, Any, Any]

GPU = Worker(tags={"zone": "a"}, resources={"gpu": 1})
PLAIN = Worker(tags={"zone": "b"})
WORKERS = [GPU, GPU, PLAIN]


def jobs() -> Program:
    """Eight programs of a second, each of which needs a GPU, beside others that need none."""

    def job(n: int) -> Program:
        return io.placed(io.sleep(1.0).then(io.pure(n)), needs={"gpu": 1}, prefer={"zone": "a"})

    return io.zip_par(io.traverse_par(range(8), job), io.traverse_par(range(30), io.pure))


RESULT: Any = Ok((list(range(8)), list(range(30))))


@pytest.mark.slow
def test_placed_fibers_share_what_there_is_and_no_more() -> None:
    for seed in range(3):
        done = simulate(jobs, members=WORKERS, seed=seed)
        assert done.result == RESULT
        assert 4.0 <= done.virtual_seconds < 4.2


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Crash, Leave, Restart], ids=lambda kind: kind.__name__)
def test_placed_fibers_survive_what_befalls_processes_and_the_machine_keeps_its_books(
    fault: Any,
) -> None:
    for seed in range(4):
        faults = [fault()] if fault is Restart else [fault(), fault()]
        assert simulate(jobs, members=WORKERS, seed=seed, faults=faults).result == RESULT


def test_time_limit_of_a_fiber_that_fits_no_worker_is_kept() -> None:
    waits = io.placed(io.pure(1), needs={"tpu": 1})
    done = simulate(io.timeout(waits, 5), members=WORKERS)
    assert done.result == Errors([TimedOut(5)])
    assert 5.0 <= done.virtual_seconds < 5.1


def test_run_of_which_a_fiber_fits_no_worker_is_cancelled_at_once() -> None:
    waits = io.placed(io.pure(1), needs={"zone": "c"}).on_failure(lambda failure: io.pure("over"))
    done = simulate(io.race(waits, io.sleep(1.0).then(io.pure("sooner"))), members=WORKERS)
    assert done.result == Ok("sooner")
    assert done.virtual_seconds < 1.1


def test_fiber_waits_for_a_fitting_worker_in_its_status() -> None:
    @io.do
    async def ask() -> str:
        (fiber,) = await io.parallel(io.placed(io.sleep(9), needs={"gpu": 1, "zone": "a"}))
        await io.sleep(1.0)
        status = await fiber.status()
        await fiber.cancel()
        return status.state

    assert simulate(ask(), members=WORKERS).result == Ok(
        "waits for a fiber that needs zone=a and gpu=1"
    )


# -- planted faults ---------------------------------------------------------------------------


def keeps_what_was_held(patch: pytest.MonkeyPatch) -> None:
    """The amounts that a lost member had given aren't given back."""
    patch.setattr(Places, "member_lost", lambda places, member: None)


def gives_more_than_there_is(patch: pytest.MonkeyPatch) -> None:
    """Let placed fibers have what isn't free."""
    patch.setattr(Places, "_has_free", lambda places, member, needs: True)


def takes_what_does_not_fit(patch: pytest.MonkeyPatch) -> None:
    """A stolen fiber goes to whoever has room."""

    def take_in(placement: Placement, member: MemberRecord, chunk: m.Chunk) -> None:
        right(placement, member, chunk)
        taken = placement._state.places.take_out(chunk.fibers[0][0])
        if taken is not None:
            placement._state.backlog.add(taken, had_place=True)

    right = Placement.take_in
    patch.setattr(Placement, "take_in", take_in)


def forgets_needs_at_a_loss(patch: pytest.MonkeyPatch) -> None:
    """A fiber whose worker was lost may go anywhere."""

    def wait(state: CoordinatorState, chunk: m.Chunk, *, had_place: bool) -> None:
        if had_place:
            state.backlog.add(chunk, had_place=had_place)
            state.is_unsettled = True
        else:
            right(state, chunk, had_place=had_place)

    right = CoordinatorState.wait
    patch.setattr(CoordinatorState, "wait", wait)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        keeps_what_was_held,
        gives_more_than_there_is,
        takes_what_does_not_fit,
        forgets_needs_at_a_loss,
    ],
    ids=lambda plant: plant.__name__,
)
def test_simulation_finds_a_planted_fault_of_placement(
    plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> None:
        for seed in range(12):
            simulate(jobs, members=WORKERS, seed=seed, faults=[Crash()])

    plant(monkeypatch)
    with pytest.raises(InvariantBroken):
        search()
