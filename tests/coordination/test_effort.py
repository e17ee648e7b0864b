"""The effort of the coordinator for an event doesn't grow with what the event isn't about.

Bytecodes are counted, not time. A loop in C (`[*fibers]`) isn't seen; all others are.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.state.events import Disconnected, Event, Joined, Received
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind, Snapshots
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.coordinators import made
from tests.harness.effort import bytecodes

CLIENT, FIRST, SECOND, IDLE = 1, 2, 3, 4
FEW, MANY = 20, 400
SLACK = 1.2
"""Heaps, and dicts that come and go, make a little difference."""


class Cluster:
    """A machine with a client and workers, of which the last has nothing to do."""

    def __init__(self, workers: int = 3, snapshots: Snapshots = "off") -> None:
        self.machine = Coordinator()
        self._snapshots = snapshots
        self._numbers = count(1)
        self.join("client")
        for _ in range(workers):
            self.join("worker")
        self.run = self.start_run()

    def happens(self, event: Event) -> None:
        self.machine.handle(0.0, event)

    def join(self, kind: MemberKind) -> None:
        serial = self.machine.state.next_incarnation
        hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "host", serial, b"", "", serial)
        self.happens(Joined(hello))

    def say(self, member: int, message: m.MemberMessage) -> None:
        self.happens(Received(member, message))

    def tell(self, member: int, *runs: m.RunProgress, ready: int = 0) -> None:
        received = self.machine.members[member].sent
        self.say(member, m.Progress(received, ready, [*runs]))

    def start_run(self) -> int:
        run = fiber_id(CLIENT, next(self._numbers))
        self.say(CLIENT, m.StartRun(run, self._snapshots))
        return run

    def ship(self, run: int | None = None) -> int:
        """A fiber goes to the worker with the lowest number that has nothing to do."""
        run, number = run or self.run, next(self._numbers)
        fiber = fiber_id(CLIENT, number)
        self.tell(CLIENT, made(run, 1, first=number))
        self.say(CLIENT, m.Offer([m.Chunk(run, [(fiber, 0)], b"payload")]))
        self.say(CLIENT, m.AwaitOutcomes(run, [fiber]))
        return fiber

    def take_up(self) -> None:
        """The workers have begun with all that they were sent, and have nothing else."""
        for worker in (FIRST, SECOND):
            self.tell(worker)

    def trip(self) -> None:
        """A fiber goes out to a worker, and its outcome comes back."""
        fiber = self.ship()
        host = self.machine.fibers[fiber].host
        self.say(host, m.OutcomesReady([fiber], [b"outcome"]))
        self.tell(host, m.RunProgress(self.run, [], 0, [(fiber, 1)], 0))
        self.say(CLIENT, m.GiveBack([(fiber, 1)]))


Fill = Callable[[Cluster, int], None]


def with_fibers(cluster: Cluster, number: int) -> None:
    for _ in range(number):
        cluster.ship()
        cluster.take_up()


def with_timers(cluster: Cluster, number: int) -> None:
    with_fibers(cluster, 1)
    for n in range(number):
        cluster.say(FIRST, m.StartTimer(cluster.run, fiber_id(FIRST, n), n + 1, 100.0 + n))


def with_locks(cluster: Cluster, number: int) -> None:
    with_fibers(cluster, 1)
    for n in range(number):
        asking = m.AcquireTokens(f"lock {n}", 0, 0.0, cluster.run, [fiber_id(FIRST, n)])
        cluster.say(FIRST, asking)


def with_waits_at_a_queue(cluster: Cluster, number: int) -> None:
    with_fibers(cluster, 1)
    key = fiber_id(FIRST, 10**6)
    cluster.say(FIRST, m.MakePrimitive(cluster.run, key, "queue", 0))
    for n in range(number):
        taking = m.PrimitiveCall(cluster.run, fiber_id(FIRST, n), key, "take", n, None)
        cluster.say(FIRST, taking)


def with_waits_for_fibers_elsewhere(cluster: Cluster, number: int) -> None:
    for _ in range(2):
        cluster.ship()  # so that two workers have a part in the run
    cluster.take_up()
    cluster.say(SECOND, m.AwaitOutcomes(cluster.run, [fiber_id(FIRST, n) for n in range(number)]))


def with_runs(cluster: Cluster, number: int) -> None:
    for _ in range(number):
        cluster.start_run()


def with_chunks(cluster: Cluster, number: int) -> None:
    for worker in (FIRST, SECOND, IDLE):
        cluster.tell(worker, ready=100)
    for _ in range(number):
        cluster.ship()


FILLS: dict[str, Fill] = {
    "fibers": with_fibers,
    "timers": with_timers,
    "locks": with_locks,
    "waits at a queue": with_waits_at_a_queue,
    "waits for fibers elsewhere": with_waits_for_fibers_elsewhere,
    "runs": with_runs,
}


def effort(cluster: Cluster, action: Callable[[Cluster], object]) -> int:
    return bytecodes(lambda: action(cluster))


def assert_flat(make: Callable[[int], Cluster], action: Callable[[Cluster], object]) -> None:
    effort(make(FEW), action)  # Python 3.13 doesn't count all of what runs for the first time
    few, many = (effort(make(number), action) for number in (FEW, MANY))
    assert many <= few * SLACK, f"{many:,} bytecodes instead of {few:,}"


def filled(fill: Fill, snapshots: Snapshots = "off") -> Callable[[int], Cluster]:
    def make(number: int) -> Cluster:
        cluster = Cluster(snapshots=snapshots)
        fill(cluster, number)
        return cluster

    return make


def lose_idle(cluster: Cluster) -> None:
    cluster.happens(Disconnected(IDLE))
    assert IDLE not in cluster.machine.members


def end_another_run(cluster: Cluster) -> None:
    run = cluster.start_run()
    cluster.tell(CLIENT, m.RunProgress(run, [], 1, [], 0))
    assert run not in cluster.machine.runs


def cancel_another_run_that_has_no_place(cluster: Cluster) -> None:
    run = cluster.start_run()
    cluster.ship(run)
    cluster.machine.state.end_run(run, cluster.machine.runs[run])


def report_that_all_wait(cluster: Cluster) -> None:
    run = cluster.machine.runs[cluster.run]
    cluster.tell(CLIENT, m.RunProgress(cluster.run, [], 0, [], run.alive))
    assert run.asked


@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_trip_of_a_fiber_costs_the_same_however_much_else_there_is(fill: Fill) -> None:
    assert_flat(filled(fill), Cluster.trip)


def test_trip_of_a_fiber_costs_the_same_however_many_members_there_are() -> None:
    assert_flat(Cluster, Cluster.trip)


@pytest.mark.parametrize("snapshots", ["off", "births", "suspensions"])
@pytest.mark.parametrize("fill", FILLS.values(), ids=FILLS)
def test_loss_of_a_worker_costs_the_same_however_much_others_have(
    fill: Fill, snapshots: Snapshots
) -> None:
    assert_flat(filled(fill, snapshots), lose_idle)


@pytest.mark.parametrize("fill", [*FILLS.values(), with_chunks], ids=[*FILLS, "chunks"])
def test_end_of_a_run_costs_the_same_however_much_others_have(fill: Fill) -> None:
    assert_flat(filled(fill), end_another_run)


def test_run_that_has_no_place_ends_at_the_same_cost_however_much_else_waits() -> None:
    assert_flat(filled(with_chunks), cancel_another_run_that_has_no_place)


def test_suspicion_of_a_deadlock_costs_the_same_however_many_records_there_are() -> None:
    def make(number: int) -> Cluster:
        cluster = Cluster()
        fibers = []
        for _ in range(number):
            fibers.append(cluster.ship())
            cluster.take_up()
        for fiber in fibers:
            host = cluster.machine.fibers[fiber].host
            cluster.say(host, m.OutcomesReady([fiber], [b"outcome"]))
            cluster.tell(host, m.RunProgress(cluster.run, [], 0, [(fiber, 1)], 0))
        return cluster

    assert_flat(make, report_that_all_wait)
