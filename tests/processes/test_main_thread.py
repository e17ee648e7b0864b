"""Calls on the main thread of the process in which a fiber runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Panic, Result, io
from distio.errors import Cancelled, MainThreadAway
from distio.runtime.main_thread import call_on_main_thread, serve, serve_while, serving
from tests.conftest import Run, run_at, shared_cluster

Program = IO[Any, Any, Any]


def where() -> tuple[int, bool]:
    """The process, and whether this is its main thread."""
    return os.getpid(), threading.current_thread() is threading.main_thread()


def the_exception(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


def in_another_thread(f: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(f()))
    thread.start()
    thread.join(30)
    return found[0]


@contextmanager
def handler_kept(number: int) -> Iterator[None]:
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_on_main_thread_calls_on_the_main_thread_in_every_place(run: Run) -> None:
    assert run(io.on_main_thread(where)) == Ok((os.getpid(), True))


@pytest.mark.slow
def test_main_thread_of_a_worker_prepares_for_the_loss_of_the_coordinator_before_its_calls() -> (
    None
):
    # a function of this module would have the worker import it, and much else
    asked = (
        "__import__('os').getpid(), 'distio.coordination.standalone' in __import__('sys').modules"
    )
    with Cluster.local(workers=1) as cluster:
        [answer] = cluster.run(io.zip_par([io.on_main_thread(eval, asked)]), None).unsafe_get()
    process, is_ready = answer
    assert process != os.getpid()
    assert is_ready


def test_on_main_thread_on_a_worker_calls_on_the_main_thread_of_the_worker() -> None:
    result = shared_cluster().run(io.zip_par([io.on_main_thread(where)] * 4), None)
    assert isinstance(result, Ok)
    assert {is_main for _, is_main in result.success} == {True}
    assert os.getpid() not in {pid for pid, _ in result.success}


def test_on_main_thread_in_a_submitted_program_calls_on_the_main_thread_of_its_worker() -> None:
    result = shared_cluster().submit(io.on_main_thread(where), None).result(30)
    assert isinstance(result, Ok)
    assert result.success[0] != os.getpid()
    assert result.success[1]


def test_on_main_thread_passes_arguments_and_returns_the_value(run: Run) -> None:
    assert run(io.on_main_thread(int, "ff", base=16)) == Ok(255)
    assert run(io.zip_par([io.on_main_thread(max, n, 1) for n in range(5)])) == Ok([1, 1, 2, 3, 4])


def test_on_main_thread_of_a_function_that_raises_is_a_panic_of_its_fiber_alone(run: Run) -> None:
    program = io.zip(io.on_main_thread(int, "no number").attempt(), io.on_main_thread(where))
    result = run(program)
    assert isinstance(result, Ok)
    failed, (_, is_main) = result.success
    assert isinstance(the_exception(failed), ValueError)
    assert is_main


def test_on_main_thread_of_a_coroutine_function_is_refused(run: Run) -> None:
    async def f() -> int:
        return 1

    exception = the_exception(run(io.on_main_thread(f)))
    assert isinstance(exception, TypeError)
    assert "on_main_thread: " in str(exception)


def test_on_main_thread_may_install_signal_handlers(run: Run) -> None:
    def install() -> str:
        before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, before)
        return "installed"

    assert run(io.on_main_thread(install)) == Ok("installed")
    assert run(io.zip_par([io.on_main_thread(install)] * 2)) == Ok(["installed"] * 2)


@pytest.mark.slow
def test_signal_handler_that_a_fiber_has_installed_on_a_worker_is_called() -> None:
    def install() -> None:
        # so that another thread gets the signal, while this one sleeps
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        heard = threading.Event()
        shared: Any = threading  # a module is the same for all fibers of a process
        shared.heard_in_test = heard
        signal.signal(signal.SIGUSR1, lambda *_: heard.set())

    def send_and_wait() -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        shared: Any = threading
        heard: bool = shared.heard_in_test.wait(30)
        return heard

    with Cluster.local(workers=1) as cluster:
        program = io.on_main_thread(install).then(io.defer(send_and_wait))
        assert cluster.submit(program, None).result(60) == Ok(True)


@pytest.mark.parametrize("place", ["1 thread", "4 threads", "cluster"])
def test_handler_of_ctrl_c_that_a_fiber_installs_stays_when_the_run_ends(place: str) -> None:
    def handler(number: int, frame: object) -> None: ...

    with handler_kept(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert run_at(place, io.on_main_thread(signal.signal, signal.SIGINT, handler)).is_ok()
        assert signal.getsignal(signal.SIGINT) is handler


def test_handler_of_ctrl_c_is_restored_when_no_fiber_has_installed_one() -> None:
    with handler_kept(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        assert io.on_main_thread(where).run(None, 2).is_ok()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- calls while the main thread is away, or busy ---------------------------------------------


@pytest.mark.parametrize("place", ["1 thread", "4 threads", "cluster"])
def test_on_main_thread_on_another_thread_panics_while_the_main_thread_is_away(place: str) -> None:
    result = in_another_thread(lambda: run_at(place, io.on_main_thread(where)))
    assert isinstance(the_exception(result), MainThreadAway)
    assert "run_async or RunHandle.result" in str(the_exception(result))


def test_main_thread_serves_runs_of_other_threads_while_it_waits_for_its_own() -> None:
    found: list[Any] = []
    done = threading.Event()

    def other() -> None:
        found.append(io.on_main_thread(where).run(None))
        done.set()

    def start() -> None:
        threading.Thread(target=other).start()

    assert io.defer(start).then(io.blocking(done.wait, 30)).run(None) == Ok(True)
    assert found == [Ok((os.getpid(), True))]


def test_call_that_the_main_thread_has_not_begun_when_it_leaves_is_refused() -> None:
    done: list[str] = []

    def call() -> None:
        call_on_main_thread(lambda: done.append("made"), lambda: done.append("refused"))

    call()
    assert done == ["refused"]
    with serving(lambda: done.append("outer woken")):
        with serving(lambda: done.append("inner woken")):
            call()
            assert done == ["refused", "inner woken"]
        assert done == ["refused", "inner woken", "outer woken"]  # the call is still to be made
    assert done == ["refused", "inner woken", "outer woken", "refused"]


def test_call_can_be_withdrawn_until_the_main_thread_has_begun_it() -> None:
    done: list[str] = []
    with serving(lambda: None):
        calls = [
            call_on_main_thread(partial(done.append, name), partial(done.append, "refused"))
            for name in "ab"
        ]
        assert calls[0]()
        serve()
        assert not calls[0]()
        assert not calls[1]()
    assert done == ["b"]


def test_main_thread_serves_from_its_event_loop_while_it_awaits_a_run() -> None:
    assert asyncio.run(io.on_main_thread(where).run_async(None)) == Ok((os.getpid(), True))
    assert asyncio.run(io.on_main_thread(where).run_async(None, on=shared_cluster())).is_ok()


def test_run_in_a_call_on_the_main_thread_serves_as_well(run_in_process: Run) -> None:
    within = io.defer(lambda: io.on_main_thread(where).run(None, 2))
    called = io.on_main_thread(lambda: io.on_main_thread(where).run(None, 2))
    assert run_in_process(within.then(called)) == Ok(Ok((os.getpid(), True)))


@pytest.mark.slow
def test_process_that_a_fiber_forks_has_a_main_thread_of_its_own() -> None:
    """The fiber forks on the main thread, and on another."""

    def fork() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
            child = os.fork()
        if not child:
            os._exit(0 if io.on_main_thread(where).run(None) == Ok((os.getpid(), True)) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert io.defer(fork).run(None, 1) == Ok(0)
    assert io.blocking(fork).run(None, 1) == Ok(0)


# -- cancellation -----------------------------------------------------------------------------


def until_waiting(fiber: Any) -> Program:
    """Wait until the fiber waits for a call."""
    return io.defer_io(fiber.status).flat_map(
        lambda status: (
            io.pure(None)
            if status.state == "waits for a call on another thread"
            else io.yield_.then(until_waiting(fiber))
        )
    )


def without_ids(result: Result[Any, Any]) -> list[type]:
    assert isinstance(result, Panic)
    return [type(each.exception) for each in result.exceptions]


@pytest.mark.parametrize("is_abandoned", [False, True])
def test_call_that_has_not_begun_is_never_made_if_its_fiber_is_cancelled(
    is_abandoned: bool,
) -> None:
    """The main thread is busy with the first call; the second one is cancelled meanwhile."""
    busy, free = threading.Event(), threading.Event()
    called: list[str] = []

    def first() -> None:
        busy.set()
        free.wait(30)

    second = io.on_main_thread(called.append, "second", abandon_on_cancel=is_abandoned)
    program = io.parallel(io.on_main_thread(first)).flat_map(
        lambda one: io.blocking(busy.wait, 30).then(
            io.parallel(second).flat_map(lambda two: until_waiting(two[0]).then(two[0].cancel()))
        )
    )
    result = program.flat_map(lambda ended: io.defer(free.set).then(io.pure(ended))).run(None, 4)
    assert isinstance(result, Ok)
    assert without_ids(result.success) == [Cancelled]
    assert called == []


def test_call_that_has_begun_is_waited_for_if_its_fiber_is_cancelled() -> None:
    begun, free = threading.Event(), threading.Event()
    ended: list[str] = []

    def call() -> None:
        begun.set()
        free.wait(30)
        ended.append("call")

    program = io.parallel(io.on_main_thread(call)).flat_map(
        lambda fibers: io.blocking(begun.wait, 30).then(
            fibers[0].cancel_soon(), io.defer(free.set), io.wait(fibers)
        )
    )
    result = program.run(None, 3)
    assert isinstance(result, Ok)
    assert without_ids(result.success[0]) == [Cancelled]
    assert ended == ["call"]


def test_call_that_may_be_abandoned_is_not_waited_for() -> None:
    begun, free = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        free.wait(30)

    program = io.parallel(io.on_main_thread(call, abandon_on_cancel=True)).flat_map(
        lambda fibers: io.blocking(begun.wait, 30).then(
            fibers[0]
            .cancel()
            .map(without_ids)
            .flat_map(lambda types: io.defer(free.set).then(io.pure(types)))
        )
    )
    assert program.run(None, 3) == Ok([Cancelled])


# -- workers ----------------------------------------------------------------------------------


def test_serve_while_goes_on_wherever_a_signal_handler_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler raises between two readings, where the main thread calls no function of users."""
    set_wakeup_fd = signal.set_wakeup_fd
    free, made = threading.Event(), list[int]()
    raises = iter([True])

    def set_and_raise(*args: Any, **kwargs: Any) -> int:
        if next(raises, False):
            raise TimeoutError("of a handler")
        return set_wakeup_fd(*args, **kwargs)

    def call() -> None:
        made.append(1)
        free.set()

    def work() -> None:
        call_on_main_thread(call, free.set)
        assert free.wait(30)

    monkeypatch.setattr(signal, "set_wakeup_fd", set_and_raise)
    serve_while(work, "work")
    set_wakeup_fd(-1)
    assert made == [1]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], TimeoutError)


@pytest.mark.slow
def test_worker_that_has_served_a_call_ends_at_once_at_sigterm() -> None:
    with Cluster.local(workers=1) as cluster:
        assert cluster._processes is not None
        (worker,) = cluster._processes.workers
        assert cluster.submit(io.on_main_thread(where), None).result(30).is_ok()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0


@pytest.mark.slow
def test_run_is_interrupted_while_it_waits_for_a_call_on_the_main_thread() -> None:
    program = """
import signal, threading, time
from distio import io

def wait():
    print("begun", flush=True)
    time.sleep(0.5)

if __name__ == "__main__":
    print(io.on_main_thread(wait).then(io.sleep(1000)).run(None, 2))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
