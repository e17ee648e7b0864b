"""Calls from signal handlers, from `__del__`, inside our own machine, and at exit."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from typing import Any

import pytest

from distio import Cluster, Ok, Panic, Result, io
from distio.coordination.state.member import MemberState
from distio.errors import Cancelled, Deadlock
from distio.protocol import requests as rq
from distio.runtime.inbox import Inbox
from tests.conftest import PATIENCE, Run, shared_cluster

Callback = Callable[[Result[Any, Any]], None]


@contextmanager
def handled(number: int, handler: Callable[..., Any]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture
def amid(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """`amid(call)`: the next fiber that goes to sleep has this called while the mutex is held."""

    def plan(call: Callable[[], None]) -> None:
        park = MemberState.park

        def park_and_call(state: MemberState, fiber: Any, **how: Any) -> None:
            park(state, fiber, **how)
            if isinstance(fiber.request, rq.Sleep):
                monkeypatch.setattr(MemberState, "park", park)
                call()

        monkeypatch.setattr(MemberState, "park", park_and_call)

    return plan


def the_exception(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic), result
    return result.exceptions[0].exception


def fail(bug: Exception) -> None:
    raise bug


# -- the inbox ----------------------------------------------------------------------------------


def test_inbox_makes_a_call_at_once_if_the_mutex_is_free() -> None:
    mutex = threading.Lock()
    made: list[Any] = []
    inbox = Inbox(mutex, lambda: made.append("followed up"), fail)
    inbox.put(lambda: made.append(mutex.locked()))
    assert made == [True, "followed up"]
    assert not mutex.locked()


def test_inbox_keeps_calls_while_the_mutex_is_held_and_makes_them_in_order_afterwards() -> None:
    mutex = threading.Lock()
    made: list[Any] = []
    done = threading.Event()
    inbox = Inbox(mutex, lambda: None, fail)
    with mutex:
        inbox.put(lambda: made.append(1))
        inbox.put(lambda: made.append(2))
        inbox.put(done.set)
        assert made == []
    assert done.wait(PATIENCE)
    assert made == [1, 2]


def test_inbox_is_emptied_by_the_thread_that_holds_the_mutex() -> None:
    mutex = threading.Lock()
    made: list[Any] = []
    inbox = Inbox(mutex, lambda: None, fail)
    with mutex:
        inbox.put(lambda: made.append(1))
        assert inbox.waiting
        inbox.empty()
        assert made == [1]
        assert not inbox.waiting


@pytest.mark.parametrize("is_held", [False, True])
def test_call_that_raises_is_reported_to_the_host_and_not_to_its_caller(
    is_held: bool,
) -> None:
    mutex = threading.Lock()
    told: SimpleQueue[Exception] = SimpleQueue()
    inbox = Inbox(mutex, lambda: None, told.put)
    bug = ValueError("it")
    with mutex if is_held else nullcontext():
        inbox.put(fail, bug)
    assert told.get(timeout=PATIENCE) is bug
    assert mutex.acquire(timeout=PATIENCE)


# -- callbacks ----------------------------------------------------------------------------------


def test_callback_that_a_signal_handler_calls_inside_the_machine_wakes_its_fiber(
    run_in_process: Run, amid: Any
) -> None:
    callbacks: list[Callback] = []
    asleep = threading.Event()

    def wait(context: object, callback: Callback) -> None:
        callbacks.append(callback)

    with handled(signal.SIGUSR1, lambda *_: callbacks.pop()(Ok("heard"))):
        amid(lambda: signal.raise_signal(signal.SIGUSR1))
        waits = io.async_(wait)
        sleeps = io.on_main_thread(asleep.set).then(io.sleep(0.001))
        result = run_in_process(io.parallel(waits).flat_map(lambda fibers: _after(sleeps, fibers)))
    assert result == Ok([Ok("heard")])


def _after(program: Any, fibers: list[Any]) -> Any:
    return io.yield_.then(program, io.wait(fibers))


def test_callback_counts_when_it_is_called_first_while_the_mutex_is_held(
    run_in_process: Run, amid: Any
) -> None:
    callbacks: list[Callback] = []

    def call() -> None:
        callbacks[0](Ok("first"))
        callbacks[0](Ok("second"))

    amid(call)
    waits = io.async_(lambda context, callback: callbacks.append(callback))
    program = io.parallel(waits).flat_map(lambda fibers: _after(io.sleep(0.001), fibers))
    assert run_in_process(program) == Ok([Ok("first")])


def test_callback_dropped_inside_the_machine_when_no_thread_can_start_is_a_deadlock(
    run_in_process: Run, amid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    callbacks: list[Callback] = []
    start = threading.Thread.start

    def let_go() -> None:
        here = threading.get_ident()

        def refuse(thread: threading.Thread) -> None:
            if threading.get_ident() == here:
                raise RuntimeError("can't start new thread")
            start(thread)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            callbacks.clear()
            gc.collect()

    amid(let_go)
    waits = io.async_(lambda context, callback: callbacks.append(callback))
    program = io.parallel(waits).flat_map(lambda fibers: _after(io.sleep(0.001), fibers))
    result = run_in_process(program)
    assert isinstance(result, Ok)
    assert isinstance(the_exception(result.success[0]), Deadlock)


def test_program_runs_in_a_signal_handler_inside_the_machine(
    run_in_process: Run, amid: Any
) -> None:
    found: list[Any] = []
    amid(lambda: found.append(io.zip_par(io.pure(1), io.sleep(0)).run(None, 2)))
    assert run_in_process(io.sleep(0.001)).is_ok()
    assert found == [Ok((1, None))]


# -- runs and clusters --------------------------------------------------------------------------


def test_run_can_be_cancelled_and_queried_by_the_thread_that_holds_the_mutex() -> None:
    cluster = shared_cluster()
    run = cluster.submit(io.sleep(1_000_000), None)
    with cluster._host.mutex:
        assert not run.done()
        with pytest.raises(TimeoutError):
            run.result(timeout=0)
        run.cancel()
    assert isinstance(the_exception(run.result(timeout=PATIENCE)), Cancelled)


@pytest.mark.slow
def test_cluster_can_be_closed_by_the_thread_that_holds_the_mutex(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the threads that close waits for need the mutex
    monkeypatch.setattr("distio.runtime.cluster._MAY_TAKE_SECONDS", 0.1)
    cluster = Cluster.local(workers=1)
    run = cluster.submit(io.sleep(1_000_000), None)
    with cluster._host.mutex:
        cluster.close()
    assert run.result(timeout=PATIENCE).is_panic()


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["callback", "handle", "cluster"])
def test_object_that_lives_until_the_interpreter_exits_dies_in_silence(kept: str) -> None:
    program = f"""
import threading
from distio import Cluster, io

kept = []
cluster = Cluster.local(workers=1)
if {kept!r} == "callback":
    waits = io.async_(lambda context, callback: kept.append(callback))
    threading.Thread(target=lambda: waits.run(None, 2), daemon=True).start()
    while not kept:
        pass
elif {kept!r} == "handle":
    kept.append(cluster.submit(io.sleep(1000), None))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
