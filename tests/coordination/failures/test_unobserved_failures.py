"""A failure that no fiber waits for is logged once, as soon as no fiber can wait any more."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from distio import IO, Ok, io
from distio.core.fiber import Handle
from tests.conftest import PATIENCE, shared_cluster


def divide() -> float:
    return 1 / 0


def test_failure_that_no_fiber_waits_for_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert io.parallel(io.defer(divide), io.errors("lost")).map(len).run(None) == Ok(2)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "nobody waited for it" in texts[0]
    assert "in divide" in texts[0]
    assert "ZeroDivisionError" in texts[0]
    assert "lost" in texts[1]


def test_failure_that_a_fiber_waits_for_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waited_at_once = io.parallel(io.defer(divide)).flat_map(io.wait)
    waited_late = io.parallel(io.defer(divide)).flat_map(
        lambda fibers: io.sleep(0.01).then(io.wait(fibers))
    )
    for program in (waited_at_once, waited_late):
        assert program.run(None, 2).is_ok()
    assert not caplog.records


def test_failure_of_the_root_is_the_result_of_the_run_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert io.defer(divide).run(None).is_panic()
    assert not caplog.records


def test_race_that_is_decided_logs_no_failure_of_its_losers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert io.first_ok(io.error("down"), io.error("down, too"), io.pure("up")).run(None).is_ok()
    assert io.first_ok(io.error("down"), io.error("down, too")).run(None).is_error()
    assert io.race(io.pure(1), io.defer(divide)).run(None) == Ok(1)
    assert not caplog.records


def test_failure_of_a_fiber_after_the_wait_for_it_timed_out_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails_late = io.parallel(io.sleep(0.03).then(io.defer(divide)))
    gave_up = fails_late.flat_map(lambda fibers: io.wait(fibers).timeout(0.01, io.pure("gave up")))
    assert gave_up.run(None) == Ok("gave up")
    (record,) = caplog.records
    assert "nobody waited for it" in record.getMessage()


def test_cancelled_fiber_is_not_logged_but_a_failure_of_its_finalizer_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = io.parallel(io.sleep(1000)).flat_map(lambda fibers: fibers[0].cancel_soon())
    assert quiet.run(None).is_ok()
    assert not caplog.records
    stuck = io.sleep(1000).finally_(lambda _: io.defer(divide))
    loud = io.parallel(stuck).flat_map(lambda fibers: io.sleep(0.01).then(fibers[0].cancel_soon()))
    assert loud.run(None).is_ok()
    (record,) = caplog.records
    assert "in divide" in record.getMessage()


# -- when -------------------------------------------------------------------------------------


class Watched(logging.Handler):
    """A handler that keeps each record, and lets other threads wait for the first."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: list[threading.Thread] = []
        self.has_come = threading.Event()
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.append(threading.current_thread())
        self.has_come.set()
        self._then()

    def has_come_in_time(self) -> bool:
        """Wait for the first record."""
        return self.has_come.wait(PATIENCE)


@contextmanager
def watched(then: Callable[[], None] = lambda: None) -> Iterator[Watched]:
    handler, logger = Watched(then), logging.getLogger("distio")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def server(request: IO[Any, Any, Any], until: Callable[[], Any]) -> IO[Any, Any, Any]:
    """A program that starts a request, and goes on until something has happened."""
    return io.parallel(request).then(io.blocking(until))


@pytest.mark.parametrize("threads", [1, 3])
def test_failure_in_a_server_is_logged_while_the_server_goes_on(threads: int) -> None:
    with watched() as log:
        request = io.defer(divide).named("request")
        assert server(request, log.has_come_in_time).run(None, threads) == Ok(True)
    (record,) = log.records
    assert "fiber 1.1 (request) failed, and nobody waited for it" in record.getMessage()
    assert "in divide" in record.getMessage()
    assert record.__dict__["distio_fiber"] == "1.1 (request)"


@pytest.mark.slow
def test_failure_on_a_worker_is_logged_while_the_server_goes_on() -> None:
    with watched() as log:
        request = io.defer(divide).named("request")
        root = server(request, log.has_come_in_time)
        assert root.run(None, on=shared_cluster()) == Ok(True)
    (record,) = log.records
    text = record.getMessage()
    assert "(request) on worker" in text
    assert "in divide" in text
    assert record.__dict__["distio_name"] == "request"
    assert record.__dict__["distio_worker"].startswith("member ")


@pytest.mark.slow
def test_failure_of_the_last_fiber_on_a_worker_is_logged_before_the_run_ends() -> None:
    with watched() as log:
        last = io.sleep(0.05).then(io.defer(divide))
        assert io.parallel(last).map(len).run(None, on=shared_cluster()) == Ok(1)
    assert len(log.records) == 1


@pytest.mark.slow
def test_failure_that_stays_on_the_client_is_logged_while_the_server_goes_on() -> None:
    with watched() as log:
        lock = threading.Lock()  # it can't be pickled

        def fail() -> None:
            with lock:
                divide()

        root = server(io.defer(fail), log.has_come_in_time)
        assert root.run(None, on=shared_cluster()) == Ok(True)
    assert any("in fail" in record.getMessage() for record in log.records)


def test_failure_is_logged_when_its_last_handle_dies_in_another_thread() -> None:
    kept: list[Handle[Any, Any, Any]] = []
    with watched() as log:

        def drop() -> bool:
            thread = threading.Thread(target=kept.clear)
            thread.start()
            thread.join(PATIENCE)
            return log.has_come_in_time()

        fails = io.parallel(io.defer(divide)).map(kept.extend)
        assert fails.then(io.yield_, io.yield_, io.blocking(drop)).run(None) == Ok(True)
    assert len(log.records) == 1


def test_failure_whose_handle_is_in_a_cycle_is_logged_when_that_is_collected() -> None:
    with watched() as log:

        def keep(handles: list[Any]) -> None:
            handles.append(handles)

        def collect() -> bool:
            gc.collect()
            return log.has_come_in_time()

        fails = io.parallel(io.defer(divide)).map(keep)
        assert fails.then(io.yield_, io.yield_, io.blocking(collect)).run(None) == Ok(True)
    assert len(log.records) == 1


def test_log_handler_of_a_failure_may_run_programs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []
    with watched(then=lambda: seen.append(io.zip_par(io.pure(1), io.pure(2)).run(None))) as log:
        assert server(io.defer(divide), log.has_come_in_time).run(None, 2) == Ok(True)
    assert seen == [Ok((1, 2))]


def test_log_handler_that_raises_for_a_failure_leaves_the_server_running(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def crash() -> None:
        raise ValueError("the disk is full")

    class Broken(Watched):
        def handle(self, record: logging.LogRecord) -> bool:
            self.has_come.set()
            crash()
            return True

    log, logger = Broken(), logging.getLogger("distio")
    logger.addHandler(log)
    try:
        assert server(io.defer(divide), log.has_come_in_time).run(None) == Ok(True)
    finally:
        logger.removeHandler(log)
    assert "the disk is full" in capsys.readouterr().err


# -- many -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_failures_at_one_place_are_logged_once_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = io.parallel([io.defer(divide)] * 1_234)
    assert failing.then(io.parallel(io.error("lost"))).map(len).run(None, 2) == Ok(1)
    first, other, rest = [record.getMessage() for record in caplog.records]
    assert "in divide" in first
    assert "lost" in other
    assert rest.startswith("1,233 more like it since ")
    assert rest.endswith(": ZeroDivisionError: division by zero")


@pytest.mark.slow
def test_failures_at_one_place_of_a_worker_are_logged_once_and_counted() -> None:
    with watched() as log:
        failing = io.parallel([io.defer(divide)] * 1_000).then(io.parallel(io.error("lost")))
        root = io.parallel(failing).flat_map(io.wait)
        assert root.run(None, on=shared_cluster()).is_ok()
        end = time.monotonic() + PATIENCE
        while _count(log) < 1_000 and time.monotonic() < end:
            threading.Event().wait(0.01)
    assert _count(log) == 1_000


def _count(log: Watched) -> int:
    """The number of failed divisions for which the records stand."""
    texts = [record.getMessage() for record in log.records if "division" in record.getMessage()]
    numbers = [text.split(" more like it")[0] for text in texts]
    return sum(
        1 if text == first else int(first.replace(",", "")) for text, first in zip(texts, numbers)
    )


@pytest.mark.slow
def test_failures_whose_handles_are_gone_free_their_values() -> None:
    alive: list[int] = []

    class Cargo:
        """A value that a failed fiber holds."""

        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def fail(cargo: Cargo) -> None:
        raise ValueError(cargo)

    def start(n: int) -> IO[Any, Any, Any]:
        return io.parallel(io.defer(Cargo).map(fail)).then(io.yield_)

    def look() -> int:
        gc.collect()
        return len(alive)

    assert io.traverse(range(300), start).then(io.defer(look)).run(None) == Ok(0)
