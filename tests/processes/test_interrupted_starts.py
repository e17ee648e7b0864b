"""A signal that comes while a cluster starts: the exception of its handler leaves `Cluster.local`
as it is, and nothing is left behind."""

from __future__ import annotations

import selectors
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import psutil
import pytest

from distio import Cluster
from distio.errors import ClusterError
from distio.runtime import cluster as clusters
from distio.runtime import launching, process_supervisor, unix_wire
from distio.runtime.refusals import telling_refusals

_SUPERVISES = "distio-processes"


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


class Alarm:
    """A handler of an alarm, as a function, a method, and so on."""

    def __call__(self, *_: object) -> None:
        raise TimeoutError("it takes too long")

    def method(self, *_: object) -> None:
        self()


def function(*_: object) -> None:
    Alarm()()


HANDLERS: dict[str, Any] = {
    "function": function,
    "partial": partial(function, 1),
    "method": Alarm().method,
    "object": Alarm(),
}


@pytest.mark.parametrize("kind", HANDLERS)
def test_exception_of_a_handler_is_no_refusal_of_the_system(kind: str) -> None:
    before = signal.signal(signal.SIGALRM, HANDLERS[kind])
    try:
        with pytest.raises(TimeoutError, match=r"^it takes too long$"), telling_refusals("begin"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_refusal_of_the_system_is_told_as_a_cluster_error() -> None:
    with pytest.raises(ClusterError, match=r"^can't begin: too late; "), telling_refusals("begin"):
        raise TimeoutError("too late")


@pytest.mark.slow
@pytest.mark.parametrize("has_begun", [False, True])
def test_interrupt_while_the_thread_of_a_cluster_starts_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    start: Any = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name != _SUPERVISES or has_begun:
            start(thread)
        if thread.name == _SUPERVISES:
            raise KeyboardInterrupt

    Cluster.local(workers=1).close()  # the fork server stays
    before, threads = children(), {*threading.enumerate()}
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Cluster.local(workers=1)
    assert children() <= before
    assert _SUPERVISES not in {each.name for each in {*threading.enumerate()} - threads}


@pytest.fixture
def alarm() -> Iterator[None]:
    """An alarm raises TimeoutError."""
    before = signal.signal(signal.SIGALRM, function)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("registered", [0, 1, 2])
def test_alarm_while_a_process_begins_to_be_watched_leaves_nothing_behind(
    registered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster.local(workers=1).close()  # the fork server stays
    before = children()
    register: Any = selectors.EpollSelector.register
    left = [registered]

    def alarmed(selector: Any, source: Any, *arguments: Any) -> Any:
        is_of_supervisor = "ProcessSupervisor" in repr(arguments)
        left[0] -= is_of_supervisor
        if is_of_supervisor and left[0] < 0:
            signal.raise_signal(signal.SIGALRM)
        return register(selector, source, *arguments)

    monkeypatch.setattr(selectors.EpollSelector, "register", alarmed)
    with pytest.raises(TimeoutError, match=r"^it takes too long$"):
        Cluster.local(workers=1)
    assert children() <= before


STEPS = [
    (clusters, "require_sockets"),
    (process_supervisor.ProcessSupervisor, "_watch"),
    (launching.Program, "start"),
    (unix_wire.UnixWire, "_is_ours"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(("of", "name"), STEPS)
def test_alarm_while_a_cluster_starts_is_raised_as_it_is(
    of: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alarmed(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGALRM)

    monkeypatch.setattr(of, name, alarmed)
    with pytest.raises(TimeoutError, match=r"^it takes too long$"):
        Cluster.local(workers=1)
