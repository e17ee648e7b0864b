"""A member that can't go on leaves: no fiber waits for it, and all others are told why."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from distio import IO, Cluster, Ok, Panic, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.endings.member import Endings
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.placement.member import Placement
from distio.coordination.state.events import Joined, Received
from distio.core.fiber import Fiber
from distio.errors import ClusterClosed, WorkerLost
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.link import LinkedHost
from tests.conftest import PATIENCE

Program = IO[Any, Any, Any]


def the_exception(result: Any) -> BaseException:
    assert isinstance(result, Panic), result
    (traced,) = result.exceptions
    return traced.exception


class Broken(Exception):
    """The exception that the machinery raises in these tests."""


def break_(*_: Any, **__: Any) -> NoReturn:
    raise Broken("the machine is out of order")


# -- in the coordinator -----------------------------------------------------------------------


def test_fibers_of_a_member_that_fails_are_lost_for_its_reason() -> None:
    machine = Coordinator()

    def joined(kind: MemberKind) -> None:
        machine.handle(0.0, Joined(m.Hello(PROTOCOL, PYTHON, kind, 1, "here", 7, b"")))

    def said(member: int, message: m.MemberMessage) -> list[Any]:
        return [each.message for each in machine.handle(0.0, Received(member, message))]

    joined("client")
    joined("worker")
    root = 1 << 40
    said(1, m.StartRun(root))
    said(1, m.Offer([m.Chunk(root, [(root, 0)], b"")]))
    said(1, m.AwaitOutcomes(root, [root]))
    told = said(2, m.Goodbye("the process can't go on: MemoryError"))
    (lost,) = [message for message in told if isinstance(message, m.FiberLost)]
    assert lost.reason == "the process can't go on: MemoryError"
    assert 2 not in machine.members


# -- threads ----------------------------------------------------------------------------------

WHILE_DECIDING = {
    "finish": (Endings, "finish"),
    "called_back": (Member, "called_back"),
    "spawn": (Placement, "spawn"),
    "queue": (Member, "queue"),
    "start_root": (Member, "start_root"),
    "next_task": (Executor, "next_task"),
    "flush": (Member, "flush"),
}


@pytest.mark.parametrize("method", WHILE_DECIDING)
@pytest.mark.parametrize("threads", [1, 4])
def test_run_whose_machine_fails_is_a_panic(
    method: str, threads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = io.zip_par([io.blocking(int).then(io.yield_) for _ in range(8)])
    monkeypatch.setattr(*WHILE_DECIDING[method], break_)
    monkeypatch.setattr("distio.runtime.local.LocalHost.validate_rest", lambda host: None)
    assert isinstance(the_exception(program.run(None, threads)), Broken)
    assert "a bug in distio, please report it" in caplog.text


def test_run_whose_machine_fails_on_two_threads_waits_until_the_first_has_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool_has_failed, main_has_failed = threading.Event(), threading.Event()

    def fail_in_turn(executor: Executor) -> None:
        work = executor.work
        if not isinstance(work, Fiber) or work.id == work.run:
            run(executor)
        elif threading.current_thread() is threading.main_thread():
            pool_has_failed.wait(PATIENCE)
            main_has_failed.set()
            raise Broken
        else:
            raise Broken

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pool_has_failed.set()
            main_has_failed.wait(PATIENCE)
            told.append(record.getMessage())

    told: list[str] = []
    run = Executor.run
    monkeypatch.setattr(Executor, "run", fail_in_turn)
    monkeypatch.setattr("distio.runtime.local.LocalHost.validate_rest", lambda host: None)
    handler = Slow()
    logging.getLogger("distio").addHandler(handler)
    try:
        result = io.zip_par([io.pure(1)] * 2).run(None, 2)
    finally:
        logging.getLogger("distio").removeHandler(handler)
    assert isinstance(the_exception(result), Broken)
    assert len(told) == 1


class Raising(logging.Handler):
    """A handler as users write them, which raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.fixture(params=[ValueError("no such file"), SystemExit(3)])
def handler(request: pytest.FixtureRequest) -> Iterator[logging.Handler]:
    handler = Raising(request.param)
    logging.getLogger("distio").addHandler(handler)
    yield handler
    logging.getLogger("distio").removeHandler(handler)


class OddText:
    """An error value whose text is broken."""

    def __repr__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("error", ["lost", OddText()])
def test_log_handler_that_raises_harms_no_run(
    handler: logging.Handler, error: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if threading.current_thread() is threading.main_thread():
            patch.setattr("distio.runtime.logs._is_main_thread", lambda: False)
        program = io.parallel([io.error(error)]).then(io.pure("goes on"))
        assert program.run(None) == Ok("goes on")


# -- clusters ---------------------------------------------------------------------------------


@pytest.fixture
def clustered() -> Iterator[tuple[Cluster, LinkedHost, Coordinator]]:
    """A cluster of one client, and the machine of its coordinator."""
    process = CoordinatorProcess(
        "tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True, absence=0)
    )
    thread = threading.Thread(target=process.run)
    thread.start()
    cluster = Cluster.connect(process.url)
    yield cluster, cluster._host, process._board.machine
    cluster.close()
    process.stop()
    thread.join()


def in_time(call: Callable[[], Any]) -> Any:
    """The value of a call that is made on another thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found, "it hangs"
    return found[0]


WHILE_LINKED = {
    **WHILE_DECIDING,
    "spawn": (Placement, "ship"),
    "receive": (Member, "receive"),
}


@pytest.mark.parametrize("method", WHILE_LINKED)
def test_client_whose_machine_fails_ends_its_runs_and_its_cluster(
    clustered: tuple[Cluster, LinkedHost, Coordinator],
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, _, _ = clustered
    monkeypatch.setattr(*WHILE_LINKED[method], break_)
    lock = threading.Lock()  # with it, the fibers stay
    program = io.zip_par([io.blocking(lock.locked) for _ in range(8)])
    first = the_exception(in_time(lambda: program.run(None, on=cluster)))
    assert isinstance(first, ClusterClosed)
    assert re.search("the process can't go on: .*the machine is out of order", str(first))
    cluster._link.join(PATIENCE)
    later = the_exception(in_time(lambda: io.pure(1).run(None, on=cluster)))
    assert re.search("this cluster is closed .*out of order", str(later))


def test_client_that_cannot_encode_ends_its_runs_and_its_cluster(
    clustered: tuple[Cluster, LinkedHost, Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, host, _ = clustered
    host.member.state.send(m.CancelRun(2**70))
    result = in_time(lambda: io.pure(1).run(None, on=cluster))
    assert "OverflowError" in str(the_exception(result))


FAILING_WORKER = """
import sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from distio import Cluster, io


def break_(how):
    import gc
    from distio.coordination.endings.member import Endings
    from distio.coordination.executor.executor import Executor
    from distio.coordination.member import Member
    from distio.protocol import messages as m
    host = next(each for each in gc.get_objects() if type(each).__name__ == "LinkedHost")

    def fail(*_, **__):
        raise {error}

    if how == "encode":
        host.member.state.send(m.CancelRun(2**70))
    else:
        owner = {"finish": Endings, "next_task": Executor}.get(how, Member)
        setattr(owner, how, fail)


pool = ThreadPoolExecutor(2)
with Cluster.local(workers=2, restart=False, snapshots="off") as cluster:
    workers = cluster._processes.workers
    breaking = io.defer(break_, sys.argv[1]).then(io.sleep(0.01)).then(io.blocking(int))
    lost = cluster.submit(breaking, None)
    print(lost.result(timeout=60).exceptions[0].exception)
    print(cluster.submit(io.defer(int), None).result(timeout=60))
    ended = [pool.submit(worker.wait) for worker in workers]
    done, _ = wait(ended, timeout=60, return_when=FIRST_COMPLETED)
    print([each.result() for each in done])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["finish", "called_back", "next_task", "receive", "flush", "encode"]
)
@pytest.mark.parametrize("error", ["MemoryError", "LookupError('out of order')"])
def test_worker_whose_machine_fails_is_lost_for_its_reason(how: str, error: str) -> None:
    program = FAILING_WORKER.replace("{error}", error)
    done = subprocess.run(
        [sys.executable, "-c", program, how],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    lost, other, codes = done.stdout.splitlines()
    name = "OverflowError" if how == "encode" else error.partition("(")[0]
    assert re.search(
        rf"worker \d .* was lost, and this fiber with it: the process can't go on: {name}", lost
    )
    assert other == "Ok(success=0)"
    assert codes == "[1]"
    assert f"\n{name}" in done.stderr  # the traceback
    assert WorkerLost.__name__ not in done.stderr
