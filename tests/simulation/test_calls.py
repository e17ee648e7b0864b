"""The answers of primitives and locks to fibers: a simulation finds out if they can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Barrier, CountDownLatch, Deferred, PubSub, Queue, Var, io, resource
from distio.coordination.primitives import primitive, queues, synchronizers
from distio.core.fiber import Fiber
from distio.core.outcomes import PackedValue
from distio.errors import InvariantBroken
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.testing import MOVE_ON_WAKE, Components, Crash, Disconnect, Fault, simulate
from distio.testing.history import History
from distio.testing.oracles.calls import Calls
from distio.testing.oracles.orders import MOST_STEPS

Program = IO[Any, Any, Any]
Replies = Sequence[primitive.Reply]

FIRST: Final = 1 << 40
"""The id of a fiber."""
SECOND: Final = FIRST + 1
KEY: Final = FIRST + 9


# -- programs ---------------------------------------------------------------------------------


def through(queue: Queue[Any]) -> Program:
    """Two fibers put, one takes what they have put."""
    puts = [io.traverse([n, n + 1, n + 2], queue.put) for n in (10, 20)]
    return io.zip_par(*puts, io.zip([queue.take()] * 6), queue.size())


def counted(var: Var[int]) -> Program:
    add = var.update(lambda n: (n + 1, None))
    return io.zip_par([add] * 6).then(var.get())


def at_once() -> Program:
    """A program with all kinds of primitives, whose fibers meet at them."""

    def meet(made: Sequence[Any]) -> Program:
        value, barrier, latch, news = made
        listen = news.subscribe().use(lambda feed: feed.take().timeout(0.01, io.pure("none")))
        return io.zip_par(
            io.zip_par(value.get(), value.set(1), value.set(2), value.is_set()),
            io.zip_par([barrier.wait()] * 2),
            io.zip_par(latch.wait(), latch.count_down(), latch.count(), latch.count_down()),
            io.zip_par(listen, io.sleep(0.005).then(news.publish("a")), listen),
        )

    made = Deferred.create(), Barrier.create(2), CountDownLatch.create(2), PubSub.create(1)
    return io.zip(*made).flat_map(meet)


def guarded() -> Program:
    room = resource.semaphore(2)
    return room.flat_map(lambda two: io.zip_par([two.with_(io.sleep(0.001))] * 5))


def slowly_taken() -> Program:
    """Fibers of one worker put what fits, and more; one of another takes, again and again."""

    def run(queue: Queue[int]) -> Program:
        puts = io.zip_par(io.traverse([*range(12)], queue.put))
        takes = io.zip_par(io.traverse([*range(12)], lambda _: queue.take().then(io.sleep(0.01))))
        return io.zip_par(puts, io.sleep(0.1).then(takes))

    return Queue.create(6).flat_map(run)


def put_by_two() -> Program:
    """A fiber puts some items, and keeps its worker busy no more; another one fills the queue."""

    def run(queue: Queue[int]) -> Program:
        some = io.zip_par(io.traverse([1, 2, 3], queue.put))
        return some.then(io.traverse([*range(5)], queue.put), queue.size())

    return Queue.create(8).flat_map(run)


PROGRAMS: Final[dict[str, Callable[[], Program]]] = {
    "a queue without limit": lambda: Queue.create().flat_map(through),
    "a queue for one": lambda: Queue.create(1).flat_map(through),
    "a queue for some": slowly_taken,
    "a queue into which two put": put_by_two,
    "a queue that keeps nothing": lambda: Queue.create(0).flat_map(through),
    "a variable": lambda: Var.create(0).flat_map(counted),
    "a semaphore": guarded,
    "all others": at_once,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("faults", [(), (Crash(),), (Disconnect(returns_after=0.01),)])
def test_calls_of_a_program_have_an_order(name: str, faults: Sequence[Fault]) -> None:
    for seed in range(4):
        parts = MOVE_ON_WAKE if seed % 2 else Components()
        main = PROGRAMS[name]
        simulation = simulate(main, seed=seed, faults=faults, components=parts)
        assert simulation.left_open == 0


def test_calls_are_recorded_with_what_their_fibers_were_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Calls] = []

    class Kept(Calls):  # type: ignore[misc] # it is final for all but tests
        def check(self, most: int = MOST_STEPS) -> int:
            seen.append(self)
            return super().check(most)

    monkeypatch.setattr("distio.testing.world.Calls", Kept)
    simulate(lambda: Queue.create(1).flat_map(lambda q: q.put(1).then(q.size(), q.take())))
    methods = [(call.method, call.number, str(call.answer)) for call in seen[0]]
    assert methods[:2] == [("put", 1, "plain"), ("size", 2, "plain 1")]
    assert methods[2][0] == "take"
    assert "item" in methods[2][2]


# -- mistakes ---------------------------------------------------------------------------------


def last_in_first_out(monkeypatch: pytest.MonkeyPatch) -> None:
    original = queues.Queue._take

    def take(self: queues.Queue, fiber: int, *, waits: bool) -> Replies:
        self._items.reverse()
        replies = original(self, fiber, waits=waits)
        self._items.reverse()
        return replies

    monkeypatch.setattr(queues.Queue, "_take", take)


def applied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = queues.Queue.ask

    def ask(self: queues.Queue, fiber: int, method: str, number: int, item: Any) -> Replies:
        replies = original(self, fiber, method, number, item)
        if method == "put" and self._items:
            self._items.append(item)
        return replies

    monkeypatch.setattr(queues.Queue, "ask", ask)


def forgets_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    original = queues.Queue._put

    def put(self: queues.Queue, fiber: int, item: Any, *, waits: bool) -> Replies:
        replies = original(self, fiber, item, waits=waits)
        if len(self._items) == 3:
            self._items.popleft()
        return replies

    monkeypatch.setattr(queues.Queue, "_put", put)


def sets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    original = synchronizers.Deferred.ask

    def ask(self: Any, fiber: int, method: str, number: int, item: Any) -> Replies:
        if method == "set":
            self._value = rq.NOTHING
        return original(self, fiber, method, number, item)

    monkeypatch.setattr(synchronizers.Deferred, "ask", ask)


def counts_down_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = synchronizers.Latch.ask

    def ask(self: Any, fiber: int, method: str, number: int, item: Any) -> Replies:
        return original(self, fiber, method, 2 * number, item)

    monkeypatch.setattr(synchronizers.Latch, "ask", ask)


def frees_places_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that is given ahead has no place any more, though nobody has taken it."""
    original = queues.Queue.give_ahead

    def give_ahead(self: queues.Queue, most: int, *, of: type = object) -> Any:
        given = original(self, most, of=of)
        self._capacity += len(given)
        return given

    monkeypatch.setattr(queues.Queue, "give_ahead", give_ahead)


LATCHED: Final = CountDownLatch.create(3).flat_map(
    lambda latch: latch.count_down().then(latch.count())
)
KEPT: Final = Queue.create().flat_map(
    lambda q: io.traverse([1, 2, 3], q.put).then(io.zip([q.take()] * 2))
)

MISTAKES: Final[dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Program, str]]] = {
    "last in, first out": (last_in_first_out, KEPT, "no order of its 5 calls .* queue"),
    "a put is applied twice": (applied_twice, KEPT, "takes an item more often than it was put"),
    "an item is forgotten": (forgets_an_item, KEPT, "no order of its 5 calls .* queue"),
    "a value is set twice": (sets_again, at_once(), r"deferred \d+ sets what was set"),
    "items ahead have no place": (
        frees_places_too_early,
        slowly_taken(),
        "no order of its .* calls .* queue",
    ),
    "a latch counts twice": (counts_down_twice, LATCHED, "no order of its 2 calls .* latch"),
}


def explore_until_broken(main: Program) -> None:
    for seed in range(20):
        simulate(main, seed=seed)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_of_a_primitive_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, main, message = MISTAKES[name]
    plant(monkeypatch)
    with pytest.raises(InvariantBroken, match=message) as found:
        explore_until_broken(main)
    assert found.value.story


# -- losses -----------------------------------------------------------------------------------


class Worker:
    """A process, as far as the record knows one."""


class Scene:
    """Fibers that call one queue, step by step."""

    def __init__(self, kind: Any = "queue", size: int = -1) -> None:
        self.calls = Calls(History())
        self.here, self.there = Worker(), Worker()
        self.primitive = rq.PrimitiveRef(KEY, kind)
        maker = Fiber(SECOND + 1, FIRST, io.pure(None), None)
        maker.value = self.primitive
        self.calls.committed(maker, rq.MakePrimitive(kind, size), self.here, is_parked=False)

    def asks(
        self, fiber: int, method: Any, item: bytes | None = None, *, alone: bool = False
    ) -> Fiber:
        """A fiber here calls; the process answers it alone, or the coordinator does later."""
        asking = Fiber(fiber, FIRST, io.pure(None), None)
        asking.request = request = rq.CallPrimitive(self.primitive, method)
        request.payload = item
        self.calls.asked(asking, self.here)
        self.calls.committed(asking, request, self.here, is_parked=not alone)
        return asking

    def told(self, fiber: Fiber, value: Any = None) -> None:
        """Let the fiber go on with this answer."""
        fiber.value = PackedValue(value) if isinstance(value, bytes) else value
        self.calls.resumed(fiber)

    def is_saved(self, fiber: int, *, is_waiting: bool = False) -> None:
        """The coordinator has a snapshot of the fiber as it is now."""
        self.calls.saved(fiber, is_waiting=is_waiting)
        self.calls.kept(fiber)


def test_put_that_was_answered_by_a_lost_process_may_not_have_happened() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a", alone=True))
    scene.calls.lost(scene.here)
    scene.told(scene.asks(SECOND, "poll"), rq.NOTHING)
    assert scene.calls.check() == 0


def test_put_that_the_coordinator_has_answered_has_happened_whoever_is_lost() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.calls.lost(scene.here)
    scene.told(scene.asks(SECOND, "poll"), rq.NOTHING)
    with pytest.raises(InvariantBroken, match="no order of its 2 calls"):
        scene.calls.check()


def test_put_of_a_fiber_that_has_moved_on_has_happened() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a", alone=True))
    scene.calls.heard(scene.here, [m.DelegatedPut(FIRST, FIRST, KEY, b"a")])
    scene.calls.arrived([FIRST], scene.there)
    scene.calls.lost(scene.here)
    scene.told(scene.asks(SECOND, "poll"), rq.NOTHING)
    with pytest.raises(InvariantBroken, match="no order of its 2 calls"):
        scene.calls.check()


def test_item_that_was_taken_by_a_lost_process_may_be_taken_again() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.told(scene.asks(FIRST, "take", alone=True), b"a")
    scene.calls.lost(scene.here)
    scene.told(scene.asks(SECOND, "take"), b"a")
    assert scene.calls.check() == 0


def test_item_that_a_fiber_has_taken_along_is_not_taken_again() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.told(scene.asks(FIRST, "take", alone=True), b"a")
    scene.calls.arrived([FIRST], scene.there)
    scene.calls.lost(scene.here)
    with pytest.raises(InvariantBroken, match="takes an item more often than it was put"):
        scene.told(scene.asks(SECOND, "take"), b"a")


# -- fibers that come back --------------------------------------------------------------------


def test_fiber_that_comes_back_is_told_the_same_again() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    taking = scene.asks(SECOND, "take")
    scene.is_saved(SECOND, is_waiting=True)
    scene.told(taking, b"a")
    scene.calls.lost(scene.here)
    scene.calls.arrived([SECOND], scene.there, [SECOND])
    scene.told(taking, b"a")
    assert scene.calls.check() == 0
    assert [call.method for call in scene.calls] == ["put", "take"]


def test_fiber_that_comes_back_and_is_told_something_else_is_found() -> None:
    scene = Scene()
    for item in (b"a", b"b"):
        scene.told(scene.asks(FIRST, "put", item))
    taking = scene.asks(SECOND, "take")
    scene.is_saved(SECOND, is_waiting=True)
    scene.told(taking, b"a")
    scene.calls.arrived([SECOND], scene.there, [SECOND])
    with pytest.raises(InvariantBroken, match="was answered item b'a', and now item b'b'"):
        scene.told(taking, b"b")


@pytest.mark.parametrize("request_", [None, rq.Sleep(1.0)])
def test_fiber_that_comes_back_after_its_last_call_is_told_nothing(request_: Any) -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    taking = scene.asks(SECOND, "take")
    scene.told(taking, b"a")
    scene.is_saved(SECOND)
    scene.calls.arrived([SECOND], scene.there, [SECOND])
    taking.request = request_
    scene.told(taking, "something else")
    assert [str(call.answer) for call in scene.calls] == ["plain", "item b'a'"]
    assert scene.calls.check() == 0


def test_calls_after_the_one_to_which_a_fiber_goes_back_have_never_been() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.is_saved(FIRST)
    scene.told(scene.asks(FIRST, "put", b"b"))
    scene.calls.arrived([FIRST], scene.there, [FIRST])
    assert [call.item for call in scene.calls] == [b"a"]
    scene.told(scene.asks(FIRST, "put", b"b"))  # it does so again
    scene.told(scene.asks(SECOND, "take"), b"a")
    scene.told(scene.asks(SECOND, "take"), b"b")
    assert scene.calls.check() == 0


def test_effect_that_others_saw_of_a_fiber_that_goes_back_to_before_it_is_found() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.told(scene.asks(SECOND, "take"), b"a")
    with pytest.raises(InvariantBroken, match="was not taken up, but its item was taken"):
        scene.calls.arrived([FIRST], scene.there, [FIRST])


def test_effect_that_a_fiber_repeats_is_found() -> None:
    scene = Scene()
    scene.told(scene.asks(FIRST, "put", b"a"))
    scene.is_saved(FIRST)
    scene.calls.arrived([FIRST], scene.there, [FIRST])
    scene.told(scene.asks(SECOND, "take"), b"a")
    with pytest.raises(InvariantBroken, match="takes an item more often than it was put"):
        scene.told(scene.asks(SECOND, "take"), b"a")


# -- locks ------------------------------------------------------------------------------------


class Door:
    """Fibers that take one lock, or the tokens of a semaphore, step by step."""

    def __init__(self, tokens: int = 0) -> None:
        self.calls = Calls(History())
        self.here, self.there = Worker(), Worker()
        self._lock = rq.Lock("door", tokens)

    def asks(self, fiber: int, process: Worker) -> Fiber:
        """A fiber waits for it."""
        asking = Fiber(fiber, FIRST, io.pure(None), None)
        asking.request = rq.Acquire(self._lock)
        self.calls.asked(asking, process)
        self.calls.committed(asking, asking.request, process, is_parked=True)
        return asking

    def takes(self, fiber: int, process: Worker) -> Fiber:
        """A fiber asks for it, and has it."""
        taking = self.asks(fiber, process)
        self.calls.resumed(taking)
        return taking

    def releases(self, fiber: int, process: Worker) -> None:
        """A fiber gives it back."""
        releasing = Fiber(fiber, FIRST, io.pure(None), None)
        releasing.request = rq.Release(self._lock)
        self.calls.asked(releasing, process)
        self.calls.committed(releasing, releasing.request, process, is_parked=False)
        self.calls.resumed(releasing)

    def is_saved(self, fiber: int, *, is_waiting: bool = False) -> None:
        """The coordinator has a snapshot of the fiber as it is now."""
        self.calls.saved(fiber, is_waiting=is_waiting)
        self.calls.kept(fiber)

    def is_lost(self) -> None:
        """Lose this process: all fibers that were here go on in another one."""
        self.calls.lost(self.here)

    def come_back(self, *fibers: int) -> None:
        self.calls.arrived(fibers, self.there, fibers)


def test_lock_with_two_holders_is_found_at_once() -> None:
    door = Door()
    door.takes(FIRST, door.here)
    with pytest.raises(InvariantBroken, match="makes 2 holders of 1 tokens"):
        door.takes(SECOND, door.here)


def test_lock_that_a_lost_fiber_held_is_free() -> None:
    door = Door()
    door.takes(FIRST, door.here)
    door.is_lost()
    door.takes(SECOND, door.there)
    assert door.calls.check() == 0


def test_lock_that_a_fiber_had_before_it_came_back_is_its_own() -> None:
    door = Door()
    door.takes(FIRST, door.here)
    door.is_saved(FIRST)
    door.is_lost()
    door.come_back(FIRST)
    assert door.calls.check() == 0
    with pytest.raises(InvariantBroken, match="makes 2 holders of 1 tokens"):
        door.takes(SECOND, door.there)


def test_lock_that_a_fiber_took_after_its_image_is_free() -> None:
    door = Door()
    door.takes(FIRST, door.here)
    door.is_lost()
    door.come_back(FIRST)
    door.takes(SECOND, door.there)
    assert door.calls.check() == 0


def handed_on() -> tuple[Door, Fiber]:
    """A fiber waits in its snapshot for what another one gave it here, and both are lost."""
    door = Door()
    door.takes(FIRST, door.here)
    waiting = door.asks(SECOND, door.here)
    door.is_saved(FIRST)
    door.is_saved(SECOND, is_waiting=True)
    door.releases(FIRST, door.here)
    door.calls.resumed(waiting)
    door.is_lost()
    return door, waiting


def test_lock_for_which_a_fiber_waits_in_its_image_belongs_to_who_has_it_in_his() -> None:
    door, waiting = handed_on()
    door.come_back(FIRST, SECOND)
    door.releases(FIRST, door.there)
    door.calls.resumed(waiting)
    assert door.calls.check() == 0
    assert [str(call.answer) for call in door.calls] == ["plain"] * 3


def test_lock_for_which_a_fiber_waits_in_its_image_is_granted_too_early_and_found() -> None:
    door, waiting = handed_on()
    door.come_back(FIRST, SECOND)
    with pytest.raises(InvariantBroken, match="makes 2 holders of 1 tokens"):
        door.calls.resumed(waiting)


def test_lock_of_a_fiber_that_is_lost_again_before_it_has_gone_on_is_still_its_own() -> None:
    door = Door()
    door.takes(FIRST, door.here)
    door.is_saved(FIRST)
    door.is_lost()
    door.come_back(FIRST)
    door.calls.lost(door.there)
    door.calls.arrived([FIRST], door.here, [FIRST])
    with pytest.raises(InvariantBroken, match="makes 2 holders of 1 tokens"):
        door.takes(SECOND, door.here)
