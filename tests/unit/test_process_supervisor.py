"""Keepers: processes that are started, watched, started again, and ended in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

from distio.runtime.child_processes import ChildProcess, Spawned
from distio.runtime.process_supervisor import (
    Backoff,
    Child,
    Launch,
    ProcessSupervisor,
    RestartLimit,
)
from tests.conftest import PATIENCE

WAITS = "import signal; signal.pause()"


class Owner:
    """An owner that notes its calls, and has children started again after given delays."""

    def __init__(self, *again: float | None) -> None:
        self.again = list(again)
        self.codes: list[int] = []
        self.refusals: list[OSError] = []
        self.killings = 0
        self.stop: Callable[[], None] = lambda: None

    def started(self, child: Child) -> None:
        raise AssertionError("nothing here says that it has started")

    def ended(self, child: Child, code: int, lived: float) -> float | None:
        self.codes.append(code)
        return self.again.pop(0)

    def refused(self, child: Child, error: OSError) -> float | None:
        self.refusals.append(error)
        return self.again.pop(0)

    def killed(self, child: Child) -> None:
        self.killings += 1


def python(*codes: str) -> Launch:
    """Start Python with one text after another."""
    left = list(codes)

    def launch(child: Child) -> tuple[Spawned, None]:
        child.serial += 1
        return Spawned([sys.executable, "-S", "-c", left.pop(0)]), None

    return launch


def test_backoff_begins_anew_after_a_long_life() -> None:
    backoff = Backoff()
    assert [backoff.next(lived=9.9) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert backoff.next(lived=10.0) == 0.0
    assert backoff.next(lived=0.0) == 0.1


def test_child_that_has_been_started_again_too_often_is_not_started_again() -> None:
    child = Child(python(), RestartLimit(2, within_seconds=1000.0))
    assert [child.again(0.0) for _ in range(3)] == [0.0, 0.1, None]
    assert child.again(0.0, counts=False) == 0.2


def test_restart_limit_does_not_count_restarts_that_are_long_ago() -> None:
    limit = RestartLimit(1, within_seconds=10.0)
    assert [limit.allows(now) for now in (0.0, 10.0, 10.1, 20.0, 20.2)] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_supervisor_starts_a_child_again_as_often_as_its_owner_says() -> None:
    owner = Owner(0.0, 0.01, None)
    supervisor = ProcessSupervisor(owner)
    supervisor.add(Child(python(*(f"raise SystemExit({code})" for code in (1, 2, 3)))))
    supervisor.run()
    assert owner.codes == [1, 2, 3]
    assert supervisor.children[0].serial == 3


def test_supervisor_tries_again_when_the_system_refuses_a_process() -> None:
    owner = Owner(0.0, 0.0, None)
    again = python("", "")

    def launch(child: Child) -> tuple[ChildProcess, None]:
        if child.serial == 1 and not owner.refusals:
            raise BlockingIOError("no more processes")
        process, _ = again(child)
        return process, None

    supervisor = ProcessSupervisor(owner)
    supervisor.add(Child(launch))
    supervisor.run()
    assert [str(error) for error in owner.refusals] == ["no more processes"]
    assert owner.codes == [0, 0]


def test_supervisor_told_to_stop_tells_its_children_and_starts_none_again() -> None:
    owner = Owner()
    supervisor = ProcessSupervisor(owner)
    supervisor.add(Child(python(WAITS)))
    supervisor.stop(PATIENCE, signal.SIGTERM)
    supervisor.run()
    process = supervisor.children[0].process
    assert process is not None
    assert process.returncode == -signal.SIGTERM
    assert owner.codes == []
    assert owner.killings == 0


def test_supervisor_told_to_stop_drops_restarts_that_are_due() -> None:
    owner = Owner(1000.0)
    supervisor = ProcessSupervisor(owner)
    supervisor.add(Child(python("raise SystemExit(1)")))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    while not owner.codes:
        os.sched_yield()
    supervisor.stop(0.0)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_supervisor_kills_a_child_that_has_not_ended_within_the_grace() -> None:
    owner = Owner()
    supervisor = ProcessSupervisor(owner)
    supervisor.add(Child(python(WAITS)))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    supervisor.stop(PATIENCE)  # the child isn't told
    supervisor.stop(0.0)
    thread.join(PATIENCE)
    process = supervisor.children[0].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert owner.killings == 1


def test_child_without_a_log_is_never_too_late_to_start() -> None:
    """Whether the child has started isn't known, so no time is set."""
    child = Child(python(""))
    child.begin(time.monotonic())
    child.must_start_within(0.0)
    assert child.start_by is None
    assert child.process is not None
    child.process.wait(PATIENCE)


def test_supervisor_leaves_no_process_that_it_cannot_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    supervisor = ProcessSupervisor(Owner())
    child = Child(python(WAITS))
    with pytest.raises(OSError, match="Too many open files"):
        supervisor.add(child)
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL
    supervisor.run()  # there is no child
