"""Waits for fibers of other runs: handles that are shared between runs of one process."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, Result, io
from distio.errors import Cancelled, Deadlock, FiberUnreachable
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.runtime.pending_runs import PendingRun
from distio.testing import MOVE_ON_WAKE
from distio.testing.cases import LATENCY, MAX_STEPS
from distio.testing.choices import Drawn
from distio.testing.faults import Crash, Fault, Interrupt
from distio.testing.plan import Components
from distio.testing.processes import Process
from distio.testing.simulation import limits_of, plan_for
from distio.testing.world import World as SimulatedWorld
from tests.conftest import PATIENCE, Run, shared_cluster
from tests.harness.coordinators import Commands, Scene, asks, blocked
from tests.harness.members import World, outcome_of

Program = IO[Any, Any, Any]


def exception_of(result: Any) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


# -- the coordinator --------------------------------------------------------------------------


class Sharing(Scene):
    """Runs of one client, each with its root."""

    def __init__(self, runs: int = 2) -> None:
        super().__init__()
        self.roots = [fiber_id(self.client, sequence) for sequence in range(runs)]
        for root in self.roots:
            self.says(self.client, m.StartRun(root))
        self.woken = dict.fromkeys(self.roots, 0)

    def waits(self, which: int, *others: int, is_quiet: bool = True) -> Commands:
        """The root of this run waits for those of others, and its member confirms that."""
        self.tells(self.client, blocked(self.roots[which], 1))
        return self.answers(which, *others, is_quiet=is_quiet)

    def answers(self, which: int, *others: int, is_quiet: bool = True) -> Commands:
        root, awaited = self.roots[which], [self.roots[other] for other in others]
        probe = self.machine.runs[root].probe
        edges = [(root, awaited)]
        for_runs = [(root, other) for other in awaited]
        waits = m.WaitGraph(root, probe, is_quiet, edges, woken=self.woken[root], for_runs=for_runs)
        return self.says(self.client, waits)

    def asked(self, *which: int) -> Commands:
        return [
            (self.client, m.RequestWaitGraph(self.roots[each], probe))
            for each in which
            if (probe := self.machine.runs[self.roots[each]].probe)
        ]

    @property
    def ended(self) -> list[int]:
        """The indices of the runs that are ending."""
        runs = [self.machine.runs.get(root) for root in self.roots]
        return [index for index, run in enumerate(runs) if run is None or run.ending]


def test_run_that_waits_for_a_run_that_goes_on_is_in_no_deadlock() -> None:
    scene = Sharing()
    assert scene.waits(0, 1) == []
    assert scene.ended == []


def test_runs_that_wait_for_each_others_fibers_are_a_deadlock_of_the_last_one() -> None:
    scene = Sharing()
    scene.waits(0, 1)
    assert scene.waits(1, 0) == scene.asked(0, 1)
    assert scene.answers(0, 1) == []
    assert scene.answers(1, 0) == [(scene.client, m.RunCancelled(scene.roots[1]))]
    assert scene.ended == [1]
    cause, reason = scene.machine.runs[scene.roots[1]].ending or (Cause.FINISHED, "")
    assert cause is Cause.DEADLOCK
    assert "fiber 1.1 waits for fiber 1.0, fiber 1.0 waits for fiber 1.1" in reason
    assert reason.endswith("the fibers are of run 1.0, too, and this run was started last")


def test_runs_that_wait_in_a_ring_are_a_deadlock() -> None:
    scene = Sharing(3)
    scene.waits(0, 1)
    scene.waits(1, 2)
    assert scene.waits(2, 0) == scene.asked(0, 1, 2)
    for which in range(3):
        commands = scene.answers(which, (which + 1) % 3)
    assert commands == [(scene.client, m.RunCancelled(scene.roots[2]))]


def test_run_that_waits_for_one_of_a_ring_and_for_a_run_that_goes_on_is_in_no_deadlock() -> None:
    scene = Sharing(3)
    scene.waits(0, 1, 2)
    assert scene.waits(1, 0) == []
    assert scene.ended == []


def test_run_that_has_woken_between_its_answers_is_in_no_deadlock() -> None:
    scene = Sharing()
    scene.waits(0, 1)
    scene.waits(1, 0)
    scene.woken[scene.roots[0]] += 1
    assert scene.answers(0, 1) == []
    assert scene.answers(1, 0) == scene.asked(0, 1)
    assert scene.ended == []


def test_run_that_moves_after_its_answer_is_in_no_deadlock() -> None:
    scene = Sharing()
    scene.waits(0, 1)
    scene.tells(scene.client, m.RunProgress(scene.roots[0], [], 0, [], 0), ready=1)
    assert scene.waits(1, 0) == []
    assert scene.ended == []


def test_runs_that_wait_for_a_lock_and_a_fiber_of_each_other_are_a_deadlock() -> None:
    scene = Sharing()
    first, second = scene.roots
    held: list[tuple[int | str, list[int]]] = [("door", [first])]

    def first_answers() -> Commands:
        probe = scene.machine.runs[first].probe
        for_runs = [(first, second)]
        edges = [(first, [second])]
        waits = m.WaitGraph(first, probe, True, edges, [], held, for_runs=for_runs)
        return scene.says(scene.client, waits)

    def second_answers() -> Commands:
        probe = scene.machine.runs[second].probe
        return scene.says(scene.client, m.WaitGraph(second, probe, True, [], [(second, "door")]))

    ((_, lent),) = asks(scene, scene.client, first, lock="door", run=first)
    assert isinstance(lent, m.TokensGranted)
    scene.tells(scene.client, blocked(second, 1))  # its member has the lock, and knows its waiters
    assert second_answers() == []
    scene.tells(scene.client, blocked(first, 1))
    assert first_answers() == scene.asked(0, 1)
    assert first_answers() == []
    assert second_answers() == [(scene.client, m.RunCancelled(second))]
    _, reason = scene.machine.runs[second].ending or (None, "")
    assert "the locks and fibers are of run 1.0, too" in reason


# -- a member ---------------------------------------------------------------------------------


def two_runs(waits: Callable[[Any], Program], child: Program) -> tuple[World, Any, Any]:
    """One run has a child, for which a fiber of another run waits."""
    world = World(workers=0, offers_children=False)
    box: list[Any] = []
    owner = world.start(io.parallel(child).flat_map(lambda fibers: io.defer(box.extend, fibers)))
    world.work()
    waiter = world.start(waits(box[0]))
    world.work()
    return world, owner, waiter


def first_of(handle: Any) -> Program:
    return io.wait(handle).map(lambda results: results[0])


def test_wait_for_a_fiber_of_another_run_returns_its_outcome() -> None:
    world, _, waiter = two_runs(first_of, io.sleep(1).then(io.pure("it")))
    assert waiter.outcome is None
    world.pass_time(1)
    assert outcome_of(waiter) == Ok(Ok("it"))
    world[1].validate_rest()
    world.coordinator.validate_rest()


def test_wait_for_a_fiber_of_a_run_that_is_dropped_is_unreachable() -> None:
    kept: list[Any] = []
    forever = io.async_(lambda context, callback: kept.append(callback))
    world, owner, waiter = two_runs(first_of, forever)
    world[1].receive(m.RunEnded(owner.id, Cause.CANCELLED, overdue="they had 0 s for it"))
    world.work()
    unknown = exception_of(outcome_of(waiter).success)
    assert isinstance(unknown, FiberUnreachable)
    assert "its run is over" in str(unknown)


def test_wait_for_some_fibers_goes_on_for_the_others_when_the_run_of_one_is_dropped() -> None:
    kept: list[Any] = []
    forever = io.async_(lambda context, callback: kept.append(callback))

    def both(handle: Any) -> Program:
        own = io.parallel(io.sleep(1).then(io.pure("own")))
        return own.flat_map(lambda fibers: io.wait([handle, *fibers, handle]))

    world, owner, waiter = two_runs(both, forever)
    world[1].receive(m.RunEnded(owner.id, Cause.CANCELLED, overdue="they had 0 s for it"))
    world.work()
    assert waiter.outcome is None
    world.pass_time(1)
    lost, own, again = outcome_of(waiter).success
    assert own == Ok("own")
    assert isinstance(exception_of(lost), FiberUnreachable)
    assert isinstance(exception_of(again), FiberUnreachable)


def test_run_that_is_dropped_leaves_the_waits_of_others_alone() -> None:
    """Its fiber waited for a fiber of a run that waits for the same fiber itself."""
    world = World(workers=0, offers_children=False)
    box: list[Any] = []
    child = io.sleep(1).then(io.pure("it"))
    share = io.parallel(child).flat_map(lambda fibers: io.defer(box.extend, fibers))
    owner = world.start(share.then(io.defer_io(lambda: io.wait(box))))
    world.work()
    waiter = world.start(io.wait(box))
    world.work()
    world[1].receive(m.RunEnded(waiter.id, Cause.CANCELLED, overdue="they had 0 s for it"))
    world.pass_time(1)
    assert outcome_of(owner) == Ok([Ok("it")])
    assert not world[1].features.waits.leftovers()["waits for other runs"]


def test_cancel_of_a_fiber_of_another_run_waits_for_its_end() -> None:
    _, owner, waiter = two_runs(lambda handle: handle.cancel(), io.sleep(1_000_000))
    assert isinstance(exception_of(outcome_of(waiter).success), Cancelled)
    assert outcome_of(owner) == Ok(None)


def test_fiber_of_a_run_that_was_dropped_while_it_was_ready_is_unreachable() -> None:
    world = World(workers=0, offers_children=False)
    box: list[Any] = []
    child = io.rec(lambda again: io.yield_.then(again))
    share = io.parallel(child).flat_map(lambda fibers: io.defer(box.extend, fibers))
    owner = world[1].start_root(share, None)
    world[1].queue(owner)
    world.nodes[1].work()
    world.nodes[1].work()
    world[1].receive(m.RunEnded(owner.id, Cause.CANCELLED, overdue="they had 0 s for it"))
    waiter = world.start(first_of(box[0]))
    world.work()
    assert isinstance(exception_of(outcome_of(waiter).success), FiberUnreachable)


def test_fiber_that_waits_for_a_nested_run_is_reported_as_waiting_for_it() -> None:
    world = World(workers=0, offers_children=False)
    outer = world[1].start_root(io.pure(1), None)
    inner = world[1].start_root(io.pure(2), None)
    world[1].nested_run_began(outer, inner.run, True)
    world[1].state.outbox.clear()
    world[1].receive(m.RequestWaitGraph(outer.run, 1))
    edges = [(outer.id, [inner.id])]
    told = m.WaitGraph(outer.run, 1, True, edges, for_runs=[(outer.id, inner.run)])
    assert told in world[1].state.outbox
    world[1].nested_run_ended(outer)
    world[1].receive(m.RequestWaitGraph(outer.run, 2))
    assert m.WaitGraph(outer.run, 2, False, [], woken=1) in world[1].state.outbox


def test_fiber_that_does_not_wait_for_a_call_on_its_behalf_counts_as_going_on() -> None:
    """A log handler makes such a call, or a fiber that may abandon it."""
    world = World(workers=0, offers_children=False)
    outer = world[1].start_root(io.pure(1), None)
    inner = world[1].start_root(io.pure(2), None)
    world[1].nested_run_began(outer, inner.run, False)
    assert world[1].state.runs[outer.run].nested == {}
    assert world[1].state.runs[outer.run].blocked == 0


# -- simulated --------------------------------------------------------------------------------


class TwoRuns(SimulatedWorld):
    """A client that runs two programs at once."""

    def __init__(
        self, seed: int, first: Program, second: Program, faults: list[Fault], parts: Components
    ) -> None:
        self.second = second
        self.pending_runs: list[PendingRun] = []
        plan = plan_for(2, 2, LATENCY, faults, limits_of(MAX_STEPS))
        super().__init__(plan, Drawn(seed), parts)
        self._program = first, None
        while not self._has_ended():
            if not self._act() and not self._pass_time():
                self._look_around()
        self.drain()

    def _has_ended(self) -> bool:
        is_over = [pending.is_over for pending in self.pending_runs]
        return self._client.has_ended or (bool(is_over) and all(is_over))

    def joined(self, process: Process) -> None:
        super().joined(process)
        if self.pending is not None and not self.pending_runs:
            root = process.member.start_root(self.second, None)
            self.pending_runs += [self.pending, process.pending_runs.issue(root)]
            self.ledger.made([root.id], process.name)
            process.member.queue(root)

    def results(self) -> list[Result[Any, Any]]:
        assert all(pending.is_over for pending in self.pending_runs)
        return [pending.result() for pending in self.pending_runs]


def there(box: list[Any], then: Callable[[], Program]) -> Program:
    """Go on when the box has something, which another run has put there."""
    return io.defer_io(lambda: then() if box else io.sleep(0.001).then(there(box, then)))


def shares(box: list[Any], child: Program) -> Program:
    """Start a child, and put its handle into the box."""
    return io.parallel(child).flat_map(lambda fibers: io.defer(box.extend, fibers))


def first_in(box: list[Any]) -> Program:
    return first_of(box[0])


def results_of(
    seed: int,
    programs: tuple[Program, Program],
    *faults: Fault,
    parts: Components = Components(),  # noqa: B008 (it is frozen)
) -> list[Result[Any, Any]]:
    gc.collect()
    return TwoRuns(seed, *programs, [*faults], parts).results()


STAYS = threading.Lock()
CHILDREN: dict[str, Program] = {
    "travels": io.sleep(0.1).then(io.pure("it")),
    "stays": io.sleep(0.1).then(io.defer(lambda lock: "it", STAYS)),
}


@pytest.mark.slow
@pytest.mark.parametrize("parts", [Components(), MOVE_ON_WAKE], ids=["at rest", "restless"])
@pytest.mark.parametrize("child", CHILDREN)
def test_wait_for_another_run_is_answered_under_every_seed(child: str, parts: Components) -> None:
    for seed in range(15):
        box: list[Any] = []
        waits = there(box, partial(first_in, box))
        programs = waits, shares(box, CHILDREN[child])
        assert results_of(seed, programs, parts=parts) == [Ok(Ok("it")), Ok(None)], seed


def crosswise(left: list[Any], right: list[Any]) -> Program:
    """A child that can't be pickled waits for the fiber that the other run puts into its box."""

    def child(lock: Any) -> Program:
        return there(right, lambda: first_of(right[0]))

    return shares(left, io.defer_io(child, STAYS)).then(io.defer_io(lambda: first_of(left[0])))


@pytest.mark.slow
def test_runs_that_wait_for_each_other_are_one_deadlock_under_every_seed() -> None:
    for seed in range(20):
        left: list[Any] = []
        right: list[Any] = []
        programs = crosswise(left, right), crosswise(right, left)
        first, second = results_of(seed, programs)
        assert isinstance(exception_of(second), Deadlock), seed
        why = r"the fibers are of run \d\.0, too, and this run was started last$"
        assert re.search(why, str(exception_of(second)))
        assert isinstance(first, Ok), first
        assert isinstance(exception_of(first.success.success), Cancelled)


@pytest.mark.slow
def test_wait_for_another_run_ends_whatever_fails() -> None:
    for seed in range(20):
        box: list[Any] = []
        waits = there(box, partial(first_in, box))
        programs = waits, shares(box, CHILDREN["travels"])
        for fault in (Crash(), Interrupt(at=0.05)):
            results_of(seed, programs, fault)


# -- on a cluster -----------------------------------------------------------------------------


def in_threads(cluster: Cluster, *programs: Program) -> list[Result[Any, Any]]:
    with ThreadPoolExecutor(len(programs)) as pool:
        runs = [pool.submit(program.run, None, on=cluster) for program in programs]
        return [run.result(PATIENCE) for run in runs]


@pytest.mark.slow
@pytest.mark.parametrize("child", CHILDREN)
def test_run_waits_for_a_fiber_of_another_run_on_a_cluster(child: str) -> None:
    box: list[Any] = []
    waits = there(box, partial(first_in, box))
    results = in_threads(shared_cluster(), waits, shares(box, CHILDREN[child]))
    assert results == [Ok(Ok("it")), Ok(None)]


@pytest.mark.slow
def test_runs_that_wait_for_each_other_on_a_cluster_are_one_deadlock() -> None:
    left: list[Any] = []
    right: list[Any] = []
    results = in_threads(shared_cluster(), crosswise(left, right), crosswise(right, left))
    (panic,) = [result for result in results if isinstance(result, Panic)]
    assert isinstance(exception_of(panic), Deadlock)
    assert "the fibers are of run" in str(exception_of(panic))
    (other,) = [result for result in results if isinstance(result, Ok)]
    assert isinstance(exception_of(other.success.success), Cancelled)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [io.defer, io.blocking], ids=["defer", "blocking"])
def test_nested_run_that_waits_for_a_fiber_that_waits_for_its_own_is_a_deadlock(wrap: Any) -> None:
    """The outer fiber is in a thread that waits for the nested run."""
    cluster = shared_cluster()
    box: list[Any] = []

    def nested(lock: Any) -> Any:
        return there(box, lambda: first_of(box[1])).run(None, on=cluster)

    outer = wrap(nested, STAYS)
    waits = io.defer_io(lambda lock: there(box, lambda: first_of(box[0])), STAYS)
    both = io.parallel(outer, waits)
    shared = both.flat_map(lambda fibers: io.defer(box.extend, fibers).then(io.wait(fibers)))
    result = shared.run(None, on=cluster)
    assert isinstance(result, Ok), result
    inner, other = result.success
    assert isinstance(exception_of(inner.get()), Deadlock)
    assert other == Ok(inner)


@pytest.mark.slow
def test_nested_run_may_wait_for_a_fiber_of_the_outer_one() -> None:
    cluster = shared_cluster()
    box: list[Any] = []

    def nested(lock: Any) -> Any:
        return there(box, partial(first_in, box)).run(None, on=cluster)

    program = shares(box, CHILDREN["travels"]).then(io.defer(nested, STAYS))
    assert program.run(None, on=cluster) == Ok(Ok(Ok("it")))


def shares_in_process(seconds: float) -> Program:
    """As `shares`, but the handle is kept where all runs of the process find it."""

    def share(fibers: list[Any]) -> None:
        threading.shared = fibers  # type: ignore[attr-defined]  # any module will do

    return io.parallel(io.sleep(seconds).then(io.pure("it"))).flat_map(
        lambda fibers: io.defer(share, fibers)
    )


def waits_in_process() -> Program:
    def shared() -> Program:
        fibers = getattr(threading, "shared", None)
        if not fibers:
            return io.sleep(0.001).then(waits_in_process())
        threading.is_waiting = True  # type: ignore[attr-defined]  # noted in the step that waits
        return first_of(fibers[0])

    return io.defer_io(shared)


def until_one_waits() -> Program:
    """On the one thread of a process: another fiber waits for what is shared there."""
    looked = io.defer(lambda: hasattr(threading, "is_waiting"))
    again = io.sleep(0.001).then(io.defer_io(until_one_waits))
    return looked.flat_map(lambda is_so: io.pure(None) if is_so else again)


@pytest.mark.slow
def test_runs_on_one_worker_wait_for_each_others_fibers() -> None:
    with Cluster.local(workers=1) as cluster:
        waiting = cluster.submit(waits_in_process(), None)
        owner = cluster.submit(shares_in_process(0.2), None)
        assert waiting.result(timeout=PATIENCE) == Ok(Ok("it"))
        assert owner.result(timeout=PATIENCE) == Ok(None)


@pytest.mark.slow
def test_wait_for_a_fiber_of_a_run_that_is_cancelled_is_cancelled() -> None:
    with Cluster.local(workers=1, threads=1) as cluster:
        owner = cluster.submit(shares_in_process(1_000_000), None)
        waiting = cluster.submit(waits_in_process(), None)
        assert cluster.submit(until_one_waits(), None).result(timeout=PATIENCE) == Ok(None)
        owner.cancel()
        result = waiting.result(timeout=PATIENCE)
        assert isinstance(result, Ok)
        assert isinstance(exception_of(result.success), Cancelled)


# -- on threads -------------------------------------------------------------------------------


def test_wait_for_a_fiber_of_a_run_on_other_threads_is_unreachable_and_no_deadlock(
    run_in_process: Run,
) -> None:
    """Each run on threads is a cluster of its own."""
    box: list[Any] = []
    told = threading.Event()
    child = io.blocking(told.wait, PATIENCE).then(io.pure("it"))
    with ThreadPoolExecutor(1) as pool:
        owner = pool.submit(run_in_process, shares(box, child).then(io.defer_io(first_in, box)))
        result = run_in_process(there(box, partial(first_in, box)))
        told.set()
        assert owner.result(PATIENCE) == Ok(Ok("it"))
    assert isinstance(result, Ok)
    unknown = exception_of(result.success)
    assert isinstance(unknown, FiberUnreachable)
    assert "of another cluster" in str(unknown)


def test_wait_of_a_nested_run_for_a_fiber_of_the_outer_run_is_unreachable(
    run_in_process: Run,
) -> None:
    def waits(fibers: list[Any]) -> Program:
        inner = io.defer(first_of(fibers[0]).run, None)
        return inner.flat_map(lambda result: fibers[0].cancel().then(io.pure(result)))

    result = run_in_process(io.parallel(io.sleep(1_000_000)).flat_map(waits))
    assert isinstance(exception_of(result.unsafe_get().success), FiberUnreachable)


def test_cancel_by_a_handle_of_another_cluster_cancels_no_fiber(run_in_process: Run) -> None:
    """A fiber of this cluster has the same number."""
    box: list[Any] = []
    forever = io.rec(lambda again: io.yield_.then(again))
    cut_short = run_in_process(shares(box, forever.timeout(0.01).attempt()))
    assert cut_short == Ok(None)

    def cancels(fibers: list[Any]) -> Program:
        assert fibers[0].id == box[0].id
        return io.yield_.then(box[0].cancel_soon()).then(io.wait(fibers))

    own = io.parallel(io.sleep(0.01).then(io.pure("own")))
    assert run_in_process(own.flat_map(cancels)) == Ok([Ok("own")])
