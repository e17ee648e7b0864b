"""The disk of the journal is full, slow, or has lost the end of the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from distio import Ok, Panic, io
from distio.coordination.membership.session import NumberedSession
from distio.errors import ClusterClosed, MatchError
from distio.testing import (
    CheckFailed,
    Crash,
    Fault,
    FullDisk,
    Restart,
    Simulation,
    SlowDisk,
    exploration,
    explore,
    simulate,
)
from distio.testing.durable import simulate_durable
from distio.testing.hub import Hub
from tests.harness.parameters import marked
from tests.harness.recovering import pipeline

Patch = pytest.MonkeyPatch

RIGHT: Final[Any] = Ok(([(who, n) for who in range(2) for n in range(3)], 0))


def make() -> Any:
    return pipeline(2, 2, 3, None)


FAULTS: Final[dict[str, Sequence[Fault]]] = {
    "full": [FullDisk(at=0.005, seconds=5.0), FullDisk()],
    "full for longer than a lease": [FullDisk(at=0.005, seconds=100.0)],
    "full when the coordinator is killed": [FullDisk(at=0.005, seconds=5.0), Restart(at=0.1)],
    "slow": [SlowDisk(at=0.0, seconds=60.0)],
    "slow, and processes are killed": [SlowDisk(commit_seconds=0.3), Restart(), Crash()],
}


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_program_whose_journal_has_a_bad_disk_has_its_result(faults: Sequence[Fault]) -> None:
    explore(make, None, lambda s: s.result == RIGHT, range(3), members=3, faults=faults)


@pytest.mark.slow
def test_coordinator_whose_disk_is_full_takes_up_nothing_until_there_is_room() -> None:
    simulation = simulate(make, seed=1, faults=[FullDisk(at=0.004, seconds=7.0)])
    assert simulation.result == RIGHT
    times = [float(line.split()[0]) for line in simulation.history if "coordinator: hears" in line]
    before, after = [t for t in times if t < 0.004], [t for t in times if t >= 0.004]
    assert before
    assert len([t for t in after if t < 7.004]) == 1  # what it was about to commit
    assert simulation.virtual_seconds > 7.0


@pytest.mark.slow
def test_slow_commit_delays_all_that_follows_from_it() -> None:
    fast = simulate(make, seed=1, faults=[SlowDisk(at=0.0, commit_seconds=0.0)])
    slow = simulate(make, seed=1, faults=[SlowDisk(at=0.0, seconds=100.0, commit_seconds=2.0)])
    assert fast.result == slow.result == RIGHT
    assert fast.virtual_seconds < 1
    assert slow.virtual_seconds > 20  # there are far more than ten turns


# -- journals that have gone back -------------------------------------------------------------

GOES_BACK: Final[Sequence[Sequence[Fault]]] = [
    [Restart(at=0.01, lost_turns=2)],
    [Restart(at=0.01, lost_turns=6, seconds=1.0)],
    [Restart(at=0.008, lost_turns=1), Restart(at=0.016, lost_turns=3)],
]


def is_right_or_was_put_out(simulation: Simulation[Any, Any]) -> bool:
    result: Any = simulation.result
    if isinstance(result, Panic):
        return [type(each.exception) for each in result.exceptions] == [ClusterClosed]
    return bool(result == RIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("faults", GOES_BACK)
def test_run_whose_journal_went_back_is_right_or_its_client_knew_more(
    faults: Sequence[Fault],
) -> None:
    explore(make, None, is_right_or_was_put_out, range(5), members=3, faults=faults)


@pytest.mark.slow
def test_named_run_whose_journal_went_back_has_its_result() -> None:
    lost = 0
    for seed in range(5):
        faults = [Restart(at=0.01, lost_turns=2)]
        found = simulate_durable(make(), seed=seed, members=3, faults=faults)
        assert found.result == RIGHT
        lost += "turns at the end of its journal" in found.history
    assert lost


# -- mistakes ---------------------------------------------------------------------------------


def sends_in_spite_of_a_failed_commit(patch: Patch) -> None:
    right = Hub._commit
    failing: set[Hub] = set()

    def commits_take(hub: Hub, seconds: float) -> None:
        (failing.add if seconds else failing.discard)(hub)

    patch.setattr(Hub, "commits_take", commits_take)
    patch.setattr(Hub, "_commit", lambda hub: hub in failing or right(hub))


def takes_back_who_knows_more(patch: Patch) -> None:
    """Let no member be fenced for what the coordinator has forgotten."""
    resume, forget = NumberedSession.resume, NumberedSession._forget

    def take_back(
        session: NumberedSession[Any, Any], heard: int, acknowledged: int = 0
    ) -> list[Any]:
        session._said_before = None
        return resume(session, min(heard, session._said))

    patch.setattr(NumberedSession, "resume", take_back)
    patch.setattr(
        NumberedSession,
        "_forget",
        lambda session, heard: forget(session, min(heard, session._said)),
    )


def compares_with_what_was_said_since(patch: Patch) -> None:
    """Messages of the new life count as if the member could have heard them."""
    patch.setattr(NumberedSession, "restart", lambda session: None)


MISTAKES: Final[dict[str, tuple[Callable[[Patch], None], Sequence[Fault]]]] = {
    "sends in spite of a failed commit": (
        sends_in_spite_of_a_failed_commit,
        [FullDisk(at=0.005, seconds=1.0), Restart(at=0.01)],
    ),
    "takes back who knows more": (takes_back_who_knows_more, GOES_BACK[2]),
    "compares with what was said since": (compares_with_what_was_said_since, GOES_BACK[2]),
}


@pytest.mark.parametrize("name", marked(MISTAKES, slow={"compares with what was said since"}))
def test_mistake_with_a_bad_disk_is_found(name: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(exploration, "_MOST_TRIES", 0)
    plant, faults = MISTAKES[name]
    plant(monkeypatch)
    with pytest.raises(CheckFailed):
        explore(make, None, is_right_or_was_put_out, range(100), members=3, faults=faults)


# -- faults that make no sense ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda: FullDisk("worker-1"), "FullDisk: only the 'coordinator' has a journal"),
        (lambda: SlowDisk("client"), "SlowDisk: only the 'coordinator' has a journal"),
        (lambda: SlowDisk(commit_seconds=-1.0), "commit_seconds is a number of seconds from 0"),
        (lambda: Restart(lost_turns=-1), "lost_turns is a number from 0, but got -1"),
        (lambda: Restart(lost_turns=True), "lost_turns is a number from 0, but got True"),
    ],
)
def test_fault_of_a_disk_that_makes_no_sense_is_refused(
    fault: Callable[[], Fault], message: str
) -> None:
    with pytest.raises(MatchError, match=message):
        fault()


def test_sleep_is_not_cut_short_by_a_slow_disk() -> None:
    simulation = simulate(io.sleep(3.0), seed=1, faults=[SlowDisk(at=0.0)])
    assert simulation.result == Ok(None)
    assert simulation.virtual_seconds >= 3.0
