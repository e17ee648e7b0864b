"""The coordinator keeps snapshots of fibers, and places the fibers of a lost worker again."""

from __future__ import annotations

from typing import Any

import pytest

from distio.coordination.gate import Gate
from distio.coordination.settings import MAX_LOSSES
from distio.coordination.state.events import Received
from distio.protocol import messages as m
from distio.protocol.domains import Method, Snapshots
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Commands, Scene, chunk, ended, made

FIBER = fiber_id(1, 1)
BORN = fiber_id(2, 1)
"""A fiber that the first worker has made."""


def shipped(
    scene: Scene, *fibers: int, snapshots: Snapshots = "suspensions"
) -> tuple[int, Commands]:
    """A run whose children have gone to a worker in one chunk, and what the worker was told."""
    run = fiber_id(scene.client, 0)
    scene.says(scene.client, m.StartRun(run, snapshots))
    scene.tells(scene.client, made(run, 9), ready=1)
    return run, scene.offers(scene.client, run, *(fibers or [FIBER]))


def placed_again(commands: Commands) -> list[tuple[int, list[tuple[int, int]], list[int]]]:
    """(member, fibers, places) of each chunk that is placed."""
    chunks = [(member, said.chunk) for member, said in commands if isinstance(said, m.Place)]
    return [(member, chunk.fibers, chunk.places) for member, chunk in chunks]


def saved(run: int, fiber: int = FIBER, epoch: int = 1, **fields: Any) -> m.SaveFibers:
    snapshot = m.Chunk(run, [(fiber, epoch)], b"snapshot", **fields)
    return m.SaveFibers(run, 0, [snapshot])


def losses(commands: Commands) -> list[str]:
    return [said.reason for _, said in commands if isinstance(said, m.FiberLost)]


def test_fiber_of_a_lost_worker_is_placed_again_in_the_next_epoch() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    again = scene.breaks(host)
    other = 5 - host
    assert placed_again(again) == [(other, [(FIBER, 2)], [0])]
    assert scene.says(other, m.Progress(9, 0, [ended(run, FIBER, epoch=2)])) == []


def test_fibers_of_one_chunk_that_have_not_ended_are_placed_again_together() -> None:
    scene = Scene(workers=2)
    fibers = [fiber_id(1, n) for n in range(1, 5)]
    run, commands = shipped(scene, *fibers)
    ((host, _, _),) = placed_again(commands)
    scene.says(host, m.OutcomesReady([fibers[1]], [b"outcome"]))
    scene.tells(host, ended(run, fibers[1]))
    ((_, again, places),) = placed_again(scene.breaks(host))
    assert again == [(fibers[0], 2), (fibers[2], 2), (fibers[3], 2)]
    assert places == [0, 2, 3]


@pytest.mark.parametrize("snapshots", ["births", "suspensions"])
def test_fiber_that_has_ended_is_not_placed_again_and_its_outcome_is_kept(
    snapshots: Snapshots,
) -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene, snapshots=snapshots)
    ((host, _, _),) = placed_again(commands)
    scene.says(host, m.OutcomesReady([FIBER], [b"outcome"]))
    scene.tells(host, ended(run, FIBER))
    assert placed_again(scene.breaks(host)) == []
    assert scene.says(scene.client, m.AwaitOutcomes(run, [FIBER])) == [
        (scene.client, m.Outcomes([FIBER], [b"outcome"]))
    ]


def test_run_without_snapshots_loses_the_fibers_of_a_lost_worker() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene, snapshots="off")
    ((host, _, _),) = placed_again(commands)
    scene.says(scene.client, m.AwaitOutcomes(run, [FIBER]))
    commands = scene.breaks(host)
    assert placed_again(commands) == []
    assert len(losses(commands)) == 1


def test_fiber_goes_on_from_its_last_snapshot_with_what_it_held_then() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    ((_, granted),) = scene.says(2, m.AcquireTokens(7, 0, 0.0, run, [FIBER]))
    assert isinstance(granted, m.TokensGranted)
    scene.says(2, saved(run, held=[(7, 0, 1)], is_waiting=True))
    scene.breaks(2)
    assert scene.machine.features.locks.has_lent(-1, [(7, 0, 1)])
    member = scene.join("worker")
    (again,) = [said for _, said in scene.commands if isinstance(said, m.Place)]
    assert again.chunk.payload == b"snapshot"
    assert again.chunk.is_waiting
    assert scene.machine.features.locks.has_lent(member, [(7, 0, 1)])


def test_reply_is_kept_until_a_snapshot_knows_of_it() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    other, queue = 5 - host, fiber_id(scene.client, 50)
    scene.says(scene.client, m.MakePrimitive(run, queue, "queue", -1))
    scene.says(host, saved(run, is_waiting=True))
    scene.says(host, m.PrimitiveCall(run, FIBER, queue, "put", 0, b"item"))
    scene.breaks(host)
    assert scene.says(other, m.RepeatCall(run, FIBER)) == [(other, m.Replied(FIBER))]
    scene.says(other, saved(run, epoch=2))
    assert scene.machine.fibers[FIBER].rare.reply is None


class WithQueue(Scene):
    """A fiber is at the worker `host`, where it has called a queue without limit."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self.run, commands = shipped(self)
        ((self.host, _, _),) = placed_again(commands)
        self.queue = fiber_id(self.client, 50)
        self.says(self.client, m.MakePrimitive(self.run, self.queue, "queue", -1))

    def calls(self, member: int, fiber: int, method: Method, item: bytes | None = None) -> Any:
        call = m.PrimitiveCall(self.run, fiber, self.queue, method, 0, item)
        (said,) = [said for _, said in self.says(member, call) if isinstance(said, m.Replied)]
        return said

    def told_again(self) -> Any:
        """The message for the fiber at the other worker, when its own is lost."""
        self.breaks(self.host)
        other = 5 - self.host
        ((_, said),) = self.says(other, m.RepeatCall(self.run, FIBER))
        return said


@pytest.mark.parametrize(("is_offer", "answer"), [(False, None), (True, True)])
def test_reply_that_a_member_has_given_to_a_put_itself_is_kept(
    is_offer: bool, answer: bool | None
) -> None:
    scene = WithQueue()
    assert scene.calls(scene.host, FIBER, "put", b"first").puts
    scene.says(scene.host, saved(scene.run, is_waiting=True))
    put = m.DelegatedPut(scene.run, FIBER, scene.queue, b"second", is_offer=is_offer)
    scene.says(scene.host, put)
    assert scene.told_again() == m.Replied(FIBER, answer)


def test_item_that_was_taken_ahead_is_kept_for_the_fiber_that_took_it() -> None:
    scene = WithQueue()
    for item in (b"a", b"b", b"c", b"d"):
        scene.calls(scene.client, fiber_id(scene.client, 2), "put", item)
    scene.calls(scene.host, FIBER, "take")
    assert scene.calls(scene.host, FIBER, "take").ahead == [b"c", b"d"]
    scene.says(scene.host, saved(scene.run, is_waiting=True))
    scene.says(scene.host, m.TakenAhead(scene.queue, 1, 1, FIBER))
    assert scene.told_again() == m.Replied(FIBER, item=b"c")
    assert scene.calls(5 - scene.host, FIBER, "take").item == b"d"


def test_reply_that_is_kept_brings_no_rights_to_another_member() -> None:
    scene = WithQueue()
    for item in (b"a", b"b", b"c"):
        scene.calls(scene.client, fiber_id(scene.client, 2), "put", item)
    scene.calls(scene.host, FIBER, "take")
    scene.says(scene.host, saved(scene.run, is_waiting=True))
    assert scene.calls(scene.host, FIBER, "take").ahead == [b"c"]
    assert scene.told_again() == m.Replied(FIBER, item=b"b")
    assert scene.calls(5 - scene.host, FIBER, "take").item == b"c"


def test_fibers_that_wait_are_placed_at_once_and_in_their_order_though_there_is_no_room() -> None:
    scene = Scene(workers=1)
    waiting = [fiber_id(2, n) for n in range(1, 8)]
    run, _ = shipped(scene)
    scene.tells(2, m.RunProgress(run, [(1, 9)], 0, [], 0), ready=9)
    for fiber in waiting:
        scene.says(2, saved(run, fiber, 0, is_waiting=True))
    scene.offers(scene.client, run, fiber_id(1, 2))  # there is no room for it
    other = scene.join("worker")
    scene.tells(other, ready=9)
    again = placed_again(scene.breaks(2))
    assert again == [(other, [(fiber, 1)], [0]) for fiber in waiting]


@pytest.mark.parametrize("is_answered", [False, True])
def test_snapshot_of_births_that_waits_for_a_reply_is_of_no_use_if_that_was_on_its_way(
    *, is_answered: bool
) -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene, snapshots="births")
    ((host, _, _),) = placed_again(commands)
    queue = fiber_id(scene.client, 50)
    scene.says(scene.client, m.MakePrimitive(run, queue, "queue", -1))
    scene.says(scene.client, m.AwaitOutcomes(run, [FIBER]))
    put = m.PrimitiveCall(run, fiber_id(scene.client, 2), queue, "put", 0, b"item")
    scene.says(host, m.PrimitiveCall(run, FIBER, queue, "take", 0, None))
    if is_answered:
        scene.says(scene.client, put)
    scene.says(host, m.Leaving(10.0))
    snapshot = m.Chunk(run, [(FIBER, 1)], b"snapshot", is_waiting=True)
    scene.says(host, m.SaveFibers(run, 0, [snapshot], calling=[FIBER], is_to_be_heard=True))
    commands = scene.breaks(host)
    if is_answered:
        (reason,) = losses(commands)
        assert "the reply to its last call was on its way" in reason
    else:
        assert placed_again(commands) == [(5 - host, [(FIBER, 2)], [0])]
        assert scene.says(5 - host, m.RepeatCall(run, FIBER)) == []
        assert (5 - host, m.Replied(FIBER, None, b"item")) in scene.says(scene.client, put)


def test_call_that_waits_is_answered_where_its_fiber_asks_again() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    other, queue = 5 - host, fiber_id(scene.client, 50)
    scene.says(scene.client, m.MakePrimitive(run, queue, "queue", -1))
    scene.says(host, saved(run, is_waiting=True))
    scene.says(host, m.PrimitiveCall(run, FIBER, queue, "take", 0, None))
    scene.breaks(host)
    assert scene.says(other, m.RepeatCall(run, FIBER)) == []
    put = m.PrimitiveCall(run, fiber_id(scene.client, 2), queue, "put", 0, b"item")
    assert (other, m.Replied(FIBER, None, b"item")) in scene.says(scene.client, put)


def test_cancellation_is_told_again_unless_the_snapshot_knows_of_it() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    scene.says(scene.client, m.CancelFibers(run, [(FIBER, 0)]))
    told = scene.machine.members[host].sent
    again = scene.breaks(host)
    assert (5 - host, m.FibersCancelled(run, [(FIBER, 0)])) in again
    heard = m.SaveFibers(run, told, [m.Chunk(run, [(FIBER, 2)], b"later")])
    scene.says(5 - host, m.SaveFibers(run, 0, heard.chunks))
    assert scene.machine.fibers[FIBER].rare.told
    count = scene.machine.members[5 - host].sent
    scene.says(5 - host, m.SaveFibers(run, count, heard.chunks))
    assert not scene.machine.fibers[FIBER].rare.told


def test_unsaved_fiber_is_lost_for_the_reason_that_its_worker_gave() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    scene.says(scene.client, m.AwaitOutcomes(run, [FIBER]))
    scene.says(host, m.SaveFibers(run, 0, [], [m.Unsaved(FIBER, 1, "it has a socket")]))
    (reason,) = losses(scene.breaks(host))
    assert reason.endswith("; it has a socket")


def test_later_snapshot_makes_up_for_one_that_could_not_be_taken() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    scene.says(host, m.SaveFibers(run, 0, [], [m.Unsaved(FIBER, 1, "it has a socket")]))
    scene.says(host, saved(run))
    assert placed_again(scene.breaks(host)) == [(5 - host, [(FIBER, 2)], [0])]


def test_fiber_that_its_worker_has_made_is_known_with_its_first_snapshot() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    born = fiber_id(host, 1)
    scene.tells(host, made(run, 1))
    scene.says(host, saved(run, born, 0))
    again = placed_again(scene.breaks(host))
    assert sorted(again) == [(5 - host, [(FIBER, 2)], [0]), (5 - host, [(born, 1)], [0])]


def test_snapshot_of_a_fiber_that_has_moved_on_is_stale() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    scene.says(host, m.Offer([chunk(run, FIBER, epoch=1)]))
    stale = scene.machine.stale
    scene.says(host, saved(run))
    assert scene.machine.stale == stale + 1


def test_fiber_that_was_lost_with_too_many_workers_is_lost_for_good() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    scene.says(scene.client, m.AwaitOutcomes(run, [FIBER]))
    commands: Commands = []
    for _ in range(MAX_LOSSES):
        assert losses(commands) == []
        (worker,) = [id for id, member in scene.machine.members.items() if member.is_worker]
        commands = scene.breaks(worker)
        scene.join("worker")
    (reason,) = losses(commands)
    assert f"{MAX_LOSSES} workers were lost while the fiber ran there" in reason


def test_fibers_of_a_client_are_lost_with_it() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    commands = scene.breaks(scene.client)
    assert (2, m.RunCancelled(run)) in commands
    assert placed_again(commands) == []


TWO = [(FIBER, 1), (BORN, 0)]


@pytest.mark.parametrize(
    "message",
    [
        lambda run: saved(run, fiber_id(9, 9), 0),
        lambda run: saved(run, held=[(7, 0, 1)]),
        lambda run: saved(run, attachments=[(b"digest", b"")]),
        lambda run: m.SaveFibers(run, 99, []),
        lambda run: m.SaveFibers(run, 0, [], [], [FIBER], []),
        lambda run: m.SaveFibers(run, 0, [m.Chunk(run, TWO, b"payload", held=[(7, 0, 0)])]),
    ],
    ids=["another's fiber", "no such lock", "no data", "the future", "no outcome", "two hold"],
)
def test_snapshot_that_cannot_be_true_costs_its_sender_the_membership(message: Any) -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    Gate(scene.machine).handle(0.0, Received(2, message(run)))
    assert 2 not in scene.machine.members


def test_nothing_is_left_of_snapshots_when_a_run_has_ended() -> None:
    scene = Scene(workers=2)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    scene.says(host, saved(run, references=[FIBER]))
    scene.breaks(host)
    scene.tells(5 - host, ended(run, FIBER, epoch=2))
    scene.tells(scene.client, m.RunProgress(run, [], 9, [], 0))
    assert scene.machine.runs == {}
    scene.machine.validate_rest()


@pytest.mark.parametrize("which", [0, 1])
def test_call_of_an_actor_whose_worker_is_lost_first_goes_where_the_object_is(which: int) -> None:
    scene = Scene(workers=3)
    run, commands = shipped(scene)
    ((host, _, _),) = placed_again(commands)
    home = [worker for worker in scene.workers if worker != host][which]
    call = fiber_id(host, 1)
    scene.says(host, saved(run, call, 0, target=home, actor=fiber_id(home, 9)))
    again = {fibers[0][0]: member for member, fibers, _ in placed_again(scene.breaks(host))}
    assert again[call] == home
