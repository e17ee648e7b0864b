"""Where programs are run: each behaviour is tested in every place."""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

import cloudpickle
import psutil
import pytest
from hypothesis import settings

from distio import IO, Cluster, Result
from distio.runtime.awaited import AwaitedHost
from distio.runtime.local import LocalHost
from distio.testing import Exploration, simulate

Run = Callable[..., Result[Any, Any]]
Explore = Callable[..., Exploration]

IN_PROCESS = {"1 thread": 1, "4 threads": 4}
PLACES = [*IN_PROCESS, "cluster", "simulation"]

PATIENCE = 300.0
LONGEST_TMPDIR = 30
"""From here on, `tmp_path` is elsewhere: the path of a socket has 107 bytes at most."""
"""The seconds for which a test waits for an event that comes at once unless the test fails."""

EXAMPLES = 100
"""The number of generated programs that a test tries unless it says another one."""

LONG_SECONDS = 0.5
"""Ten times what a test may take without being marked slow: machines differ."""

MAY_LOSE_SIGNALS = pytest.mark.xfail(
    sys.version_info >= (3, 13),
    reason="from 3.13 on, Python may not notice a signal in a child forked by a thread that "
    "isn't the main one, until the signal interrupts a call of the system",
    strict=False,
)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-golden", action="store_true", help="write the golden scenarios anew"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process that runs tests; workers that import this file are left alone."""
    hear_signals()
    if config.option.basetemp is None and len(tempfile.gettempdir()) > LONGEST_TMPDIR:
        config.option.basetemp = tempfile.mkdtemp(prefix="distio-tests-", dir="/tmp")
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))
    # how long an example takes says nothing on a busy machine
    settings.register_profile("distio", deadline=None)
    if not os.access(config.rootpath, os.W_OK):  # there is no place to keep examples that failed
        settings.register_profile("distio", deadline=None, database=None)
    settings.load_profile("distio")


@pytest.hookimpl(optionalhook=True)  # without xdist nobody asks
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """With the slow tests, many of which wait for processes, one more than there are cores.

    The others keep as many processes busy as there are cores: None leaves the number to xdist.
    """
    return None if config.option.markexpr == "not slow" else (psutil.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Have Python's collector leave alone what was collected: it lives to the end anyway."""
    leave_the_past_alone()


def leave_the_past_alone() -> None:
    """Have Python's collector look at nothing that is there now, after it has done so once more.

    And files that `distio run` has loaded in this process aren't scripts of later tests.
    """
    for name in cloudpickle.list_registry_pickle_by_value():
        if name.startswith("__distio_main_"):
            cloudpickle.unregister_pickle_by_value(ModuleType(name))
    gc.collect()
    gc.freeze()


def hear_signals() -> None:
    """Hear the signals that a parent ignores or blocks, as a script does with `make test &`.

    Programs that tests start would inherit that, and never hear Ctrl-C.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            is_ctrl_c = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In continuous integration, list the tests that take long without being marked slow."""
    if "CI" not in os.environ:
        return  # a machine that does other things as well says little
    for report in terminalreporter.getreports("passed"):
        is_long = report.when == "call" and report.duration > LONG_SECONDS
        if is_long and "slow" not in report.keywords:
            line = f"not marked slow: {report.nodeid} took {report.duration:.1f} s"
            terminalreporter.write_line(line, yellow=True)


@cache
def shared_cluster() -> Cluster:
    """One local cluster for all tests that only run programs on it."""
    cluster = Cluster.local(workers=2, threads=2)
    atexit.register(cluster.close)
    return cluster


def run_at(place: str, io: IO[Any, Any, Any], context: Any = None) -> Result[Any, Any]:
    """Run `io` at one of PLACES."""
    if place == "cluster":
        return io.run(context, on=shared_cluster())
    if place == "simulation":
        result = simulate(io, context).result
        assert result is not None
        return result
    return io.run(context, IN_PROCESS[place])


def repr_without_address(value: object) -> str:
    """An id for a parameter that is the same in every process that collects the tests."""
    return re.sub(r"[0-9a-f]{4,}>", "…>", repr(value))


@pytest.fixture(params=PLACES)
def run(request: pytest.FixtureRequest) -> Run:
    """`run(io, context=None)`, in each place."""
    return _run_at(request.param)


@pytest.fixture
def hears_hang_up() -> Iterator[None]:
    """Processes that a test starts hear SIGHUP, even if the tests were started to survive it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(params=[*IN_PROCESS])
def run_in_process(request: pytest.FixtureRequest) -> Run:
    """`run` in this process alone, for fibers that share an object that can't be pickled."""
    return lambda io, context=None: run_at(request.param, io, context)


@pytest.fixture(params=[*IN_PROCESS, "cluster"])
def run_in_real_time(request: pytest.FixtureRequest) -> Run:
    """`run` in places whose clocks are real."""
    return _run_at(request.param)


def _run_at(place: str) -> Run:
    if place == "cluster":
        shared_cluster()  # the time that it takes to start is no test's
    return lambda io, context=None: run_at(place, io, context)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """How many generated programs a test tries, as `cluster_simulation` does with its seeds.

    `--seeds N` says it, else the marker `seeds(n)` of the test.
    """
    marker = request.node.get_closest_marker("seeds")
    asked: int | None = request.config.getoption("--seeds")
    return asked or (marker.args[0] if marker else EXAMPLES)


@pytest.fixture(scope="module", autouse=True)
def no_past() -> None:
    """Collections by tests of a module don't look at what the modules before it have left.

    That grows to a hundred thousand objects, and a simulation collects wherever nothing happens.
    """
    leave_the_past_alone()


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every run, and after every test, nothing of a run is left in this process."""
    run_to_the_end, result_of = LocalHost.run, AwaitedHost.result

    def run(host: LocalHost, io: IO[Any, Any, Any], context: Any) -> Result[Any, Any]:
        result = run_to_the_end(host, io, context)  # an interrupted run may leave fibers
        host.validate_rest()
        return result

    def result(host: AwaitedHost) -> Result[Any, Any]:
        if host.failure is None:
            host.validate_rest()
        return result_of(host)

    monkeypatch.setattr(LocalHost, "run", run)
    monkeypatch.setattr(AwaitedHost, "result", result)
    yield
    if shared_cluster.cache_info().currsize:
        host = shared_cluster()._host
        with host.mutex:
            host.member.validate_rest()
