"""Forks of named runs in the simulation: a copy that is made at any moment comes to the same."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import pytest

from distio import IO, Ok
from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.forking import CanNotFork, find_run, fork
from distio.coordination.membership.handshakes import Handshakes
from distio.runtime.journal.checkpoints import dump
from distio.testing import Crash, Restart
from distio.testing.journal import MemoryJournal
from tests.harness.recovering import CASES, guarded, pipeline, possible
from tests.simulation.test_durable import RIGHT, simulated

Patch = pytest.MonkeyPatch

PIPELINE: Final = ([(who, n) for who in range(3) for n in range(4)], 0)
LARGE: Final[dict[str, tuple[Callable[[], IO[Any, Any, Any]], Any]]] = {
    "pipeline": (lambda: pipeline(3, 3, 4, None), PIPELINE),
    "bounded pipeline": (lambda: pipeline(3, 3, 4, 1), PIPELINE),
    "counts": (lambda: guarded(4, 3), 4 * 3 * 101),
}


@pytest.fixture
def forks(monkeypatch: Patch) -> list[int]:
    """The number of fibers in each fork: a process that takes up a journal is a fork of its
    writer."""
    found: list[int] = []
    recover = MemoryJournal.recover

    def recover_fork(journal: MemoryJournal, make: Callable[[Blobs], Handshakes]) -> Handshakes:
        machine = recover(journal, make).machine
        try:
            run = find_run(machine, "nightly")
        except CanNotFork:  # it hasn't begun, or is over
            return recover(journal, make)
        file = BytesIO()
        dump(fork(machine, run, "nightly"), file)
        machine.validate()
        assert [*machine.runs] == [run]
        assert not machine.members
        found.append(machine.runs[run].alive)
        journal._turns.clear()
        journal._checkpoint = file.getvalue()
        return recover(journal, make)

    monkeypatch.setattr(MemoryJournal, "recover", recover_fork)
    return found


def forked_at(program: Any, event: int, seed: int) -> Any:
    """The result of a program whose run is forked there, and whose workers are new ones then."""
    ended = [Crash(f"worker-{n}", event=event, returns_after=0.01) for n in (1, 2)]
    return simulated(program, seed, [*ended, Restart(event=event)]).result


@pytest.mark.slow
@pytest.mark.parametrize("program", RIGHT)
def test_fork_at_any_moment_comes_to_the_same(program: Any, forks: list[int]) -> None:
    for event in range(10, 160, 8):
        assert forked_at(program, event, event) == RIGHT[program], event
    assert len(forks) > 7


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_fork_of_a_program_with_queues_locks_and_variables_comes_to_the_same(
    name: str, forks: list[int]
) -> None:
    make, right = LARGE[name]
    for event in range(20, 420, 29):
        assert forked_at(make, event, event) == Ok(right), event
    assert sum(fibers > 4 for fibers in forks) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_fork_of_a_small_program_has_a_result_that_it_can_have(name: str, forks: list[int]) -> None:
    for event in range(5, 125, 17):
        result = forked_at(CASES[name].main, event, event)
        assert repr(result) in possible(name), (event, result)
    assert forks
