"""The coordinator is killed at any moment, and another process goes on from its journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Deferred, Ok, Queue, Var, io
from distio.coordination.journal.inputs import Input, Ticked
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.session import ABSENCE_SECONDS, NumberedSession
from distio.errors import MatchError
from distio.testing import (
    CheckFailed,
    Crash,
    Disconnect,
    Fault,
    Restart,
    Simulation,
    explore,
    simulate,
)
from distio.testing.durable import simulate_durable
from distio.testing.journal import MemoryJournal
from tests.harness.parameters import marked
from tests.harness.planting import find_soon
from tests.harness.recovering import CASES, guarded, judge, pipeline

Patch = pytest.MonkeyPatch

FAULTS: Final[dict[str, Sequence[Fault]]] = {
    "once": [Restart()],
    "again and again": [Restart(at=0.002 + n / 150) for n in range(12)],
    "for a while": [Restart(), Restart(seconds=1.0), Restart(seconds=5.0)],
    "for longer than a lease": [Restart(at=0.01, seconds=100.0)],
    "while a worker crashes": [Restart(at=0.01, seconds=1.0), Crash("worker-1", at=0.02)],
    "and workers crash": [Restart(), Crash(), Restart(), Crash()],
    "and links break": [Restart(), Disconnect(seconds=0.1), Restart(), Disconnect("client")],
}
LARGE: Final[dict[str, tuple[Callable[[], IO[Any, Any, Any]], Any]]] = {
    "pipeline": (
        lambda: pipeline(3, 3, 4, None),
        ([(who, n) for who in range(3) for n in range(4)], 0),
    ),
    "bounded pipeline": (
        lambda: pipeline(3, 3, 4, 1),
        ([(who, n) for who in range(3) for n in range(4)], 0),
    ),
    "counts": (lambda: guarded(4, 3), 4 * 3 * 101),
}


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("name", LARGE)
def test_program_whose_coordinator_is_killed_has_its_result(
    name: str, faults: Sequence[Fault]
) -> None:
    make, right = LARGE[name]

    def check(simulation: Simulation[Any, Any]) -> bool:
        return simulation.result == Ok(right)

    explore(make, None, check, range(2), members=3, faults=faults)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_small_program_whose_coordinator_is_killed_has_a_result_that_it_can_have(
    case: str,
) -> None:
    faults: list[Fault] = [Restart(), Restart(seconds=0.01), Crash()]
    check = judge(case, may_lose=False)
    explore(CASES[case].main, None, check, range(3), members=3, faults=faults)


@pytest.mark.slow
def test_members_are_the_same_as_before_when_the_coordinator_goes_on() -> None:
    make, right = LARGE["pipeline"]
    for seed in range(10):
        simulation = simulate(make, seed=seed, faults=FAULTS["again and again"])
        assert simulation.result == Ok(right)
        lives = [line.split()[1] for line in simulation.history if "joins as member" in line]
        assert len(lives) == len(set(lives)) == 4


@pytest.mark.slow
def test_timer_that_is_due_while_nobody_is_the_coordinator_fires_when_one_goes_on() -> None:
    main = io.zip_par(io.sleep(5.0).then(io.now), io.sleep(0.5))
    for seed in range(10):
        simulation = simulate(main, seed=seed, faults=[Restart(at=1.0, seconds=20.0)])
        assert isinstance(simulation.result, Ok)
        assert 21.0 <= simulation.virtual_seconds < 22.0


@pytest.mark.slow
def test_timer_and_deferred_that_race_across_a_restart_have_one_winner() -> None:
    """The value is set before the timer is due; the coordinator learns of both after that."""

    def race(value: Deferred[str]) -> IO[Any, Any, Any]:
        wins = io.race(value.get(), io.sleep(5.0).then(io.pure("late")))
        sets = io.sleep(3.0).then(value.set("set"))
        return io.zip_par(wins, sets).flat_map(lambda both: value.get().map(lambda v: (both[0], v)))

    for seed in range(20):
        faults = [Restart(at=2.0, seconds=0.5), Restart(at=3.5, seconds=10.0)]
        simulation = simulate(Deferred.create().flat_map(race), seed=seed, faults=faults)
        assert simulation.result == Ok(("set", "set"))


ALL_DIE: Final[Sequence[Fault]] = [
    Restart(at=1.0, seconds=9.0),
    *[Crash(f"worker-{n}", at=1.0, returns_after=15.0) for n in (1, 2)],
]
"""Faults after which no process lives for some time; then the coordinator does, later workers
do."""


@pytest.mark.slow
def test_winner_of_a_race_that_is_decided_while_nobody_lives_stays_the_winner() -> None:
    """Both sides are due meanwhile; one wins, once, and stays the winner after the next restart."""

    def race(value: Deferred[str], winners: Var[list[str]]) -> IO[Any, Any, Any]:
        late = io.sleep(5.0).then(io.pure("late"))
        wins = io.race(value.get(), late).flat_map(
            lambda winner: winners.update(lambda seen: ([*seen, winner], None))
        )
        sets = io.sleep(5.0).then(value.set("set"))
        return io.zip_par(wins, sets).then(winners.get(), io.sleep(10.0), winners.get())

    found = set()
    for seed in range(20):
        main = io.zip(Deferred[str].create(), Var.create(list[str]()))
        faults = [*ALL_DIE, Restart(at=25.0), Crash(at=25.0, returns_after=0.1)]
        program = main.flat_map(lambda made: race(*made))
        result = simulate_durable(program, seed=seed, faults=faults).result
        assert result in (Ok(["set"]), Ok(["late"])), f"seed {seed}"
        found.add(str(result))
    assert len(found) == 2  # both may win


@pytest.mark.slow
def test_time_limits_that_end_while_nobody_lives_strike_once() -> None:
    def limited(struck: Var[int], value: Deferred[int], seconds: float) -> IO[Any, Any, Any]:
        strikes = struck.update(lambda n: (n + 1, None))
        return value.get().timeout(seconds, otherwise=strikes)

    def main(made: Any) -> IO[Any, Any, Any]:
        struck, value = made
        waits = [limited(struck, value, 2.0 + n) for n in range(6)]
        return io.zip_par(waits).then(struck.get(), io.sleep(5.0), struck.get())

    for seed in range(10):
        program = io.zip(Var.create(0), Deferred[int].create()).flat_map(main)
        found = simulate_durable(program, seed=seed, faults=[*ALL_DIE, Restart(at=18.0)])
        assert found.result == Ok(6), f"seed {seed}"
        assert found.virtual_seconds > 16.0  # no worker was there before


@pytest.mark.slow
def test_worker_that_is_lost_with_the_coordinator_loses_no_fiber() -> None:
    make, right = LARGE["counts"]
    for seed in range(10):
        faults: list[Fault] = [Restart(at=0.02, seconds=30.0)]
        faults += [Crash("worker-1", at=0.021), Crash("worker-2", at=1.0)]
        simulation = simulate(make, seed=seed, members=3, faults=faults)
        assert simulation.result == Ok(right)


def test_member_that_does_not_come_back_is_lost_some_time_after_the_restart() -> None:
    faults: list[Fault] = [Restart(at=1.0, seconds=1.0)]
    faults.append(Disconnect("worker-1", at=1.5, seconds=1000.0))
    main = io.zip_par([io.sleep(50.0)] * 6)
    simulation = simulate(main, seed=1, faults=faults, latency=0.001)
    assert simulation.result == Ok([None] * 6)
    [lost] = [line for line in simulation.history if "is lost: " in line]
    assert float(lost.split()[0]) > 2.0 + ABSENCE_SECONDS


def test_simulation_without_restarts_has_no_journal() -> None:
    assert not [line for line in simulate(io.pure(1)).history if "journal" in line]


def test_restart_of_another_process_than_the_coordinator_is_refused() -> None:
    with pytest.raises(MatchError, match="only the 'coordinator' has a journal"):
        Restart("worker-1")


# -- mistakes ---------------------------------------------------------------------------------


def sends_before_it_commits(patch: Patch) -> None:
    """A turn is in the journal only when the next one has come."""

    def commit(journal: MemoryJournal, board: Handshakes) -> None:
        held, waiting[:] = [*waiting], journal._inputs
        journal._inputs = held
        right(journal, board)

    waiting: list[Input] = []
    right = MemoryJournal.commit
    patch.setattr(MemoryJournal, "commit", commit)
    recover = MemoryJournal.recover

    def forgets(journal: MemoryJournal, make: Any) -> Handshakes:
        waiting.clear()
        return recover(journal, make)

    patch.setattr(MemoryJournal, "recover", forgets)


def forgets(kind: type[Any]) -> Callable[[Patch], None]:
    """Inputs of this kind aren't in the journal."""

    def plant(patch: Patch) -> None:
        def take_in(journal: MemoryJournal, board: Handshakes, input: Input) -> None:
            if isinstance(input, kind):
                input.take_up(board)
            else:
                right(journal, board, input)

        right = MemoryJournal.take_in
        patch.setattr(MemoryJournal, "take_in", take_in)

    return plant


def removes_blobs_at_once(patch: Patch) -> None:
    """A blob is removed with its last reference, though the journal may come by it again."""

    def commit(journal: MemoryJournal, board: Handshakes) -> None:
        right(journal, board)
        for number in journal.blobs.dropped:
            del journal._stored[number]
        journal.blobs.dropped.clear()

    right = MemoryJournal.commit
    patch.setattr(MemoryJournal, "commit", commit)


def removes_blobs_at_restarts(patch: Patch) -> None:
    """Blobs that nobody needs in the end are removed, though turns before that need them."""
    right = MemoryJournal.recover

    def recover(journal: MemoryJournal, make: Any) -> Handshakes:
        board = right(journal, make)
        stored = journal._stored
        journal._stored = {n: data for n, data in stored.items() if n in journal.blobs.alive}
        journal.blobs.dropped.clear()
        return board

    patch.setattr(MemoryJournal, "recover", recover)


def numbers_blobs_anew(patch: Patch) -> None:
    """After a checkpoint, blobs get numbers that others have."""
    right = MemoryJournal.recover

    def recover(journal: MemoryJournal, make: Any) -> Handshakes:
        board = right(journal, make)
        journal.blobs.next_number = 1
        return board

    patch.setattr(MemoryJournal, "recover", recover)


def says_nothing_again(patch: Patch) -> None:
    """A message that a member hasn't heard is lost with the connection."""
    right = NumberedSession.resume

    def resume(session: NumberedSession[Any, Any], heard: int, acknowledged: int = 0) -> list[Any]:
        right(session, heard, acknowledged)
        session._sent = session._said
        return []

    patch.setattr(NumberedSession, "resume", resume)


def big(count: int) -> IO[Any, Any, int]:
    """Fibers whose snapshots are blobs, and wait for each other."""

    def one(queue: Queue[bytes], n: int) -> IO[Any, Any, int]:
        data = bytes([n]) * 5_000
        return io.sleep(0.002 * n).then(queue.put(data), io.yield_, queue.take()).map(len)

    def run(queue: Queue[bytes]) -> IO[Any, Any, int]:
        return io.zip_par([one(queue, n) for n in range(count)]).map(sum)

    return Queue.create(2).flat_map(run)


MISTAKES: Final[dict[str, tuple[Callable[[Patch], None], Callable[[], IO[Any, Any, Any]], Any]]] = {
    "sends before it commits": (sends_before_it_commits, *LARGE["pipeline"]),
    "forgets timers": (forgets(Ticked), lambda: io.zip_par([io.sleep(0.01)] * 3), [None] * 3),
    "removes blobs at once": (removes_blobs_at_once, lambda: big(8), 40_000),
    "removes blobs at restarts": (removes_blobs_at_restarts, lambda: big(8), 40_000),
    "numbers blobs anew": (numbers_blobs_anew, lambda: big(8), 40_000),
    "says nothing again": (says_nothing_again, *LARGE["pipeline"]),
}


@pytest.mark.parametrize(
    "name", marked(MISTAKES, slow={"numbers blobs anew", "removes blobs at restarts"})
)
def test_mistake_with_the_journal_is_found(name: str, monkeypatch: Patch) -> None:
    find_soon(monkeypatch)
    plant, make, right = MISTAKES[name]
    plant(monkeypatch)
    faults = [Restart(at=0.003 + n / 200) for n in range(8)]
    with pytest.raises((CheckFailed, AssertionError, KeyError)):
        explore(make, None, lambda s: s.result == Ok(right), range(200), members=3, faults=faults)


@pytest.mark.slow
def test_program_with_blobs_has_its_result() -> None:
    faults = [Restart(at=0.003 + n / 200) for n in range(8)]
    explore(
        lambda: big(8), None, lambda s: s.result == Ok(40_000), range(10), members=3, faults=faults
    )
