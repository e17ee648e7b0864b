"""Thousands of messages that can't be true do no harm to an honest run beside them."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from distio import (
    Barrier,
    CountDownLatch,
    Deferred,
    Ok,
    PubSub,
    Queue,
    Result,
    Var,
    io,
    resource,
)
from distio.coordination.locks.coordinator import Locks
from distio.coordination.placement.coordinator import Placement
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.primitives.waiters import Waiters
from distio.coordination.runs.coordinator import Runs
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.registry import Run
from distio.coordination.timers.coordinator import Timers
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.codec import from_member
from distio.protocol.ids import fiber_id, home_of
from tests.harness.in_one_thread import Liar, Scene, outcome_of

WORDS = ["", "x", "put", "take", "close", "queue", "barrier", "topic", "latch", "deferred", "size"]
NUMBERS = [-1, 0, 1, 2, 3, 2**40, 2**53, 2**63 - 1, -(2**63), 2**64 - 1]
FLOATS = [0.0, -1.0, float("nan"), float("inf"), 1e308, 1e-9]


RARE = [
    m.OutcomeUnknown(1, 0),
    m.WithdrawCall(1),
    m.CancelRun(1),
    m.SubmitNamedRun(1, "put", b"p" * 16, m.Chunk(0, [(0, 0)], b"root"), "births"),
    m.ActOnNamedRun(1, "put", "cancel"),
    m.ListNamedRuns(1),
    m.RootEnded(1, "ok"),
]

# -- an honest run that says everything -------------------------------------------------------


@io.do
async def puts(queue: Any, n: int) -> None:
    for each in range(n):
        await queue.put(each)


@io.do
async def takes(queue: Any, n: int) -> int:
    return sum([await queue.take() for _ in range(n)])


@io.do
async def listens(topic: Any, latch: Any) -> list[Any]:
    async with topic.subscribe() as feed:
        await latch.count_down()
        return [each async for each in feed]


@io.do
async def session() -> list[Any]:
    lock, var = await resource.reentrant_lock, await Var.create(0)
    count = lock.with_(var.update(lambda n: (n + 1, None)).then(io.sleep(0.001)))
    semaphore, limit = await resource.semaphore(2), await resource.rate_limit(3, 0.05)
    await io.zip_par([count] * 6 + [semaphore.with_(io.sleep(0.001))] * 4)
    await io.zip_par([limit.with_(io.pure(1))] * 5)
    sums = []
    for queue in (await Queue.create(2), await Queue.create()):
        parts = puts(queue, 12), puts(queue, 12), takes(queue, 12), takes(queue, 12)
        sums.append(sum((await io.zip_par(*parts))[2:]))
    done, barrier = await Deferred.create(), await Barrier.create(2)
    news, latch = await PubSub.create(4), await CountDownLatch.create(2)
    ears = await io.parallel(listens(news, latch), listens(news, latch), done.get())
    await latch.wait()
    await io.zip_par(barrier.wait(), barrier.wait())
    for each in range(3):
        await news.publish(each)
    await news.close()
    await done.set(1)
    heard = [result.unsafe_get() for result in await io.wait(ears)]
    sleepers = await io.parallel([io.sleep(30)] * 3)
    states = [(await sleeper.status()).state != "" for sleeper in sleepers]
    for sleeper in sleepers:
        await sleeper.cancel()
    slow = await io.sleep(9).timeout(0.01, io.pure("late"))
    return [await var.get(), sums, heard, states, slow]


RIGHT: Result[Any, Any] = Ok([6, [132, 132], [[0, 1, 2], [0, 1, 2], 1], [True] * 3, "late"])


def test_honest_run_alone_costs_no_member_its_membership() -> None:
    scene = Scene()
    handle = scene.start(session())
    scene.finish()
    assert outcome_of(handle) == RIGHT
    assert not scene.board.incidents
    scene.machine.validate_rest()


# -- lies -------------------------------------------------------------------------------------


class Mutants:
    """Mutations of the messages of honest members."""

    def __init__(self, seed: int, ids: list[int]) -> None:
        scene = Scene()
        scene.start(session())
        scene.finish()
        self.rng = random.Random(seed)
        self.by_kind: dict[str, list[Any]] = {}
        for message in [*scene.said, *RARE]:
            plain = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
            self.by_kind.setdefault(plain["type"], []).append(plain)
        self.ids = ids + [
            each[name]
            for plains in self.by_kind.values()
            for each in plains
            for name in ("run", "fiber", "key")
            if isinstance(each.get(name), int)
        ]

    def next(self) -> list[bytes]:
        """The frames of a batch."""
        rng = self.rng
        kinds = list(self.by_kind)
        messages = [self._changed(rng.choice(self.by_kind[rng.choice(kinds)])) for _ in "ab"]
        frames = [msgspec.msgpack.encode((messages[: rng.choice([1, 1, 2])], []))]
        if rng.random() < 0.1:
            cut = bytearray(frames[0])
            cut[rng.randrange(len(cut))] = rng.randrange(256)
            return [bytes(cut)]
        return frames

    def _changed(self, value: Any) -> Any:
        rng = self.rng
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return rng.choice([rng.choice(self.ids), rng.choice(NUMBERS), value + 1, value - 1])
        if isinstance(value, float):
            return rng.choice(FLOATS)
        if isinstance(value, str):
            return rng.choice([*WORDS, rng.choice(self.ids)])
        if isinstance(value, bytes | None):
            return rng.choice([b"", b"junk", None])
        if isinstance(value, dict):
            changed = dict(value)
            for name in rng.sample([key for key in value if key != "type"], len(value) - 1):
                if rng.random() < 0.4:
                    changed[name] = self._changed(value[name])
            return changed
        if value and rng.random() < 0.7:
            index = rng.randrange(len(value))
            return [self._changed(x) if i == index else x for i, x in enumerate(value)]
        return rng.choice([[], [*value, *value], list(value[:-1]), [rng.choice(self.ids)]])


def takes_locks_of_others(frames: list[bytes], liar: int) -> bool:
    """A member may take any lock whose id it knows, so a message that takes one is no lie."""
    try:
        messages = from_member.decode(frames)
    except Exception:  # noqa: BLE001 (it is about to be refused)
        return False
    return any(
        isinstance(each, m.AcquireTokens)
        and isinstance(each.lock, int)
        and home_of(each.lock) != liar
        for each in messages
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_client_and_strangers_that_lie_leave_an_honest_run_alone(seed: int) -> None:
    scene = Scene()
    mutants = Mutants(seed, [fiber_id(home, each) for home in range(4, 9) for each in range(4)])
    handle, told, liars = scene.start(session()), 0, 0
    while scene.step() or told < 1_500:
        liars += 1
        liar = Liar(scene, "client", f"liar {liars}")
        mutants.ids.append(fiber_id(liar.id, 0))
        liar.says(m.StartRun(fiber_id(liar.id, 0)))
        while liar.reason is None and mutants.rng.random() < 0.95:
            frames = mutants.next()
            if not takes_locks_of_others(frames, liar.id):
                told += 1
                liar.says_frames(frames)
        for _ in range(3):
            scene.hear(b"stranger", mutants.next())
        liar.disconnect()
    assert liars > 100
    assert outcome_of(handle) == RIGHT
    assert not any(error for _, _, error in scene.board.incidents)
    assert [each.reason for each in scene.members] == [None] * 3
    scene.machine.validate_rest()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_worker_that_lies_about_its_fibers_ends_no_more_than_its_own_run(seed: int) -> None:
    """The worker takes part in the run, so it may harm the run, but not the coordinator."""
    mutants = Mutants(seed, [fiber_id(home, each) for home in range(1, 5) for each in range(4)])
    told = 0
    while told < 1_500:
        scene = Scene(workers=1)
        liar = Liar(scene, "worker", "liar")
        handle = scene.start(session())
        while liar.reason is None and scene.step():
            for _ in range(mutants.rng.choice([0, 1, 5])):
                told += 1
                liar.says_frames(mutants.next())
        liar.disconnect()
        scene.finish()
        assert handle.outcome is not None or not scene.client.node.member.state.runs
        assert not any(error for _, _, error in scene.board.incidents)
        assert [each.reason for each in scene.members] == [None] * 2
        scene.machine.validate_rest()


# -- handlers that fail -----------------------------------------------------------------------


PARTS: dict[str, tuple[type, str]] = {
    "say something": (CoordinatorState, "send"),
    "place fibers": (Placement, "_place"),
    "lose a part of a run": (Runs, "_lose_part"),
    "count fibers": (Run, "count"),
    "note that a run has moved": (Run, "note_progress"),
    "take tokens back": (Locks, "take_back"),
    "move tokens": (Locks, "fibers_left"),
    "answer a fiber": (Primitives, "_reply"),
    "let a fiber wait to be answered": (Waiters, "enter"),
    "start a timer": (Timers, "start"),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_handler_that_fails_in_the_middle_leaves_the_coordinator_sound(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, name = PARTS[part]
    whole = getattr(kind, name)
    for nth in [*range(1, 40, 2), *range(40, 400, 23)]:
        calls = 0

        def fails(*args: Any, nth: int = nth) -> Any:
            nonlocal calls
            calls += not isinstance(args[-1], m.RunEnded)  # a member that isn't told can't know
            if calls == nth:
                calls += 1
                raise DistioBug("planted")
            return whole(*args)

        monkeypatch.setattr(kind, name, fails)
        scene = Scene(workers=3)
        handle = scene.start(session())
        scene.finish()
        if calls < nth:
            assert nth > 1 or part == "lose a part of a run"
            break
        monkeypatch.setattr(kind, name, whole)
        assert scene.board.incidents
        assert "planted" in scene.warnings[0]
        # the run has ended in one way or another: no client waits for ever
        client = scene.client
        assert handle.outcome is not None or not client.node.member.state.runs or client.reason
        assert not scene.machine.runs
        scene.machine.validate_rest()
