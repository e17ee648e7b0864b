"""A worker of several threads puts sleepers away, unless they wake meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distio import IO, Queue, io
from distio.coordination.member import Member
from distio.core.fiber import Fiber
from distio.core.snapshot import dump_fibers
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.messages import cold
from tests.harness.members import Node

RUN, FIRST, SECOND = fiber_id(1, 0), fiber_id(1, 1), fiber_id(1, 2)


class Worker:
    """A worker of two threads, with two fibers that sleep."""

    def __init__(self) -> None:
        self.member = Member(2, worker="worker")
        self.node = Node(self.member, threads=2)
        program: IO[object, object, object] = io.sleep(100).then(Queue.create(), io.sleep(200))
        for fiber in (FIRST, SECOND):
            payload, _ = dump_fibers([Fiber(fiber, RUN, program, None)])
            self.member.receive(m.Place(m.Chunk(RUN, [(fiber, 1)], payload), "suspensions"))
        timers = [each for each in self.works() if isinstance(each, m.StartTimer)]
        self.timers = {each.fiber: each.timer for each in timers}

    def works(self, thread: int = 0) -> list[m.MemberMessage]:
        """Let a thread do all that it can; return the worker's messages."""
        while self.node.work(thread):
            pass
        self.member.flush()
        return self.member.take_outbox()

    def wakes(self, fiber: int) -> None:
        """Its time is over."""
        self.member.receive(m.TimerFired(fiber, self.timers[fiber]))

    def begins_to_put_away(self) -> None:
        """A thread has copied what there is to both sleepers, and pickles that."""
        self.member.receive(cold.PutAway(RUN, [*self.timers.items()]))
        executor = self.node.executors[1]
        assert executor.next_task()
        executor.run()
        assert executor.commit()

    def goes_on_to_put_away(self) -> list[m.MemberMessage]:
        executor = self.node.executors[1]
        executor.run()
        while executor.commit():
            executor.run()
        return self.works()


def put_away(said: Sequence[m.MemberMessage]) -> tuple[list[int], list[int]]:
    """The fibers that are saved, and those that leave."""
    saves = [each for each in said if isinstance(each, m.SaveFibers)]
    saved = [fiber for each in saves for chunk in each.chunks for fiber, _ in chunk.fibers]
    leaves = [each for each in said if isinstance(each, cold.FibersPutAway)]
    return saved, [fiber for each in leaves for fiber, _ in each.fibers]


def test_sleepers_of_a_worker_of_several_threads_leave() -> None:
    worker = Worker()
    worker.begins_to_put_away()
    both = [FIRST, SECOND]
    assert put_away(worker.goes_on_to_put_away()) == (both, both)
    assert not worker.member.state.parked


@pytest.mark.parametrize("woken", [FIRST, SECOND])
def test_sleeper_that_another_thread_steps_while_it_is_pickled_is_neither_saved_nor_leaves(
    woken: int,
) -> None:
    worker = Worker()
    worker.begins_to_put_away()
    worker.wakes(woken)
    worker.works(thread=0)
    other = [FIRST + SECOND - woken]
    assert put_away(worker.goes_on_to_put_away()) == (other, other)


def test_sleepers_that_all_wake_while_they_are_pickled_stay() -> None:
    worker = Worker()
    worker.begins_to_put_away()
    worker.wakes(FIRST)
    worker.wakes(SECOND)
    assert put_away(worker.goes_on_to_put_away()) == ([], [])
