"""User code that holds all threads of a pool while fibers wait for one is reported, once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distio import IO, Cluster, Ok, io
from distio.coordination.executor.discarding import DropObjects
from distio.coordination.member import Member
from distio.runtime import watchdog
from distio.runtime.watchdog import BLOCKED_SECONDS, Hold, PoolWatch
from tests.conftest import PATIENCE


class Reports(logging.Handler):
    """A handler that tells when a record was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.has_come = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.has_come.set()


@pytest.fixture
def reports() -> Any:
    handler, logger = Reports(), logging.getLogger("distio")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a short time count as long."""
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.05)


def held_by(hold: Callable[[], Any], threads: int) -> IO[Any, Any, Any]:
    """A program in which a fiber holds each thread of a pool, and other fibers have none."""
    holders = [io.defer(hold).named("holder")] * threads
    return io.parallel([*holders, *[io.pure(1)] * 10]).flat_map(io.wait).map(len)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_pool_that_is_held_is_reported_with_the_stack_and_the_fiber(
    threads: int, reports: Reports, quick: None
) -> None:
    def sit() -> bool:
        return reports.has_come.wait(PATIENCE)

    assert held_by(sit, threads).run(None, threads) == Ok(threads + 10)
    (text,) = reports.texts
    assert text.count("(holder):\n  File") == threads
    assert "in sit" in text
    assert "distio/core/interpreter.py" not in text
    assert "io.blocking" in text


@pytest.mark.slow
def test_pool_that_is_held_while_a_timer_is_due_is_reported(reports: Reports, quick: None) -> None:
    def sit() -> bool:
        return reports.has_come.wait(PATIENCE)

    program = io.parallel(io.sleep(0.01)).then(io.defer(sit))
    assert program.run(None) == Ok(True)
    assert len(reports.texts) == 1


@pytest.mark.slow
def test_pool_that_is_held_with_the_same_stacks_is_reported_once(
    reports: Reports, quick: None
) -> None:
    def sit() -> None:
        reports.has_come.wait(PATIENCE)
        time.sleep(3 * watchdog.BLOCKED_SECONDS)

    assert held_by(sit, 1).then(held_by(sit, 1)).run(None).is_ok()
    assert len(reports.texts) <= 2  # in the event's wait, and in the sleep


@pytest.mark.slow
def test_pool_with_an_idle_thread_is_not_reported(reports: Reports, quick: None) -> None:
    done = threading.Event()

    def sit() -> bool:
        return not done.wait(4 * watchdog.BLOCKED_SECONDS)

    assert io.parallel(io.defer(sit)).flat_map(io.wait).run(None, 2) == Ok([Ok(True)])
    assert reports.texts == []


@pytest.mark.slow
def test_pool_that_no_fiber_waits_for_is_not_reported(reports: Reports, quick: None) -> None:
    program = io.defer(time.sleep, 4 * watchdog.BLOCKED_SECONDS)
    assert program.run(None).is_ok()
    assert reports.texts == []


@pytest.mark.slow
def test_pool_of_a_worker_that_is_held_is_reported_to_the_program(
    reports: Reports, tmp_path: Path
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with Cluster.local(workers=1, threads=2) as cluster:
        cluster.submit(io.defer(_be_quick), None).result(PATIENCE)
        handle = cluster.submit(held_by(partial(_sit, pipe), 2), None)
        assert reports.has_come.wait(PATIENCE)
        os.close(os.open(pipe, os.O_WRONLY))
        assert handle.result(PATIENCE) == Ok(12)
    (text,) = reports.texts
    assert "the pool of worker " in text
    assert text.count("(holder):\n  File") == 2
    assert "in _sit" in text


def _be_quick() -> None:
    watchdog.BLOCKED_SECONDS = 0.1  # type: ignore[misc]  # in a worker that soon ends


def _sit(pipe: str) -> None:
    """Block until the other end of the pipe is opened: when the hold has been reported."""
    os.close(os.open(pipe, os.O_RDONLY))


def test_hold_ends_with_any_turn_and_is_reported_once() -> None:
    hold = Hold()
    hold.begin(0.0, [])
    assert not hold.look(BLOCKED_SECONDS - 0.1, False, [])
    threads = [threading.get_ident()]
    hold.begin(0.0, threads)
    assert not hold.look(BLOCKED_SECONDS, True, threads)
    assert not hold.look(2 * BLOCKED_SECONDS - 0.1, False, threads)
    assert hold.look(2 * BLOCKED_SECONDS, False, threads)
    assert not hold.look(3 * BLOCKED_SECONDS, False, threads)
    assert not hold.look(4 * BLOCKED_SECONDS, True, threads)
    assert hold.look(5 * BLOCKED_SECONDS, False, threads)


def test_hold_is_not_reported_while_threads_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    used = {1: 0.0, 2: 0.0}
    monkeypatch.setattr(watchdog, "_processor_seconds", used.__getitem__)
    hold = Hold()
    hold.begin(0.0, [1, 2])
    used.update({1: BLOCKED_SECONDS / 2, 2: BLOCKED_SECONDS / 2})
    assert not hold.look(BLOCKED_SECONDS, False, [1, 2])
    assert not hold.look(BLOCKED_SECONDS, True, [1, 2])
    used[1] += BLOCKED_SECONDS / 2
    assert hold.look(2 * BLOCKED_SECONDS, False, [1, 2])


class Counted:
    """A counter of looks at pools."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        look = watchdog.PoolWatch.look

        def counted(pool: watchdog.PoolWatch) -> float | None:
            self.looks += 1
            return look(pool)

        monkeypatch.setattr(watchdog.PoolWatch, "look", counted)


@pytest.mark.slow
def test_pool_that_is_held_is_looked_at_after_a_long_time_and_no_more(
    reports: Reports, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)

    def sit() -> bool:
        has_come = reports.has_come.wait(PATIENCE)
        time.sleep(5 * watchdog.BLOCKED_SECONDS)
        return has_come

    assert held_by(sit, 1).run(None, 1) == Ok(11)
    assert 1 <= counted.looks <= 2  # another may see that the pool has gone on


def test_pool_whose_only_timer_is_far_away_is_not_looked_at_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = PoolWatch(FakeHost(deadline=time.monotonic() + 1000))
    assert pool.look() == pytest.approx(time.monotonic() + 1000 + BLOCKED_SECONDS, abs=1)
    assert pool.is_watched
    assert not pool.sees_ready


def test_pool_with_nothing_to_do_is_looked_at_no_more() -> None:
    pool = PoolWatch(FakeHost(deadline=None))
    assert pool.look() is None
    assert not pool.is_watched


def test_pool_that_is_held_is_looked_at_after_the_time_that_makes_a_hold() -> None:
    pool = PoolWatch(FakeHost(ready=1))
    assert pool.look() == pytest.approx(time.monotonic() + BLOCKED_SECONDS, abs=1)
    assert pool.sees_ready
    pool.has_turned = True
    assert pool.look() == pytest.approx(time.monotonic() + BLOCKED_SECONDS, abs=1)


class FakeHost:
    """The host of a pool whose only thread is busy."""

    is_stopping = is_inherited = has_idle_thread = rests = False
    within = None

    def __init__(self, *, ready: int = 0, deadline: float | None = None) -> None:
        self.mutex = threading.Lock()
        self.member = Member(1)
        self.member.state.ready.extend([DropObjects([])] * ready)
        self.deadline = deadline

    def next_deadline(self) -> float | None:
        return self.deadline
