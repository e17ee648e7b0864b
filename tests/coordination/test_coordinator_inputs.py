"""The coordinator is a function of its inputs: it can be stopped and loaded between any two events.

A simulation is checked in two ways: with a coordinator that is pickled and loaded before each
event, the history is the same; and a fresh coordinator that is given the recorded inputs says the
same, and comes to the same state.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from types import MethodType
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Deferred, Queue, Var, io, resource
from distio.coordination.coordinator import Coordinator
from distio.coordination.gate import Gate
from distio.coordination.state.events import Event, Send
from distio.testing import (
    MOVE_ON_WAKE,
    Components,
    Crash,
    Disconnect,
    Fail,
    Fault,
    Interrupt,
    Leave,
    Partition,
    Pause,
    Shutdown,
    Simulation,
    simulate,
)
from distio.testing.durable import DurableSimulation, simulate_durable
from tests.harness.programs import programs, to_io

Program = IO[Any, Any, Any]


# -- what is compared -------------------------------------------------------------------------


def describe(value: Any, known: dict[int, int] | None = None, *, opaque: bool = False) -> Any:
    """A state as plain data: equal if the states are, whatever their addresses and hashes.

    Args:
        value: the state, or a part of it.
        known: which objects belong to it that were described before.
        opaque: whether bytes are all the same.
    """
    known = {} if known is None else known
    if opaque and isinstance(value, bytes):
        return "bytes"
    if value is None or isinstance(value, bool | int | float | str | bytes | Enum | type):
        return value
    if isinstance(value, MethodType):
        return value.__name__, describe(value.__self__, known, opaque=opaque)
    if isinstance(value, list | tuple | deque):
        return [type(value).__name__, *[describe(each, known, opaque=opaque) for each in value]]
    if isinstance(value, set | frozenset):
        return sorted((describe(each, known, opaque=opaque) for each in value), key=repr)
    if isinstance(value, dict):
        return [
            (describe(key, known, opaque=opaque), describe(each, known, opaque=opaque))
            for key, each in value.items()
        ]
    if id(value) in known:
        return "known as", known[id(value)]
    known[id(value)] = len(known)
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, describe(msgspec.structs.astuple(value), known, opaque=opaque)
    return type(value).__name__, describe(value.__getstate__(), known, opaque=opaque)


class Input(NamedTuple):
    """An input of a coordinator, and the commands that followed."""

    now: float
    event: Event
    commands: list[Send]


class Coordinators:
    """The coordinators of simulations, each behind its gate, and their inputs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_reloading = False
        self.restarts = 0
        self.inputs: list[Input] = []
        self.machine = Coordinator()
        self._handle = Gate.handle
        monkeypatch.setattr(Gate, "handle", lambda gate, now, event: self.take(gate, now, event))

    def take(self, gate: Gate, now: float, event: Event) -> list[Send]:
        """Stands in for `Gate.handle`, and may load the machine anew first."""
        self.machine = gate._machine
        if self.is_reloading:
            gate._machine.__setstate__(pickle.loads(pickle.dumps(gate._machine)).__getstate__())
            self.restarts += 1
        commands = self._handle(gate, now, event)
        self.inputs.append(Input(now, event, commands))
        return commands

    def take_inputs(self) -> list[Input]:
        """Take out what coordinators were given since this was called last."""
        inputs, self.inputs = self.inputs, []
        return inputs

    def take_said(self) -> list[Any]:
        """Take out what coordinators said to that, but for bytes: pickles may differ."""
        return [describe(each.commands, opaque=True) for each in self.take_inputs()]

    def check_reloads(self, run: Callable[[], Simulation[Any, Any] | DurableSimulation]) -> None:
        """A coordinator that is loaded before each event of a simulation says the same in it."""
        self.inputs.clear()
        self.is_reloading = False
        history, said = str(run().history), self.take_said()
        self.is_reloading = True
        assert str(run().history) == history
        assert self.take_said() == said

    def check_replay(self, run: Callable[[], Simulation[Any, Any] | DurableSimulation]) -> None:
        """A fresh coordinator says the same to the inputs of a simulation, and ends the same."""
        self.inputs.clear()
        self.is_reloading = False
        self.machine = Coordinator()  # there may be no input: all have left before they had joined
        run()
        machine = Coordinator()
        gate = Gate(machine)
        for now, event, commands in self.take_inputs():
            copied = pickle.loads(pickle.dumps(event))  # nothing depends on what is shared
            assert self._handle(gate, now, copied) == commands
        for each in (machine, self.machine):
            each.features.timers.count_anew()  # a look at the heap clears it
        assert describe(machine) == describe(self.machine)


@pytest.fixture
def coordinators(monkeypatch: pytest.MonkeyPatch) -> Coordinators:
    return Coordinators(monkeypatch)


# -- programs ---------------------------------------------------------------------------------


def tree(depth: int) -> Program:
    """Fibers that start fibers, and sleep."""
    if depth == 0:
        return io.sleep(0.01).then(io.pure(1))
    return io.zip_par(tree(depth - 1), io.yield_.then(tree(depth - 1))).map(sum)


@io.do
async def pipeline() -> int:
    """Items that go through two queues, one of which has a limit."""
    first, second = await Queue.create(), await Queue.create(1)

    @io.do
    async def puts(start: int) -> None:
        for n in range(start, start + 5):
            await first.put(n)

    @io.do
    async def passes() -> None:
        for _ in range(5):
            await second.put(await first.take())

    @io.do
    async def takes() -> int:
        return sum([await second.take() for _ in range(10)])

    total: int
    *_, total = await io.zip_par(puts(0), puts(5), passes(), passes(), takes())
    return total


@io.do
async def shared() -> int:
    """Fibers that take turns at a lock, a semaphore, a limit and a variable."""
    var, tokens = await Var.create(0), await resource.semaphore(2)
    lock, limit = resource.lock("door"), await resource.rate_limit(3, 0.01)
    add = var.get().flat_map(lambda n: io.yield_.then(var.set(n + 1)))
    await io.zip_par([tokens.with_(lock.with_(add)) for _ in range(5)])
    await io.zip_par([limit.with_(io.yield_) for _ in range(5)])
    await io.zip_par([var.update(lambda n: (n + 1, None)) for _ in range(5)])
    return await var.get()


@io.do
async def looked_at() -> int:
    """Fibers whose handles are handed on, that are asked after, waited for and cancelled."""
    queue = await Queue.create()
    value = await Deferred.create()

    @io.do
    async def one(n: int) -> int:
        await io.yield_
        await queue.put(await io.parallel(io.sleep(0.01).then(io.pure(n))))
        return await value.get() if n % 2 else n

    started = await io.parallel([one(n) for n in range(6)])
    handles = [await queue.take() for _ in range(3)]
    await io.zip_par([fiber.status() for fiber in started])
    await started[0].cancel().timeout(0.01).attempt()
    await value.set(7)
    await io.zip_par([io.wait(each) for each in handles])
    return len(await io.wait(started))


@io.do
async def stuck() -> None:
    """Fibers that wait for each other for ever, and hold something meanwhile."""
    first, second = resource.lock("first"), resource.lock("second")
    hold = io.sleep(0.001)
    both = first.with_(hold.then(second.with_(hold))), second.with_(hold.then(first.with_(hold)))
    await io.zip_par(*[each.finally_(lambda _: io.sleep(0.001)) for each in both])


PROGRAMS: Final[dict[str, Program]] = {
    "tree": tree(3),
    "pipeline": pipeline(),
    "shared": shared(),
    "looked at": looked_at(),
    "stuck": stuck(),
}
FAULTS: Final[dict[str, Sequence[Fault]]] = {
    "none": (),
    "crash": (Crash(returns_after=0.01), Pause(None, None, 0.01)),
    "client": (Crash("client"),),
    "links": (Disconnect(returns_after=0.1), Partition(None, None, 30.0)),
    "leave": (Leave(), Fail()),
    "interrupt": (Interrupt(), Crash()),
    "shutdown": (Shutdown(),),
}
PLAIN: Final = Components()


def runner(
    program: str, fault: str, seed: int, parts: Components = PLAIN
) -> Callable[[], Simulation[Any, Any] | DurableSimulation]:
    def run() -> Simulation[Any, Any]:
        faults = FAULTS[fault]
        return simulate(PROGRAMS[program], members=3, seed=seed, faults=faults, components=parts)

    return run


# -- tests ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_coordinator_that_is_reloaded_before_each_event_says_the_same(
    program: str, coordinators: Coordinators
) -> None:
    coordinators.check_reloads(runner(program, "crash", 1, MOVE_ON_WAKE))
    assert coordinators.restarts > 20


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_coordinator_that_is_given_recorded_inputs_says_the_same(
    program: str, coordinators: Coordinators
) -> None:
    coordinators.check_replay(runner(program, "crash", 2, MOVE_ON_WAKE))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_coordinator_is_a_function_of_its_inputs_under_all_faults(
    program: str, fault: str, coordinators: Coordinators
) -> None:
    for seed in range(2):
        parts = MOVE_ON_WAKE if seed % 2 else PLAIN
        coordinators.check_reloads(runner(program, fault, seed, parts))
        coordinators.check_replay(runner(program, fault, seed, parts))
    assert coordinators.restarts > 15


@pytest.mark.slow
@pytest.mark.seeds(30)
def test_coordinator_of_generated_programs_is_a_function_of_its_inputs(
    coordinators: Coordinators, examples: int
) -> None:
    @settings(max_examples=examples)
    @given(programs(), st.integers(0, 2**32), st.sampled_from(sorted(FAULTS)))
    def check(program: Any, seed: int, fault: str) -> None:
        main, faults = to_io(program), FAULTS[fault]

        def run() -> Simulation[Any, Any]:
            return simulate(main, 7, seed=seed, members=2, faults=faults, components=MOVE_ON_WAKE)

        coordinators.check_reloads(run)
        coordinators.check_replay(run)

    check()
    assert coordinators.restarts > examples  # most often there are hundreds


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_coordinator_of_named_runs_is_a_function_of_its_inputs(
    program: str, coordinators: Coordinators
) -> None:
    faults: list[Fault] = [Crash("client"), Disconnect("client-2"), Crash(returns_after=0.1)]
    for seed in range(2):

        def run(seed: int = seed) -> DurableSimulation:
            return simulate_durable(PROGRAMS[program], seed=seed, faults=faults)

        coordinators.check_reloads(run)
        coordinators.check_replay(run)
