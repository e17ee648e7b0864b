"""Log records of fibers arrive in the logging of their program, wherever the fibers run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import IO, Cluster, Ok, io
from distio.testing import simulate
from tests.conftest import IN_PROCESS, Run, run_at, shared_cluster

NAME = "kitchen.oven"
log = logging.getLogger(NAME)

Records = list[logging.LogRecord]
Program = IO[Any, Any, Any]


class Kept(logging.Handler):
    """A handler that keeps records, and notes the threads that have handled them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: Records = []
        self.threads: set[str] = set()
        self.has_any = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.add(threading.current_thread().name)
        self.has_any.set()

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture(autouse=True)
def levels_are_restored() -> Iterator[None]:
    kitchen = logging.getLogger("kitchen")
    before = log.level, kitchen.level, logging.root.manager.disable
    yield
    log.setLevel(before[0])
    kitchen.setLevel(before[1])
    logging.disable(before[2])


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


def logged(n: int) -> int:
    logging.getLogger(NAME).info("baked %s", n)
    return os.getpid()


def elsewhere(io_: Program) -> Any:
    """The value of a program whose root runs on a worker."""
    result = shared_cluster().submit(io_, None).result(60)
    assert isinstance(result, Ok), result
    return result.success


# -- origins of records -----------------------------------------------------------------------


def test_record_arrives_with_its_fiber_run_and_worker_in_every_place(run: Run, kept: Kept) -> None:
    assert run(io.zip_par([io.named("baker", io.defer(logged, n)) for n in range(3)])).is_ok()
    assert sorted(kept.messages) == ["baked 0", "baked 1", "baked 2"]
    for record in kept.records:
        fields = vars(record)
        run_number, _, number = fields["distio_fiber"].removesuffix(" (baker)").partition(".")
        assert fields["distio_fiber"].endswith(" (baker)")
        assert fields["distio_name"] == "baker"
        assert fields["distio_run"].partition(".")[0] == run_number
        assert int(number) > int(fields["distio_run"].partition(".")[2])
        assert fields["distio_worker"].startswith("member ")
        assert record.name == NAME
        assert record.levelname == "INFO"
        assert record.funcName == "logged"
        assert record.pathname == logged.__code__.co_filename


@pytest.mark.parametrize(
    "call",
    [io.defer, io.blocking, io.on_main_thread],
    ids=lambda call: str(call.__name__),
)
def test_record_of_a_call_on_another_thread_has_the_fiber_of_the_call(
    run: Run, kept: Kept, call: Any
) -> None:
    assert run(io.zip_par(io.named("baker", call(logged, 1)))).is_ok()
    (record,) = kept.records
    assert vars(record)["distio_name"] == "baker"


def test_record_of_a_coroutine_has_its_fiber(run: Run, kept: Kept) -> None:
    async def logs(n: int) -> None:
        import asyncio

        await asyncio.sleep(0)
        logged(n)

    names = [f"baker {n}" for n in range(3)]
    program = io.zip_par([io.named(name, io.from_coroutine(logs, 1)) for name in names])
    assert run(program).is_ok()
    assert sorted(vars(record)["distio_name"] for record in kept.records) == names


def test_record_of_no_fiber_says_so_while_programs_run(kept: Kept) -> None:
    def log_in_a_thread() -> None:
        thread = threading.Thread(target=logged, args=[1])
        thread.start()
        thread.join()

    assert io.defer(log_in_a_thread).run(None).is_ok()
    (record,) = kept.records
    assert vars(record)["distio_fiber"] == vars(record)["distio_run"] == "-"


@pytest.mark.parametrize("place", [*IN_PROCESS, "cluster", "simulation"])
def test_record_factory_of_the_program_makes_the_records_and_stays(place: str, kept: Kept) -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.app = "bakery"
        return record

    logging.setLogRecordFactory(factory)
    try:
        assert run_at(place, io.zip_par(io.defer(logged, 1))).is_ok()
        found = logging.getLogRecordFactory()
        assert getattr(found, "make", found) is factory  # another test's run may still go on
    finally:
        logging.setLogRecordFactory(before)
    (record,) = kept.records
    assert vars(record)["app"] == "bakery"
    assert vars(record)["distio_fiber"] != "-"


def test_record_factory_that_a_fiber_installs_stays() -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return before(*args, **kwargs)

    try:
        assert io.defer(logging.setLogRecordFactory, factory).run(None).is_ok()
        found = logging.getLogRecordFactory()
        assert getattr(found, "make", found) is factory  # another test's run may still go on
    finally:
        logging.setLogRecordFactory(before)


def test_record_of_a_nested_run_has_its_own_fiber(run: Run, kept: Kept) -> None:
    def inner() -> Any:
        return io.named("inner", io.defer(logged, 1)).run(None, 2)

    assert run(io.zip_par(io.named("outer", io.defer(inner)))).is_ok()
    (record,) = kept.records
    assert vars(record)["distio_name"] == "inner"


# -- contents of records ----------------------------------------------------------------------


def test_record_from_a_worker_keeps_its_origin(kept: Kept) -> None:
    def log_from_here() -> tuple[int, int, str]:
        logging.getLogger(NAME).warning("hot", stack_info=True)
        return os.getpid(), threading.get_ident(), threading.current_thread().name

    pid, thread, thread_name = elsewhere(io.defer(log_from_here))
    (record,) = kept.records
    assert (record.process, record.thread, record.threadName) == (pid, thread, thread_name)
    assert record.lineno == log_from_here.__code__.co_firstlineno + 1
    assert record.funcName == "log_from_here"
    assert record.stack_info is not None
    assert "log_from_here" in record.stack_info
    assert record.created > 0
    assert kept.threads.isdisjoint({"distio-link", "MainThread"})


def test_exception_of_a_record_arrives_as_text(kept: Kept) -> None:
    def fails() -> None:
        try:
            raise ValueError("burnt")
        except ValueError:
            logging.getLogger(NAME).exception("no cake")

    elsewhere(io.defer(fails))
    (record,) = kept.records
    assert record.exc_info is None
    assert record.exc_text is not None
    assert record.exc_text.splitlines()[-1] == "ValueError: burnt"
    assert "ValueError: burnt" in logging.Formatter("%(message)s").format(record)


def test_arguments_of_a_record_arrive_as_they_were_when_it_was_logged(kept: Kept) -> None:
    def logs() -> None:
        cakes = [Path("plum"), Path("cheese")]
        logging.getLogger(NAME).info("%d: %s", len(cakes), cakes)
        logging.getLogger(NAME).info("%(n)s", {"n": 7})
        cakes.clear()

    elsewhere(io.defer(logs))
    assert kept.messages == [f"2: {[Path('plum'), Path('cheese')]!r}", "7"]
    assert kept.records[0].args == (2, [Path("plum"), Path("cheese")])


def test_arguments_of_a_record_that_cannot_travel_are_formatted_on_the_worker(kept: Kept) -> None:
    class Cake:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __str__(self) -> str:
            return "a cake"

        __repr__ = __str__

    def logs() -> None:
        logging.getLogger(NAME).info("%s and %s", Cake(), 1, extra={"cake": Cake(), "n": 5})
        logging.getLogger(NAME).info(Cake())

    elsewhere(io.defer(logs))
    assert kept.messages == ["a cake and 1", "a cake"]
    assert kept.records[0].args is None
    assert (vars(kept.records[0])["cake"], vars(kept.records[0])["n"]) == ("a cake", 5)


def test_record_whose_arguments_do_not_fit_arrives_all_the_same(kept: Kept) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no text")

        __repr__ = __str__
        __reduce__ = None  # type: ignore[assignment]

    elsewhere(io.defer(lambda: logging.getLogger(NAME).info("a %s", Odd())))
    (message,) = kept.messages
    assert message == "'a %s' (its arguments don't fit: ValueError('no text'))"


@pytest.mark.slow
def test_records_of_one_fiber_arrive_in_order_before_its_result(kept: Kept) -> None:
    def logs(start: int) -> None:
        for n in range(start, start + 500):
            logged(n)

    for _ in range(3):
        kept.records.clear()
        elsewhere(io.defer(logs, 0).then(io.defer(logs, 500)))
        assert kept.messages == [f"baked {n}" for n in range(1000)]


def test_record_arrives_while_its_fiber_still_computes(kept: Kept, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def logs_and_goes_on() -> str:
        logged(1)
        return gate.read_text()  # waits until the test writes

    run = shared_cluster().submit(io.defer(logs_and_goes_on), None)
    assert kept.has_any.wait(30)
    assert not run.done()
    gate.write_text("opened")
    assert run.result(30) == Ok("opened")


def test_records_of_distios_loggers_on_a_worker_arrive(caplog: pytest.LogCaptureFixture) -> None:
    elsewhere(io.defer(lambda: logging.getLogger("distio.parts").warning("odd")))
    assert ("distio.parts", logging.WARNING, "odd") in caplog.record_tuples


def test_record_of_a_workers_thread_without_a_fiber_arrives(kept: Kept) -> None:
    def logs() -> None:
        thread = threading.Thread(target=logged, args=[1])
        thread.start()
        thread.join()

    elsewhere(io.defer(logs))
    (record,) = kept.records
    assert vars(record)["distio_fiber"] == "-"
    assert vars(record)["distio_worker"].startswith("member ")


def test_record_of_a_process_that_a_fiber_forks_goes_to_its_standard_error(tmp_path: Path) -> None:
    def logs_in_a_fork() -> None:
        child = os.fork()
        if not child:
            os.dup2(os.open(tmp_path / "errors", os.O_WRONLY | os.O_CREAT), 2)
            logging.getLogger(NAME).warning("in a fork")
            os._exit(0)
        os.waitpid(child, 0)

    elsewhere(io.blocking(logs_in_a_fork))
    assert (tmp_path / "errors").read_text() == "in a fork\n"


def test_handler_that_a_fiber_installs_on_a_worker_handles_too(kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "log"

    def logs() -> None:
        handler = logging.FileHandler(path)
        handler.setFormatter(logging.Formatter("%(distio_name)s %(message)s"))
        logging.getLogger(NAME).addHandler(handler)
        logged(1)
        logging.getLogger(NAME).removeHandler(handler)
        handler.close()

    elsewhere(io.named("baker", io.defer(logs)))
    assert kept.messages == ["baked 1"]
    assert path.read_text() == "baker baked 1\n"


@pytest.mark.slow
def test_handler_that_fails_or_blocks_does_not_hold_up_other_runs(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    free = threading.Event()

    class Bad(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            free.wait(30)
            raise ValueError("a broken filter")

    bad = Bad()
    log.addFilter(bad)
    try:
        slow = shared_cluster().submit(io.defer(logged, 1), None)
        with Cluster.local(workers=1) as other:
            assert other.submit(io.pure(1), None).result(60) == Ok(1)
        assert not slow.done()
        free.set()
        assert slow.result(60).is_ok()
    finally:
        log.removeFilter(bad)
    assert "a broken filter" in capsys.readouterr().err
    elsewhere(io.defer(logged, 2))
    assert kept.messages == ["baked 2"]


# -- levels -----------------------------------------------------------------------------------


def levels_there() -> tuple[bool, bool, int]:
    here = logging.getLogger(NAME)
    here.debug("debug")
    here.info("info")
    return (
        here.isEnabledFor(logging.DEBUG),
        here.isEnabledFor(logging.INFO),
        here.getEffectiveLevel(),
    )


def test_levels_of_the_program_hold_on_workers_from_the_next_run_on(kept: Kept) -> None:
    assert elsewhere(io.defer(levels_there)) == (False, True, logging.INFO)
    log.setLevel(logging.DEBUG)
    assert elsewhere(io.defer(levels_there)) == (True, True, logging.DEBUG)
    log.setLevel(logging.NOTSET)
    logging.getLogger("kitchen").setLevel(logging.ERROR)
    assert elsewhere(io.defer(levels_there)) == (False, False, logging.ERROR)
    logging.getLogger("kitchen").setLevel(logging.DEBUG)
    logging.disable(logging.DEBUG)
    assert elsewhere(io.defer(levels_there)) == (False, True, logging.DEBUG)
    assert kept.messages == ["info", "debug", "info", "info"]


def test_level_that_a_fiber_sets_on_a_worker_sends_no_more_than_the_program_wants(
    kept: Kept,
) -> None:
    def logs() -> None:
        logging.getLogger(NAME).setLevel(logging.DEBUG)
        levels_there()
        logging.getLogger(NAME).setLevel(logging.INFO)

    elsewhere(io.defer(logs))
    assert kept.messages == ["info"]


@pytest.mark.slow
def test_programs_with_different_levels_get_the_records_that_each_wants(tmp_path: Path) -> None:
    """The programs share a worker; each is a process of its own."""
    processes = shared_cluster()._processes
    assert processes is not None
    code = """
import logging, sys
from distio import Cluster, io

logging.basicConfig(level=int(sys.argv[2]), format="%(message)s", stream=sys.stdout)

def logs():
    for level in (10, 20, 30):
        logging.getLogger("x").log(level, "level %d", level)

with Cluster.connect(sys.argv[1]) as cluster:
    for _ in range(2):
        assert cluster.submit(io.defer(logs), None).result(60).is_ok()
        print("go", flush=True)
        sys.stdin.readline()
"""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, processes.url, level],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for level in ("10", "30")
    ]
    heard: list[list[str]] = [[], []]
    for _ in range(2):
        for program, lines in zip(programs, heard):
            assert program.stdout is not None
            while (line := program.stdout.readline().strip()) != "go":
                lines.append(line)
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()
    for program in programs:
        program.communicate(timeout=30)
    assert heard == [["level 10", "level 20", "level 30"] * 2, ["level 30"] * 2]


# -- daemons ----------------------------------------------------------------------------------

OF_A_DAEMON = """
import logging, sys, threading
from distio import Cluster, io

logging.basicConfig(level=logging.INFO, format="%(distio_name)s: %(message)s", stream=sys.stdout)

def logs():
    logging.getLogger("x").info("of a fiber")
    thread = threading.Thread(target=logging.getLogger("x").error, args=["of a thread"])
    thread.start()
    thread.join()

with Cluster.connect(sys.argv[1]) as cluster:
    cluster.submit(io.named("baker", io.defer(logs)), None).result(60)
"""


@pytest.mark.slow
def test_daemon_keeps_its_own_log_and_sends_records_of_fibers_to_their_program() -> None:
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "distio.cli.main",
                "coordinator",
                "--insecure",
                "--bind",
                "tcp://127.0.0.1:0",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    ]
    try:
        assert processes[0].stdout is not None
        url = processes[0].stdout.readline().rpartition(" ")[2].strip()
        command = [sys.executable, "-m", "distio_worker.main", url]
        processes.append(
            subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        program = subprocess.run(
            [sys.executable, "-c", OF_A_DAEMON, url], capture_output=True, text=True, timeout=60
        )
    finally:
        for process in reversed(processes):
            process.terminate()
    worker = processes[1].communicate(timeout=30)[1]
    coordinator = processes[0].communicate(timeout=30)[1]
    assert (program.stdout, program.stderr) == ("baker: of a fiber\n", "")
    assert "of a fiber" not in worker
    assert "x: of a thread" in worker
    assert "fiber" not in coordinator
    assert "joined" in coordinator


# -- simulations ------------------------------------------------------------------------------


def test_simulated_cluster_logs_once_for_each_fiber(kept: Kept) -> None:
    program = io.zip_par([io.defer(logged, n) for n in range(5)])
    assert simulate(program, members=3).result is not None
    assert sorted(kept.messages) == [f"baked {n}" for n in range(5)]
    assert {vars(record)["distio_worker"] for record in kept.records} <= {
        f"member {n}" for n in range(1, 6)
    }
