"""Alarms: each rings at its moment, unless it was taken back, and harms no other."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial
from queue import SimpleQueue

import pytest

from distio.runtime.timers import set_alarm
from tests.conftest import PATIENCE


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


def test_alarms_ring_in_the_order_of_their_moments() -> None:
    rung: SimpleQueue[int] = SimpleQueue()
    are_set = threading.Event()
    now = in_seconds(0)
    set_alarm(now, partial(wait_for, are_set))  # no other one rings before all are set
    for number in (2, 0, 1):
        set_alarm(now + number / 1000, lambda number=number: rung.put(number))  # type: ignore[misc]  # mypy can't infer it
    are_set.set()
    assert [rung.get(timeout=PATIENCE) for _ in range(3)] == [0, 1, 2]


def test_alarm_that_is_earlier_than_all_others_doesnt_wait_for_them() -> None:
    rung = threading.Event()
    late = set_alarm(in_seconds(PATIENCE), lambda: None)
    set_alarm(in_seconds(0), rung.set)
    assert rung.wait(PATIENCE)
    late.cancel()


def test_alarm_that_is_cancelled_never_rings_and_keeps_nothing() -> None:
    class Kept:
        def ring(self) -> None:
            raise AssertionError

    kept, rung = Kept(), threading.Event()
    alarm = set_alarm(in_seconds(0.005), kept.ring)
    alarm.cancel()
    alarm.cancel()
    set_alarm(in_seconds(0.005), rung.set)
    assert rung.wait(PATIENCE)
    dead = weakref.ref(kept)
    del kept
    gc.collect()
    assert dead() is None


def test_many_alarms_that_are_cancelled_leave_the_others() -> None:
    rung: SimpleQueue[int] = SimpleQueue()
    moment = in_seconds(0.02)
    alarms = [set_alarm(moment, lambda: rung.put(0)) for _ in range(300)]
    for alarm in alarms[1:]:
        alarm.cancel()
    set_alarm(moment, lambda: rung.put(1))
    assert [rung.get(timeout=PATIENCE) for _ in range(2)] == [0, 1]
    assert rung.empty()


def test_alarm_that_raises_is_logged_and_others_ring(caplog: pytest.LogCaptureFixture) -> None:
    rung = threading.Event()
    moment = in_seconds(0)
    set_alarm(moment, lambda: 1 / 0)  # type: ignore[arg-type]  # it raises
    set_alarm(moment, rung.set)
    assert rung.wait(PATIENCE)
    assert "ZeroDivisionError" in caplog.text
