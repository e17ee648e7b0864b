"""A worker that was held for lost steps none of its fibers, which go on elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import IO, Ok, Queue, io
from distio.coordination.membership.lease import MARGIN, Lease, lease_seconds
from distio.coordination.membership.session import ABSENCE_SECONDS
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.testing import (
    CheckFailed,
    Disconnect,
    Fault,
    Partition,
    Pause,
    Stop,
    explore,
    simulate,
)
from tests.harness.planting import find_soon

Program = IO[Any, Any, Any]

LEASE: Final = lease_seconds(PATIENCE_SECONDS, ABSENCE_SECONDS)
CUTS: Final[dict[str, Sequence[Fault]]] = {
    "stopped": [Stop(seconds=60)],
    "stopped when it has begun": [Stop("worker-1", at=0.01, seconds=60)],
    "cut off": [Partition(seconds=60)],
    "cut off when it has begun": [Partition("worker-1", at=0.01, seconds=60)],
    "stopped and cut off": [Stop(seconds=40), Partition(seconds=60)],
    "stopped amid a break": [Stop("worker-1", at=0.01, seconds=60), Disconnect("worker-1")],
    "held up amid a break": [Pause("worker-1", at=0.01, seconds=60), Disconnect("worker-1")],
    "stopped again and again": [Stop("worker-1", at=n / 100, seconds=31) for n in range(1, 4)],
}


def toil(name: str, left: int = 20) -> Program:
    """A fiber that is stepped again and again, over 40 seconds."""
    if not left:
        return io.pure(name)
    return io.sleep(2).then(io.yield_, io.defer_io(toil, name, left - 1))


NAMES: Final = ["one", "two", "three", "four"]


def toils() -> Program:
    return io.zip_par([toil(name) for name in NAMES])


def waits() -> Program:
    """Fibers that are woken by others while their worker is away."""

    def put_and_take(queue: Queue[int]) -> Program:
        puts = io.sequence([io.sleep(2).then(queue.put(n)) for n in range(12)])
        takes = io.zip_par([queue.take()] * 12).map(sorted)
        return io.zip_par(puts, takes).map(lambda both: both[1])

    return Queue.create(1).flat_map(put_and_take)


PROGRAMS: Final[dict[str, tuple[Callable[[], Program], Any]]] = {
    "toils": (toils, NAMES),
    "waits": (waits, [*range(12)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize(("make", "right"), PROGRAMS.values(), ids=PROGRAMS)
def test_worker_that_was_held_for_lost_steps_nothing_and_its_fibers_go_on(
    make: Callable[[], Program], right: Any, cuts: Sequence[Fault]
) -> None:
    """The simulation itself sees to it that no lost worker steps a fiber."""
    for seed in range(4):
        assert simulate(make, seed=seed, threads=1, faults=cuts).result == Ok(right), seed


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Partition, Stop])
def test_member_that_was_cut_off_for_long_is_fenced_and_its_fibers_go_on_elsewhere(
    fault: type[Partition | Stop],
) -> None:
    """The member is fenced for good, even if its fibers have no place yet when it is there
    again."""
    for seed in range(5):
        faults = [fault("worker-1", at=5.5, seconds=60)]
        simulation = simulate(toils, seed=seed, members=2, threads=1, faults=faults)
        assert simulation.result == Ok(NAMES)
        history = simulation.history
        lost = history.index("35.500000 worker-1: is held for lost")
        before, after = history[:lost], history[lost:]
        assert any("worker-1: steps" in line for line in before)
        assert any("worker-2" in line and "goes on from its snapshot" in line for line in after)
        assert not any("worker-1: steps" in line for line in after)
        assert any("worker-1: ends" in line for line in after)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Partition, Stop])
def test_worker_that_was_cut_off_for_longer_than_its_lease_goes_on_if_it_was_not_lost(
    fault: type[Partition | Stop],
) -> None:
    """The worker rests until it is told that it still is a member."""
    seconds = (LEASE + PATIENCE_SECONDS) / 2
    for seed in range(5):
        faults = [fault("worker-1", at=5.5, seconds=seconds)]
        simulation = simulate(toils, seed=seed, members=1, threads=1, faults=faults)
        assert simulation.result == Ok(NAMES)
        history = str(simulation.history)
        assert "worker-1: hears LeaseRenewed" in history
        assert "goes on from its snapshot" not in history


@pytest.mark.slow
def test_what_a_lost_worker_still_says_is_dropped_and_the_coordinator_tells_of_it() -> None:
    cut = Partition("worker-1", at=5.5, seconds=60)
    histories = [str(simulate(toils, seed=n, members=2, faults=[cut]).history) for n in range(5)]
    dropped = "coordinator: dropped a message of a process that is no member any more"
    assert any(dropped in history for history in histories)


@pytest.mark.slow
def test_worker_that_is_never_cut_off_has_no_lease() -> None:
    assert "RenewLease" not in str(simulate(toils).history)


# -- planted mistakes -------------------------------------------------------------------------


def is_always_open(lease: Lease, now: float) -> bool:
    return True


def is_as_long_as_the_patience(lease: Lease, asked_at: float) -> None:
    lease.ends_at = max(lease.ends_at, asked_at + PATIENCE_SECONDS * (1 + MARGIN))


def opens_early(lease: Lease, asked_at: float) -> None:
    """A late answer opens it, too: as if it were an answer to a question of now."""
    lease.ends_at = float("inf")


MISTAKES: Final[dict[str, tuple[str, Callable[..., Any], Sequence[Fault]]]] = {
    "there is no fence": ("is_open", is_always_open, CUTS["stopped when it has begun"]),
    "there is no fence for who is cut off": ("is_open", is_always_open, [Partition(seconds=60)]),
    "the fence opens early": ("renewed", opens_early, [Stop("worker-1", at=2.5, seconds=60)]),
    "the fence closes late": (
        "renewed",
        is_as_long_as_the_patience,
        [Stop("worker-1", at=2.5, seconds=PATIENCE_SECONDS + 5)],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_fence_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, mistake, faults = MISTAKES[name]
    find_soon(monkeypatch)
    monkeypatch.setattr(Lease, method, mistake)
    with pytest.raises(CheckFailed, match="which was held for lost before"):
        explore(toils, seeds=range(1_000), threads=1, faults=faults)
