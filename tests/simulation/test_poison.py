"""A fiber that ends each worker that steps it is lost in the end, and nobody else is."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Ok, Panic, Queue, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.state.events import Event, Send
from distio.errors import MatchError, ProcessExit, WorkerLost
from distio.testing import Components, Crash, simulate
from distio.testing.durable import simulate_durable

POISON = Crash(fiber="poison", returns_after=0.01)
INNOCENT = 20


class Counting(Coordinator):
    """Notes how often each fiber was suspected."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[int, int] = {}

    def handle(self, now: float, event: Event) -> list[Send]:
        commands = super().handle(now, event)
        for fiber, record in self.fibers.items():
            self.losses[fiber] = max(record.rare.losses, self.losses.get(fiber, 0))
        return commands


def innocent(number: int) -> IO[Any, Any, int]:
    return io.sleep(0.01).then(io.yield_).then(io.yield_).then(io.pure(number))


def alone() -> IO[Any, Any, Any]:
    poison = io.sleep(0.005).then(io.yield_).then(io.pure("never")).named("poison")
    return io.parallel(poison, *map(innocent, range(INNOCENT))).flat_map(io.wait)


def in_a_tree() -> IO[Any, Any, Any]:
    child = io.yield_.then(io.pure("never")).named("poison")
    family = io.zip_par(io.yield_.then(child), io.sleep(1.0))
    return io.parallel(family, *map(innocent, range(INNOCENT))).flat_map(io.wait)


def beside_talkers() -> IO[Any, Any, Any]:
    def programs(queue: Queue[int]) -> IO[Any, Any, Any]:
        poison = io.yield_.then(io.pure("never")).named("poison")
        talkers = [
            queue.put(n).then(io.yield_).then(queue.take()).map(lambda _, n=n: n)  # type: ignore[misc]  # mypy: a lambda with a default
            for n in range(INNOCENT)
        ]
        return io.parallel(poison, *talkers).flat_map(io.wait)

    return Queue.create().flat_map(programs)


@pytest.mark.slow
@pytest.mark.parametrize("program", [alone, in_a_tree, beside_talkers])
@pytest.mark.parametrize("seed", range(10))
def test_poison_is_lost_after_three_workers_and_hurts_no_other_fiber(
    program: Any, seed: int
) -> None:
    machine = Counting()
    simulation = simulate(
        program,
        members=2,
        threads=1,
        seed=seed,
        faults=[POISON],
        components=Components(coordinator=lambda: machine),
    )
    assert isinstance(simulation.result, Ok), simulation.result
    ended, *others = simulation.result.success
    assert others == [Ok(n) for n in range(INNOCENT)]
    assert isinstance(ended, Panic)
    lost = ended.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason == (
        "killed by SIGKILL; 3 workers were lost while the fiber ran there, so it may be what ends "
        "them"
    )
    assert isinstance(lost.exit, ProcessExit)
    assert (lost.exit.signal, lost.exit.out_of_memory) == ("SIGKILL", False)
    (running,) = lost.exit.running
    assert running.endswith(" (poison)")
    assert sorted(machine.losses.values())[-2:] == [0, 3]
    assert sum(line.endswith(": crashes") for line in simulation.history) == 3


@pytest.mark.slow
def test_fiber_is_not_suspected_by_workers_that_it_never_reached() -> None:
    """The power of all workers fails; who is held for lost gives the fiber to the next one."""
    faults = [Crash(f"worker-{n}", at=1.0, returns_after=20.0) for n in range(1, 6)]
    for seed in range(6):
        program = io.sleep(2.0).then(io.pure("right"))
        simulation = simulate_durable(program, members=5, seed=seed, faults=faults)
        assert simulation.result == Ok("right"), f"seed {seed}"


def test_poison_in_a_scope_is_a_failure_of_its_program() -> None:
    program = io.zip_par(io.yield_.named("poison"), io.sleep(1.0))
    result = simulate(program, threads=1, faults=[POISON]).result
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, WorkerLost)


@pytest.mark.parametrize("where", [{"process": "worker-1"}, {"at": 1.0}, {"fiber": 7}])
def test_crash_of_a_fiber_elsewhere_or_at_a_time_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(MatchError, match="Crash: fiber is the name of a fiber"):
        Crash(**{"fiber": "poison", **where})
