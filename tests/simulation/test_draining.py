"""Workers that leave: their fibers go on elsewhere, and nothing is done twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Ok, Panic, Queue, Var, io, resource
from distio.coordination import coordinator as coordinator_machine
from distio.coordination import member as member_machine
from distio.coordination.executor.tasks import Work
from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.recovery.draining import Drain
from distio.core.fiber import Fiber
from distio.protocol.domains import Snapshots
from distio.result import Result
from distio.testing import (
    CheckFailed,
    Crash,
    Disconnect,
    Fault,
    Interrupt,
    Leave,
    Simulation,
    explore,
    simulate,
)
from distio.testing.processes import Process
from tests.harness.generated import CONTEXT, SEEDS, SHAPES
from tests.harness.planting import find_soon
from tests.harness.programs import Program, comparable, expected, programs, to_io

Io = IO[Any, Any, Any]

LEVELS: Final[Sequence[Snapshots]] = ("births", "suspensions")
ROLLING: Final = [
    Leave(f"worker-{n}", at=0.004 * n, returns_after=0.002) for n in (1, 2, 3, 1, 2, 3)
]
"""Each worker leaves, one after the other, and is started anew."""
LEAVES: Final[Sequence[Sequence[Fault]]] = (
    [Leave()],
    [Leave(), Leave()],
    [Leave("worker-1", at=0.005), Leave("worker-2", at=0.009)],
    ROLLING,
)
CALLED: Counter[tuple[str, int, int]] = Counter()
"""A simulated cluster is one process: fibers count here wherever they are."""


def call(kind: str, who: int, step: int) -> int:
    CALLED[kind, who, step] += 1
    return 1


# -- programs, and their right Results --------------------------------------------------------

ITEMS: Final = 4


def producer(queue: Any, who: int, item: int = 0) -> Any:
    if item == ITEMS:
        return io.pure(None)
    put = io.yield_.then(io.defer(call, "put", who, item)).then(queue.put((who, item)))
    return put.flat_map(lambda _: io.defer_io(producer, queue, who, item + 1))


def stage(source: Any, sink: Any) -> Any:
    def pass_on(item: Any) -> Any:
        passed = io.yield_.then(io.zip_par(io.defer(call, "pass", *item), io.yield_))
        return passed.flat_map(lambda _: sink.put(item))

    return source.take().flat_map(pass_on).flat_map(lambda _: io.defer_io(stage, source, sink))


def collect(queue: Any, count: int, seen: tuple[Any, ...] = ()) -> Any:
    if not count:
        return io.pure(sorted(seen))
    return queue.take().flat_map(lambda item: io.defer_io(collect, queue, count - 1, (*seen, item)))


def pipeline(size: int | None) -> Io:
    CALLED.clear()

    def made(queues: tuple[Queue[Any], Queue[Any]]) -> Io:
        source, sink = queues
        stages = io.parallel([stage(source, sink).attempt()] * 3)
        makers = io.parallel([io.zip_par(producer(source, who)) for who in range(3)])
        return stages.flat_map(
            lambda started: makers.then(collect(sink, 3 * ITEMS)).flat_map(
                lambda seen: io.zip_par([each.cancel() for each in started]).then(io.pure(seen))
            )
        )

    source = Queue.create() if size is None else Queue.create(size)
    return io.zip(source, Queue.create()).flat_map(made)


def variables() -> Io:
    CALLED.clear()

    def work(parts: Any, who: int, step: int = 0) -> Any:
        lock, var, semaphore = parts
        if step == 3:
            return io.pure(None)
        slowly = io.yield_.then(io.sleep(0.001), io.defer(call, "set", who, step))
        body = var.get().flat_map(lambda n: slowly.then(var.set(n + 1)))
        body = body.then(var.update(lambda n: (n + 100, None)))
        held = semaphore.with_(lock.with_(body))
        return held.flat_map(lambda _: io.defer_io(work, parts, who, step + 1))

    made = io.zip(resource.reentrant_lock, Var.create(0), resource.semaphore(2))
    return made.flat_map(
        lambda parts: io.zip_par([io.zip_par(work(parts, who)) for who in range(4)]).then(
            parts[1].get()
        )
    )


def steps() -> Io:
    """Fibers that call a function, sleep, and so on."""
    CALLED.clear()

    def work(who: int, step: int = 0) -> Io:
        if step == 4:
            return io.pure(who)
        called = io.defer(call, "step", who, step).then(io.sleep(0.003))
        return called.flat_map(lambda _: io.defer_io(work, who, step + 1))

    return io.zip_par([io.zip_par(work(who), io.yield_) for who in range(5)]).map(len)


def blocked() -> Io:
    """Fibers that wait for calls on other threads."""
    CALLED.clear()
    calls = [io.blocking(call, "blocking", who, 0).then(io.sleep(0.001)) for who in range(4)]
    return io.zip_par([io.zip_par(each) for each in calls]).map(len)


def cancelled() -> Io:
    """A fiber that is cancelled by another one, and both are on workers."""
    CALLED.clear()
    children = io.parallel(io.sleep(50))
    return children.flat_map(
        lambda slept: (
            io.zip_par(slept[0].cancel_soon())
            .then(io.sleep(0.02))
            .then(io.wait(slept).map(lambda results: isinstance(results[0], Panic)))
        )
    )


PROGRAMS: Final[dict[str, tuple[Callable[[], Io], Any]]] = {
    "pipeline": (
        lambda: pipeline(None),
        [(who, item) for who in range(3) for item in range(ITEMS)],
    ),
    "narrow pipeline": (
        lambda: pipeline(1),
        [(who, item) for who in range(3) for item in range(ITEMS)],
    ),
    "variables": (variables, 4 * 3 * 101),
    "steps": (steps, 5),
    "blocked": (blocked, 4),
    "cancelled": (cancelled, True),
}


def is_right(name: str, result: Result[Any, Any] | None) -> bool:
    return result == Ok(PROGRAMS[name][1]) and set(CALLED.values()) <= {1}


def take_time(process: Process, run: Any, withdrawn: Any, fiber: Fiber) -> Callable[[], None]:
    """A call on another thread that takes its time."""
    world: Any = process._world
    world._agenda.put(world.now + 0.004, lambda _: run(), None)
    return lambda: None


# -- Results ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_workers_that_leave_change_no_result_and_repeat_nothing(
    name: str, level: Snapshots, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "run_in_thread", take_time)
    program, _ = PROGRAMS[name]
    for faults in LEAVES:
        for seed in range(2):
            simulation = simulate(
                program, seed=seed, members=3, threads=threads, faults=faults, snapshots=level
            )
            assert is_right(name, simulation.result), (faults, seed, CALLED)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_generated_program_has_its_result_when_workers_leave(level: Snapshots) -> None:
    @settings(max_examples=40)
    @given(programs(), SEEDS, SHAPES, st.sampled_from(LEAVES))
    def check(program: Program, seed: int, shape: tuple[int, int], faults: Sequence[Fault]) -> None:
        _, threads = shape
        simulation = simulate(
            to_io(program),
            CONTEXT,
            seed=seed,
            members=3,
            threads=threads,
            faults=faults,
            snapshots=level,
        )
        assert comparable(simulation.result) == comparable(expected(program, CONTEXT))

    check()


@pytest.mark.slow
def test_call_of_an_actor_that_runs_when_its_worker_leaves_has_its_result() -> None:
    slow = io.zip_par(
        io.actor(list).flat_map(lambda it: io.sleep(0.01).then(it.append(1), it.call(len)))
    )
    for seed in range(20):
        result = simulate(slow, seed=seed, faults=[Leave("worker-1", at=0.005)]).result
        assert result == Ok((1,)) or "left the cluster" in str(result)


def test_fiber_that_cannot_be_saved_is_lost_and_the_others_go_on() -> None:
    def keep() -> Io:
        mutex = threading.Lock()  # can't be pickled
        return io.sleep(1.0).map(lambda _: mutex.locked())

    main = io.parallel(io.defer_io(keep), io.sleep(1.0).then(io.pure(7))).flat_map(io.wait)
    leaves = Leave("worker-1", at=0.5, returns_after=0.1)
    result = simulate(main, members=1, faults=[leaves]).result
    assert isinstance(result, Ok)
    lost, other = result.success
    assert isinstance(lost, Panic)
    assert "left the cluster; the fiber was with a worker that leaves" in str(lost)
    assert "could not be saved then" in str(lost)
    assert other == Ok(7)


@pytest.mark.parametrize("ends", [Interrupt(at=1.5), Crash("client", at=1.5)])
@pytest.mark.parametrize(("returns_after", "is_released"), [(3.0, True), (30.0, False)])
def test_fiber_whose_worker_and_run_have_gone_releases_if_a_worker_comes_in_time(
    ends: Fault, returns_after: float, is_released: bool
) -> None:
    CALLED.clear()
    asleep = io.sleep(1000).finally_(lambda _: io.defer(call, "released", 0, 0))
    leaves = Leave("worker-1", at=1.0, returns_after=returns_after)
    simulation = simulate(io.zip_par([asleep]), members=1, threads=1, faults=[leaves, ends])
    assert CALLED["released", 0, 0] == is_released
    dropped = [line for line in simulation.history if "is dropped before it has released" in line]
    assert len(dropped) == (not is_released)


# -- planted mistakes -------------------------------------------------------------------------


class StepsOn(Drain):
    """A drained fiber is stepped on."""

    def keeps(self, work: Work) -> bool:
        is_saved = isinstance(work, Fiber) and work.id in self._saved
        return not is_saved and super().keeps(work)

    def note(self, fiber: Fiber) -> None:
        if fiber.id not in self._saved:
            super().note(fiber)


class LeavesAtOnce(Drain):
    """The goodbye is said before the snapshots are taken."""

    def _look_later(self) -> None:
        """Take no snapshot."""

    def is_over(self) -> bool:
        return True


class CountsDrains(Recovery):
    """A drain counts as a loss."""

    def _suspects(self, lost: Any) -> dict[int, int]:
        return {id: 0 for id, each in self._state.fibers.items() if each.host == lost.id}


class WaitsForNoCall(Drain):
    """A blocking call isn't waited for."""

    def _rests(self, fiber: Fiber) -> bool:
        return super()._rests(fiber) or fiber.id in self._state.parked


PLANTED: Final[dict[str, tuple[Any, type[Any], str, Sequence[Fault]]]] = {
    "a drained fiber is stepped on": (member_machine, StepsOn, "steps", [Leave()]),
    "goodbye before the snapshots": (member_machine, LeavesAtOnce, "steps", [Leave()]),
    "a drain counts as a loss": (coordinator_machine, CountsDrains, "steps", ROLLING),
    "a blocking call isn't waited for": (member_machine, WaitsForNoCall, "blocked", [Leave()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_planted_mistake_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_soon(monkeypatch)
    monkeypatch.setattr(Process, "run_in_thread", take_time)
    machine, feature, of, faults = PLANTED[name]
    program, _ = PROGRAMS[of]

    def check(simulation: Simulation[Any, Any]) -> bool:
        return is_right(of, simulation.result)

    explore(program, None, check, range(30), members=3, faults=faults)  # before it is planted
    monkeypatch.setattr(machine, feature.__mro__[1].__name__, feature)
    with pytest.raises(CheckFailed) as found:
        explore(program, None, check, range(1000), members=3, faults=faults)
    assert found.value.seed < 1000


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("is_cut", [False, True], ids=["crash", "cut"])
@pytest.mark.parametrize("size", [None, 1])
def test_worker_that_is_lost_while_it_leaves_breaks_no_promise(
    size: int | None, *, is_cut: bool, level: Snapshots
) -> None:
    """The simulation finds what happens twice, and that no machinery fails."""
    for seed in range(12):
        leaves = (0.003, 0.005, 0.008)[seed % 3]
        at = leaves + 0.0003 * (1 + seed % 6)
        lost = Disconnect("worker-1", at=at, seconds=60) if is_cut else Crash("worker-1", at=at)
        faults = [Leave("worker-1", at=leaves), lost]
        program = pipeline(size)
        threads = 1 + seed % 2
        simulation = simulate(
            program, seed=seed, members=3, threads=threads, faults=faults, snapshots=level
        )
        if level == "suspensions":
            assert simulation.result == Ok(PROGRAMS["pipeline"][1])
