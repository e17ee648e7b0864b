"""No wake-up is lost: it may come before its fiber waits, meanwhile, or later.

A fiber comes to wait in two steps: an executor runs it until it makes a request, and commits the
request under the mutex. "Meanwhile" is between these two. If the waking fiber is in another
process, "meanwhile" is while the messages of both are under way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from distio import IO, Ok, Resource, io
from distio.coordination.executor.executor import Executor
from distio.coordination.state.events import Tick
from distio.core.fiber import Fiber
from distio.protocol.ids import fiber_id
from distio.protocol.requests import YIELDED, Lock
from distio.resource._resource import of_lock
from distio.testing import Simulation, explore
from tests.harness.members import World, outcome_of

Program = IO[Any, Any, Any]
Moment = str

BEFORE, MEANWHILE, LATER = MOMENTS = ("before", "meanwhile", "later")

ROOT: Final = fiber_id(1, 0)
CHILD: Final = fiber_id(1, 1)

DOOR: Final[Resource[Any, Any, None]] = of_lock(Lock("door"))
POOL: Final[Resource[Any, Any, None]] = of_lock(Lock("pool", 2))

WAITS: Final[dict[str, tuple[Program, Callable[[list[Any]], Program]]]] = {
    "wait": (io.yield_.then(io.pure("it")), lambda fibers: io.wait(fibers).map(lambda r: r[0])),
    "lock": (DOOR.with_(io.yield_), lambda _: DOOR.with_(io.pure(Ok("it")))),
    "semaphore": (POOL.with_(POOL.with_(io.yield_)), lambda _: POOL.with_(io.pure(Ok("it")))),
}
"""A child's program until it yields, and then wakes its parent; the parent's wait."""


class Scene:
    """A parent about to wait, and its child about to wake it; the test says whose turn it is."""

    def __init__(self, name: str, workers: int) -> None:
        child, ask = WAITS[name]
        self.world = World(workers)
        self.world[1].state.offers_children = workers > 0
        self.home = 1 + workers
        """The member of the child."""
        self.handle = self.world.start(
            io.parallel(child).flat_map(lambda fibers: io.yield_.then(ask(fibers)))
        )
        self.turn(1, ROOT)
        for _ in range(10):
            self.world.carry()
            ready = self.world[self.home].state.ready
            if any(isinstance(work, Fiber) and _has_yielded(work) for work in ready):
                return
            self.turn(self.home, CHILD)
        raise AssertionError("the child never comes to the point")

    def turn(self, member: int, fiber: int, meanwhile: Callable[[], None] | None = None) -> None:
        """Let a hand have its turn with this fiber, or with the parcel in which it is."""
        index = [_is(fiber, work) for work in self.world[member].state.ready].index(True)
        executor = Executor(self.world[member], self.world.nodes[member])
        assert executor.next_task(index)
        executor.run()
        if meanwhile is not None:
            meanwhile()
        while executor.commit():
            executor.run()
        self.world[member].validate()

    def ask(self, meanwhile: Callable[[], None] | None = None) -> None:
        self.turn(1, ROOT, meanwhile)

    def wake(self) -> None:
        self.turn(self.home, CHILD)

    def is_parked(self) -> bool:
        return ROOT in self.world[1].state.parked

    def check(self) -> None:
        """Check that the parent was woken once, and that nothing is left."""
        self.world.work()
        assert outcome_of(self.handle) == Ok(Ok("it"))
        assert self.world.is_empty()
        assert [node.member.state.stale for node in self.world.nodes.values()] == [0] * self.home


def _is(fiber: int, work: Any) -> bool:
    return not isinstance(work, Fiber) or work.id == fiber


def _has_yielded(fiber: Fiber) -> bool:
    return fiber.id == CHILD and fiber.request is YIELDED


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", WAITS)
def test_fiber_is_woken_by_one_of_the_same_process_at_any_moment(name: str, moment: Moment) -> None:
    scene = Scene(name, workers=0)
    if moment == BEFORE:
        scene.wake()
        scene.ask()
    elif moment == MEANWHILE:
        scene.ask(meanwhile=scene.wake)
    else:
        scene.ask()
        assert scene.is_parked()
        scene.wake()
    assert not scene.is_parked()
    scene.check()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", WAITS)
def test_fiber_is_woken_by_one_of_another_process_at_any_moment(name: str, moment: Moment) -> None:
    scene = Scene(name, workers=1)
    if moment == BEFORE:
        scene.wake()
        scene.world.carry()
        scene.ask()
    elif moment == MEANWHILE:
        scene.ask()
        scene.wake()
    else:
        scene.ask()
        scene.world.carry()
        scene.wake()
    assert scene.is_parked()
    scene.check()


@pytest.mark.parametrize("moment", MOMENTS)
def test_timer_counts_from_the_moment_at_which_its_request_arrives(moment: Moment) -> None:
    """Time that passes before doesn't count, and a moment that is over already isn't missed."""
    world = World(workers=0, offers_children=False)
    member = world[1]
    handle = world.start(io.yield_.then(io.sleep(1), io.pure("slept")))
    node = world.nodes[1]
    node.work()
    heard = 0.0
    if moment == BEFORE:
        world.now = heard = 5.0
        world.event(Tick())
    node.work()
    if moment == MEANWHILE:
        world.now = heard = 5.0
        world.event(Tick())
    world.carry()
    assert list(member.state.parked) == [handle.id]
    assert world.coordinator.next_deadline() == heard + 1
    if moment == LATER:
        world.now = 100.0
        world.event(Tick())
    else:
        world.now = heard + 0.9
        world.event(Tick())
        assert list(member.state.parked) == [handle.id]
        world.now = heard + 1
        world.event(Tick())
    assert not member.state.parked
    world.work()
    assert outcome_of(handle) == Ok("slept")
    assert member.state.stale == world.coordinator.stale == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_callback_wakes_its_fiber_at_any_moment(moment: Moment) -> None:
    """Before: the function that gets the callback has called it when it returns."""
    kept: list[Callable[[Any], None]] = []

    def start(_: Any, callback: Any) -> None:
        if moment == BEFORE:
            callback(Ok("it"))
        else:
            kept.append(callback)

    world = World(workers=0, offers_children=False)
    member, node = world[1], world.nodes[1]
    handle = world.start(io.async_(start))
    executor = Executor(member, node)
    assert executor.next_task()
    executor.run()
    assert executor.commit()
    assert list(member.state.parked) == [handle.id]
    executor.run()
    if moment == MEANWHILE:
        kept[0](Ok("it"))
    assert not executor.commit()
    if moment == LATER:
        assert list(member.state.parked) == [handle.id]
        kept[0](Ok("it"))
    assert not member.state.parked
    world.work()
    assert outcome_of(handle) == Ok("it")
    assert member.state.stale == 0


# -- under every seed -------------------------------------------------------------------------

ONE: Final[Resource[Any, Any, None]] = of_lock(Lock("one", 1))


def on_a_worker(program: Program) -> Program:
    """One fiber of the only worker runs the program; its children stay there."""
    return io.zip_par(program).map(lambda values: values[0])


def contended(lock: Resource[Any, Any, None]) -> Program:
    """A parent and its child take the same lock, whose token is on the worker already."""
    use = lock.with_(io.pure("it"))
    started = use.then(io.parallel(use))
    return started.flat_map(lambda fibers: io.yield_.then(use).then_keep(io.wait(fibers)))


def joined(fibers: list[Any]) -> Program:
    return io.wait(fibers).flat_map(lambda results: io.from_result(results[0]))


RACES: Final[dict[str, tuple[Program, str]]] = {
    "wait": (
        io.parallel(io.pure("it")).then_keep(io.yield_).flat_map(joined),
        "fiber {} has ended",
    ),
    "lock": (contended(DOOR), "steps fiber {}, which ends"),
    "semaphore": (contended(ONE), "steps fiber {}, which ends"),
}
"""A program of a parent and its child; the history's words for the child waking the parent."""


def moment_of(simulation: Simulation[Any, Any], wakes: str) -> Moment | None:
    """The moment at which the child woke its parent; None if it didn't have to."""
    history = [line for line in simulation.history if " worker-1: " in line]
    fibers = re.findall(r"steps fiber (\S+),", "\n".join(history))
    parent = fibers[0]
    child = next(fiber for fiber in fibers if fiber != parent)
    gives = _places(history, "which gives a lock back")
    if gives and f"fiber {parent}," not in history[gives[-1]]:
        return None  # the parent had the lock before the child
    what = "a lock" if gives else child
    asked = _places(history, f"steps fiber {parent}, which waits for {what}")[-1]
    (woken,) = _places(history, wakes.format(child))
    if woken < asked:
        return BEFORE
    return LATER if _places(history[asked:], f"fiber {parent} is ready") else MEANWHILE


def _places(history: list[str], text: str) -> list[int]:
    return [index for index, line in enumerate(history) if text in line]


@pytest.mark.slow
@pytest.mark.parametrize("name", RACES)
def test_wake_up_is_not_lost_under_every_seed(name: str) -> None:
    """The seeds find every moment, and the outcome is always the same."""
    program, wakes = RACES[name]
    met = set()

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result == Ok("it")
        met.add(moment_of(simulation, wakes))

    explore(on_a_worker(program), None, check, range(100), members=1)
    assert met >= set(MOMENTS)


@pytest.mark.slow
def test_sleepers_wake_under_every_seed() -> None:
    def nap(n: int) -> Program:
        return io.sleep(0.0005 * n).then(io.sleep(0.0005), io.pure(n))

    def check(simulation: Simulation[Any, Any]) -> None:
        assert simulation.result == Ok([0, 1, 2, 3])
        assert simulation.virtual_seconds >= 0.002

    explore(io.zip_par([nap(n) for n in range(4)]), None, check, range(100))


@pytest.mark.slow
def test_callbacks_wake_their_fibers_under_every_seed() -> None:
    """A fiber of the same process calls back as soon as there is a callback."""

    def program() -> Program:
        box = Box()
        look = io.rec(lambda again: io.defer_io(lambda: box.call() if box.kept else go_on(again)))
        return io.zip_par(io.async_(box.keep), look)

    def go_on(again: Program) -> Program:
        return io.yield_.then(again)

    explore(program, None, lambda found: found.result == Ok(("it", "called")), range(100))


class Box:
    """A box that can't be pickled, so fibers that capture it stay in its process."""

    def __init__(self) -> None:
        self.kept: list[Callable[[Any], None]] = []

    def keep(self, context: Any, callback: Any) -> None:
        self.kept.append(callback)

    def call(self) -> Program:
        return io.defer(self.kept.pop(), Ok("it")).then(io.pure("called"))

    def __reduce__(self) -> Any:
        raise TypeError("a box is private")
