"""SIGTERM, SIGHUP, and signal handlers of the program's own: their exceptions leave `run`."""

from __future__ import annotations

import logging
import os
import signal
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import pytest

from distio import IO, Cluster, Ok, Var, child, io, resource, schedule, supervise
from distio.coordination.state.member import MemberState
from distio.protocol import requests as rq
from distio.runtime.local import LocalHost
from tests.conftest import PATIENCE, run_at, shared_cluster
from tests.harness.running_scripts import Script, no_script_is_left

__all__ = ["no_script_is_left"]

Program = IO[Any, Any, Any]
Logged = SimpleQueue[logging.LogRecord]
NUMBER = signal.SIGUSR1
FOREVER = io.sleep(1_000_000)


class Stop(BaseException):
    """A demand that the program end."""


class Late(Exception):
    """An exception that says that something has taken too long."""


@contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def raises(exception: BaseException) -> Callable[..., None]:
    def handler(number: int, frame: object) -> None:
        raise exception

    return handler


def raise_signal(*_: object) -> Any:
    """A function of the user that raises the signal."""
    signal.raise_signal(NUMBER)
    pytest.fail("it went on")


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The records of distio's logger, from now on."""
    records: Logged = SimpleQueue()
    handler, logger = QueueHandler(records), logging.getLogger("distio")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@pytest.fixture(params=[Stop, Late, SystemExit, KeyboardInterrupt])
def raised(request: pytest.FixtureRequest) -> Iterator[BaseException]:
    """The exception that the handler of NUMBER raises."""
    exception = request.param("it")
    with handled(NUMBER, raises(exception)):
        yield exception


# -- in a function of the user ------------------------------------------------------------------


async def _awaits() -> None:
    await io.yield_
    raise_signal()


def _items() -> Iterator[int]:
    yield 1
    raise_signal()


PYTHON: dict[str, Program] = {
    "defer": io.defer(raise_signal),
    "defer_io": io.defer_io(raise_signal),
    "defer_read": io.defer_read(raise_signal),
    "defer_read_io": io.defer_read_io(raise_signal),
    "map": io.pure(1).map(raise_signal),
    "flat_map": io.pure(1).flat_map(raise_signal),
    "rec": io.rec(raise_signal),
    "contra_map_read": io.read.contra_map_read(raise_signal),
    "catch": io.error(1).catch(raise_signal),
    "recover": io.panic(ValueError("x")).recover(raise_signal),
    "on_failure": io.error(1).on_failure(raise_signal),
    "map_error": io.error(1).map_error(raise_signal),
    "map_panic": io.panic(ValueError("x")).map_panic(raise_signal),
    "traverse": io.traverse([1], raise_signal),
    "traverse_par": io.traverse_par([1], raise_signal),
    "an iterator": io.defer_io(lambda: io.traverse_par(_items(), io.pure, at_most=1)),
    "progress": io.traverse_par([1], io.pure, progress=raise_signal),
    "actor": io.actor(raise_signal),
    "actor call": io.actor(int, 1).flat_map(lambda ref: ref.call(raise_signal)),
    "async_": io.async_(raise_signal),
    "on_main_thread": io.on_main_thread(raise_signal),
    "open": resource.from_open_close(raise_signal, lambda _, __: None).with_(io.pure(1)),
    "use": resource.from_open_close(int, lambda _, __: None).use(raise_signal),
    "resource.map": resource.from_open_close(int, lambda _, __: None)
    .map(raise_signal)
    .use(io.pure),
    "a schedule": io.error(1).retry(schedule.recurs(3).while_(raise_signal)),
    "io.do": io.do(_awaits)(),
    "Var.update": Var.create(1).flat_map(lambda var: var.update(raise_signal)),
    "on_restart": supervise(
        child(io.error(1)), max_restarts=3, on_restart=lambda *_: io.defer(raise_signal)
    ),
}
"""Programs that call a function of the user; a signal comes inside it."""

BUILT_IN: dict[str, Program] = {
    "defer": io.defer(signal.raise_signal, NUMBER),
    "defer_io": io.defer_io(signal.raise_signal, NUMBER),  # type: ignore[arg-type]  # it raises
    "defer_read": io.defer_read(signal.raise_signal),
    "defer_read_io": io.defer_read_io(signal.raise_signal),  # type: ignore[call-overload]  # the same
    "map": io.pure(NUMBER).map(signal.raise_signal),
    "flat_map": io.pure(NUMBER).flat_map(signal.raise_signal),  # type: ignore[arg-type]  # the same
    "contra_map_read": io.read.contra_map_read(signal.raise_signal),
    "map_error": io.error(NUMBER).map_error(signal.raise_signal),
    "traverse": io.traverse([NUMBER], signal.raise_signal),  # type: ignore[arg-type]  # the same
    "an iterator": io.defer_io(
        lambda: io.traverse_par(map(signal.raise_signal, [NUMBER]), io.pure, at_most=1)
    ),
    "actor": io.actor(signal.raise_signal, NUMBER),
    "actor call": io.actor(int, NUMBER).flat_map(lambda ref: ref.call(signal.raise_signal)),
    "on_main_thread": io.on_main_thread(signal.raise_signal, NUMBER),
}
"""Programs that call a built-in function, which has no frame in Python."""

KINDS = [pytest.param(program, id=name) for name, program in PYTHON.items()]
KINDS += [pytest.param(program, id=f"{name}, built-in") for name, program in BUILT_IN.items()]


@pytest.mark.slow
@pytest.mark.parametrize("program", KINDS)
def test_exception_of_a_handler_inside_a_user_function_leaves_run_at_once(
    program: Program, raised: BaseException
) -> None:
    seen: list[str] = []
    tried = program.attempt().then(io.defer(seen.append, "went on"))
    with pytest.raises(type(raised)) as caught:
        tried.finally_(lambda _: io.defer(seen.append, "released")).run(NUMBER)
    assert caught.value is raised
    assert seen == ["released"]


def test_exception_of_a_handler_may_be_handled_by_the_user_function() -> None:
    def work() -> str:
        with suppress(Late):
            raise_signal()
        return "done"

    with handled(NUMBER, raises(Late("it"))):
        assert io.defer(work).then(io.sleep(0.001), io.defer(work)).run(None) == Ok("done")


def test_demand_to_end_that_a_user_function_swallows_ends_the_run_all_the_same() -> None:
    def work() -> None:
        with suppress(BaseException):
            raise_signal()

    with handled(NUMBER, raises(Stop("it"))), pytest.raises(Stop):
        io.defer(work).then(FOREVER).run(None)


def test_handler_that_does_not_raise_interrupts_nothing() -> None:
    heard: list[int] = []
    with handled(NUMBER, lambda number, frame: heard.append(number)):
        assert io.defer(signal.raise_signal, NUMBER).run(None, 2).is_ok()
    assert heard == [NUMBER]


def test_resource_whose_opening_returns_as_the_signal_comes_is_released(
    raised: BaseException,
) -> None:
    seen: list[str] = []
    opens = io.pure(NUMBER).map(signal.raise_signal)
    held = resource.from_open_close_io(opens, lambda _, __: io.defer(seen.append, "released"))
    with pytest.raises(type(raised)) as caught:
        held.with_(FOREVER).run(None)
    assert caught.value is raised
    assert seen == ["released"]


class Dies:
    def __del__(self) -> None:
        signal.raise_signal(NUMBER)


class Watched:
    """An object to which there is a weak reference."""


def _lets_die() -> None:
    Dies()


def _lets_a_watched_object_die() -> None:
    watched = Watched()
    dies = weakref.WeakSet([watched])
    reference = weakref.finalize(watched, signal.raise_signal, NUMBER)
    del watched
    assert not dies
    assert not reference.alive


@pytest.mark.parametrize("function", [_lets_die, _lets_a_watched_object_die])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_exception_of_a_handler_where_python_would_ignore_it_leaves_run_all_the_same(
    function: Callable[[], None], raised: BaseException
) -> None:
    with pytest.raises(type(raised)) as caught:
        io.defer(function).then(FOREVER).run(None)
    assert caught.value is raised


# -- inside the machine, and asleep -------------------------------------------------------------


@pytest.fixture
def amid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fiber that goes to sleep makes the signal come while the mutex is held."""
    park = MemberState.park

    def park_and_raise(state: MemberState, fiber: Any, **how: Any) -> None:
        park(state, fiber, **how)
        if isinstance(fiber.request, rq.Sleep):
            monkeypatch.setattr(MemberState, "park", park)
            signal.raise_signal(NUMBER)

    monkeypatch.setattr(MemberState, "park", park_and_raise)


def again_and_again() -> Program:
    return io.sleep(0.001).attempt().then(io.defer_io(again_and_again))


PERSISTENT: dict[str, Program] = {
    "sleep": FOREVER,
    "attempt": again_and_again(),
    "on_failure": FOREVER.on_failure(lambda _: FOREVER),
    "catch": FOREVER.catch(lambda _: FOREVER).recover(lambda *_: FOREVER),
    "retry": FOREVER.retry_panic(schedule.recurs(10), BaseException),
    "supervise": supervise(child(FOREVER), max_restarts=1000, on_restart=lambda *_: io.pure(None)),
    "children": io.zip_par([FOREVER] * 3),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", PERSISTENT)
def test_exception_of_a_handler_inside_the_machine_leaves_run_after_all_releases(
    kind: str, threads: int, raised: BaseException, amid: None, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    program = PERSISTENT[kind].finally_(
        lambda _: io.sleep(0.001).then(io.defer(seen.append, "released"))
    )
    with pytest.raises(type(raised)) as caught:
        program.run(None, threads)
    assert caught.value is raised
    assert seen == ["released"]
    assert caplog.records == []


@pytest.mark.parametrize("place", ["1 thread", "4 threads", "cluster"])
def test_exception_of_a_handler_while_all_fibers_sleep_leaves_run(
    place: str, raised: BaseException
) -> None:
    with handled(signal.SIGALRM, raises(raised)), pytest.raises(type(raised)) as caught:
        run_at(place, io.defer(signal.setitimer, signal.ITIMER_REAL, 0.01).then(FOREVER))
    assert caught.value is raised


def test_exception_of_a_handler_while_the_run_ends_is_logged(logged: Logged) -> None:
    with handled(NUMBER, raises(Late("the second"))), handled(signal.SIGUSR2, raises(Stop("it"))):
        releases = io.uncancelable(io.defer(_raise_quietly).then(io.sleep(0.01)))
        program = io.defer(signal.raise_signal, signal.SIGUSR2).finally_(lambda _: releases)
        with pytest.raises(Stop):
            program.run(None)
    text = logged.get(timeout=PATIENCE).getMessage()  # another thread logs
    assert "the handler of SIGUSR1 raised while the run was ending" in text
    assert "Late: the second" in text


def _raise_quietly() -> None:
    signal.raise_signal(NUMBER)


def test_demand_to_end_that_is_the_second_abandons_releases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks = io.defer(_raise_quietly)
    # releases that were abandoned leave fibers
    monkeypatch.setattr(LocalHost, "validate_rest", lambda host: None)
    with handled(NUMBER, raises(Stop("it"))), pytest.raises(Stop):
        asks.finally_(lambda _: asks.then(FOREVER)).run(None)


@pytest.mark.slow
def test_exception_of_a_handler_leaves_result_and_the_run_goes_on(
    raised: BaseException,
) -> None:
    run = shared_cluster().submit(FOREVER, None)
    with handled(signal.SIGALRM, raises(raised)):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(type(raised)) as caught:
            run.result()
    assert caught.value is raised
    assert not run.done()
    run.cancel()
    assert run.result(PATIENCE).is_panic()


@pytest.mark.slow
def test_exception_of_a_handler_on_a_worker_does_not_end_the_worker() -> None:
    def install() -> None:
        signal.signal(NUMBER, raises(Late("it")))

    def send() -> int:
        os.kill(os.getpid(), NUMBER)
        return os.getpid()

    with Cluster.local(workers=1) as cluster:
        sends = io.on_main_thread(install).then(io.defer(send))
        program = io.zip(sends, io.on_main_thread(os.getpid), io.on_main_thread(os.getpid))
        result = cluster.submit(program, None).result(PATIENCE)
    assert isinstance(result, Ok)
    assert len(set(result.success)) == 1


# -- runs in runs -------------------------------------------------------------------------------


def test_demand_to_end_leaves_all_runs_that_the_main_thread_is_in() -> None:
    seen: list[str] = []

    def within() -> None:
        program = io.defer(raise_signal).finally_(lambda _: io.defer(seen.append, "inner"))
        program.attempt().run(None)

    program = io.defer(within).attempt().then(io.defer(seen.append, "went on"))
    with handled(NUMBER, raises(Stop("it"))), pytest.raises(Stop):
        program.finally_(lambda _: io.defer(seen.append, "outer")).run(None)
    assert seen == ["inner", "outer"]


def test_demand_to_end_that_leaves_a_run_in_a_handler_is_counted_once(amid: None) -> None:
    seen: list[str] = []

    def run_within(number: int, frame: object) -> None:
        io.defer(signal.raise_signal, signal.SIGUSR2).then(FOREVER).run(None)

    program = FOREVER.finally_(lambda _: io.sleep(0.001).then(io.defer(seen.append, "released")))
    with (
        handled(signal.SIGUSR2, raises(Stop("it"))),
        handled(NUMBER, run_within),
        pytest.raises(Stop),
    ):
        program.run(None)
    assert seen == ["released"]


def test_exception_of_a_handler_leaves_the_innermost_run_and_can_be_handled_there(
    amid: None,
) -> None:
    def within() -> str:
        with suppress(Late):
            FOREVER.run(None)
        return "handled"

    with handled(NUMBER, raises(Late("it"))):
        assert io.defer(within).then_keep(io.sleep(0.001)).run(None) == Ok("handled")


# -- handlers that are set during a run ---------------------------------------------------------


@pytest.mark.parametrize("place", ["1 thread", "4 threads", "cluster"])
def test_handler_that_a_fiber_sets_on_the_main_thread_is_like_any_other(
    place: str, raised: BaseException
) -> None:
    def install() -> None:
        signal.signal(signal.SIGALRM, raises(raised))
        signal.setitimer(signal.ITIMER_REAL, 0.01)

    with handled(signal.SIGALRM, signal.SIG_DFL), pytest.raises(type(raised)) as caught:
        run_at(place, io.on_main_thread(install).then(FOREVER))
    assert caught.value is raised


@pytest.mark.slow
@pytest.mark.parametrize("is_heard_asleep", [False, True])
def test_handler_that_a_function_sets_by_itself_is_like_any_other(
    is_heard_asleep: bool, raised: BaseException
) -> None:
    seen: list[str] = []

    def install() -> None:
        signal.signal(NUMBER, raises(raised))
        signal.signal(signal.SIGALRM, raises(raised))
        if is_heard_asleep:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            raise_signal()

    program = io.defer(install).then(FOREVER).attempt().then(io.defer(seen.append, "went on"))
    with (
        handled(NUMBER, signal.SIG_DFL),
        handled(signal.SIGALRM, signal.SIG_DFL),
        pytest.raises(type(raised)) as caught,
    ):
        program.finally_(lambda _: io.defer(seen.append, "released")).run(None)
    assert caught.value is raised
    assert seen == ["released"]


@pytest.mark.parametrize(
    "before",
    [signal.SIG_DFL, signal.SIG_IGN, raises(Stop("another"))],
    ids=["default", "ignored", "handled"],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_handler_that_a_function_sets_by_itself_releases_inside_the_machine(
    before: Any, threads: int, raised: BaseException, amid: None
) -> None:
    seen: list[str] = []
    handler = raises(raised)
    with handled(NUMBER, before):
        program = io.on_main_thread(signal.signal, NUMBER, handler).then(FOREVER).attempt()
        if threads == 1:
            program = io.defer(signal.signal, NUMBER, handler).then(FOREVER).attempt()
        with pytest.raises(type(raised)) as caught:
            program.finally_(lambda _: io.sleep(0.001).then(io.defer(seen.append, "released"))).run(
                None, threads
            )
        assert signal.getsignal(NUMBER) is handler
    assert caught.value is raised
    assert seen == ["released"]


def test_handler_that_a_handler_sets_is_like_any_other(raised: BaseException) -> None:
    def install(number: int, frame: object) -> None:
        signal.signal(number, raises(raised))
        signal.setitimer(signal.ITIMER_REAL, 0.01)

    with handled(signal.SIGALRM, install), pytest.raises(type(raised)) as caught:
        io.defer(signal.setitimer, signal.ITIMER_REAL, 0.01).then(FOREVER).run(None)
    assert caught.value is raised


@pytest.mark.slow
def test_handler_that_is_set_after_a_run_has_no_guard(raised: BaseException) -> None:
    with pytest.raises(type(raised)):
        io.defer(raise_signal).run(None)
    handler = raises(Stop("later"))
    with handled(NUMBER, handler):
        assert signal.getsignal(NUMBER) is handler


@pytest.mark.parametrize(("number", "handler"), [(-1, signal.SIG_IGN), (NUMBER, "none")])
def test_signal_that_cannot_be_handled_is_refused_within_a_run(number: int, handler: Any) -> None:
    def install() -> str:
        try:
            signal.signal(number, handler)
        except (TypeError, ValueError) as error:
            return type(error).__name__
        return "set"

    assert io.defer(install).run(None) == Ok(install())


@pytest.mark.slow
@pytest.mark.parametrize("number", [NUMBER, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("place", ["1 thread", "cluster"])
def test_handlers_are_back_in_their_places_when_the_run_has_ended(number: int, place: str) -> None:
    def handler(number: int, frame: object) -> None: ...

    for each in (handler, signal.SIG_DFL, signal.SIG_IGN):
        with handled(number, each):
            assert run_at(place, io.pure(1)).is_ok()
            assert signal.getsignal(number) is each


def test_handler_that_was_read_during_a_run_can_be_set_after_it() -> None:
    def restore() -> Any:
        before = signal.signal(NUMBER, signal.SIG_IGN)
        signal.signal(NUMBER, before)
        return before

    heard: list[int] = []

    def handler(number: int, frame: object) -> None:
        heard.append(number)
        raise Late("it")

    with handled(NUMBER, handler):
        kept = io.defer(restore).run(None)
        assert isinstance(kept, Ok)
        signal.signal(NUMBER, kept.success)
        with pytest.raises(Late):
            signal.raise_signal(NUMBER)
        assert heard == [NUMBER]


# -- SIGTERM, in programs of their own ----------------------------------------------------------

ON_CLUSTER = "with Cluster.local(workers=1) as cluster: io.zip_par(waits).run(None, on=cluster)"
RUNS = ["waits.run(None)", "waits.run(None, 3)", "blocks.run(None)", ON_CLUSTER]


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_sigterm_ends_the_program_with_143_after_all_releases(run: str) -> None:
    script = Script(run)
    script.says("started")
    script.process.terminate()
    assert script.ends() == ("released\n", "")
    assert script.process.returncode == 143


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize("run", RUNS)
def test_terminal_that_is_closed_ends_the_program_with_129_after_all_releases(run: str) -> None:
    script = Script(run, has_session=True)
    script.says("started")
    os.killpg(script.process.pid, signal.SIGHUP)  # workers and the coordinator get it as well
    assert script.ends() == ("released\n", "")
    assert script.process.returncode == 129


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
def test_terminal_that_is_closed_while_no_run_is_waited_for_has_workers_release() -> None:
    script = Script(
        "cluster = Cluster.local(workers=1); cluster.submit(io.zip_par(waits), None); input()",
        has_session=True,
    )
    script.says("started")
    os.killpg(script.process.pid, signal.SIGHUP)
    assert script.ends() == ("released\n", "")
    assert script.process.returncode == -signal.SIGHUP


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        "stuck.run(None)",
        "stuck.run(None, 2)",
        "with Cluster.local(workers=1) as cluster: stuck.run(None, on=cluster)",
    ],
)
def test_sigterm_that_is_the_second_abandons_releases(run: str) -> None:
    script = Script(run)
    script.says("started")
    script.process.terminate()
    script.says("releasing")
    script.process.terminate()
    script.ends()
    assert script.process.returncode == 143


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("what", ["attempt()", "on_failure(lambda _: io.sleep(1000))"])
def test_handler_of_sigterm_that_exits_ends_the_program(run: str, what: str) -> None:
    run = run.replace("waits", f"waits.{what}").replace("blocks", f"blocks.{what}")
    script = Script(
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); tried = None\n    {run}"
    )
    script.says("started")
    script.process.terminate()
    assert script.ends() == ("released\n", "")
    assert script.process.returncode == 7


@pytest.mark.slow
def test_child_that_a_fiber_forks_has_the_handlers_of_the_program() -> None:
    script = Script(
        """
    import os
    def fork():
        child = os.fork()
        if not child:
            is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            is_own = signal.getsignal(signal.SIGUSR1) is handler
            os._exit(3 if is_default and is_own else 4)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    handler = lambda *_: None
    signal.signal(signal.SIGUSR1, handler)
    print(io.defer(fork).run(None), io.defer(fork).run(None, 2))
"""
    )
    assert script.ends()[0].splitlines()[0] == "Ok(success=3) Ok(success=3)"
