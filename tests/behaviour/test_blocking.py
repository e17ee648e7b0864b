"""Threads for blocking calls: their number, calls that wait for one, and threads that fail."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest

import distio
from distio import IO, Cluster, MatchError, Ok, Panic, io
from distio.runtime import blocking, calls
from distio.runtime.calls import Threads
from distio.runtime.threads import CannotStartThread
from tests.conftest import PATIENCE, run_at

Program = IO[Any, Any, Any]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the limit for one test, which begins without threads of other tests."""
    monkeypatch.setenv("DISTIO_BLOCKING_THREADS", "256")
    before = blocking._limit.number
    yield distio.limit_blocking_threads
    blocking._limit.number = before
    blocking.blocking_threads.limit_changed()


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("can't start new thread")


class Gate:
    """Calls that wait until the gate opens, and the number of calls that do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = False
        self.inside = 0
        self.most = 0
        self.passed: list[int] = []

    def pass_(self, number: int) -> int:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open, PATIENCE)
            self.inside -= 1
            self.passed.append(number)
        return number

    def wait_for(self, inside: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == inside, PATIENCE)

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()


# -- the limit --------------------------------------------------------------------------------


def test_blocking_calls_at_a_time_are_no_more_than_the_limit(limit: Callable[[int], None]) -> None:
    limit(3)
    gate = Gate()
    opening = io.defer(gate.wait_for, 3).then(io.defer(gate.open))
    many = [io.blocking(gate.pass_, number) for number in range(12)]
    result = io.zip_par([*many, opening]).run(None, 2)
    assert result.map(lambda values: values[:12]) == Ok([*range(12)])
    assert gate.most == 3


def test_blocking_calls_that_wait_for_a_thread_are_made_in_order(
    limit: Callable[[int], None],
) -> None:
    limit(1)
    gate = Gate()
    gate.open()
    io.zip_par([io.blocking(gate.pass_, number) for number in range(20)]).run(None)
    assert gate.passed == [*range(20)]


def test_limit_that_is_raised_lets_waiting_calls_go_on(limit: Callable[[int], None]) -> None:
    limit(1)
    gate = Gate()
    raising = (
        io.defer(gate.wait_for, 1)
        .then(io.defer(limit, 4))
        .then(io.defer(gate.wait_for, 4))
        .then(io.defer(gate.open))
    )
    many = [io.blocking(gate.pass_, number) for number in range(4)]
    assert io.zip_par([*many, raising]).run(None, 2).is_ok()


def test_limit_that_is_lowered_holds_for_threads_that_exist(
    limit: Callable[[int], None],
) -> None:
    limit(8)
    together = threading.Barrier(8, timeout=PATIENCE)
    assert io.zip_par([io.blocking(together.wait)] * 8).run(None).is_ok()
    limit(2)
    gate = Gate()
    opening = io.defer(gate.wait_for, 2).then(io.defer(gate.open))
    many = [io.blocking(gate.pass_, number) for number in range(8)]
    assert io.zip_par([*many, opening]).run(None, 2).is_ok()
    assert gate.most == 2


@pytest.mark.parametrize("number", [0, -1, True, 2.5, "8", None])
def test_limit_that_is_no_number_from_1_is_a_match_error(number: Any) -> None:
    with pytest.raises(MatchError, match="limit_blocking_threads: expected a number from 1"):
        distio.limit_blocking_threads(number)


@pytest.mark.parametrize("text", ["", "0", "-3", "many", "1.5", "9" * 20])
def test_environment_variable_that_holds_no_limit_is_a_panic_of_a_blocking_call(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DISTIO_BLOCKING_THREADS", text)
    monkeypatch.setattr(blocking._limit, "number", None)
    result = io.blocking(int).attempt().run(None)
    assert "DISTIO_BLOCKING_THREADS: expected" in str(result)
    monkeypatch.setenv("DISTIO_BLOCKING_THREADS", "7")
    assert io.blocking(int).run(None) == Ok(0)


@pytest.mark.slow
def test_limit_holds_on_workers_that_are_started_later(
    limit: Callable[[int], None],
) -> None:
    limit(17)
    with Cluster.local(workers=1) as cluster:
        variable = io.defer(os.getenv, "DISTIO_BLOCKING_THREADS")
        assert cluster.submit(variable, None).result() == Ok("17")


# -- calls that wait --------------------------------------------------------------------------


def test_blocking_call_that_is_cancelled_while_it_waits_for_a_thread_is_never_made(
    limit: Callable[[int], None],
) -> None:
    limit(1)
    gate = Gate()

    @io.do
    async def main() -> list[Any]:
        first = (await io.parallel([io.blocking(gate.pass_, 1)]))[0]
        await io.defer(gate.wait_for, 1)
        second, third = await io.parallel([io.blocking(gate.pass_, n) for n in (2, 3)])
        await io.yield_
        await second.cancel()
        ended = (await io.wait(second))[0]  # though the only thread is still busy
        gate.open()
        return [ended, *await io.wait(first, third)]

    result = main().run(None, 2)
    cancelled, first, third = result.unsafe_get()
    assert isinstance(cancelled, Panic)
    assert (first, third) == (Ok(1), Ok(3))
    assert gate.passed == [1, 3]


def test_blocking_calls_that_wait_are_cancelled_while_the_thread_is_busy(
    limit: Callable[[int], None],
) -> None:
    limit(1)
    gate = Gate()

    @io.do
    async def main() -> None:
        busy, *waiting = await io.parallel([io.blocking(gate.pass_, n) for n in range(500)])
        await io.defer(gate.wait_for, 1)
        for each in waiting:
            await each.cancel()
        await io.wait(waiting)
        gate.open()
        await io.wait(busy)

    assert main().run(None, 2) == Ok(None)
    assert gate.passed == [0]


def test_blocking_calls_that_wait_hold_no_thread(limit: Callable[[int], None]) -> None:
    limit(2)
    gate = Gate()
    before = threading.active_count()
    counted: list[int] = []
    opening = (
        io.defer(gate.wait_for, 2)
        .then(io.defer(lambda: counted.append(threading.active_count())))
        .then(io.defer(gate.open))
    )
    many = [io.blocking(gate.pass_, number) for number in range(300)]
    assert io.zip_par([*many, opening]).run(None, 2).is_ok()
    assert counted[0] <= before + 2 + 2 + 1  # the blocking ones, the pool's, and the messenger


# -- runs in blocking calls -------------------------------------------------------------------


@pytest.mark.parametrize("place", ["1 thread", "4 threads", "cluster"])
def test_run_in_a_blocking_call_does_not_need_the_thread_that_waits_for_it(
    place: str, limit: Callable[[int], None]
) -> None:
    limit(1)
    inner = io.zip_par([io.blocking(int, "7")] * 3)
    outer = io.zip_par([io.blocking(lambda: run_at(place, inner)) for _ in range(3)])
    assert outer.run(None, 2) == Ok([Ok([7, 7, 7])] * 3)


def test_runs_in_blocking_calls_may_be_nested_deeper_than_the_limit(
    limit: Callable[[int], None],
) -> None:
    limit(2)

    def nested(depth: int) -> Any:
        if not depth:
            return "the innermost"
        return io.blocking(nested, depth - 1).run(None).unsafe_get()

    assert io.blocking(nested, 10).run(None) == Ok("the innermost")


# -- the system refuses -----------------------------------------------------------------------


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, the system starts no thread, and none is idle."""
    monkeypatch.setattr(blocking, "blocking_threads", Threads("none"))
    monkeypatch.setattr("distio.runtime.work_services.blocking_threads", Threads("none"))
    monkeypatch.setattr(blocking, "helpers", Threads("none"))
    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


def in_thread(program: Program) -> Any:
    """Run a program on a thread that gets no Ctrl-C, so that no thread is there for its sake."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(program.run, None).result()


def test_blocking_call_for_which_no_thread_can_start_is_a_panic_of_that_call(
    no_threads: Callable[[], None],
) -> None:
    released: list[str] = []
    program = io.defer(no_threads).then(io.blocking(int))
    both = io.zip(program.attempt(), io.pure("goes on")).finally_(
        lambda _: io.defer(released.append, "released")
    )
    result = in_thread(both).unsafe_get()
    assert isinstance(result[0], Panic)
    assert "can't start new thread" in str(result[0])
    assert result[1] == "goes on"
    assert released == ["released"]


def test_run_goes_on_with_the_threads_that_the_system_allows(
    no_threads: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    no_threads()
    assert io.zip_par([io.pure(n) for n in range(9)]).run(None, 4) == Ok([*range(9)])
    assert "a run has a pool of 1 threads only: can't start new thread" in caplog.text


def test_run_in_a_fiber_needs_no_thread_of_its_own(no_threads: Callable[[], None]) -> None:
    inner = io.defer(lambda: io.pure(1).run(None))
    assert in_thread(io.defer(no_threads).then(inner)) == Ok(Ok(1))


def test_thread_that_could_not_be_started_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Threads("tried", lambda: 1)
    with monkeypatch.context() as limited:
        limited.setattr(calls, "start_thread", no_thread)
        for _ in range(3):
            with pytest.raises(CannotStartThread):
                pool.call(lambda: None)
    made = threading.Event()
    pool.call(made.set)
    assert made.wait(PATIENCE)


def no_thread(*_: Any) -> NoReturn:
    raise CannotStartThread("can't start new thread")


def test_call_that_raises_leaves_other_calls_alone(caplog: pytest.LogCaptureFixture) -> None:
    pool = Threads("robust", lambda: 1)
    made = threading.Event()

    def break_() -> NoReturn:
        raise SystemExit(3)

    pool.call(break_)
    pool.call(made.set)
    assert made.wait(PATIENCE)
    assert "a bug in distio" in caplog.text
