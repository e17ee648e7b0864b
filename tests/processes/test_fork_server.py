"""Processes that the fork server forks, beside those that are started as programs."""

from __future__ import annotations

import importlib
import json
import os
import pty
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from distio import Cluster, Ok, io
from distio.runtime import fork_server, launching
from distio.runtime.child_processes import ENDED_UNSEEN, ChildProcess, Spawned, describe_exit
from distio.runtime.fork_server import Forked
from distio.runtime.interpreter_settings import interpreter_settings
from distio.runtime.launching import Program, StartLog
from distio.runtime.process_supervisor import Child, ProcessSupervisor
from distio.runtime.stops import Stops
from distio.runtime.surroundings import surroundings
from distio.runtime.systems import can_watch_any_process
from tests.conftest import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_watch_any_process(), reason="this system has no fork server"),
]

PORTRAIT: Final = "tests.harness.portrait"


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[fork_server._Servers]:
    """The fork servers of a test, which starts with none."""
    own = fork_server._Servers()
    monkeypatch.setattr(fork_server, "_servers", own)
    yield own
    own.close_idle(are_used=False)
    assert not own._servers, "a process is left"


def wait_for_end_of(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(PATIENCE)


def processes_of(servers: fork_server._Servers) -> list[int]:
    return [server._process.pid for server in servers._servers.values()]


def started(*words: str, is_forked: bool = True, **options: Any) -> tuple[ChildProcess, Any]:
    """Start a process, and read its portrait."""
    program = Program(PORTRAIT, fork_seconds=PATIENCE if is_forked else None, **options)
    reader, writer = launching._pipe_above_standard()
    try:
        process = program.start(str(writer), *words, inherits=[writer])
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert isinstance(process, Forked if is_forked else Spawned)
    return process, json.loads(text) if text else None


def code_of(process: ChildProcess) -> int:
    """Wait for its end."""
    code = process.wait(PATIENCE)
    process.close()
    return code


def portrait(*words: str, is_forked: bool = True, **options: Any) -> Any:
    process, found = started(*words, is_forked=is_forked, **options)
    assert code_of(process) == 7
    return found


# -- one kind of process ------------------------------------------------------------------------


def test_forked_process_is_like_one_started_as_a_program() -> None:
    settings = {**interpreter_settings(), "recursion_limit": 3210}
    options: Any = {"options": ["-B"], "environment": {"MORE": "of this"}, "settings": settings}
    found = portrait("one", "two", **options)
    assert found == portrait("one", "two", is_forked=False, **options)
    assert found["settings"] == settings


def test_forked_process_of_unbuffered_python_has_such_streams() -> None:
    assert portrait(options=["-u"]) == portrait(options=["-u"], is_forked=False)


def test_forked_process_on_a_terminal_has_the_streams_of_one() -> None:
    script = """
from tests.processes import test_fork_server as tests
same = tests.portrait() == tests.portrait(is_forked=False)
lines = tests.portrait()["streams"][1][4]
print("same" if same else "other", "by lines" if lines else "")
"""
    ours, theirs = pty.openpty()
    environment = {name: each for name, each in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as program:
        os.close(theirs)
        said = b""
        while b"\n" not in said:
            said += os.read(ours, 4096)
        program.wait(PATIENCE)
    os.close(ours)
    assert said == b"same by lines\r\n"


def test_forked_process_whose_program_has_closed_its_streams_has_empty_ones() -> None:
    script = """
import os
for number in (0, 1, 2):
    os.close(number)
from tests.processes import test_fork_server as tests
one, other = tests.portrait(), tests.portrait(is_forked=False)
os._exit(0 if one == other else 1)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, check=False)
    assert done.returncode == 0


def umask() -> Callable[[], object]:
    before = os.umask(0o027)
    return lambda: os.umask(before)


def cores() -> Callable[[], object]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    return lambda: os.sched_setaffinity(0, before)


def limit() -> Callable[[], object]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before)


def ignored() -> Callable[[], object]:
    before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    return lambda: signal.signal(signal.SIGTTIN, before)


def blocked() -> Callable[[], object]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    return lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)


def variable() -> Callable[[], object]:
    os.environ["PYTHONUTF8"] = "0"
    return lambda: os.environ.pop("PYTHONUTF8")


def path() -> Callable[[], object]:
    sys.path.append("/somewhere/else")
    return lambda: sys.path.remove("/somewhere/else")


@pytest.mark.parametrize("change", [umask, cores, limit, ignored, blocked, variable, path])
def test_forked_process_inherits_what_the_program_has_changed(
    change: Callable[[], Callable[[], object]],
) -> None:
    before = portrait()
    undo = change()
    try:
        after = portrait()
        assert after == portrait(is_forked=False)
        assert after != before
    finally:
        undo()


def test_forked_process_gets_directory_and_environment_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: fork_server._Servers
) -> None:
    portrait()
    (first,) = processes_of(servers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.delenv("PATH")
    monkeypatch.setattr("sys.argv", ["a script", "-v"])
    assert portrait() == portrait(is_forked=False)
    assert processes_of(servers) == [first], "none of this needs another server"


def test_forked_process_finds_a_module_that_was_written_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "later_first.py").write_text(
        "import sys\ndef main(arguments):\n    sys.exit(int(arguments[0]))\n"
    )
    first = Program("later_first", fork_seconds=PATIENCE)
    assert code_of(first.start("3", inherits=[])) == 3
    (tmp_path / "later_second.py").write_text((tmp_path / "later_first.py").read_text())
    importlib.invalidate_caches()
    second = Program("later_second", fork_seconds=PATIENCE)
    assert code_of(second.start("4", inherits=[])) == 4


# -- how it ends ----------------------------------------------------------------------------------


def test_forked_process_that_is_killed_has_the_signal_as_its_exit_code() -> None:
    process, _ = started("waits")
    assert isinstance(process, Forked)
    assert not os.get_inheritable(process._descriptor)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # nobody gets it
    process.close()
    process.kill()


def test_forked_process_is_asked_whether_it_has_ended_without_waiting() -> None:
    process, _ = started("waits")
    assert process.poll() is None
    process.kill()
    assert process.wait(PATIENCE) == process.poll() == -signal.SIGKILL
    process.close()


def test_forked_process_that_fails_writes_why_to_its_log() -> None:
    reader, writer = os.pipe()
    log = StartLog(writer)
    process = Program(PORTRAIT, fork_seconds=PATIENCE).start("", "breaks", inherits=[], log=log)
    assert code_of(process) == 1
    log.finish()
    assert log.last_lines().endswith("ValueError: broken")
    os.close(reader)
    os.close(writer)


def test_process_of_which_nobody_hears_holds_the_server_up_for_no_other() -> None:
    process, _ = started("waits")
    for _ in range(1000):
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
    assert portrait("another")["words"] == ["another"]
    process.kill()
    assert code_of(process) in (-signal.SIGKILL, ENDED_UNSEEN)


class Owner:
    """Notes the exit code of one child."""

    def __init__(self) -> None:
        self.code: int | None = None

    def started(self, child: Child) -> None:
        raise AssertionError("it has no log")

    def ended(self, child: Child, code: int, lived: float) -> None:
        self.code = code

    def refused(self, child: Child, error: OSError) -> None:
        raise AssertionError(error)

    def killed(self, child: Child) -> None:
        raise AssertionError("nobody stops it")


def test_forked_process_that_is_stopped_for_too_long_is_killed() -> None:
    process, _ = started("waits")
    owner = Owner()
    supervisor = ProcessSupervisor(owner, patience=0.0)
    child = Child(lambda _: (process, None))
    supervisor.add(child)
    process.send_signal(signal.SIGSTOP)
    supervisor.run()
    assert owner.code == -signal.SIGKILL
    assert child.was_stopped


def is_watched(stops: Stops) -> bool:
    return stops.due is not None


def test_forked_process_that_was_stopped_and_goes_on_is_left_alone() -> None:
    process, _ = started("waits")
    assert isinstance(process, Forked)
    stops = process.watch_stops(1000.0, lambda: None)
    process.send_signal(signal.SIGSTOP)
    process._is_told(PATIENCE)
    process.hear()
    assert is_watched(stops)
    process.send_signal(signal.SIGCONT)
    process._is_told(PATIENCE)
    process.hear()
    assert not is_watched(stops)
    process.kill()
    code_of(process)


# -- the server -----------------------------------------------------------------------------------


def test_second_cluster_of_a_program_is_forked_by_the_same_server(
    servers: fork_server._Servers,
) -> None:
    parents = []
    for _ in range(2):
        with Cluster.local(workers=1) as cluster:
            assert cluster._processes is not None
            processes = [cluster._processes.coordinator, *cluster._processes.workers]
            parents += [psutil.Process(each.pid).ppid() for each in processes]
    assert parents == processes_of(servers) * 4, "one server for all of them"


def test_server_that_has_forked_has_said_that_it_is_ready() -> None:
    process, _ = started()
    assert Program(PORTRAIT, fork_seconds=PATIENCE).prepare()
    code_of(process)


def test_server_that_imports_has_not_said_that_it_is_ready(
    servers: fork_server._Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "never_there.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(launching, "_OF_SERVER", ("never_there",))
    assert not Program(PORTRAIT, fork_seconds=PATIENCE).prepare()
    (server,) = servers._servers.values()
    server._process.kill()


def test_server_that_has_ended_is_waited_for_by_nobody(servers: fork_server._Servers) -> None:
    program = Program(PORTRAIT, fork_seconds=PATIENCE)
    program.prepare()
    (server,) = servers._servers.values()
    server._process.kill()
    server._process.wait()

    assert program.prepare()


def test_server_that_is_killed_takes_its_processes_with_it(
    servers: fork_server._Servers,
) -> None:
    process, _ = started("waits")
    (pid,) = processes_of(servers)
    os.kill(pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == ENDED_UNSEEN
    assert (
        describe_exit(ENDED_UNSEEN) == "killed, because the fork server of its program was killed"
    )
    psutil.wait_procs([psutil.Process(process.pid)] if psutil.pid_exists(process.pid) else [])
    process.close()
    assert portrait()["words"] == [], "another server is started"


def test_run_goes_on_when_the_fork_server_is_killed(servers: fork_server._Servers) -> None:
    def kill_server() -> int:
        for pid in processes_of(servers):
            os.kill(pid, signal.SIGKILL)
        return 1

    with Cluster.local(workers=2) as cluster:
        handle = cluster.submit(
            io.zip_par([io.sleep(0.5).then(io.pure(each)) for each in range(20)]), None
        )
        kill_server()
        assert handle.result(PATIENCE) == Ok(list(range(20)))


def test_server_ends_with_its_program() -> None:
    script = """
import os, sys
from tests.processes import test_fork_server as tests
process, _ = tests.started("waits")
print(*tests.processes_of(tests.fork_server._servers), flush=True)
process.kill()
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    wait_for_end_of(int(done.stdout))


def test_server_is_not_kept_alive_by_a_fork_of_its_program() -> None:
    script = """
import os, sys
from tests.processes import test_fork_server as tests
tests.portrait()
(server,) = tests.processes_of(tests.fork_server._servers)
print(server, flush=True)
if os.fork() == 0:
    os.close(1)
    os.close(2)
    os.read(0, 1)
    os._exit(0)
"""
    reader, writer = os.pipe()
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        command, stdin=reader, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == ""
    wait_for_end_of(int(done.stdout))
    os.close(writer)
    os.close(reader)


def test_server_that_has_no_process_left_ends_when_another_is_needed(
    servers: fork_server._Servers,
) -> None:
    portrait()
    (first,) = processes_of(servers)
    undo = umask()
    try:
        portrait()
        (second,) = processes_of(servers)
        assert first != second
        assert not psutil.pid_exists(first)
    finally:
        undo()


def test_program_whose_server_fails_is_started_without_one(
    monkeypatch: pytest.MonkeyPatch, servers: fork_server._Servers
) -> None:
    monkeypatch.setattr(launching, "_OF_SERVER", ("no_such_module",))
    for _ in range(2):
        process = Program(PORTRAIT, fork_seconds=PATIENCE).start("2", inherits=[])
        assert isinstance(process, Spawned)
        assert process.wait(PATIENCE) == 7
    assert not servers._servers
    assert len(servers._failed) == 1


def test_server_that_is_killed_while_it_imports_is_started_again_next_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, servers: fork_server._Servers
) -> None:
    (tmp_path / "is_killed.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as killing:
        killing.setattr(launching, "_OF_SERVER", ("is_killed",))
        process = Program(PORTRAIT, fork_seconds=PATIENCE).start("2", inherits=[])
    assert isinstance(process, Spawned)
    assert process.wait(PATIENCE) == 7
    assert portrait()["words"] == []
    assert processes_of(servers)


def test_program_whose_server_hangs_is_started_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "never_there.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(launching, "_OF_SERVER", ("never_there",))
    process = Program(PORTRAIT, fork_seconds=0.2).start("2", inherits=[])
    assert isinstance(process, Spawned)
    assert process.wait(PATIENCE) == 7


def test_server_with_another_thread_forks_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "with_thread.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(launching, "_OF_SERVER", ("with_thread",))
    process = Program(PORTRAIT, fork_seconds=PATIENCE).start("2", inherits=[])
    assert isinstance(process, Spawned)
    assert process.wait(PATIENCE) == 7


def test_process_that_the_system_refuses_is_an_error_of_the_system(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    before = os.getcwd()
    os.chdir(directory)
    try:
        program = Program(PORTRAIT, fork_seconds=PATIENCE)
    finally:
        os.chdir(before)
    directory.rmdir()
    with pytest.raises(FileNotFoundError):
        program.start("2", inherits=[])


def test_surroundings_stay_the_same_while_nothing_changes() -> None:
    assert surroundings() == surroundings()
