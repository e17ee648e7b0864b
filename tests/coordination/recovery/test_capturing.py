"""Which fibers can be captured, and which of them share a pickle."""

from __future__ import annotations

from collections.abc import Sequence

from distio import io
from distio.coordination.member import Member
from distio.coordination.recovery.capturing import Capturing
from distio.coordination.recovery.tasks import Captured
from distio.coordination.state.destination import Destination
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.core.snapshot import dump_fibers
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.harness.members import Node

RUN = fiber_id(1, 0)


class Captor:
    """A worker with a tree of fibers that have not begun."""

    def __init__(self, threads: int = 1, fibers: int = 3) -> None:
        self.member = Member(2, worker="worker")
        self.node = Node(self.member, threads)
        self.fibers = [Fiber(fiber_id(1, n + 1), RUN, io.sleep(9), None) for n in range(fibers)]
        payload, _ = dump_fibers(self.fibers)
        chunk = m.Chunk(RUN, [(fiber.id, 1) for fiber in self.fibers], payload)
        self.member.receive(m.Place(chunk, "suspensions"))
        features = self.member.features
        self.capturing = Capturing(self.member.state, features.cancellation, features.locks.held_by)
        self.tree = Tree(self.fibers[0], frozenset())
        self.tree.rest = {each.id: each for each in self.fibers[1:]}


def groups(captured: Sequence[Sequence[Captured]]) -> list[int]:
    return [len(each) for each in captured]


def refused(captured: Sequence[Sequence[Captured]]) -> list[int]:
    return [each.fiber.id for some in captured for each in some if each.refusal]


def test_fibers_that_have_not_begun_share_a_pickle() -> None:
    captor = Captor()
    assert groups(captor.capturing.trees([captor.tree], None)) == [3]


def test_more_fibers_than_a_pickle_may_have_are_in_several() -> None:
    captor = Captor(fibers=600)
    assert groups(captor.capturing.trees([captor.tree], None)) == [256, 256, 88]


def test_fiber_with_a_destination_is_alone_in_its_pickle() -> None:
    captor = Captor()
    where = {captor.fibers[1].id: Destination(target=3, actor=7)}
    assert sorted(groups(captor.capturing.trees([captor.tree], None, where=where))) == [1, 2]


def test_fiber_that_another_thread_may_step_is_refused() -> None:
    captor = Captor(threads=2)
    first, second, third = captor.fibers
    assert refused(captor.capturing.trees([captor.tree], first)) == [second.id, third.id]
    assert refused(captor.capturing.trees([captor.tree], first, [second])) == [third.id]


def test_fiber_that_is_parked_can_be_captured_when_its_member_leaves() -> None:
    captor = Captor(threads=2)
    first, second, third = captor.fibers
    captor.member.state.parked[second.id] = second
    assert refused(captor.capturing.trees([captor.tree], first)) == [second.id, third.id]
    captor.member.state.is_leaving = True
    assert refused(captor.capturing.trees([captor.tree], first)) == [third.id]


def test_fiber_that_uses_an_object_of_the_worker_is_refused() -> None:
    captor = Captor()
    captor.member.state.runs[RUN].bound[captor.fibers[1].id] = 1
    assert refused(captor.capturing.trees([captor.tree], captor.fibers[0])) == [captor.fibers[1].id]
    assert refused(captor.capturing.at_rest(captor.fibers)) == [captor.fibers[1].id]
