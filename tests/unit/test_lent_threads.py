"""Threads that are lent: few for work that gives them back, more for work that holds them."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, NoReturn

import pytest

from distio.runtime import lent_threads
from distio.runtime.lent_threads import lend_thread
from distio.runtime.messenger import start_messenger
from distio.runtime.threads import CannotStartThread, start_thread
from tests.conftest import PATIENCE


@pytest.fixture(autouse=True)
def lender(monkeypatch: pytest.MonkeyPatch) -> lent_threads._Lender:
    start_messenger()  # as each host does
    lender = lent_threads._Lender()
    monkeypatch.setattr(lent_threads, "_lender", lender)
    monkeypatch.setattr(lent_threads, "_PATIENCE_SECONDS", 0.01)
    return lender


def never(error: CannotStartThread) -> NoReturn:
    raise AssertionError(error)


@pytest.mark.slow
def test_work_that_holds_its_threads_gets_as_many_as_it_needs() -> None:
    """All 50 have to begin before the first one returns."""
    meeting = threading.Barrier(51)

    def meet() -> None:
        meeting.wait(PATIENCE)

    for _ in range(50):
        lend_thread(meet, never)
    meeting.wait(PATIENCE)


def test_work_that_is_quick_shares_few_threads() -> None:
    threads, done = set(), threading.Semaphore(0)

    def work() -> None:
        threads.add(threading.get_ident())
        done.release()

    for _ in range(300):
        lend_thread(work, never)
    assert all(done.acquire(timeout=PATIENCE) for _ in range(300))
    assert len(threads) < 100


def test_work_that_raises_harms_no_other() -> None:
    done = threading.Event()
    lend_thread(lambda: exec("1 / 0"), never)
    lend_thread(done.set, never)
    assert done.wait(PATIENCE)


def test_work_waits_for_a_thread_that_is_there_if_the_system_starts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        may_end.wait(PATIENCE)

    def refuse(*_: Any) -> NoReturn:
        may_end.set()
        raise CannotStartThread("can't start new thread")

    lend_thread(hold, never)
    assert begun.wait(PATIENCE)
    monkeypatch.setattr(lent_threads, "start_thread", refuse)
    lend_thread(done.set, never)
    assert done.wait(PATIENCE)


def test_work_is_refused_if_there_is_no_thread_and_the_system_starts_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise CannotStartThread("can't start new thread")

    monkeypatch.setattr(lent_threads, "start_thread", refuse)
    refusals: SimpleQueue[CannotStartThread] = SimpleQueue()
    lend_thread(lambda: None, refusals.put)
    assert str(refusals.get(timeout=PATIENCE)) == "can't start new thread"


def test_threads_without_work_end(lender: lent_threads._Lender) -> None:
    ended = threading.Event()

    def start(name: str, work: Any) -> None:
        def work_and_tell() -> None:
            work()
            ended.set()

        start_thread(name, work_and_tell)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lent_threads, "start_thread", start)
        lend_thread(lambda: None, never)
        assert ended.wait(PATIENCE)
    assert lender._count == 0
