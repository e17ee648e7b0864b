"""Programs on a simulated cluster in which some workers have other code than the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from distio import Ok, Queue, Var, io
from distio.core.pickling.code_records import CodeRecord, Comparison, Difference, Records
from distio.testing import Crash, Leave, simulate
from distio.testing.services import Services
from tests.harness.chaos import TRIALS

SEEDS: Final = range(6)
OTHER: Final = Comparison([Difference(CodeRecord("shop", "approve", "before"), "now")])


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first worker has other code; the names of those that have given fibers back."""
    who: list[str] = []

    def compare_code(services: Services, records: Records) -> Comparison:
        if services.name != "worker-1":
            return Comparison()
        who.append(services.name)
        return OTHER

    monkeypatch.setattr(Services, "compare_code", compare_code)
    return who


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRIALS if name != "main job"])
def test_program_is_right_though_a_worker_has_other_code_and_another_is_lost(
    name: str, tmp_path: Path, refused: list[str]
) -> None:
    trial = TRIALS[name]
    for seed in SEEDS:
        directory = tmp_path / str(seed)
        directory.mkdir()
        faults = [Crash("worker-2", returns_after=0.1), Crash("worker-3", returns_after=0.1)]
        program = trial.make(str(directory))
        result = simulate(program, members=3, threads=1, seed=seed, faults=faults).result
        assert result == Ok(trial.expected), f"seed {seed}"


class Account:  # found by its name, so a worker with other code doesn't take it
    def __init__(self, start: int) -> None:
        self.start = start

    def put(self, queue: Queue[int]) -> Any:
        return queue.put(self.start).then(io.sleep(60)).then(io.pure(self.start))


def in_a_lock(account: Account, queue: Queue[int], var: Var[int]) -> Any:
    """A fiber that waits, holds the lock of a variable, and has been seen."""
    program = var.lock().with_(
        io.defer_io(account.put, queue).flat_map(lambda n: var.update(lambda v: (v + n, None)))
    )
    return program.then(queue.size())


def program() -> Any:
    def with_both(queue: Queue[int], var: Var[int]) -> Any:
        fibers = [in_a_lock(Account(n), queue, var) for n in (1, 2, 3)]
        return io.zip_par(*fibers).then(io.zip(queue.size(), var.get()))

    return Queue.create().flat_map(lambda q: Var.create(0).flat_map(lambda v: with_both(q, v)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_saved_fiber_that_waits_and_holds_a_lock_goes_on_where_its_code_is(
    seed: int, refused: list[str]
) -> None:
    faults = [Crash("worker-2", at=30, returns_after=1)]
    result = simulate(program(), members=2, threads=1, seed=seed, faults=faults).result
    assert result == Ok((3, 6))
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_fibers_of_a_worker_that_leaves_wait_until_one_with_their_code_is_there(
    seed: int, refused: list[str]
) -> None:
    faults = [Leave("worker-2", at=30, returns_after=20)]
    result = simulate(program(), members=2, threads=1, seed=seed, faults=faults).result
    assert result == Ok((3, 6))
    assert refused
