"""Runs that wait for each other's locks: one of them ends, and the others go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distio import IO, Ok, Panic, Resource, io, resource
from distio.errors import Deadlock
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from tests.conftest import PATIENCE, shared_cluster
from tests.harness.coordinators import Commands, Scene, asks, blocked

HeldLock = list[tuple[int | str, list[int]]]


class Crossing(Scene):
    """Runs of one client each, whose roots hold locks and wait for those of others."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.clients = [self.client, *(self.join("client") for _ in range(runs - 1))]
        self.roots = [self.starts(client) for client in self.clients]
        self.woken = dict.fromkeys(self.roots, 0)

    def takes(self, which: int, lock: str, tokens: int = 0) -> None:
        """The root of this run acquires a lock."""
        client, root = self.clients[which], self.roots[which]
        ((_, lent),) = asks(self, client, root, lock=lock, tokens=tokens, run=root)
        assert isinstance(lent, m.TokensGranted)

    def waits(self, which: int, lock: str) -> Commands:
        """The root of this run asks for a lock that another run holds."""
        client, root = self.clients[which], self.roots[which]
        asks(self, client, root, lock=lock, run=root)
        return self.tells(client, blocked(root, 0))

    def answers(
        self, which: int, lock: str, *held: str, is_quiet: bool = True, holders: int = 1
    ) -> Commands:
        """The run's member confirms that it waits."""
        client, root = self.clients[which], self.roots[which]
        probe = self.machine.runs[root].probe
        has: HeldLock = [(key, [root] * holders) for key in held]
        waits = m.WaitGraph(root, probe, is_quiet, [], [(root, lock)], has, [], self.woken[root])
        return self.says(client, waits)

    def asked(self, *which: int) -> Commands:
        return [
            (self.clients[each], m.RequestWaitGraph(self.roots[each], probe))
            for each in which
            if (probe := self.machine.runs[self.roots[each]].probe)
        ]


def crossed() -> Crossing:
    """Two runs, each of which holds a lock and waits for the other's; both said so once."""
    scene = Crossing(2)
    scene.takes(0, "a")
    scene.takes(1, "b")
    scene.waits(0, "b")
    assert scene.answers(0, "b", "a") == []
    scene.waits(1, "a")
    assert scene.answers(1, "a", "b") == scene.asked(0, 1)
    return scene


def test_runs_that_confirm_twice_that_they_wait_for_each_other_are_a_deadlock() -> None:
    scene = crossed()
    assert scene.answers(0, "b", "a") == []
    first, second = scene.roots
    assert scene.answers(1, "a", "b") == [(scene.clients[1], m.RunCancelled(second))]
    assert scene.machine.runs[first].ending is None
    cause, reason = scene.machine.runs[second].ending or (Cause.FINISHED, "")
    assert cause is Cause.DEADLOCK
    assert "fiber 1.0 waits for fiber 2.0" in reason
    assert "fiber 2.0 waits for fiber 1.0" in reason
    assert reason.endswith("the locks are of run 1.0, too, and this run was started last")


def test_run_that_has_woken_between_its_answers_is_in_no_deadlock() -> None:
    scene = crossed()
    scene.woken[scene.roots[0]] += 1
    assert scene.answers(0, "b", "a") == []
    # the answers of the two runs are of different moments again, so both are asked once more
    assert scene.answers(1, "a", "b") == scene.asked(0, 1)
    assert scene.answers(1, "a", "b") == []
    assert scene.answers(0, "b", "a") == [(scene.clients[1], m.RunCancelled(scene.roots[1]))]


def test_run_that_denies_the_second_time_is_in_no_deadlock() -> None:
    scene = crossed()
    assert scene.answers(0, "b", "a", is_quiet=False) == []
    assert scene.answers(1, "a", "b") == []
    assert not [run for run in scene.machine.runs.values() if run.ending]


def test_run_that_moves_while_the_other_is_asked_again_is_in_no_deadlock() -> None:
    scene = crossed()
    scene.answers(0, "b", "a")
    scene.tells(scene.clients[0], m.RunProgress(scene.roots[0], [(1, 1)], 0, [], 0), ready=1)
    assert scene.answers(1, "a", "b") == []
    assert not [run for run in scene.machine.runs.values() if run.ending]


def test_run_that_only_waits_for_deadlocked_ones_goes_on() -> None:
    scene = Crossing(3)
    scene.takes(0, "a")
    scene.takes(1, "b")
    scene.waits(0, "b")
    scene.answers(0, "b", "a")
    scene.waits(2, "a")  # this run holds nothing, and was started last
    scene.answers(2, "a")
    scene.waits(1, "a")
    assert scene.answers(1, "a", "b") == scene.asked(0, 1)
    scene.answers(0, "b", "a")
    assert scene.answers(1, "a", "b") == [(scene.clients[1], m.RunCancelled(scene.roots[1]))]


def test_runs_in_a_ring_are_a_deadlock() -> None:
    scene = Crossing(3)
    ring = [(0, "b", "a"), (1, "c", "b"), (2, "a", "c")]
    for which, _, held in ring:
        scene.takes(which, held)
    for which, lock, held in ring:
        scene.waits(which, lock)
        commands = scene.answers(which, lock, held)
    assert commands == scene.asked(0, 1, 2)
    for which, lock, held in ring:
        commands = scene.answers(which, lock, held)
    assert commands == [(scene.clients[2], m.RunCancelled(scene.roots[2]))]


def test_lock_of_a_run_that_goes_on_makes_no_deadlock() -> None:
    scene = Crossing(3)
    for which, lock in enumerate("abc"):
        scene.takes(which, lock)
    scene.waits(0, "b")
    scene.answers(0, "b", "a")
    scene.waits(1, "c")  # the third run holds that lock, and goes on
    assert scene.answers(1, "c", "b") == []


def test_semaphore_of_which_the_runs_hold_one_token_of_two_makes_no_deadlock() -> None:
    scene = Crossing(2)
    scene.takes(0, "a")
    scene.takes(1, "two", tokens=2)
    client, root = scene.clients[0], scene.roots[0]
    asks(scene, client, root, lock="two", tokens=2, run=root)
    scene.tells(client, blocked(root, 0))
    scene.answers(0, "two", "a")
    scene.waits(1, "a")
    assert scene.answers(1, "a", "two") == []


# -- on a cluster -----------------------------------------------------------------------------


def marked(directory: Path, own: str, others: list[str]) -> IO[Any, Any, None]:
    """Note that this run has its first lock, and wait until the other runs have theirs."""
    (directory / own).touch()
    if all((directory / other).exists() for other in others):
        return io.pure(None)
    return io.sleep(0.01).then(io.defer_io(lambda: marked(directory, own, others)))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", ["lock", "semaphore"])
def test_runs_that_take_named_locks_crosswise_end_in_one_deadlock(
    tmp_path: Path, count: int, kind: str
) -> None:
    names = [f"{tmp_path.name} {kind} {index} of {count}" for index in range(count)]

    def named(index: int) -> IO[Any, Any, Resource[Any, Any, None]]:
        name = names[index % count]
        return io.pure(resource.lock(name)) if kind == "lock" else resource.semaphore(1, name=name)

    def takes_two(index: int) -> IO[Any, Any, str]:
        meet = io.defer_io(lambda: marked(tmp_path, names[index], names))
        return io.zip(named(index), named(index + 1)).flat_map(
            lambda two: two[0].with_(meet.then(two[1].with_(io.pure("had both"))))
        )

    cluster = shared_cluster()
    runs = [cluster.submit(takes_two(index), None) for index in range(count)]
    results = [run.result(timeout=PATIENCE) for run in runs]
    (panic,) = [result for result in results if isinstance(result, Panic)]
    assert isinstance(panic.exceptions[0].exception, Deadlock)
    assert "the locks are of run" in str(panic.exceptions[0].exception)
    assert [result for result in results if result == Ok("had both")] == [Ok("had both")] * (
        count - 1
    )
