"""The fence that executors pass as long as their process has its lease."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from distio import io
from distio.coordination.membership.lease import Lease
from distio.core.fiber import Fiber
from distio.core.interpreter import FUEL, step
from distio.protocol.requests import FINISHED, YIELDED
from distio.runtime import fence as fence_module
from distio.runtime.fence import Fence
from tests.conftest import PATIENCE


class Clock:
    """The clock that the fence takes for that of the system."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0

    def __call__(self, clock: int) -> float:
        self.looks += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fence_module, "clock_gettime", clock)
    return clock


@pytest.fixture
def fence(clock: Clock) -> Fence:
    return Fence(Lease(10.0, asked_at=0.0))


def calls(do: Any, count: int) -> Any:
    return io.sequence([io.defer(do, n) for n in range(count)])


def fiber(main: Any) -> Fiber:
    return Fiber(1, 1, main, None)


def test_step_calls_no_function_after_one_in_which_the_lease_has_ended(
    fence: Fence, clock: Clock
) -> None:
    called: list[int] = []
    rests = threading.Event()
    fence.wake = rests.set

    def call(n: int) -> None:
        called.append(n)
        clock.now += 4.0 if n < 3 else 0.0

    stepped, tank = fiber(calls(call, 10)), fence.tank()
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(step, stepped, FUEL, tank)
        assert rests.wait(PATIENCE)
        assert called == [0, 1, 2]
        fence.renewed(clock.now)
        assert stepping.result(PATIENCE) is YIELDED
    assert step(stepped, FUEL, tank) is FINISHED
    assert called == [*range(10)]


def test_step_of_quick_functions_looks_at_the_clock_seldom(fence: Fence, clock: Clock) -> None:
    assert step(fiber(calls(int, 1_000)), FUEL, fence.tank()) is FINISHED
    assert 0 < clock.looks < 50


def test_link_takes_away_the_turns_that_were_given_out(fence: Fence, clock: Clock) -> None:
    tank = fence.tank()
    tank.left = FUEL
    for _ in range(40):  # quick so far: long portions are given out
        assert tank.more() is not None
    assert len([*tank.turns]) > 50
    assert tank.more() is not None
    clock.now = 11.0
    fence.look()
    assert [*tank.turns] == []


def test_step_ends_when_the_fence_is_lifted_and_the_next_one_goes_on(fence: Fence) -> None:
    called: list[int] = []

    def call(n: int) -> None:
        called.append(n)
        if n == 5:
            fence.lift()

    stepped, tank = fiber(calls(call, 10)), fence.tank()
    assert step(stepped, FUEL, tank) is YIELDED, "the fiber may have been dropped"
    assert called == [*range(6)]
    assert step(stepped, FUEL, tank) is FINISHED


def test_thread_that_waits_at_the_fence_wakes_the_link(fence: Fence, clock: Clock) -> None:
    clock.now = 11.0
    woken = threading.Event()
    fence.wake = woken.set
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fence.wait)
        assert woken.wait(PATIENCE)
        fence.renewed(11.0)
        waiting.result(PATIENCE)


def test_fence_is_looked_at_when_the_lease_ends_and_when_it_is_to_be_asked_for(
    fence: Fence, clock: Clock
) -> None:
    assert fence.due(is_absent=False) == 2.5
    assert fence.due(is_absent=True) == 10.0
    clock.now = 12.0
    assert fence.due(is_absent=False) == -9.5
    assert fence.due(is_absent=True) == float("inf")
