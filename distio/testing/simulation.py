"""`simulate`: run a program on a simulated cluster."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distio.coordination.membership.session import ABSENCE_SECONDS
from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.errors import MatchError
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.result import Result
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.records import tagging
from distio.runtime.workers import Worker, as_workers
from distio.testing.cases import LATENCY, MAX_STEPS, Case, CheckFailed, InvariantFailed
from distio.testing.choices import Choices, parse_schedule
from distio.testing.faults import Fault
from distio.testing.history import History
from distio.testing.plan import Components, Limits, Plan
from distio.testing.world import World

__all__ = [
    "Simulation",
    "limits_of",
    "plan_for",
    "program_of",
    "refcounts_only",
    "run_world",
    "simulate",
]

E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)


@dataclass(frozen=True)
class Simulation(Generic[E, A]):
    """The outcome of one simulated run."""

    result: Result[E, A] | None
    """The Result of `run`; None if a fault took the client, or kept it from joining."""
    virtual_seconds: float
    """The time of the run on the virtual clock."""
    steps: int
    """The number of steps of fibers."""
    events: int
    """The number of events of the run: steps, what was sent and heard, timers, faults."""
    messages: int
    """The number of messages between the processes."""
    history: History
    """The events, line by line."""
    stayed: tuple[str, ...]
    """The fibers that should have travelled and stayed, each with the part that can't be
    pickled."""
    copied: tuple[str, ...] = ()
    """Generators of random numbers that were copied for several fibers: they draw equal numbers."""
    left_open: int = 0
    """The number of primitives and locks with too many calls to see whether these fit an order."""

    def __repr__(self) -> str:
        return (
            f"<simulation of {self.virtual_seconds:g} virtual seconds, {self.steps} steps, "
            f"{self.messages} messages: {self.result!r}>"
        )


def simulate(
    main: IO[Any, E, A] | Callable[[], IO[Any, E, A]],
    context: Any = None,
    *,
    members: int | Sequence[Worker] = 3,
    threads: int = 2,
    seed: int = 0,
    latency: float | tuple[float, float] = LATENCY,
    faults: Sequence[Fault] = (),
    snapshots: Snapshots = SNAPSHOTS,
    max_virtual_seconds: float = math.inf,
    max_steps: int = MAX_STEPS,
    schedule: str | None = None,
    invariant: Callable[[], object] | None = None,
    components: Components = Components(),  # noqa: B008 (it is frozen)
) -> Simulation[E, A]:
    """Run a program on a cluster that is simulated in this thread.

    The interpreter and the machines of client, workers and coordinator are the real ones. Their
    messages are really encoded and pickled. Time is virtual, and passes only when nothing else can
    happen. The seed chooses the order of events, so the same seed gives the same history.

    Args:
        main: the program, or a function that makes the program. Programs that share objects need a
            function, so that each simulation has objects of its own.
        context: the value that `io.read` computes.
        members: the number of workers, beside the client; or a list that says of each which tags
            and resources it has, by a `Worker` (its threads are `threads`).
        threads: the number of threads in each process that step fibers. With 2, the seed also meets
            what only happens between threads; a worker of a cluster has 1 unless told otherwise.
        seed: a whole number. It decides which ready fiber steps next, how long messages take, and
            so on, and which numbers `io.random` draws.
        latency: the virtual seconds that a message takes, or a pair of the least and the most.
        faults: the faults: `Crash`, `Fail`, `Pause`, `Partition`, `Disconnect`, `Interrupt`,
            `Leave`, `Shutdown`, `Stop`.
        snapshots: what is kept of fibers in case their worker is lost; see `run`.
        max_virtual_seconds: the longest virtual time of the run, in seconds.
        max_steps: the largest number of steps of fibers.
        schedule: a schedule that `explore` has printed. Then the seed decides only the numbers that
            `io.random` draws.
        invariant: a function without arguments that is called after each event of the run. It
            raises, or returns False, if something is wrong; the simulation ends there.
        components: `MOVE_ON_WAKE`: fibers move whenever they wake. Others are for distio's own
            tests.

    Returns:
        The outcome of the run, with its history.

    Raises:
        CheckFailed: the invariant of the test doesn't hold; the exception holds the line that
            repeats it, and the history until then.
        SimulationLimit: the run took more steps or more virtual time than it may.
        InvariantBroken: a mistake in distio: please report it.
        KeyboardInterrupt: Ctrl-C was pressed, or the program raised it.
        MatchError: an argument is of another kind.

    >>> from distio import io
    >>> three_days = 3 * 24 * 3600
    >>> simulation = simulate(io.sleep(three_days).then(io.pure("done")))
    >>> simulation.result, simulation.virtual_seconds >= three_days
    (Ok(success='done'), True)
    """
    limits = limits_of(max_steps, max_virtual_seconds)
    plan = plan_for(members, threads, latency, faults, limits, snapshots, invariant)
    expect.integer(seed, "simulate", "seed is a whole number")
    case = Case(plan, seed, None if schedule is None else parse_schedule(schedule))
    choices = case.choices()
    try:
        return run_world(plan, choices, main, context, components)
    except InvariantFailed as failed:
        line = case.line(has_drawn=choices.has_drawn)
        raise CheckFailed(str(failed), seed, line, failed.history) from failed


def plan_for(
    members: int | Sequence[Worker],
    threads: int,
    latency: float | tuple[float, float],
    faults: Sequence[Fault],
    limits: Limits,
    snapshots: Snapshots = SNAPSHOTS,
    invariant: Callable[[], object] | None = None,
) -> Plan:
    """Make the plan of a world.

    Raises:
        MatchError: it can't be like that.
    """
    workers = () if isinstance(members, int) else as_workers(members, 1, "simulate: members")
    count = _count(members, "members") if isinstance(members, int) else len(workers)
    names = {"client", "coordinator", *[f"worker-{index + 1}" for index in range(count)]}
    for fault in _list_of_faults(faults):
        if fault.process is not None and fault.process not in names:
            raise MatchError(
                f"{fault!r} befalls nobody: the processes are {', '.join(sorted(names))}"
            )
    if invariant is not None:
        expect.function(invariant, "simulate: invariant")
    return Plan(
        invariant=invariant,
        members=count,
        workers=workers,
        threads=_count(threads, "threads"),
        latency=_range_of(latency),
        faults=faults,
        limits=limits,
        patience_seconds=PATIENCE_SECONDS,
        absence_seconds=ABSENCE_SECONDS,
        snapshots=snapshots,
    )


def run_world(
    plan: Plan,
    choices: Choices,
    main: IO[Any, E, A] | Callable[[], IO[Any, E, A]],
    context: Any,
    components: Components,
) -> Simulation[E, A]:
    """Simulate one run, with choices of any kind."""
    io = program_of(main)
    with refcounts_only():  # the world is gone when garbage is collected: it is a part of that
        return _run_world(World(plan, choices, components), io, context)


def _run_world(world: World, io: IO[Any, E, A], context: Any) -> Simulation[E, A]:
    with tagging:
        world.run(io, context)
    seconds, events = world.now, world.events
    world.drain()
    return Simulation(
        result=world.result,
        virtual_seconds=seconds,
        steps=world.steps,
        events=events,
        messages=world.messages,
        history=world.history,
        stayed=tuple(world.stayed),
        copied=tuple(world.copied),
        left_open=world.left_open,
    )


def program_of(main: IO[Any, E, A] | Callable[[], IO[Any, E, A]]) -> IO[Any, E, A]:
    """The program, or what the function makes.

    Raises:
        MatchError: it is neither a program nor a function that makes one.
    """
    program: Any = main
    if callable(program):
        program = program()
        return require_io(program, "simulate", main)
    return require_io(program, "simulate")


@contextmanager
def refcounts_only() -> Iterator[None]:
    """A context without garbage collection, whose times depend on what the process did before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _count(number: Any, name: str) -> int:
    if expect.is_count(number):
        return int(number)
    raise MatchError(f"simulate: {name} is a number from 1, but got {number!r}")


def limits_of(steps: Any, seconds: Any = math.inf) -> Limits:
    """The limits of a run.

    Raises:
        MatchError: these aren't a number of steps and a number of virtual seconds.
    """
    if seconds == math.inf or (expect.is_time(seconds) and seconds >= 0):
        return Limits(_count(steps, "max_steps"), seconds)
    raise MatchError(
        f"simulate: max_virtual_seconds is a number of seconds from 0, or math.inf, "
        f"but got {expect.shown(seconds)}"
    )


def _list_of_faults(faults: Any) -> Sequence[Fault]:
    if isinstance(faults, Sequence) and all(isinstance(each, Fault) for each in faults):
        return faults
    raise MatchError(
        f"simulate: faults is a list of Crash(), Fail(), Pause(), Partition(), Disconnect(), "
        f"FullDisk(), Interrupt(), Leave(), Restart(), Shutdown(), SlowDisk() and Stop(), "
        f"but got {faults!r}"
    )


def _range_of(latency: Any) -> tuple[float, float]:
    pair = latency if isinstance(latency, tuple | list) else (latency, latency)
    if len(pair) == 2 and all(expect.is_time(each) for each in pair):
        low, high = pair
        if 0 <= low <= high:
            return low, high
    raise MatchError(
        f"simulate: latency is a number of seconds, or (least, most), but got {latency!r}"
    )
