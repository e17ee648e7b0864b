"""Fibers that a member gives away: as they came while its threads are busy, else by a task."""

from __future__ import annotations

import random
from typing import Any

import pytest

from distio import IO, Ok, io
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.placement.tasks import OfferFibers
from distio.core.fiber import Fiber
from distio.core.ops.elsewhere import StartElsewhere
from distio.core.snapshot import dump_chunk
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.members import Node, World, outcome_of

RUN = fiber_id(1, 1)


class Busy:
    """A worker whose only thread is in the midst of a step, and that has got fibers since."""

    def __init__(self) -> None:
        self.member = Member(2)
        self.node = Node(self.member)
        self.executor = Executor(self.member, self.node)
        self._next = 1
        self.place(1)
        self.node.work()  # opens the chunk
        assert self.executor.next_task()  # and has a fiber in hand from now on

    def place(self, count: int, *, needs: m.Needs | None = None) -> m.Chunk:
        """Fibers come, in one chunk."""
        ids = [fiber_id(1, self._next + n) for n in range(count)]
        self._next += count
        dumped = dump_chunk([Fiber(id, RUN, io.pure(id), None) for id in ids])
        chunk = m.Chunk(RUN, [(id, 1) for id in ids], dumped.payload, needs=needs)
        self.member.receive(m.Place(chunk))
        self.member.validate()
        return chunk

    def open(self) -> None:
        """Open the oldest chunk, by a thread of which the member doesn't know."""
        task: Any = self.member.state.ready.popleft()
        task.run(self.node)
        task.commit()
        self.member.validate()

    def steal(self, count: int, *thieves: m.Thief) -> list[m.Chunk]:
        """Another member has nothing to do; return what leaves at once."""
        self.member.state.outbox.clear()
        self.member.receive(m.StealRequest(count, [*thieves]))
        self.member.validate()
        offers = [each for each in self.member.state.outbox if isinstance(each, m.Offer)]
        return [chunk for offer in offers for chunk in offer.chunks]

    def ready(self) -> list[int]:
        return [work.id for work in self.member.state.ready if isinstance(work, Fiber)]


def test_busy_member_gives_away_an_unopened_chunk_as_it_came() -> None:
    busy = Busy()
    first, second = busy.place(1), busy.place(1)
    assert busy.steal(1) == [first]
    assert busy.steal(1) == [second]
    assert not busy.member.state.ready
    assert busy.member.state.runs[RUN].alive == 1  # the one in hand


def test_busy_member_gives_away_some_fibers_of_an_opened_chunk_in_the_payload_of_all() -> None:
    busy = Busy()
    chunk = busy.place(3)
    busy.open()
    (given,) = busy.steal(2)
    assert given.fibers == chunk.fibers[:2]
    assert (given.payload, given.places) == (chunk.payload, [0, 1])
    assert busy.ready() == [chunk.fibers[2][0]]
    (rest,) = busy.steal(1)
    assert (rest.fibers, rest.places) == (chunk.fibers[2:], [2])


def test_fibers_that_were_given_away_twice_lie_where_they_lay_at_first() -> None:
    busy = Busy()
    chunk = busy.place(3)
    busy.open()
    (given,) = busy.steal(2)
    other = Busy()
    other.member.receive(m.Place(given))
    other.open()
    (again,) = other.steal(1)
    assert (again.fibers, again.places) == (chunk.fibers[:1], [0])
    (last,) = other.steal(1)
    assert (last.fibers, last.places) == (chunk.fibers[1:2], [1])


def test_fiber_that_has_begun_is_not_given_away_as_it_came() -> None:
    busy = Busy()
    busy.place(1)
    busy.open()
    begun = busy.ready()[0]
    assert Executor(busy.member, busy.node).next_task()
    assert begun not in busy.member.features.surplus.unbegun
    assert busy.steal(1) == []


def test_fiber_that_has_brought_a_lock_along_is_pickled() -> None:
    busy = Busy()
    id = fiber_id(1, 9)
    dumped = dump_chunk([Fiber(id, RUN, io.pure(id), None)])
    busy.member.receive(m.Place(m.Chunk(RUN, [(id, 1)], dumped.payload, held=[(7, 1, 1)])))
    busy.open()
    assert busy.ready() == [id]
    assert busy.steal(1) == []


def test_member_with_a_free_thread_begins_what_it_has_got() -> None:
    busy = Busy()
    busy.place(1)
    busy.member.add_threads(1)
    assert busy.steal(1) == []
    assert isinstance(busy.member.state.ready[0], OfferFibers)


def test_member_that_has_to_open_what_it_has_got_answers_when_that_is_done() -> None:
    member = Member(2)
    node = Node(member)
    ids = [fiber_id(1, n) for n in range(1, 4)]
    dumped = dump_chunk([Fiber(id, RUN, io.pure(id), None) for id in ids])
    member.receive(m.Place(m.Chunk(RUN, [(id, 1) for id in ids], dumped.payload)))
    member.receive(m.StealRequest(2))
    assert node.work()  # opens the chunk
    assert not [each for each in member.state.outbox if isinstance(each, m.Offer)]
    assert node.work()  # offers fibers
    offers = [each for each in member.state.outbox if isinstance(each, m.Offer)]
    assert [id for each in offers for chunk in each.chunks for id, _ in chunk.fibers] == ids[:2]


def test_member_whose_only_chunk_is_dropped_answers_in_vain() -> None:
    member = Member(2)
    node = Node(member)
    dumped = dump_chunk([Fiber(RUN, RUN, io.pure(0), None)])
    member.receive(m.Place(m.Chunk(RUN, [(RUN, 1)], dumped.payload)))
    member.receive(m.StealRequest(1))
    executor = node.executors[0]
    assert executor.next_task()  # it opens the chunk, and answers then
    member.receive(m.RunEnded(RUN))
    executor.run()
    assert not executor.commit()
    assert member.state.outbox[-1] == m.Offer([])


def test_chunk_that_is_much_larger_than_what_is_asked_for_stays() -> None:
    busy = Busy()
    busy.place(5)
    assert busy.steal(2) == []
    assert isinstance(busy.member.state.ready[0], OfferFibers)
    assert len(busy.steal(3)) == 1


@pytest.mark.parametrize(("zone", "count"), [("a", 1), ("b", 0)])
def test_placed_fiber_leaves_as_it_came_if_the_other_member_suits_it(zone: str, count: int) -> None:
    busy = Busy()
    busy.place(1, needs=m.Needs(tags={"zone": "a"}))
    assert len(busy.steal(1, m.Thief({"zone": zone}, {}))) == count


def test_cancellation_follows_a_fiber_that_left_as_it_came() -> None:
    busy = Busy()
    ((id, _),) = busy.place(1).fibers
    busy.member.receive(m.FibersCancelled(RUN, [(id, 0)]))
    assert len(busy.steal(1)) == 1
    assert m.CancelFibers(RUN, [(id, 0)]) in busy.member.state.outbox


def test_run_that_ends_forgets_fibers_that_have_not_begun() -> None:
    busy = Busy()
    busy.place(2)
    busy.open()
    busy.member.receive(m.RunEnded(RUN))
    busy.member.validate()
    assert not busy.member.features.surplus.unbegun


# -- members and coordinator together ---------------------------------------------------------


def test_chunk_does_not_go_to_and_fro_between_idle_members() -> None:
    world = World(workers=2)
    handle = world.start(children(4, pieces=1))
    world.work()
    assert outcome_of(handle) == Ok([Ok(n) for n in range(4)])
    assert len(world.said(m.Place)) < 10


@pytest.mark.parametrize("seed", range(30))
def test_calls_end_once_while_busy_members_give_fibers_away(seed: int) -> None:
    choices = random.Random(seed)
    count, pieces = choices.randint(2, 20), choices.randint(1, 6)
    world = World(workers=3)
    handle = world.start(children(count, pieces=pieces))
    in_hand: dict[int, bool] = {}
    for _ in range(400):
        id = choices.choice([1, 2, 3, 4])
        executor = world.nodes[id].executors[0]
        if choices.random() < 0.3:
            world.carry()
        elif id > 1 and choices.random() < 0.2:
            world[id].receive(m.StealRequest(choices.randint(1, 3)))
        elif in_hand.get(id):
            executor.run()
            in_hand[id] = executor.commit()
        else:
            in_hand[id] = executor.next_task()
    for id, is_held in in_hand.items():
        executor = world.nodes[id].executors[0]
        while is_held:
            executor.run()
            is_held = executor.commit()
    world.work()
    assert outcome_of(handle) == Ok([Ok(n) for n in range(count)])
    assert world.is_empty()
    world.coordinator.validate_rest()


def children(count: int, *, pieces: int) -> IO[Any, Any, Any]:
    programs = tuple([io.pure(n) for n in range(count)])
    return StartElsewhere(programs, pieces).flat_map(io.wait)
