"""Delegations: operations of a queue that members do without asking, and their return."""

from __future__ import annotations

from typing import Any

from distio.coordination.primitives.queues import NO_LIMIT
from distio.protocol import messages as m
from distio.protocol.domains import Method
from distio.protocol.ids import fiber_id
from tests.harness.coordinators import Scene

KEY = 7


class Shared(Scene):
    """A run whose client has made a queue; two workers are members 2 and 3."""

    def __init__(self, capacity: int = NO_LIMIT) -> None:
        super().__init__(workers=2)
        self.run = self.starts(fibers=9)
        self.says(1, m.MakePrimitive(self.run, KEY, "queue", capacity))
        self.asked = 0

    def asks(self, member: int, method: Method, item: bytes | None = None, number: int = 0) -> Any:
        """A fiber of its own calls the queue; returns what the coordinator replies about it."""
        self.asked += 1
        fiber = fiber_id(member, self.asked)
        commands = self.says(member, m.PrimitiveCall(self.run, fiber, KEY, method, number, item))
        return [(to, said) for to, said in commands if not isinstance(said, m.RequestWaitGraph)]

    def tells_of(self, member: int, message: m.MemberMessage) -> list[tuple[int, Any]]:
        """The messages of the coordinator, and to whom they go."""
        return [(to, said) for to, said in self.says(member, message)]

    def puts(self, count: int) -> None:
        for n in range(count):
            self.says(1, m.DelegatedPut(self.run, self.run, KEY, b"%d" % n))

    def gives_ahead(self) -> list[bytes]:
        """Member 2 takes twice in a row."""
        self.asks(2, "take")
        ((_, said),) = self.asks(2, "take")
        ahead: list[bytes] = said.ahead
        return ahead


def test_member_that_has_put_once_may_put_without_asking() -> None:
    scene = Shared()
    ((to, said),) = scene.asks(2, "put", b"a")
    assert (to, said.puts) == (2, NO_LIMIT)
    assert scene.says(2, m.DelegatedPut(scene.run, scene.run, KEY, b"b")) == []
    assert [scene.asks(3, "take")[0][1].item for _ in range(2)] == [b"a", b"b"]


def test_item_that_is_put_without_asking_reaches_a_waiting_fiber() -> None:
    scene = Shared()
    assert scene.asks(3, "take") == []
    ((to, said),) = scene.tells_of(2, m.DelegatedPut(scene.run, scene.run, KEY, b"a"))
    assert (to, said.item) == (3, b"a")


def test_member_that_takes_repeatedly_is_given_more_items_ahead_each_time() -> None:
    scene = Shared()
    scene.puts(20)
    assert scene.asks(2, "take")[0][1].ahead == []
    assert scene.asks(2, "take")[0][1].ahead == [b"2", b"3"]
    ((_, said),) = scene.asks(2, "take", number=1)
    assert (said.item, said.ahead) == (b"4", [b"5", b"6", b"7", b"8"])


def test_items_are_given_ahead_only_when_all_that_have_called_are_answered() -> None:
    scene = Shared()
    scene.puts(12)
    assert scene.gives_ahead() == [b"2", b"3"]
    assert scene.asks(3, "take") == [(2, m.RecallDelegation(KEY))]
    assert scene.asks(3, "take") == []
    assert scene.asks(3, "take") == []
    told = scene.tells_of(2, m.DelegationReturned(KEY, taken=0))
    replies = [said for _, said in told if isinstance(said, m.Replied)]
    assert [(said.item, said.ahead) for said in replies] == [(b"2", []), (b"3", []), (b"4", [])]


def test_take_on_another_member_waits_until_untaken_items_are_back() -> None:
    scene = Shared()
    scene.puts(6)
    assert scene.gives_ahead() == [b"2", b"3"]
    assert scene.asks(3, "take") == [(2, m.RecallDelegation(KEY))]
    assert scene.asks(3, "poll") == []
    first, second = scene.tells_of(2, m.DelegationReturned(KEY, taken=1))
    assert [(to, said.item) for to, said in (first, second)] == [(3, b"3"), (3, b"4")]


def test_member_that_has_not_received_items_ahead_is_not_counted_as_having_taken_them() -> None:
    scene = Shared()
    scene.puts(6)
    scene.gives_ahead()
    assert scene.asks(2, "take", number=0) == [(2, m.RecallDelegation(KEY))]
    ((_, said),) = scene.tells_of(2, m.DelegationReturned(KEY, taken=0))
    assert said.item == b"2"


def test_queue_is_closed_when_all_delegated_puts_have_arrived() -> None:
    scene = Shared()
    scene.asks(2, "put", b"a")
    assert scene.asks(3, "close") == [(2, m.RecallDelegation(KEY))]
    scene.says(2, m.DelegatedPut(scene.run, scene.run, KEY, b"b"))
    assert scene.asks(3, "take") == []
    closed, taken = scene.tells_of(2, m.DelegationReturned(KEY, taken=0))
    assert [closed[1].is_closed, taken[1].item] == [False, b"a"]
    assert scene.asks(2, "put", b"c")[0][1].is_closed


def test_items_ahead_of_a_lost_member_come_back() -> None:
    scene = Shared()
    scene.puts(4)
    scene.gives_ahead()
    scene.asks(3, "take")
    commands = scene.breaks(2)
    answers = [(to, said.item) for to, said in commands if isinstance(said, m.Replied)]
    assert answers == [(3, b"2")]


def test_primitives_are_recalling_while_a_delegation_is_on_its_way_back() -> None:
    scene = Shared()
    scene.puts(2)
    scene.asks(2, "take")
    scene.puts(2)
    scene.asks(2, "take")
    scene.asks(3, "take")
    assert scene.machine.features.primitives.will_wake(scene.run)
    scene.says(2, m.DelegationReturned(KEY, taken=0))
    assert not scene.machine.features.primitives.will_wake(scene.run)


def test_primitives_are_recalling_no_more_when_the_queue_is_freed() -> None:
    """Else no deadlock of the run is ever suspected."""
    scene = Shared()
    scene.asks(2, "put", b"a")
    scene.says(2, m.Leaving(60.0))
    assert (2, m.RecallDelegation(KEY)) in scene.commands
    assert scene.machine.features.primitives.will_wake(scene.run)
    scene.says(1, m.GiveBack([(KEY, 1)]))
    assert not scene.machine.features.primitives.will_wake(scene.run)
    scene.says(2, m.DelegationReturned(KEY, taken=0))
    assert scene.machine.stale == 1


# -- queues with a limit ----------------------------------------------------------------------


def lent(scene: Shared, member: int, *items: bytes) -> list[int]:
    """How many places the member is lent with each of these puts."""
    return [scene.asks(member, "put", item)[0][1].puts for item in items]


def fill(scene: Shared, items: int) -> None:
    """Two members put by turns, so that neither is lent places."""
    for n in range(items):
        scene.asks(3 - n % 2, "put", b"%d" % n)


def test_queue_that_keeps_nothing_is_never_delegated() -> None:
    scene = Shared(0)
    assert [scene.asks(3, "take") for _ in range(4)] == [[]] * 4
    said = [scene.asks(2, "put", b"a")[0][1] for _ in range(4)]
    assert not any(answer.puts or answer.ahead for answer in said)


def test_member_that_puts_again_and_again_is_lent_half_of_the_free_places_at_most() -> None:
    scene = Shared(9)
    assert lent(scene, 2, b"a", b"b", b"c") == [0, 2, 2]  # 7 are free, then 4


def test_member_that_puts_by_turns_with_another_is_lent_nothing() -> None:
    scene = Shared(9)
    assert [lent(scene, member, b"a") for member in (2, 3, 2, 3)] == [[0]] * 4


def test_places_that_are_lent_are_recalled_before_a_fiber_waits_for_room() -> None:
    scene = Shared(4)
    assert lent(scene, 2, b"a", b"b") == [0, 1]
    assert scene.asks(3, "offer", b"c")[0][1].plain is True
    assert scene.asks(3, "offer", b"d") == [(2, m.RecallDelegation(KEY))]
    ((to, said),) = scene.tells_of(2, m.DelegationReturned(KEY, taken=0))
    assert (to, said.plain) == (3, True)


def test_place_that_was_used_before_its_recall_is_no_room() -> None:
    scene = Shared(4)
    lent(scene, 2, b"a", b"b")
    scene.asks(3, "put", b"c")
    scene.asks(3, "offer", b"e")
    scene.says(2, m.DelegatedPut(scene.run, scene.run, KEY, b"d"))
    ((to, said),) = scene.tells_of(2, m.DelegationReturned(KEY, taken=0))
    assert (to, said.plain) == (3, False)


def test_places_of_a_lost_member_are_free() -> None:
    scene = Shared(4)
    lent(scene, 2, b"a", b"b")
    scene.asks(3, "put", b"c")
    assert scene.asks(3, "put", b"d") == [(2, m.RecallDelegation(KEY))]
    answers = [(to, said.plain) for to, said in scene.breaks(2) if isinstance(said, m.Replied)]
    assert answers == [(3, None)]


def test_item_that_is_taken_ahead_keeps_its_place_until_that_is_heard() -> None:
    scene = Shared(4)
    fill(scene, 4)
    assert scene.gives_ahead() == [b"2", b"3"]
    fill(scene, 2)
    assert scene.asks(3, "put", b"d") == []
    ((to, said),) = scene.tells_of(2, m.TakenAhead(KEY, 1, 1))
    assert (to, said.item, said.plain) == (3, None, None)


def test_room_of_items_ahead_is_free_when_their_member_asks_for_more() -> None:
    scene = Shared(3)
    scene.asks(2, "put", b"a")
    fill(scene, 2)
    assert scene.gives_ahead() == [b"1"]
    fill(scene, 2)
    assert scene.asks(3, "put", b"d") == []
    taken, put = scene.asks(2, "take", number=1)
    assert (taken[1].item, put[0]) == (b"0", 3)


def test_coordinator_does_not_answer_a_client_that_is_lost_with_its_worker() -> None:
    """Only the worker's client could say how the worker ended, and that client is lost, too."""
    scene = Scene()
    client, worker = scene.join("client", family="ours"), scene.join("worker", family="ours")
    run = scene.starts(owner=client, fibers=4)
    scene.says(client, m.MakePrimitive(run, KEY, "queue", -1))
    for item in (b"a", b"b", b"c"):
        scene.says(client, m.PrimitiveCall(run, fiber_id(client, 1), KEY, "put", 0, item))
    for fiber in (fiber_id(worker, 1), fiber_id(worker, 2)):
        scene.says(worker, m.PrimitiveCall(run, fiber, KEY, "take", 0, None))
    scene.says(client, m.PrimitiveCall(run, fiber_id(client, 2), KEY, "take", 0, None))
    assert scene.breaks(worker) == []
    scene.breaks(client)
    assert run not in scene.machine.runs
