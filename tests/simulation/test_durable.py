"""Named runs in the simulation: clients come and go at any moment, and the run is one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Queue, Var, io, resource
from distio.coordination.durable.coordinator import NamedRuns
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.state.registry import Run
from distio.errors import Cancelled, InvariantBroken
from distio.protocol import messages as m
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.protocol.ids import NOBODY
from distio.testing import Crash, Disconnect, Fail, Fault, Interrupt, Leave, Partition, Restart
from distio.testing.durable import DurableSimulation, simulate_durable

Program = IO[Any, Any, Any]

DAY: Final = 24 * 3600.0


def queue() -> Program:
    """Fibers that wait for each other, and for time to pass."""

    def work(queue: Queue[int]) -> Program:
        puts = io.zip_par([io.sleep(n % 3).then(queue.put(n)) for n in range(5)])
        return puts.then(io.zip([queue.take()] * 5)).map(sorted)

    return io.sleep(0.001).then(Queue.create().flat_map(work))


def counts() -> Program:
    """Updates that happen once each."""

    def work(var: Var[int]) -> Program:
        update = var.update(lambda n: (n + 1, None))
        return io.zip_par([io.sleep(n).then(update) for n in range(4)]).then(var.get())

    return Var.create(0).flat_map(work)


def days() -> Program:
    """A program that sleeps for days, as a cold fiber: no worker has anything of it meanwhile."""
    return io.zip([io.sleep(DAY).then(io.pure(n)) for n in (1, 2, 3)])


def fails() -> Program:
    return io.sleep(1).then(io.error("too late"))


RIGHT: Final[dict[Any, Any]] = {queue: Ok([0, 1, 2, 3, 4]), counts: Ok(4), days: Ok([1, 2, 3])}

CLIENTS: Final[tuple[Sequence[Fault], ...]] = (
    [],
    [Crash("client")],
    [Crash("client"), Crash("client-2")],
    [Fail("client"), Disconnect("client-2")],
    [Partition("client", seconds=100.0)],
)
WORKERS: Final[tuple[Sequence[Fault], ...]] = (
    [],
    [Crash(returns_after=0.5)],
    [Crash("worker-1"), Crash("worker-2", returns_after=5.0)],
    [Leave("worker-1", returns_after=1.0), Crash(returns_after=0.1)],
    [Disconnect(returns_after=0.1)],
)


def simulated(
    program: Any, seed: int, faults: Sequence[Fault] = (), **options: Any
) -> DurableSimulation:
    try:
        return simulate_durable(program, seed=seed, faults=faults, **options)
    except InvariantBroken as broken:
        raise AssertionError(f"seed {seed}, {faults}: {broken}") from broken


@pytest.mark.slow
@pytest.mark.parametrize("program", RIGHT)
def test_run_ends_with_the_same_result_whoever_dies_at_whatever_moment(program: Any) -> None:
    heard, restored = 0, 0
    for seed in range(75):
        clients, workers = CLIENTS[seed % 5], WORKERS[seed // 5 % 5]
        simulation = simulated(program, seed, [*clients, *workers])
        assert simulation.result == RIGHT[program], f"seed {seed}"
        heard += len(simulation.results)
        restored += simulation.restored
    assert heard > 120  # many clients live long enough
    assert restored > 6


@pytest.mark.slow
def test_two_clients_that_submit_at_once_get_one_run() -> None:
    for seed in range(6):
        simulation = simulated(queue, seed)
        assert (simulation.result, len(simulation.results)) == (RIGHT[queue], 3)


@pytest.mark.slow
def test_run_whose_clients_are_all_dead_is_there_for_the_next() -> None:
    for seed in range(6):
        faults = [Crash("client", at=0.5), Crash("client-2", at=0.5)]
        simulation = simulated(queue, seed, faults)
        assert (simulation.result, len(simulation.results)) == (RIGHT[queue], 1)


def test_run_sleeps_for_days_without_clients_and_workers() -> None:
    gone: list[Fault] = [Crash(name, at=100.0) for name in ("client", "client-2", "worker-1")]
    faults = [*gone, Crash("worker-2", at=100.0, returns_after=2 * DAY)]
    simulation = simulated(days, 1, faults)
    assert simulation.result == RIGHT[days]
    # the first day was over when no worker was there; the others begin when one is
    assert 4 * DAY + 100 < simulation.virtual_seconds < 4 * DAY + 101


@pytest.mark.slow
def test_fibers_that_sleep_without_a_worker_are_in_a_checkpoint_of_the_journal() -> None:
    program = io.zip_par([io.sleep(20.0 * n).then(io.pure(n)) for n in range(1, 5)])
    for seed in range(3):
        faults = [Restart(at=10.0 * n) for n in range(1, 8)]
        simulation = simulated(program, seed, faults)
        assert simulation.result == Ok([1, 2, 3, 4])
        assert 80.0 <= simulation.virtual_seconds < 81.0


def test_expected_failure_of_a_named_run_is_heard_by_all() -> None:
    simulation = simulated(fails, 1)
    assert simulation.result == io.error("too late").run(None)
    assert len(simulation.results) == 3


@pytest.mark.slow
def test_run_that_one_client_cancels_is_cancelled_for_all() -> None:
    for seed in range(6):
        program = io.sleep(DAY).finally_(lambda _: io.sleep(1))
        simulation = simulated(program, seed, [Interrupt(at=5.0)])
        assert isinstance(simulation.result, Panic)
        assert isinstance(simulation.result.exceptions[0].exception, Cancelled)
        assert (len(simulation.results), simulation.virtual_seconds < 10) == (3, True)


def test_deadlock_of_a_named_run_is_found_without_clients() -> None:
    program = Queue.create().flat_map(lambda queue: io.sleep(5).then(queue.take()))
    faults = [Crash("client", at=1.0), Crash("client-2", at=1.0)]
    result = simulated(program, 1, faults).result
    assert isinstance(result, Panic)
    assert "nothing can ever wake this run" in str(result.exceptions[0].exception)


def test_locks_of_a_named_run_are_free_after_its_end() -> None:
    lock = resource.lock("door")
    program = lock.with_(io.sleep(1)).then(lock.with_(io.pure(5)))
    assert simulated(program, 1, [Crash("client", at=0.5)]).result == Ok(5)


# -- planted faults ---------------------------------------------------------------------------


def broken_by(
    monkeypatch: pytest.MonkeyPatch,
    feature: type,
    name: str,
    fault: Any,
    snapshots: Snapshots = SNAPSHOTS,
) -> str:
    """The message of the simulation about a mistake, in some seed; without snapshots, no worker is
    lost."""
    monkeypatch.setattr(feature, name, fault)
    for seed in range(60):
        workers = [] if snapshots == "off" else WORKERS[seed // 5 % 5]
        faults = [*CLIENTS[seed % 5], *workers]
        try:
            simulation = simulate_durable(queue, seed=seed, faults=faults, snapshots=snapshots)
        except (InvariantBroken, AssertionError) as broken:
            return str(broken)
        if simulation.result != RIGHT[queue]:
            return f"the result is {simulation.result}"
    return ""


@pytest.mark.slow
def test_simulation_finds_a_run_that_is_started_for_each_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def submit(self: NamedRuns, sender: Any, message: m.SubmitNamedRun) -> None:
        known = self._by_name.get(message.name)
        if known is not None:
            del self._by_name[message.name]
            self._by_name[f"{known.name} {known.id}"] = known
            known.name = f"{known.name} {known.id}"
        self._attach(sender, message.question, self._start(sender, message))

    assert "second run" in broken_by(monkeypatch, NamedRuns, "submit", submit)


@pytest.mark.slow
def test_simulation_finds_a_run_that_ends_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    original = NamedRuns._start

    def start(self: NamedRuns, sender: Any, message: Any) -> Any:
        known = original(self, sender, message)
        self._state.runs[known.id].owner = sender.id
        return known

    assert broken_by(monkeypatch, NamedRuns, "_start", start)


@pytest.mark.slow
def test_simulation_finds_an_outcome_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    original = NamedRuns.run_ended

    def run_ended(self: NamedRuns, id: int, run: Run) -> None:
        original(self, id, run)
        if id in self._by_run:
            self._forget(self._by_run[id])

    assert broken_by(monkeypatch, NamedRuns, "run_ended", run_ended)


@pytest.mark.slow
def test_simulation_finds_an_outcome_that_nobody_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Outcomes.move_waits

    def move_waits(self: Outcomes, host: int, chunk: m.Chunk) -> bool:
        for fiber, _ in chunk.fibers:
            self._state.fibers[fiber].drop_waiter(NOBODY)
        return original(self, host, chunk)

    assert broken_by(monkeypatch, Outcomes, "move_waits", move_waits, "off")


@pytest.mark.slow
@pytest.mark.parametrize("program", RIGHT)
def test_run_goes_on_from_the_checkpoint_of_any_turn(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distio.testing.hub._TURNS_A_CHECKPOINT", 1)
    for event in range(5, 100, 5):
        assert simulated(program, 1, [Restart(event=event)]).result == RIGHT[program]
