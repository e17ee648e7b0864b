"""Connections that break, and come back: nothing is lost, and nothing is repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Queue, Var, io, resource
from distio.coordination.membership.lease import MARGIN
from distio.coordination.membership.session import ABSENCE_SECONDS, Breach, NumberedSession
from distio.errors import ClusterClosed, InvariantBroken
from distio.testing import Disconnect, Fault, Partition, Pause, simulate
from distio.testing.processes import Process

Program = IO[Any, Any, Any]

LOST_AFTER: Final = ABSENCE_SECONDS * (1 + MARGIN)


@io.do
async def pipeline() -> list[int]:
    """Items go from fiber to fiber through a queue, each of them once."""
    queue = await Queue.create(2)
    done = await Queue.create()

    @io.do
    async def puts(start: int) -> None:
        for each in range(start, start + 5):
            await queue.put(each)
            await io.sleep(0.003)

    @io.do
    async def takes() -> None:
        for _ in range(5):
            await done.put(await queue.take())

    await io.zip_par(puts(0), puts(10), takes(), takes())
    return sorted([await done.take() for _ in range(10)])


@io.do
async def counted() -> int:
    """A variable is changed by fibers on all workers, and a lock is held meanwhile."""
    total: Var[int] = await Var.create(0)
    lock = await resource.reentrant_lock
    one = lock.with_(total.update(lambda n: (n + 1, None)).then(io.sleep(0.002)))
    await io.zip_par([io.sequence([one] * 3) for _ in range(5)])
    return await total.get()


def tree(depth: int) -> Program:
    if depth == 0:
        return io.sleep(0.01).then(io.pure(1))
    return io.zip_par(tree(depth - 1), io.yield_.then(tree(depth - 1))).map(sum)


PROGRAMS: Final[dict[str, tuple[Callable[[], Program], Any]]] = {
    "pipeline": (pipeline, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]),
    "counted": (counted, 15),
    "tree": (lambda: tree(4), 16),
}
CUTS: Final[dict[str, Sequence[Fault]]] = {
    "one": [Disconnect()],
    "of the client": [Disconnect("client")],
    "of all": [Disconnect(f"worker-{n}") for n in (1, 2, 3)] + [Disconnect("client")],
    "one after the other": [Disconnect("worker-1", at=0.005 + n / 200) for n in range(8)],
    "for a while": [Disconnect(seconds=9.0), Disconnect("client", seconds=5.0)],
    "with repetitions": [
        Disconnect(repeats=True),
        Disconnect(repeats=True),
        Disconnect("client", repeats=True),
    ],
    "in a partition": [Partition(seconds=9.0), Disconnect(), Partition("client", seconds=9.0)],
    "in a pause": [Pause("worker-1", at=0.01, seconds=9.0), Disconnect("worker-1", at=0.02)],
}


@pytest.mark.slow
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize(("make", "right"), PROGRAMS.values(), ids=PROGRAMS)
def test_short_cut_loses_nothing_and_repeats_nothing(
    make: Callable[[], Program], right: Any, cuts: Sequence[Fault]
) -> None:
    for seed in range(60):
        simulation = simulate(make, seed=seed, faults=cuts)
        assert simulation.result == Ok(right), seed
        lives = [line.split()[1] for line in simulation.history if "joins as member" in line]
        assert len(lives) == len(set(lives)) == 4, "each is the same member as before"


@pytest.mark.slow
def test_process_whose_connection_broke_makes_others_and_says_again_what_was_lost() -> None:
    said_again = 0
    for seed in range(15):
        cuts = [Disconnect("worker-1", at=0.004 + n / 500) for n in range(3)]
        history = simulate(pipeline, seed=seed, faults=cuts).history
        assert len(lines(history, "worker-1: makes other connections")) >= 1
        said_again += len(lines(history, "worker-1: says again"))
    assert said_again > 5


@pytest.mark.slow
def test_process_that_is_cut_off_for_too_long_is_lost_on_both_sides() -> None:
    """The process gives up before the coordinator does."""
    cut = Disconnect("worker-1", at=1.0, seconds=60.0)
    for seed in range(10):
        main = io.zip_par([io.sleep(100)] * 6)
        simulation = simulate(main, seed=seed, faults=[cut], latency=0.001)
        assert simulation.result == Ok([None] * 6)
        [ends] = lines(simulation.history, "worker-1: ends: ", "broke for too long")
        assert 1.0 + ABSENCE_SECONDS <= moment(ends) < 1.01 + ABSENCE_SECONDS
        [lost] = lines(simulation.history, "coordinator: member", "is lost: its process has ended")
        assert moment(lost) < 1.0 + LOST_AFTER


def test_run_of_a_client_that_is_cut_off_for_too_long_ends_on_both_sides() -> None:
    cut = Disconnect("client", at=1.0, seconds=60.0)
    simulation = simulate(io.zip_par([io.sleep(100)] * 3), faults=[cut], latency=0.001)
    assert isinstance(simulation.result, Panic)
    closed = simulation.result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert "the connection to the coordinator broke for too long" in str(closed)
    [lost] = lines(simulation.history, "coordinator: member", "didn't come back within 10 s")
    assert 1.0 + LOST_AFTER <= moment(lost) < 1.01 + LOST_AFTER


ZOMBIE: Final[Sequence[Fault]] = [
    Pause("worker-1", at=1.0, seconds=30.0),
    Disconnect("worker-1", at=1.5),
]


@pytest.mark.slow
def test_member_that_comes_back_after_it_was_held_for_lost_is_fenced() -> None:
    """The member stood still for a time that it doesn't know: to itself it is absent for a
    moment."""
    main = io.zip_par([io.sleep(50)] * 6)  # too short to be put away: it has nothing to say
    told = []
    for seed in range(20):
        simulation = simulate(main, seed=seed, faults=ZOMBIE)
        assert simulation.result == Ok([None] * 6)
        history = simulation.history
        [held] = lines(history, "coordinator: member", "is lost: its connection broke")
        assert 1.5 + LOST_AFTER <= moment(held) < 1.51 + LOST_AFTER
        since = history[history.index(lines(history, "worker-1: goes on")[0]) :]
        assert lines(since, "worker-1: hears Shutdown")
        assert not lines(since, "coordinator: hears from worker-1: Progress")
        [end] = lines(since, "worker-1: ends: ")
        told.append(end.partition(" ends: ")[2])
    # one of its connections may be left, and there it was told already
    assert {reason.partition(":")[0] for reason in told} == {
        "the coordinator had held this process for lost",
        "a connection of this process broke for too long",
    }


def lines(history: Sequence[str], *words: str) -> list[str]:
    return [line for line in history if all(word in line for word in words)]


def moment(line: str) -> float:
    return float(line.split()[0])


# -- planted mistakes -------------------------------------------------------------------------


def takes_up_what_was_heard(
    session: NumberedSession[Any, Any], now: float, *batch: Any
) -> list[Any]:
    first, heard, messages = batch
    session._forget(heard)
    session.heard = max(session.heard, first + sum(each.is_numbered for each in messages) - 1)
    return list(messages)


HEADER: Final = NumberedSession.header


def forgets_early(session: NumberedSession[Any, Any]) -> tuple[int, int]:
    """As if all but the last message had arrived."""
    header = HEADER(session)
    while len(session._kept) > 1:
        session._kept.popleft()
    return header


RESUME: Final = NumberedSession.resume


def says_again_backwards(
    session: NumberedSession[Any, Any], heard: int, acknowledged: int = 0
) -> list[Any]:
    return RESUME(session, heard, acknowledged)[::-1]


LOSE: Final = Process._lose_coordinator


def goes_on_though_fenced(process: Process, reason: str, **how: bool) -> None:
    if "for lost" in reason or "for too long" in reason:
        process.is_stale = True
        process.lines.absence.resumed()
    else:
        LOSE(process, reason, **how)


REPEATS: Final = CUTS["with repetitions"]
MISTAKES: Final[dict[str, tuple[type, str, Callable[..., Any], Sequence[Fault]]]] = {
    "what comes again is taken up": (NumberedSession, "hear", takes_up_what_was_heard, REPEATS),
    "what isn't acknowledged is forgotten": (NumberedSession, "header", forgets_early, CUTS["one"]),
    "what is said again is out of order": (
        NumberedSession,
        "resume",
        says_again_backwards,
        CUTS["one after the other"],
    ),
    "who is fenced goes on": (Process, "_lose_coordinator", goes_on_though_fenced, ZOMBIE),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_sessions_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, method, mistake, faults = MISTAKES[name]
    monkeypatch.setattr(owner, method, mistake)
    main = pipeline if faults is not ZOMBIE else lambda: io.zip_par([io.sleep(100)] * 6)
    for seed in range(1_000):
        try:
            simulation = simulate(main, seed=seed, faults=faults)
        except (InvariantBroken, Breach):
            return
        if faults is not ZOMBIE and simulation.result != Ok(PROGRAMS["pipeline"][1]):
            return
    pytest.fail("not found in 1,000 seeds")
