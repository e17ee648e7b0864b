"""Locks in the coordinator: to whom tokens are lent, when, and for how many turns."""

from __future__ import annotations

from typing import Any

import pytest

from distio.coordination.deadlock.coordinator import DeadlockDetector
from distio.coordination.gate import Gate
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import Received
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Commands, Key, Scene, asks, blocked, finished


def returns(
    scene: Scene, member: int, count: int = 1, *, lock: Key = 7, value: bytes | None = None
) -> Commands:
    return scene.says(member, m.ReturnTokens(lock, count, value))


def lent(
    member: int, count: int = 1, *fibers: int, is_delegated: bool = False, lock: Key = 7,
    value: bytes = b"",
) -> Commands:  # fmt: skip
    return [(member, m.TokensGranted(lock, count, list(fibers) or [member], is_delegated, value))]


def kept(member: int, count: int = 1, *fibers: int, **rest: bytes | Key) -> Commands:
    return lent(member, count, *fibers, is_delegated=True, **rest)  # type: ignore[arg-type]  # by name


def recalled(member: int, lock: Key = 7) -> Commands:
    return [(member, m.RecallTokens(lock))]


def test_coordinator_lets_the_only_member_that_asks_keep_the_lock_until_another_asks() -> None:
    scene = Scene(workers=2)
    scene.starts()
    assert asks(scene, 2) == kept(2)
    assert asks(scene, 3) == recalled(2)
    assert asks(scene, 1) == []
    assert returns(scene, 2) == lent(3)
    assert returns(scene, 3) == kept(1)


def test_coordinator_serves_members_in_the_order_in_which_they_asked() -> None:
    scene = Scene(workers=3)
    scene.starts()
    asks(scene, 1)
    order = [2, 3, 4, 2, 3, 4, 2]
    for fiber, member in enumerate(order):
        asks(scene, member, fiber)
    served = []
    holder = 1
    for _ in order:
        ((holder, message),) = returns(scene, holder)
        assert isinstance(message, m.TokensGranted)
        served += message.turns
    assert served == [*range(len(order))]


def test_coordinator_gives_successive_fibers_of_one_member_their_turns_at_once() -> None:
    scene = Scene(workers=2)
    scene.starts()
    asks(scene, 1)
    asks(scene, 2, 21)
    asks(scene, 2, 22, 23)
    asks(scene, 3)
    assert returns(scene, 1) == lent(2, 1, 21, 22, 23)
    assert returns(scene, 2) == kept(3)


def test_coordinator_serves_fibers_first_whose_turns_were_taken_back() -> None:
    scene = Scene(workers=2)
    scene.starts()
    asks(scene, 1)
    asks(scene, 2)
    asks(scene, 3, 31, 32, is_ahead=True)
    assert returns(scene, 1) == lent(3, 1, 31, 32)


def test_coordinator_passes_over_a_fiber_that_has_withdrawn() -> None:
    scene = Scene(workers=2)
    scene.starts()
    asks(scene, 1)
    asks(scene, 2, 21)
    asks(scene, 3, 31)
    asks(scene, 2, 22)
    assert scene.says(2, m.WithdrawAcquire(7, [21])) == []
    assert returns(scene, 1) == lent(3, 1, 31)
    assert scene.says(2, m.WithdrawAcquire(7, [22])) == []
    assert returns(scene, 3) == []


def test_coordinator_drops_a_withdrawal_of_a_fiber_that_already_has_its_turn() -> None:
    scene = Scene(workers=2)
    scene.starts()
    asks(scene, 1)
    asks(scene, 2)
    asks(scene, 3)
    assert returns(scene, 1) == lent(2)
    assert scene.says(2, m.WithdrawAcquire(7, [2])) == []
    assert returns(scene, 2) == kept(3)


def test_coordinator_ignores_a_request_that_crossed_the_grant_of_the_whole_lock() -> None:
    scene = Scene(workers=1)
    scene.starts()
    assert asks(scene, 1) == kept(1)
    assert asks(scene, 1) == []
    assert asks(scene, 2) == recalled(1)
    assert returns(scene, 1) == kept(2)


def test_semaphore_tokens_stay_with_a_lone_member_and_are_lent_by_turns_to_several() -> None:
    scene = Scene(workers=2)
    scene.starts()
    assert asks(scene, 1, tokens=3) == kept(1, 3)
    assert asks(scene, 2, 21, 22, 23, tokens=3) == recalled(1)
    assert returns(scene, 1, 2) == lent(2, 2, 21, 22)
    assert asks(scene, 3, tokens=3) == []
    assert returns(scene, 1) == lent(2, 1, 23)
    assert returns(scene, 2) == lent(3)


def test_rate_limit_lets_the_next_fiber_start_at_the_end_of_its_window_and_not_before() -> None:
    scene = Scene()
    scene.starts()
    first = asks(scene, 1, 11, 12, 13, tokens=2, per_seconds=10.0)
    assert first == lent(1, 0, 11, 12)
    assert scene.machine.next_deadline() == 10.0
    assert scene.tick(9.9) == []
    assert scene.tick(10.0) == lent(1, 0, 13)


def test_rate_limit_windows_that_end_together_open_in_the_order_in_which_they_began() -> None:
    """The keys of a limit with a name and of one without a name can't be compared."""
    scene = Scene()
    scene.starts()
    keys: list[Key] = ["api", 7, "web", 8]
    for key in keys:
        first = asks(scene, 1, 11, 12, lock=key, tokens=1, per_seconds=10.0)
        assert first == lent(1, 0, 11, lock=key)
    assert scene.tick(10.0) == [each for key in keys for each in lent(1, 0, 12, lock=key)]


def test_coordinator_gives_the_tokens_of_a_lost_member_to_the_next_one() -> None:
    scene = Scene(workers=2)
    scene.starts()
    asks(scene, 2)
    asks(scene, 3)
    asks(scene, 1)
    assert lent(3)[0] in scene.breaks(2)
    assert kept(1)[0] in scene.breaks(3)


def test_coordinator_passes_over_a_lost_member_in_the_queue() -> None:
    scene = Scene(workers=1)
    scene.starts()
    asks(scene, 1)
    asks(scene, 2, 21)
    asks(scene, 1)
    asks(scene, 2, 22)
    scene.breaks(2)
    assert returns(scene, 1) == kept(1)
    assert returns(scene, 1) == []
    scene.machine.features.locks.validate()
    assert len(scene.machine.features.locks) == 0


def test_coordinator_moves_a_token_with_its_fiber() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    assert asks(scene, 1) == kept(1)
    chunk = m.Chunk(run, [(child, 0)], b"", [(7, 0, 1)])
    moved = m.Chunk(run, [(child, 1)], b"", [(7, 0, 1)])
    assert (2, m.Place(moved)) in scene.says(1, m.Offer([chunk]))
    stale = scene.machine.stale
    assert returns(scene, 1) == []
    assert scene.machine.stale == stale + 1
    assert asks(scene, 3) == []
    assert returns(scene, 2) == kept(3)


def test_coordinator_frees_a_token_whose_fiber_was_on_its_way_when_its_run_ended() -> None:
    scene = Scene()
    one = scene.starts(fibers=2)
    scene.starts(scene.join("client"))
    assert asks(scene, 1, lock="door") == kept(1, lock="door")
    chunk = m.Chunk(one, [(fiber_id(1, 1), 0)], b"", [("door", 0, 1)])
    scene.says(1, m.Offer([chunk]))
    assert asks(scene, 2, lock="door") == []
    assert kept(2, lock="door")[0] in scene.breaks(1)


def test_token_of_a_fiber_whose_target_is_gone_is_free() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    scene.breaks(2)
    assert asks(scene, 1, lock="door") == kept(1, lock="door")
    scene.says(1, m.Offer([m.Chunk(run, [(fiber_id(1, 1), 0)], b"", [("door", 0, 1)], target=2)]))
    assert asks(scene, 3, lock="door") == kept(3, lock="door")


def test_coordinator_ignores_returned_tokens_that_the_member_does_not_have() -> None:
    scene = Scene(workers=1)
    scene.starts()
    asks(scene, 1)
    assert returns(scene, 2) == []
    assert returns(scene, 1, 2) == []
    assert scene.machine.stale == 2
    assert asks(scene, 2) == recalled(1)


def test_variable_value_comes_with_its_token_and_lives_as_long_as_its_run() -> None:
    scene = Scene(workers=1)
    run = scene.starts()
    assert scene.says(1, m.StoreValue(run, 9, b"first")) == []
    assert asks(scene, 1, lock=9) == kept(1, lock=9, value=b"first")
    assert asks(scene, 2, lock=9) == recalled(1, 9)
    assert returns(scene, 1, lock=9, value=b"second") == kept(2, lock=9, value=b"second")
    assert scene.says(2, m.StoreValue(run, 9, b"third")) == []
    assert returns(scene, 2, lock=9) == []
    assert asks(scene, 1, lock=9) == kept(1, lock=9, value=b"third")
    returns(scene, 1, lock=9)
    scene.tells(1, finished(run, 1))
    scene.machine.validate_rest()


def test_variable_value_outlives_the_member_that_set_it() -> None:
    scene = Scene(workers=1)
    run = scene.starts()
    scene.says(1, m.StoreValue(run, 9, b"first"))
    asks(scene, 2, lock=9)
    scene.says(2, m.StoreValue(run, 9, b"second"))
    scene.breaks(2)
    assert asks(scene, 1, lock=9) == kept(1, lock=9, value=b"second")


def test_coordinator_refuses_a_lock_name_that_is_in_use_for_another_kind() -> None:
    scene = Scene(workers=1)
    scene.starts()
    asks(scene, 1, lock="api", tokens=3)
    ((member, refused),) = asks(scene, 2, lock="api", tokens=5)
    assert member == 2
    assert isinstance(refused, m.LockRefused)
    assert "in use as a semaphore of 3 tokens" in refused.reason


def test_coordinator_asks_a_run_that_waits_for_another_runs_lock_once_until_it_moves() -> None:
    scene = Scene()
    run = scene.starts()
    asks(scene, 1, lock="door")
    assert scene.tells(1, blocked(run)) == [(1, m.RequestWaitGraph(run, 1))]
    answer = m.WaitGraph(run, 1, True, [], [(run, "door")], [])
    assert scene.says(1, answer) == []
    assert scene.tells(1) == []
    assert scene.tells(1, blocked(run)) == [(1, m.RequestWaitGraph(run, 2))]


def test_run_whose_own_fibers_hold_every_lock_it_waits_for_is_a_deadlock() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    asks(scene, 1, lock=7)
    asks(scene, 1, lock=8)
    assert scene.tells(1, blocked(run, 2)) == [(1, m.RequestWaitGraph(run, 1))]
    other = fiber_id(1, 1)
    held: list[tuple[Key, list[int]]] = [(7, [run]), (8, [other])]
    answer = m.WaitGraph(run, 1, True, [], [(run, 8), (other, 7)], held)
    assert scene.says(1, answer) == [(1, m.RunCancelled(run))]
    ((member, ended),) = scene.tells(1, m.RunProgress(run, [], 2, [], 0))
    assert member == 1
    assert isinstance(ended, m.RunEnded)
    assert "fiber 1.0 waits for fiber 1.1, fiber 1.1 waits for fiber 1.0" in ended.reason


def test_wait_graph_is_outdated_when_a_token_it_waits_for_has_moved() -> None:
    """Between the two answers, the waiting fiber has had the lock, and goes on."""
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    scene.offers(1, run, child)
    asks(scene, 1)
    asks(scene, 2)
    scene.tells(2, blocked(run))
    questions = scene.tells(1, m.RunProgress(run, [], 0, [], 1))
    assert {member for member, _ in questions} == {1, 2}
    assert scene.says(2, m.WaitGraph(run, 1, True, [], [(child, 7)], [])) == []
    assert returns(scene, 1) == kept(2)
    assert asks(scene, 1) == recalled(2)
    assert returns(scene, 2) == kept(1)
    answer = m.WaitGraph(run, 1, True, [(run, [child])], [], [(7, [run])])
    assert scene.says(1, answer) == []


def test_run_is_suspected_when_its_last_fiber_begins_to_wait_for_a_lock() -> None:
    """No report may follow: as many fibers wait on the other member as it has reported."""
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    asks(scene, 2, run=run)
    scene.tells(1, blocked(run))
    question = [(1, m.RequestWaitGraph(run, 1))]
    assert asks(scene, 1, run=run) == [*recalled(2), *question]
    answer = m.WaitGraph(run, 1, True, [], [(run, 7)], [])
    assert scene.says(1, answer) == []
    assert returns(scene, 2) == kept(1)
    assert asks(scene, 1, lock=8, run=run) == kept(1, lock=8)


def test_run_is_suspected_when_a_member_has_caught_up_that_reports_nothing_of_it() -> None:
    """All fibers of the run wait in queues of the coordinator, which was told before it caught
    up."""
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    asks(scene, 1, run=run)
    scene.offers(1, run, fiber_id(1, 1))
    scene.tells(1, blocked(run))
    assert asks(scene, 2, run=run) == recalled(1)
    asked = {(member, type(message)) for member, message in scene.tells(2)}
    assert asked == {(1, m.RequestWaitGraph), (2, m.RequestWaitGraph)}


@pytest.mark.parametrize("owner", [CoordinatorState, DeadlockDetector])
def test_grant_that_fails_leaves_no_tokens_with_a_member_that_was_not_told(
    owner: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grant fails before it is sent, or in what other features do about it."""
    method = {CoordinatorState: "send_if_member", DeadlockDetector: "tokens_moved"}[owner]
    whole = getattr(owner, method)
    calls: list[object] = []

    def fails_once(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise KeyError("planted")
        whole(*args)

    monkeypatch.setattr(owner, method, fails_once)
    scene = Scene(workers=1)
    run = scene.starts()
    gate = Gate(scene.machine)
    asked = m.AcquireTokens(7, 0, 0.0, run, [run], False)
    said = [command.message for command in gate.handle(0.0, Received(1, asked))]
    assert m.TokensGranted(7, 1, [run], True, b"") in said
    assert [str(each.error) for each in gate.incidents] == ["'planted'"]
    scene.machine.validate()
