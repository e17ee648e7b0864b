"""The simulation finds mistakes: each is planted in a copy of a machine, and found.

A mistake that the simulation would not find here, it would not find in the machines themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, get_type_hints

import pytest
from msgspec import structs

from distio import IO, Deferred, Ok, Queue, Resource, Var, io, resource
from distio.coordination import coordinator as coordinator_machine
from distio.coordination import member as member_machine
from distio.coordination.admission import require
from distio.coordination.cancellation.member import Cancellation
from distio.coordination.coordinator import Coordinator, Features
from distio.coordination.dispatch import answers, handles
from distio.coordination.endings.coordinator import Endings
from distio.coordination.endings.member import Endings as LocalEndings
from distio.coordination.executor.executor import Executor
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.feature.member import MemberFeature
from distio.coordination.locks.coordinator import Locks
from distio.coordination.locks.member import Locks as LocalLocks
from distio.coordination.member import Member
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.outcomes.fiber_waits import FiberWaits
from distio.coordination.outcomes.member import Outcomes as LocalOutcomes
from distio.coordination.outcomes.unverified_waits import UnverifiedWaits
from distio.coordination.placement.coordinator import Placement
from distio.coordination.placement.member import Placement as LocalPlacement
from distio.coordination.primitives import delegated_queues
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.primitives.delegated_queues import DelegatedQueues
from distio.coordination.primitives.delegations import Delegations
from distio.coordination.primitives.member import Primitives as LocalPrimitives
from distio.coordination.references.coordinator import References
from distio.coordination.references.member import References as LocalReferences
from distio.coordination.runs.coordinator import Runs
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.events import Event, Received, Send, Tick
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run
from distio.coordination.timers.coordinator import Timer, Timers
from distio.core import ops
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Leaving
from distio.core.pickling.payloads import Dumped
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.protocol.endings import Cause
from distio.protocol.pieces import Bytes
from distio.testing import (
    CheckFailed,
    Components,
    Crash,
    Fail,
    Fault,
    Interrupt,
    Simulation,
    explore,
    processes,
    simulation,
)
from tests.harness.parameters import first_of_each, marked
from tests.harness.planting import find_soon

Program = IO[Any, Any, Any]
Plant = Callable[[pytest.MonkeyPatch], Components]


# -- programs ---------------------------------------------------------------------------------


@cache
def tree(depth: int) -> Program:
    """Fibers that start fibers, some of which sleep; 2 ** depth of them compute a 1."""
    if depth == 0:
        return io.sleep(0.01).then(io.pure(1))
    return io.zip_par(tree(depth - 1), io.yield_.then(tree(depth - 1))).map(sum)


@cache
def late_waits(depth: int) -> Program:
    """The same, but many of them end before they are waited for."""
    if depth == 0:
        return io.pure(1)
    children = io.parallel(late_waits(depth - 1), io.yield_.then(late_waits(depth - 1)))
    return children.flat_map(lambda fibers: io.yield_.then(io.wait(fibers))).map(total)


@cache
def crowd() -> Program:
    """More fibers than threads, waited for when some of them have moved."""
    one = io.yield_.then(io.yield_, io.pure(1))
    later = io.yield_.then(io.yield_, io.yield_)
    return io.parallel([one] * 16).flat_map(lambda fibers: later.then(io.wait(fibers))).map(total)


def releases_for_hours() -> Program:
    """Four fibers, on several members, whose releases take longer than they may."""
    return io.zip_par([io.pure(n).finally_(lambda _: io.sleep(10_000)) for n in range(4)])


def passed_on() -> Program:
    """Fibers that wait, elsewhere, for fibers that haven't left yet."""
    one = io.yield_.then(*[io.yield_] * 12, io.pure(1))
    all_of_them = io.parallel([one] * 12).flat_map(
        lambda fibers: io.zip_par([io.wait(fibers).map(total)] * 2).map(sum)
    )
    return io.zip_par(all_of_them).map(sum)


def total(results: Sequence[Any]) -> int:
    return sum(result.success for result in results)


# -- mistakes ---------------------------------------------------------------------------------


class ParksWithoutLooking(FiberWaits):
    """A wake-up before park is lost: it parks the fiber whatever has happened already."""

    @answers
    def await_fibers(self, fiber: Fiber, request: rq.AwaitFibers) -> Fiber | None:
        if super().await_fibers(fiber, request):
            self._state.park(fiber)
        return None


class ForgetsAWaiter(FiberWaits):
    """A finished fiber's waiter isn't told."""

    def set_outcome(self, handle: Handle[Any, Any, Any], outcome: Any) -> None:
        if handle.waiters:
            handle.waiters.popitem()
        super().set_outcome(handle, outcome)


class TellsTwice(LocalEndings):
    """A fiber that has ended is counted twice."""

    def finish(self, fiber: Fiber, *, is_observed: bool = False) -> None:
        super().finish(fiber, is_observed=is_observed)
        self._state.runs[fiber.run].has_ended(fiber)


class ShipsAndKeeps(LocalPlacement):
    """Fibers that leave also stay."""

    def pickled(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped | None,
        destination: Destination = ANYWHERE,
        mentioned: Sequence[tuple[int, Leaving]] = (),
    ) -> bool:
        goes_on = super().pickled(fibers, dumped, destination, mentioned)
        for fiber in fibers if goes_on and dumped is not None else ():
            fiber.handle = Handle(fiber.id)
            self._state.queue(fiber)
        return goes_on


class HastyTimers(Timers):
    """A timer fires early."""

    def due(self, now: float) -> list[Timer]:
        return super().due(now + 0.001)


class LosesATimer(Timers):
    """A timer never fires."""

    def start(self, timer: Timer) -> None:
        if timer.fiber % 3:
            super().start(timer)


class KeepsTimers(Timers):
    """The timers of a run outlive it."""

    def run_ended(self, id: int, run: Run) -> None:
        """Do nothing."""


class ForgetsToRelease(Endings):
    """A run that loses its client is over at once."""

    def begin(self, id: int, run: Run, cause: Cause, reason: str = "") -> None:
        if cause is Cause.CLIENT_GONE:
            run.ending = cause, reason
            self._state.end_run(id, run)
        else:
            super().begin(id, run, cause, reason)


class AppliesOffersTwice(Coordinator):
    """A batch is applied twice."""

    def handle(self, now: float, event: Event) -> list[Send]:
        commands = super().handle(now, event)
        if isinstance(event, Received) and isinstance(event.message, m.Offer):
            commands += super().handle(now, event)
        return commands


class PlacesInTheSameEpoch(Placement):
    """A fiber is placed, and its epoch doesn't grow."""

    def _place(self, taker: MemberRecord, chunk: m.Chunk) -> None:
        fibers = [(fiber, max(0, epoch - 1)) for fiber, epoch in chunk.fibers]
        super()._place(taker, m.Chunk(chunk.run, fibers, chunk.payload))


class ForgetsWaiters(Outcomes):
    """When a fiber moves, its waiters don't move with it."""

    def move_waits(self, host: int, chunk: m.Chunk) -> bool:
        super().move_waits(host, chunk)
        return False

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """Do nothing."""


class NeverLosesAnyone(Outcomes):
    """A member that waits for a lost fiber isn't told."""

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """Do nothing."""


class LosesTheSuccessor(Coordinator):
    """How a process has exited is taken for the exit of the one that has its pid now."""

    def handle(self, now: float, event: Event) -> list[Send]:
        commands = super().handle(now, event)
        if isinstance(event, Received) and isinstance(event.message, m.WorkerExited):
            exited = event.message.serial
            for peer in list(self.members.values()):
                if peer.is_worker and peer.hello.pid == exited != peer.hello.serial:
                    self.features.membership._lose(peer.id, event.message.reason)
            commands += super().handle(now, Tick())
        return commands


class CountsARestartTwice(Runs):
    """The fibers of a lost worker are counted off when it is lost and when it is replaced."""

    _lost_fibers: Mapping[int, int] = {}

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        runs = self._state.runs
        self._lost_fibers = {id: run.alive_at.get(lost.id, 0) for id, run in runs.items()}
        super().member_lost(lost, reason)

    def member_joined(self, member: MemberRecord) -> None:
        for id, count in self._lost_fibers.items():
            if id in self._state.runs:
                self._state.runs[id].alive -= count


class SettlesOnlyOnce(Executor):
    """The children of a fiber are started, and the fiber itself is dropped."""

    def commit(self) -> bool:
        is_going_on = super().commit()
        if is_going_on and self.work is not None and not isinstance(self.work, Fiber):
            self.work = None
            self._state.stepping -= 1
            return False
        return is_going_on


class NeverFrees(Locks):
    """The locks that a lost member has held stay taken."""

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Do nothing."""


class LetsTwoIn(Locks):
    """To look whether a lock is free and to take it are two steps."""

    def wait(self, member: int, message: m.AcquireTokens) -> None:
        lock = self._locks.get(message.lock)
        if lock is not None:
            lock.free += 1
        super().wait(member, message)


class ForgetsTheNext(Locks):
    """A lock is given back, and whoever waits for it isn't told."""

    def _serve(self, key: int | str, lock: Any) -> None:
        if len(lock.queue) < 2 or self._state.now == 0.0:
            super()._serve(key, lock)


class KeepsOldValues(Locks):
    """The new value of a variable comes after its lock is free."""

    def take_back(
        self, member: int, key: int | str, count: int, value: Bytes | None = None
    ) -> bool:
        taken = super().take_back(member, key, count, None)
        if taken and value is not None and key in self._locks:
            self._locks[key].value = value
        return taken


class LeavesTokensBehind(Locks):
    """A fiber goes elsewhere, and what it holds isn't said to have moved."""

    def move(self, held: Sequence[tuple[int | str, int, int]], origin: int, target: int) -> None:
        """Do nothing."""


class KeepsRecalledDelegations(LocalLocks):
    """Others wait, and nobody is told."""

    @handles
    def recall(self, message: m.RecallTokens) -> None:
        """Do nothing."""


class DropsCrossingItems(LocalPrimitives):
    """A cancelled fiber doesn't look whether it was answered before."""

    @handles
    def replied(self, message: m.Replied) -> None:
        fiber = self._state.parked.get(message.fiber)
        request = None if fiber is None else fiber.request
        if isinstance(request, rq.CallPrimitive) and request.is_withdrawn:
            self.withdrawn(m.CallWithdrawn(message.fiber))
        else:
            super().replied(message)


class ServesWithdrawnCalls(Primitives):
    """A fiber that waits no longer keeps its place."""

    def _withdraw(self, fiber: int, waiter: Any) -> None:
        self._waiters.leave(fiber)


class GivesTakenItemsAgain(Delegations):
    """Items that were given ahead come back whole, taken or not."""

    def take_back(self, member: int, taken: int) -> None:
        super().take_back(member, 0)


class ReturnsTokensTwice(LocalLocks):
    """A member returns tokens, and says so twice."""

    def _serve(self, lock: Any) -> None:
        said = len(self._state.outbox)
        super()._serve(lock)
        for message in self._state.outbox[said:]:
            if isinstance(message, m.ReturnTokens):
                self._state.send(message)


class ReturnsItemsTwice(Delegations):
    """Items that a member returns are put back, and stay in the copy."""

    def take_back(self, member: int, taken: int) -> None:
        ahead = list(self._ahead)
        super().take_back(member, taken)
        self._ahead.extend(ahead)


class KeepsARecalledQueue(LocalPrimitives):
    """A member doesn't return a queue."""

    @handles
    def recall(self, message: m.RecallDelegation) -> None:
        """Do nothing."""


def answers_while_recalled(monkeypatch: pytest.MonkeyPatch) -> Components:
    """A call is answered before members have returned what they have of the queue."""

    def delays(queues: DelegatedQueues, member: int, call: m.PrimitiveCall) -> bool:
        if right(queues, member, call):
            del queues[call.key].delayed[call.fiber]
        return False

    right = DelegatedQueues.delays
    monkeypatch.setattr(DelegatedQueues, "delays", delays)
    return Components()


class LeavesAQueueToTheLost(Primitives):
    """A member is lost, and may put into a queue still."""

    def _take_back(self, key: int, member: int, taken: int) -> None:
        if member in self._state.members:
            super()._take_back(key, member, taken)


class KeepsUnverifiedWaits(UnverifiedWaits):
    """A fiber leaves its maker and gets a record, and its unverified wait stays."""

    def adopt(self, id: int, fiber: int) -> FiberRecord | None:
        return self._waits.get(fiber, {}).get(id)


def expels_late_members(monkeypatch: pytest.MonkeyPatch) -> Components:
    """A message about a run that is over is taken for a lie."""

    def part_of(state: CoordinatorState, member: MemberRecord, id: int) -> Run | None:
        require(id in state.runs, "there is no such run")
        return state.runs[id]

    for feature in get_type_hints(Features).values():
        module = sys.modules[feature.__module__]
        if hasattr(module, "part_of"):
            monkeypatch.setattr(module, "part_of", part_of)
    return Components()


def stays_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> Components:
    """A member that fails stays a member, and does nothing."""
    monkeypatch.setattr(processes, "last_words", lambda reason: [])
    return Components()


def with_feature(feature: type[CoordinatorFeature]) -> Plant:
    """The coordinator has this feature in the place of the one from which it inherits."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> Components:
        monkeypatch.setattr(coordinator_machine, feature.__mro__[1].__name__, feature)
        return Components()

    return plant


def with_delegations(delegations: type[Delegations]) -> Plant:
    """The coordinator keeps these of each queue."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> Components:
        monkeypatch.setattr(delegated_queues, "Delegations", delegations)
        return Components()

    return plant


class ForgetsPayloads(References):
    """The references of payloads in the backlog, or in a queue, don't count."""

    def came(self, keys: Iterable[int], within: int | None = None) -> None:
        """Count nothing."""

    def gone(self, keys: Sequence[int], within: int | None = None) -> None:
        """Count nothing."""


class ForgetsUnderWay(References):
    """The keys that a member gives back cross what is sent there, and count for that as well."""

    def given_back(self, member: int, counts: Iterable[tuple[int, int]]) -> None:
        for key, _ in counts:
            if key in self._known:
                super().given_back(member, [(key, self._known[key].members.get(member, 0))])


class DropsLeavingHandles(LocalReferences):
    """An outcome is dropped though its handle leaves once more meanwhile."""

    def is_dropped(self, fiber: int, exposed: int) -> bool:
        super().is_dropped(fiber, exposed)
        return True


class ForgetsMovedHandles(References):
    """The handle that stays where a fiber was doesn't count, if the fiber has moved before."""

    def left(self, fiber: int, record: FiberRecord, member: int) -> None:
        if record.epoch == 0:
            super().left(fiber, record, member)


class ForgetsReferencesInOutcomes(Coordinator):
    """The references in an outcome don't count."""

    def handle(self, now: float, event: Event) -> list[Send]:
        if type(event) is Received and type(event.message) is m.OutcomesReady:
            event = event._replace(message=structs.replace(event.message, references=[]))
        return super().handle(now, event)


def with_local(feature: type[MemberFeature]) -> Plant:
    """Members have this in place of the feature that it is derived from."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> Components:
        monkeypatch.setattr(member_machine, feature.__bases__[0].__name__, feature)
        return Components()

    return plant


def with_parts(**parts: Any) -> Plant:
    return lambda monkeypatch: Components(**parts)


class BelievesOldEpochs(Outcomes):
    """An epoch isn't checked: a member's word on a fiber that has moved on is believed."""

    def outcome_unknown(self, sender: MemberRecord, message: m.OutcomeUnknown) -> None:
        record = self._state.fibers.get(message.fiber)
        if record is not None and record.rare.lost is None:
            reason = "its outcome was not kept"
            self._state.lose_fiber(message.fiber, record, sender.name(), reason)


def drops_outcomes(monkeypatch: pytest.MonkeyPatch) -> Components:
    """Outcomes that nobody has waited for yet are dropped."""
    # what leaves isn't kept, and what is asked for isn't told
    monkeypatch.setattr(
        LocalReferences, "export", lambda references, handles, is_for_good=False: None
    )
    monkeypatch.setattr(Cancellation, "is_lost_by_leaving", lambda cancelling, fiber: True)
    return Components()


def starts_runs_empty(monkeypatch: pytest.MonkeyPatch) -> Components:
    """A run begins without its root, which is told of later.

    A loss in between shows it, so a member is lost as soon as its connection breaks.
    """

    def start_root(member: Member, program: Program, context: Any, snapshots: Snapshots) -> Fiber:
        root = start(member, program, context, snapshots)
        member.state.runs[root.run].alive = 0
        member.state.runs[root.run].started(0, 1)
        return root

    def start_run(runs: Runs, sender: MemberRecord, message: m.StartRun) -> None:
        runs._state.runs[message.run] = Run(sender.id)

    start = Member.start_root
    monkeypatch.setattr(Member, "start_root", start_root)
    monkeypatch.setattr(Runs, "start_run", start_run)
    monkeypatch.setattr(simulation, "ABSENCE_SECONDS", 0.0)
    return Components()


def leaves_entries(monkeypatch: pytest.MonkeyPatch) -> Components:
    """A wait that is over leaves its entries with the fibers that haven't ended."""
    monkeypatch.setattr(FiberWaits, "_strike_out", lambda waits, waiting: None)
    return Components()


def leaves_entries_unseen(monkeypatch: pytest.MonkeyPatch) -> Components:
    """The same, and the member doesn't check it: the program itself goes wrong."""
    monkeypatch.setattr(FiberWaits, "validate", lambda waits: None)
    return leaves_entries(monkeypatch)


class LeavesRuns(LocalOutcomes):
    """The member's knowledge of a run outlives the run."""

    def run_ended(self, run: LocalRun) -> None:
        hosted = dict(self._state.hosted)
        super().run_ended(run)
        self._state.hosted.update(hosted)


@cache
def counted() -> Program:
    """Fibers that take turns at a variable, under a lock of their own as well."""

    def add(lock: Resource[Any, Any, None], var: Var[int]) -> Program:
        one = var.get().flat_map(lambda n: io.sleep(0.001).then(var.set(n + 1)))
        return lock.with_(one)

    both = io.zip(resource.reentrant_lock, Var.create(0))
    return both.flat_map(lambda made: io.zip_par([add(*made)] * 4).attempt().then(made[1].get()))


def updates() -> Program:
    """Fibers that add to a variable at the same time."""
    return Var.create(0).flat_map(
        lambda var: io.zip_par([var.update(lambda n: (n + 1, None))] * 4).then(var.get())
    )


def long_uses() -> Program:
    """Fibers that use a semaphore for so long that some are taken elsewhere meanwhile."""
    use = io.yield_.then(*[io.yield_] * 8)
    return resource.semaphore(12).flat_map(lambda sem: io.zip_par([sem.with_(use)] * 24))


def shares() -> Program:
    """Fibers that share a semaphore of two and count themselves; 1 if two was the most."""

    def use(users: Var[int]) -> Program:
        leave = users.update(lambda n: (n - 1, None))
        enter = users.update(lambda n: (n + 1, n + 1)).map(lambda update: update.returned)
        return enter.flat_map(lambda n: leave.then(io.pure(n)))

    def share(sem: Resource[Any, Any, None], users: Var[int]) -> Program:
        return io.zip_par([sem.with_(use(users))] * 8).map(lambda counts: int(max(counts) <= 2))

    return io.zip(resource.semaphore(2), Var.create(0)).flat_map(lambda made: share(*made))


@cache
def one_by_one() -> Program:
    """Fibers are waited for until the first of them ends, then until all have."""
    children = io.parallel([io.sleep(0.001 * n).then(io.pure(1)) for n in range(4)])

    def wait(fibers: list[Any]) -> Program:
        return ops.WaitSome(tuple(fibers), 1).then(io.wait(fibers))

    return children.flat_map(wait).map(total)


@cache
@io.do
async def handed() -> int:
    """Items that are taken by fibers in a hurry; how many there were in the end."""
    queue = await Queue.create(1)
    puts = await io.parallel([queue.put(n) for n in range(4)])
    hurry = queue.take().timeout(0.001).attempt()
    taken = [each for each in await io.zip_par([hurry] * 4) if each.is_ok()]
    for fiber in puts:
        await fiber.cancel().timeout(0.001).attempt()
    await queue.close()
    left = [item async for item in queue]
    put = sum([result.is_ok() for result in await io.wait(puts)])
    return 4 if len(taken) + len(left) == put else -1


@cache
@io.do
async def counts_items() -> int:
    """Items without limit, which several fibers take one by one; how many there were."""
    queue = await Queue.create()

    @io.do
    async def takes() -> int:
        return len([item async for item in queue])

    takers = await io.parallel(takes(), takes())
    for n in range(30):
        await queue.put(n)
    await queue.close()
    return total(await io.wait(takers))


def referred_to(times: int) -> Program:
    """Values that nobody refers to but items of a queue, each so many times; their sum."""

    def put(queue: Queue[Any], n: int) -> Program:
        made = Deferred.create()
        return made.flat_map(lambda one: one.set(n).then(*[queue.put(one)] * times))

    def take(queue: Queue[Any]) -> Program:
        return queue.take().flat_map(lambda one: one.get())

    def both(queue: Queue[Any]) -> Program:
        puts = io.zip_par([put(queue, n) for n in range(3)]).then(io.pure(0))
        return io.zip_par(puts, *[take(queue)] * 3 * times).map(sum)

    return Queue.create().flat_map(both)


def handles_handed_on(times: int) -> Program:
    """Handles that nobody keeps but items of a queue, each so many times; the sum of outcomes."""

    def put(queue: Queue[Any], n: int) -> Program:
        started = io.parallel(io.yield_.then(io.pure(n)))
        return started.flat_map(lambda fibers: io.yield_.then(*[queue.put(fibers)] * times))

    def take(queue: Queue[Any]) -> Program:
        return queue.take().flat_map(lambda fibers: io.yield_.then(io.wait(fibers))).map(total)

    def both(queue: Queue[Any]) -> Program:
        puts = io.zip_par([put(queue, n) for n in range(3)]).then(io.pure(0))
        return io.zip_par(puts, *[take(queue)] * 3 * times).map(sum)

    return Queue.create().flat_map(both)


def watched_from_below() -> Program:
    """Fibers whose children wait for them, wherever both have gone; how many there are."""

    def started(me: Any) -> Program:
        late = io.yield_.then(*[io.yield_] * 6, io.wait([me]), io.pure(1))
        return io.parallel(late).flat_map(lambda fibers: io.yield_.then(io.yield_, io.pure(fibers)))

    children = io.zip_par([io.current_fiber.flat_map(started)] * 6)
    return children.flat_map(lambda fibers: io.wait([one for (one,) in fibers])).map(total)


def watched_by_nobody_else() -> Program:
    """Fibers for which nobody waits but their children; how many of these there are."""

    def start(queue: Queue[Any], me: Any) -> Program:
        late = io.yield_.then(*[io.yield_] * 6, io.wait([me]).map(total).flat_map(queue.put))
        return io.parallel(late).then(*[io.yield_] * 9, io.pure(1))

    def watch(queue: Queue[Any]) -> Program:
        one = io.current_fiber.flat_map(lambda me: start(queue, me))
        taken = io.zip([queue.take()] * 6)
        return io.parallel([one] * 6).then(taken).map(sum)

    return Queue.create().flat_map(watch)


KEEPS_HANDLES = io.parallel(io.pure(1), io.pure(2)).flat_map(lambda h: io.sleep(1).then(io.pure(h)))

RESTART: Final = (Crash(returns_after=0),)

MISTAKES: dict[str, tuple[Plant, Program, int | None, Sequence[Fault]]] = {
    "a wake-up before park is lost": (with_local(ParksWithoutLooking), late_waits(3), 8, ()),
    "a finished fiber's waiter isn't told": (with_local(ForgetsAWaiter), tree(2), 4, ()),
    "a wait that is over leaves its entries": (leaves_entries, one_by_one(), 4, ()),
    "an old entry wakes a newer wait": (leaves_entries_unseen, one_by_one(), 4, ()),
    "a timer fires early": (with_feature(HastyTimers), tree(3), 8, ()),
    "a timer never fires": (with_feature(LosesATimer), tree(3), 8, ()),
    "a timer outlives its run": (
        with_feature(KeepsTimers),
        releases_for_hours(),
        None,
        [Crash("client")],
    ),
    "the end of a run forgets to release": (
        with_feature(ForgetsToRelease),
        tree(3),
        8,
        [Fail("client")],
    ),
    "a batch is applied twice": (with_parts(coordinator=AppliesOffersTwice), tree(2), 4, ()),
    "an epoch isn't checked": (with_feature(BelievesOldEpochs), crowd(), 16, ()),
    "an epoch doesn't grow": (with_feature(PlacesInTheSameEpoch), crowd(), 16, ()),
    "an end is counted twice": (with_local(TellsTwice), tree(2), 4, ()),
    "a fiber that leaves also stays": (with_local(ShipsAndKeeps), tree(2), 4, ()),
    "waiters don't move along": (with_feature(ForgetsWaiters), crowd(), 16, ()),
    "the loss of a member isn't reported": (
        with_feature(NeverLosesAnyone),
        tree(3),
        8,
        [Crash(), Crash()],
    ),
    "a fiber is dropped": (with_parts(executor=SettlesOnlyOnce), tree(2), 4, ()),
    "an outcome is dropped": (drops_outcomes, tree(2), 4, ()),
    "a run begins without its root": (starts_runs_empty, tree(2), 4, [Crash()]),
    "a lock isn't freed with its fiber": (with_feature(NeverFrees), counted(), 4, [Crash()]),
    "the successor is lost": (with_parts(coordinator=LosesTheSuccessor), tree(3), 8, RESTART),
    "a restart counts twice": (with_feature(CountsARestartTwice), tree(3), 8, RESTART),
    "a lock has two holders": (with_feature(LetsTwoIn), counted(), 4, ()),
    "a fiber that waits for a lock isn't told": (with_feature(ForgetsTheNext), counted(), 4, ()),
    "a value comes after its lock": (with_feature(KeepsOldValues), updates(), 4, ()),
    "a recalled delegation is kept": (with_local(KeepsRecalledDelegations), counted(), 4, ()),
    "an item is lost in crossing": (with_local(DropsCrossingItems), handed(), 4, ()),
    "a withdrawn call is served": (with_feature(ServesWithdrawnCalls), handed(), 4, ()),
    "an item that was taken is given again": (
        with_delegations(GivesTakenItemsAgain),
        counts_items(),
        30,
        (),
    ),
    "tokens are returned twice": (with_local(ReturnsTokensTwice), shares(), 1, ()),
    "items are returned twice": (with_delegations(ReturnsItemsTwice), counts_items(), 30, ()),
    "a recalled queue is kept": (with_local(KeepsARecalledQueue), counts_items(), 30, ()),
    "a recalled queue is used": (answers_while_recalled, counts_items(), 30, ()),
    "a lost member keeps a queue": (
        with_feature(LeavesAQueueToTheLost),
        counts_items(),
        30,
        [Crash()],
    ),
    "a member that is late is expelled": (expels_late_members, tree(3), 8, [Interrupt()]),
    "a member that fails stays": (stays_when_it_fails, tree(3), 8, [Fail()]),
    "an unverified wait outlives its use": (
        with_feature(KeepsUnverifiedWaits),
        passed_on(),
        24,
        (),
    ),
    "a token is left behind": (with_feature(LeavesTokensBehind), long_uses(), None, ()),
    "an item doesn't keep what it refers to": (
        with_feature(ForgetsPayloads),
        referred_to(1),
        3,
        (),
    ),
    "an item on its way isn't kept": (with_feature(ForgetsUnderWay), referred_to(3), 9, ()),
    "a handle that leaves isn't kept": (
        with_local(DropsLeavingHandles),
        handles_handed_on(3),
        9,
        (),
    ),
    "an outcome doesn't keep what it refers to": (
        with_parts(coordinator=ForgetsReferencesInOutcomes),
        watched_from_below(),
        6,
        (),
    ),
    "a handle that stays isn't counted": (
        with_feature(ForgetsMovedHandles),
        watched_by_nobody_else(),
        6,
        (),
    ),
    "a run leaves something behind": (with_local(LeavesRuns), KEEPS_HANDLES, None, ()),
}


NEED_NO_SNAPSHOTS: Final = {
    "waiters don't move along",
    "items are returned twice",
    "a recalled queue is kept",
    "a recalled queue is used",
    "an item that was taken is given again",
    "a lost member keeps a queue",
    "nobody is told of a loss",
    "the loss of a member isn't reported",
    "a handle that stays isn't counted",
    "a handle that leaves isn't kept",
    "an unverified wait outlives its use",
    "an item on its way isn't kept",
}
"""Faults in what happens in runs without snapshots: fibers have no record before they leave, and
are lost; nothing that is kept for them hides that something else isn't."""


def snapshots_for(name: str) -> Snapshots:
    return "off" if name in NEED_NO_SNAPSHOTS else SNAPSHOTS


def is_right(value: int | None, faults: Sequence[Fault]) -> Callable[[Simulation[Any, Any]], bool]:
    def check(found: Simulation[Any, Any]) -> bool:
        # with faults, other Results are right as well; what must hold is held by invariants
        return bool(faults) or value is None or found.result == Ok(value)

    return check


TAKE_LONG_TO_FIND: Final = {
    "a restart counts twice",
    "an item doesn't keep what it refers to",
    "an item on its way isn't kept",
    "a timer fires early",
    "a timer never fires",
    "an epoch isn't checked",
    "an epoch doesn't grow",
    "a run begins without its root",
    "a fiber that waits for a lock isn't told",
    "a value comes after its lock",
    "a recalled delegation is kept",
    "an item is lost in crossing",
    "a withdrawn call is served",
    "the successor is lost",
    "an item that was taken is given again",
    "tokens are returned twice",
    "a lost member keeps a queue",
    "a token is left behind",
    "an unverified wait outlives its use",
    "the loss of a member isn't reported",
    "a member that is late is expelled",
    "a handle that leaves isn't kept",
    "a handle that stays isn't counted",
}
HAVE_LONG_PROGRAMS: Final = {
    "an item doesn't keep what it refers to",
    "an item on its way isn't kept",
    "an item is lost in crossing",
    "an item that was taken is given again",
    "tokens are returned twice",
    "a lost member keeps a queue",
    "a token is left behind",
    "an unverified wait outlives its use",
    "a timer fires early",
    "an epoch isn't checked",
    "waiters don't move along",
    "a lock isn't freed with its fiber",
    "a lock has two holders",
    "a handle that leaves isn't kept",
    "a handle that stays isn't counted",
    "an outcome doesn't keep what it refers to",
}


SIMULATED: Final = {
    name: (program, value, snapshots_for(name), *faults)
    for name, (_, program, value, faults) in MISTAKES.items()
}
"""By the name of a mistake: what finds it, which may find others as well."""


@pytest.mark.parametrize("name", marked(MISTAKES, slow=TAKE_LONG_TO_FIND))
def test_a_mistake_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_soon(monkeypatch)
    plant, program, value, faults = MISTAKES[name]
    parts = plant(monkeypatch)
    with pytest.raises(CheckFailed) as found:
        explore(
            program,
            None,
            is_right(value, faults),
            faults=faults,
            snapshots=snapshots_for(name),
            components=parts,
        )
    assert found.value.seed < 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(first_of_each(SIMULATED), slow=HAVE_LONG_PROGRAMS))
def test_nothing_is_found_where_nothing_is_planted(name: str) -> None:
    _, program, value, faults = MISTAKES[name]
    snapshots = snapshots_for(name)
    explore(program, None, is_right(value, faults), range(10), faults=faults, snapshots=snapshots)
