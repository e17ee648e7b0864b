"""Every end of a run cancels it: each fiber that can still run releases what it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import pytest

from distio import IO, MatchError, Ok, Panic, Queue, Resource, io, resource
from distio.coordination.state.events import Closing
from distio.errors import Cancelled, ClusterClosed, WorkerLost
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.ids import fiber_id
from distio.runtime.current import origin
from distio.testing import (
    Crash,
    Disconnect,
    Fail,
    Fault,
    Interrupt,
    Leave,
    Partition,
    Shutdown,
    simulate,
)
from tests.harness.coordinators import Scene, ended, shipped

Program = IO[Any, Any, Any]


# -- the coordinator --------------------------------------------------------------------------


def test_coordinator_drops_a_run_when_its_grace_is_over() -> None:
    scene = Scene(workers=1, grace=10.0)
    run, (_,) = shipped(scene)
    scene.says(1, m.CancelRun(run))
    assert scene.machine.next_deadline() == 10.0
    assert scene.tick(9.9) == []
    commands = scene.tick(10.0)
    assert [member for member, _ in commands] == [1, 2]
    for _, message in commands:
        assert isinstance(message, m.RunEnded)
        assert message.cause is Cause.CANCELLED
        assert "10 s" in message.overdue
    scene.machine.validate_rest()


def test_coordinator_forgets_the_grace_of_a_run_that_has_ended() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.CancelRun(run))
    scene.tells(2, ended(run, child))
    scene.tells(1, m.RunProgress(run, [], 1, [], 0))
    assert scene.machine.next_deadline() is None


def test_coordinator_cancels_again_without_more_grace() -> None:
    scene = Scene(workers=1, grace=10.0)
    run, (_,) = shipped(scene)
    scene.says(1, m.CancelRun(run))
    scene.tick(5)
    scene.says(1, m.CancelRun(run))
    assert scene.machine.next_deadline() == 10.0


def test_coordinator_keeps_the_first_cause_of_an_end() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.CancelRun(run, Cause.CLUSTER_CLOSED, "its program closed the cluster"))
    scene.breaks(1)
    ((_, message),) = scene.tells(2, ended(run, child))
    assert isinstance(message, m.RunEnded)
    assert (message.cause, message.reason) == (
        Cause.CLUSTER_CLOSED,
        "its program closed the cluster",
    )


def test_coordinator_that_closes_ends_all_runs_and_those_that_start_later() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    commands = scene.happens(Closing("told to end"))
    assert commands == [(1, m.RunCancelled(run)), (2, m.RunCancelled(run))]
    later = fiber_id(1, 50)
    assert scene.says(1, m.StartRun(later)) == [(1, m.RunCancelled(later))]
    scene.tells(2, ended(run, child))
    ended_runs = scene.tells(
        1, m.RunProgress(run, [], 1, [], 0), m.RunProgress(later, [], 1, [], 0)
    )
    for _, message in ended_runs:
        assert isinstance(message, m.RunEnded)
        assert message.cause is Cause.CLUSTER_CLOSED
    assert scene.machine.is_closing
    scene.machine.validate_rest()


def test_coordinator_gives_nothing_to_a_member_that_leaves() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    scene.says(2, m.Leaving(10.0))
    ((member, _),) = scene.offers(1, run, fiber_id(1, 1))
    assert member == 3


def test_coordinator_loses_a_member_that_takes_too_long_to_leave() -> None:
    scene = Scene(workers=1)
    run, (child,) = shipped(scene)
    scene.says(1, m.AwaitOutcomes(run, [child]))
    scene.says(2, m.Leaving(3.0))
    assert scene.tick(2.9) == []
    shutdown, lost = scene.tick(3.0)
    assert shutdown == (2, m.Shutdown("left the cluster after a grace of 3 s", is_for_all=False))
    assert lost[0] == 1
    assert isinstance(lost[1], m.FiberLost)
    assert 2 not in scene.machine.members


def test_coordinator_drops_a_run_that_only_members_that_left_could_release() -> None:
    scene = Scene(workers=1)
    run, _ = shipped(scene)
    scene.breaks(1)
    assert run in scene.machine.runs
    scene.says(2, m.Goodbye())
    scene.machine.validate_rest()


# -- whole clusters ---------------------------------------------------------------------------

_open: Final[dict[str, str]] = {}
"""The fibers that hold a resource, and the member at which each has opened it."""


def opens() -> None:
    fiber, member = _here()
    assert fiber not in _open
    _open[fiber] = member


def closes() -> None:
    del _open[_here()[0]]


def _here() -> tuple[str, str]:
    """The calling fiber, and its member."""
    here = origin()
    assert here is not None
    tags = here.tags()
    return str(tags["distio_fiber"]), str(tags["distio_worker"])


HELD: Final[Resource[Any, Any, None]] = resource.from_open_close(opens, lambda _, status: closes())


def left_open(main: Program, *, gone: Sequence[str] = (), **plan: Any) -> dict[str, str]:
    """The fibers that still hold a resource after a simulation, and where they opened it.

    Args:
        main: the program.
        gone: the names of processes that crash, with all that is open there.
        plan: see `simulate`.
    """
    _open.clear()
    history = str(simulate(main, **plan).history)
    joined = dict(re.findall(r"(\S+): joins as (member \d+)", history))
    lost = {joined.get(name) for name in gone}
    return {fiber: member for fiber, member in _open.items() if member not in lost}


def sleepers() -> Program:
    """Fibers on several members hold a resource, and sleep."""
    return io.zip_par([HELD.with_(io.sleep(1000)) for _ in range(4)])


def slow_releases() -> Program:
    """A resource is released after other fibers have slept for a while."""
    slow = io.zip_par(io.sleep(0.5), io.yield_.then(io.sleep(1)))
    return io.zip_par([HELD.with_(io.sleep(1000).finally_(lambda _: slow)) for _ in range(4)])


def lock_holders() -> Program:
    """One fiber holds a lock for which others wait, each of which holds a resource as well."""
    return resource.reentrant_lock.flat_map(
        lambda lock: io.zip_par([HELD.with_(lock.with_(io.sleep(1000))) for _ in range(4)])
    )


def takers() -> Program:
    """All fibers wait at a queue, for ever."""
    return Queue.create(1).flat_map(
        lambda queue: io.zip_par([io.sleep(0.01).then(HELD.with_(queue.take())) for _ in range(4)])
    )


PROGRAMS: Final = {
    "sleepers": sleepers(),
    "slow releases": slow_releases(),
    "lock holders": lock_holders(),
    "takers": takers(),
}
ENDS: Final[dict[str, Sequence[Fault]]] = {
    "is interrupted": [Interrupt(at=0.1)],
    "is interrupted early": [Interrupt()],
    "loses its client": [Crash("client", at=0.1)],
    "loses its client early": [Crash("client")],
    "loses its client while it releases": [Interrupt(at=0.1), Crash("client", at=0.3)],
    "loses the link of its client": [Disconnect("client", at=0.1, seconds=60)],
    # the worker gives up after ten seconds, and releases within the grace of the run
    "loses the link of a worker": [Disconnect(at=0.1, seconds=60), Interrupt(at=5.0)],
    "loses all links": [Disconnect(f"worker-{n}", at=0.1, seconds=60) for n in (1, 2, 3)]
    + [Disconnect("client", at=0.1, seconds=60)],
    "breaks all links for a moment": [Disconnect(f"worker-{n}", at=0.1) for n in (1, 2, 3)]
    + [Disconnect("client", at=0.1), Interrupt(at=0.2)],
    # if it is reached again after the grace, the run is over, and what is left of it is dropped
    "is cut off": [Partition("worker-1", at=0.1, seconds=9), Interrupt(at=0.2)],
    "is cut off from its client": [Partition("client", at=0.1, seconds=60)],
    "loses a worker that leaves": [Leave(at=0.1), Interrupt(at=5.0)],
    "loses all workers": [Leave("worker-1"), Leave("worker-2"), Leave("worker-3")],
    "is shut down": [Shutdown(at=0.1)],
    "is shut down early": [Shutdown()],
    "is shut down while it releases": [Interrupt(at=0.1), Shutdown(at=0.3)],
    "loses a worker": [Crash("worker-1", at=0.1), Interrupt(at=0.2)],
    "loses a worker that fails": [Fail("worker-1", at=0.1), Interrupt(at=0.2)],
    "loses its client, which fails": [Fail("client", at=0.1)],
    "loses a worker that fails early": [Fail("worker-1"), Interrupt(at=5.0)],
}


@pytest.mark.slow
@pytest.mark.parametrize("main", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("faults", ENDS.values(), ids=ENDS)
def test_run_that_ends_early_releases_all_that_its_members_hold(
    main: Program, faults: Sequence[Fault]
) -> None:
    gone = [fault.process for fault in faults if isinstance(fault, Crash | Fail) and fault.process]
    # with snapshots, fibers wait for another worker to release them, and here none comes
    is_last = all(isinstance(fault, Leave) for fault in faults)
    # and those of a worker that is cut off for long go on elsewhere: it must not release them
    is_cut = any(isinstance(fault, Disconnect | Partition) and fault.seconds for fault in faults)
    plan: dict[str, Any] = {"snapshots": "off"} if is_last or is_cut else {}
    for seed in range(5):
        assert left_open(main, gone=gone, seed=seed, faults=faults, **plan) == {}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_deadlocked_run_releases_all_that_its_members_hold(threads: int) -> None:
    for seed in range(10):
        assert left_open(takers(), seed=seed, threads=threads) == {}


def test_deadlock_among_releases_ends_the_run() -> None:
    never = Queue.create(1).flat_map(lambda queue: queue.take())
    main = never.finally_(lambda _: never)
    for seed in range(10):
        result = simulate(main, seed=seed).result
        assert isinstance(result, Panic)
        assert "nothing can ever wake what this run still releases" in str(result.exceptions[0])


def test_release_that_takes_longer_than_the_grace_is_given_up() -> None:
    main = io.sleep(1000).finally_(lambda _: io.sleep(10_000))
    simulation = simulate(main, faults=[Interrupt(at=1.0)])
    assert isinstance(simulation.result, Panic)
    assert isinstance(simulation.result.exceptions[0].exception, Cancelled)
    assert 11.0 <= simulation.virtual_seconds < 12.0


def test_run_whose_coordinator_is_shut_down_is_cut_short() -> None:
    simulation = simulate(sleepers(), faults=[Shutdown(at=1.0)])
    assert isinstance(simulation.result, Panic)
    closed = simulation.result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert "told to end" in str(closed)
    assert simulation.virtual_seconds < 2.0


def test_fibers_of_a_worker_that_leaves_are_lost_with_it() -> None:
    main = io.zip_par([io.sleep(1000)] * 3)
    simulation = simulate(main, faults=[Leave("worker-1", at=1.0)], snapshots="off")
    assert isinstance(simulation.result, Panic)
    lost = simulation.result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason == "left the cluster"


@pytest.mark.slow
@pytest.mark.parametrize("process", ["client", "worker-1"])
def test_process_that_fails_releases_nothing_and_all_others_do(process: str) -> None:
    for seed in range(15):
        for main in (sleepers(), slow_releases()):
            faults = [Fail(process, at=0.1), Interrupt(at=0.2)]
            assert left_open(main, gone=[process], seed=seed, faults=faults) == {}


def test_fibers_of_a_worker_that_fails_are_lost_for_its_reason() -> None:
    main = io.zip_par([io.sleep(1000)] * 3)
    simulation = simulate(main, faults=[Fail("worker-1", at=1.0)], snapshots="off")
    assert isinstance(simulation.result, Panic)
    lost = simulation.result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason == "the process can't go on: its machinery has failed"


def test_run_whose_client_fails_is_cut_short_for_its_reason() -> None:
    simulation = simulate(sleepers(), faults=[Fail("client", at=1.0)])
    assert isinstance(simulation.result, Panic)
    closed = simulation.result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert "the process can't go on: its machinery has failed" in str(closed)


def test_worker_that_fails_is_started_anew() -> None:
    main = io.zip_par([io.sleep(10)] * 3).attempt().then(io.zip_par([io.pure(1)] * 2))
    faults = [Fail("worker-1", at=1.0, returns_after=1.0)]
    simulation = simulate(main, members=1, faults=faults)
    assert simulation.result == Ok([1, 1])
    assert simulation.virtual_seconds >= 2.0


@pytest.mark.parametrize("fault", ["Leave('client')", "Shutdown('worker-1')"])
def test_fault_that_befalls_the_wrong_process_is_refused(fault: str) -> None:
    with pytest.raises(MatchError):
        eval(fault)
