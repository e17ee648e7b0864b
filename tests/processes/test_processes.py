"""Real processes: how they start, how they end, and what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from distio import Cluster, Errors, Ok, Panic, io
from distio.errors import (
    ClusterClosed,
    ClusterError,
    ForeignException,
    HandshakeRefused,
    NotPicklable,
    WorkerLost,
)
from distio.protocol import messages as m
from distio.protocol.codec import from_coordinator, from_member
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE
from tests.harness.peers import peer_at

LINES_OF_A_PROGRAM = """
import os, sys
from distio import Cluster, io

def main():
    with Cluster.local(workers=2) as cluster:
        for process in (*cluster._processes.workers, cluster._processes.coordinator):
            print(process.pid)
        print(cluster._processes._equipment.directory)
        io.zip_par(io.defer(os.getpid), io.defer(os.getpid)).run(None, on=cluster)
        print("running", flush=True)
        input()
        HOW_IT_GOES_ON

main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster.local(workers=2) as cluster:
        yield cluster


class Program:
    """A program of its own that has started a local cluster."""

    def __init__(self, how_it_goes_on: str) -> None:
        text = LINES_OF_A_PROGRAM.replace("HOW_IT_GOES_ON", how_it_goes_on)
        self.process = subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "running\n")
        *pids, directory = [line.strip() for line in lines]
        self.others = [psutil.Process(int(pid)) for pid in pids]
        self.directory = Path(directory)
        self.process.stdin.write("\n")  # now they may end
        self.process.stdin.flush()

    def end(self, number: int) -> str:
        """Send a signal, wait for the end, and return what was written to stderr."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE)[1]

    def leaves_nothing(self) -> bool:
        _, alive = psutil.wait_procs(self.others, timeout=PATIENCE)
        alive = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        return not alive and not self.directory.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("hears_hang_up")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_program_that_is_ended_by_a_signal_leaves_no_process_behind(number: int) -> None:
    program = Program("io.parallel(io.sleep(1000)).then(io.sleep(1000)).run(None, on=cluster)")
    program.end(number)
    assert program.process.returncode != 0
    assert program.leaves_nothing()


@pytest.mark.slow
def test_program_that_is_killed_leaves_no_busy_worker_behind() -> None:
    spin = "io.zip_par([io.defer(eval, 'sum(range(10**11))')] * 2).run(None, on=cluster)"
    program = Program(spin)
    program.end(signal.SIGKILL)
    assert program.leaves_nothing()


@pytest.mark.slow
def test_program_that_ends_with_an_exception_leaves_nothing_behind() -> None:
    program = Program("raise ValueError('its own')")
    stderr = program.process.communicate(timeout=PATIENCE)[1]
    assert "ValueError: its own" in stderr
    assert program.leaves_nothing()


@pytest.mark.slow
def test_ctrl_c_leaves_run_as_keyboard_interrupt() -> None:
    program = Program("io.sleep(1000).run(None, on=cluster)")
    assert "KeyboardInterrupt" in program.end(signal.SIGINT)


def run_script(text: str, *arguments: str, cwd: Path | None = None) -> str:
    command = [sys.executable, *(arguments or ("-c", text))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_script_needs_no_guard_and_its_functions_travel(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    (tmp_path / "helper.py").write_text("def triple(n):\n    return 3 * n\n")
    script.write_text(
        "from distio import Cluster, io\n"
        "import helper\n"
        "class Pair:\n"
        "    def __init__(self, n):\n"
        "        self.n = n\n"
        "def work(n):\n"
        "    return Pair(helper.triple(n))\n"
        "with Cluster.local(workers=1) as cluster:\n"
        "    result = io.zip_par([io.defer(work, n) for n in range(3)]).run(None, on=cluster)\n"
        "    print([type(pair) is Pair and pair.n for pair in result.success])\n"
    )
    assert run_script("", str(script)) == "[0, 3, 6]\n"


@pytest.mark.slow
def test_print_in_a_fiber_reaches_the_terminal_of_the_program() -> None:
    text = (
        "from distio import Cluster, io\n"
        "with Cluster.local(workers=1) as cluster:\n"
        "    io.zip_par(io.defer(print, 'from a fiber')).run(None, on=cluster)\n"
    )
    assert run_script(text) == "from a fiber\n"


@pytest.mark.slow
def test_workers_have_the_environment_directory_and_path_of_the_program(tmp_path: Path) -> None:
    text = (
        "import os, sys\n"
        "os.environ['COLOUR'] = 'red'; sys.path.append('/nowhere at all')\n"
        "from distio import Cluster, io\n"
        "def look():\n"
        "    import os, sys\n"
        "    path = [os.path.abspath(entry) for entry in sys.path]\n"
        "    return os.environ.get('COLOUR'), os.environ.get('PYTHONPATH'), os.getcwd(), path\n"
        "with Cluster.local(workers=1) as cluster:\n"
        "    there = io.zip_par(io.defer(look)).run(None, on=cluster).success[0]\n"
        "print(there == look())\n"
    )
    assert run_script(text, cwd=tmp_path) == "True\n"


# -- travelling -------------------------------------------------------------------------------


@pytest.mark.slow
def test_root_runs_at_home_and_its_children_on_workers(cluster: Cluster) -> None:
    main = io.defer(os.getpid).zip(io.zip_par(io.defer(os.getpid)))
    result = main.run(None, on=cluster)
    assert isinstance(result, Ok)
    assert result.success[0] == os.getpid()
    assert result.success[1][0] != os.getpid()


@pytest.mark.slow
def test_root_that_is_submitted_runs_on_a_worker(cluster: Cluster) -> None:
    result = cluster.submit(io.defer(os.getpid), None).result(timeout=PATIENCE)
    assert isinstance(result, Ok)
    assert result.success != os.getpid()


@pytest.mark.slow
def test_fibers_start_fibers_to_any_depth(cluster: Cluster) -> None:
    def leaves(depth: int) -> io.IO[None, None, int]:
        if depth == 0:
            return io.pure(1)
        return io.defer_io(lambda: io.zip_par([leaves(depth - 1)] * 3).map(sum))

    assert leaves(5).run(None, on=cluster) == Ok(3**5)
    assert cluster.submit(leaves(4), None).result(timeout=PATIENCE) == Ok(3**4)


@pytest.mark.slow
def test_handle_can_be_waited_for_on_another_worker(cluster: Cluster) -> None:
    main = io.parallel(io.sleep(0.01).then(io.pure("early"))).flat_map(
        lambda fibers: io.zip_par([io.wait(fibers)] * 8)
    )
    assert main.run(None, on=cluster) == Ok([[Ok("early")]] * 8)


@pytest.mark.slow
def test_failures_cross_processes_whole(cluster: Cluster) -> None:
    def fails() -> None:
        raise KeyError("whole")

    result = io.parallel(io.errors("a", "b"), io.defer(fails)).flat_map(io.wait)
    outcome = result.run(None, on=cluster)
    assert isinstance(outcome, Ok)
    errors, panic = outcome.success
    assert errors == Errors(["a", "b"])
    assert isinstance(panic, Panic)
    assert isinstance(panic.exceptions[0].exception, KeyError)
    where, _, frames = panic.exceptions[0].stack_trace.partition("Traceback")
    assert re.fullmatch(r"in fiber \S+\non worker \d+ \(process \d+ on \S+\)\n", where)
    assert "in fails" in frames
    assert "test_processes.py" in frames.splitlines()[1], "the user's frames come first"


class Stubborn(Exception):
    """Can't be pickled."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.lock = threading.Lock()


def test_exception_that_cannot_be_pickled_arrives_as_text(cluster: Cluster) -> None:
    def fails() -> None:
        raise Stubborn(1, 2)

    result = io.zip_par(io.defer(fails)).run(None, on=cluster)
    assert isinstance(result, Panic)
    foreign = result.exceptions[0].exception
    assert isinstance(foreign, ForeignException)
    assert foreign.type_name.endswith("Stubborn")
    assert foreign.message == "1 and 2"
    assert "in fails" in result.exceptions[0].stack_trace


def test_fiber_that_cannot_be_pickled_stays_with_one_warning(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    def uses_a_lock() -> tuple[bool, int]:
        with lock:
            return lock.locked(), os.getpid()

    result = io.zip_par([io.defer(uses_a_lock)] * 5).run(None, on=cluster)
    assert result == Ok([(True, os.getpid())] * 5)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    for part in ("uses_a_lock", "'lock'", "_thread.lock", "test_processes.py"):
        assert part in warnings[0]


def test_submit_of_a_program_that_cannot_be_pickled_is_a_clear_error(cluster: Cluster) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match=r"captured variable 'lock'.*_thread\.lock"):
        cluster.submit(io.defer(lambda: lock), None)


def test_value_that_cannot_be_pickled_is_a_panic_that_says_so(cluster: Cluster) -> None:
    result = io.zip_par(io.defer(threading.Lock)).run(None, on=cluster)
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, NotPicklable)
    assert "_thread.lock" in str(result.exceptions[0].exception)


@pytest.mark.slow
def test_sleeping_fibers_hold_no_thread(cluster: Cluster) -> None:
    began = time.monotonic()
    assert io.zip_par([io.sleep(0.1)] * 2000).map(len).run(None, on=cluster) == Ok(2000)
    assert 0.1 <= time.monotonic() - began < 60  # two threads would sleep for 100 seconds


def test_result_can_be_requested_again_after_a_timeout(cluster: Cluster, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    handle = cluster.submit(io.defer(pipe.read_text), None)
    with pytest.raises(TimeoutError, match="not ended within 0"):
        handle.result(timeout=0)
    pipe.write_text("late")
    assert handle.result(timeout=PATIENCE) == Ok("late")
    assert handle.done()


@pytest.mark.slow
def test_deadlock_across_processes_is_a_panic_that_names_it(cluster: Cluster) -> None:
    def wait_for_the_other(box: Path) -> io.IO[None, None, object]:
        import cloudpickle

        return io.defer(lambda: cloudpickle.loads(box.read_bytes())).flat_map(io.wait)

    def store(box: Path, fibers: Any) -> None:
        import cloudpickle

        box.write_bytes(cloudpickle.dumps(fibers))

    def main(box: Path) -> io.IO[None, None, object]:
        waiter = io.sleep(0.05).then(io.defer_io(wait_for_the_other, box))
        return io.parallel(waiter).flat_map(lambda f: io.defer(store, box, f).then(io.wait(f)))

    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        result = main(Path(directory) / "box").run(None, on=cluster)
    assert isinstance(result, Panic)
    assert "waits for fiber" in str(result.exceptions[0].exception)


# -- losing processes -------------------------------------------------------------------------


@pytest.mark.slow
def test_worker_that_is_killed_is_lost_and_other_fibers_go_on(tmp_path: Path) -> None:
    def rendezvous(path: Path) -> None:
        path.write_text(str(os.getpid()))
        signal.pause()

    victim = tmp_path / "victim"
    with Cluster.local(workers=2, restart=False, snapshots="off") as cluster:
        sleepers = io.zip_par([io.sleep(0.3).then(io.defer(os.getpid))] * 8)
        doomed = cluster.submit(io.defer(rendezvous, victim), None)
        while not (victim.exists() and victim.read_text()):
            os.sched_yield()
        pid = int(victim.read_text())
        other = next(p.pid for p in cluster._processes.workers if p.pid != pid)  # type: ignore[union-attr]  # local
        os.kill(pid, signal.SIGKILL)
        result = doomed.result(timeout=PATIENCE)
        assert isinstance(result, Panic)
        lost = result.exceptions[0].exception
        assert isinstance(lost, WorkerLost)
        assert lost.reason == "killed by SIGKILL"
        assert str(pid) in lost.worker
        assert sleepers.run(None, on=cluster) == Ok([other] * 8)


@pytest.mark.slow
def test_run_ends_with_the_last_worker_and_with_the_coordinator() -> None:
    for victim in ("workers", "coordinator"):
        with Cluster.local(workers=1, snapshots="off", journal=False) as cluster:
            ran = cluster.submit(io.sleep(1000), None)
            assert io.zip_par(io.pure(1)).run(None, on=cluster) == Ok((1,))
            process = getattr(cluster._processes, victim)
            (process[0] if victim == "workers" else process).kill()
            result = ran.result(timeout=PATIENCE)
            assert isinstance(result, Panic)
            assert isinstance(result.exceptions[0].exception, ClusterClosed | WorkerLost)


@pytest.mark.slow
def test_members_see_the_end_of_their_coordinator(coordinator: str) -> None:
    worker = subprocess.Popen([sys.executable, "-m", "distio_worker.main", coordinator])
    with Cluster.connect(coordinator) as cluster:
        run = cluster.submit(io.zip_par(io.defer(os.getpid)).then(io.sleep(1000)), None)
        pid = io.zip_par(io.defer(os.getpid)).run(None, on=cluster)
        assert pid == Ok((worker.pid,))
        THREADED[coordinator].stop()
        result = run.result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, ClusterClosed)
    assert worker.wait(timeout=PATIENCE) == 0


@pytest.mark.slow
def test_cluster_that_is_closed_cuts_its_runs_short() -> None:
    with Cluster.local(workers=1) as cluster:
        handle = cluster.submit(io.sleep(1000), None)
    result = handle.result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, ClusterClosed)
    with pytest.raises(ClusterError, match="closed"):
        cluster.submit(io.pure(1), None)
    assert isinstance(io.pure(1).run(None, on=cluster), Panic)


# -- the handshake ----------------------------------------------------------------------------


THREADED: dict[str, CoordinatorProcess] = {}
"""The coordinators that run in threads of this process, by URL."""


@pytest.fixture(params=["tcp", "ipc"])
def coordinator(request: pytest.FixtureRequest) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        url = "tcp://127.0.0.1:0" if request.param == "tcp" else f"ipc://{directory}/c"
        yield from threaded(url)


def threaded(url: str) -> Iterator[str]:
    process = CoordinatorProcess(url, CoordinatorOptions(is_insecure=True))
    THREADED[process.url] = process
    thread = threading.Thread(target=process.run)
    thread.start()
    yield process.url
    process.stop()
    thread.join()


@pytest.mark.parametrize(
    ("protocol", "python", "reason"),
    [(PROTOCOL + 1, PYTHON, "protocol"), (PROTOCOL, "2.7", "Python 2.7")],
)
def test_member_of_another_version_is_refused(
    coordinator: str, protocol: int, python: str, reason: str
) -> None:
    with peer_at(coordinator) as peer:
        hello = m.Hello(protocol, python, "worker", 1, "here", os.getpid(), b"token")
        peer.says(*from_member.encode([hello]))
        peer.listens(*from_member.encode([m.Listen(b"token")]))
        (refused,) = from_coordinator.decode(peer.hears())
    assert isinstance(refused, m.Refused)
    assert reason in refused.reason
    assert "\n" not in refused.reason


def test_frame_that_is_no_message_is_refused_and_harms_no_member(coordinator: str) -> None:
    with peer_at(coordinator) as stranger:
        stranger.says(b"GET / HTTP/1.1")
        (refused,) = from_coordinator.decode(stranger.is_answered())
    assert isinstance(refused, m.Refused)
    with Cluster.connect(coordinator) as cluster:
        assert io.pure(1).run(None, on=cluster) == Ok(1)


def test_connect_to_a_server_that_is_no_coordinator_is_refused() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            router.send_multipart([router.recv_multipart()[0], b"who are you?"])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(HandshakeRefused, match="no coordinator of distio"):
            Cluster.connect(f"tcp://127.0.0.1:{port}")
        thread.join()


@pytest.mark.slow
def test_connect_to_an_address_without_a_listener_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be as long as that of tmp_path
    with pytest.raises(ClusterError, match=r"no coordinator answers at ipc://.* start one with"):
        Cluster.connect("ipc://nobody", timeout=0.05)


@pytest.mark.parametrize(
    "url", ["ipc:///" + "long/" * 40, "tcp://a b:1", "tcp://*:1", "tcp://host:1/path"]
)
def test_connect_to_an_address_that_cannot_exist_says_so(url: str) -> None:
    said = r"(can't connect to .*: \w|no address is known of the host \w).*; check the URL"
    with pytest.raises(ClusterError, match=said):
        Cluster.connect(url)


@pytest.mark.parametrize(
    "url", ["", "tcp://", "tcp://host", "http://host:1", "tcp://host:x", "tcp://[::1:1"]
)
def test_connect_to_a_text_that_is_no_url_says_so(url: str) -> None:
    with pytest.raises(ClusterError, match="tcp://HOST:PORT or ipc://PATH"):
        Cluster.connect(url)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.168.0.1", "[::]", "example.org"])
def test_coordinator_that_would_listen_beyond_loopback_without_keys_is_refused(host: str) -> None:
    with pytest.raises(ClusterError, match="--insecure is for loopback alone"):
        CoordinatorProcess(f"tcp://{host}:7077", CoordinatorOptions(is_insecure=True))


def test_coordinator_that_would_listen_on_loopback_without_keys_is_refused() -> None:
    with pytest.raises(ClusterError, match="without keys: anybody who reaches the port"):
        CoordinatorProcess("tcp://127.0.0.1:0")


def test_coordinator_at_an_address_in_use_says_so(coordinator: str) -> None:
    with pytest.raises(ClusterError, match=r"(Address already in use|another process listens)"):
        CoordinatorProcess(coordinator, CoordinatorOptions(is_insecure=True))


def test_local_cluster_without_workers_is_refused() -> None:
    with pytest.raises(ClusterError, match="at least 1 worker"):
        Cluster.local(workers=0)


def test_local_cluster_has_its_socket_in_a_private_directory(cluster: Cluster) -> None:
    assert cluster._processes is not None
    assert cluster._processes._equipment.directory.stat().st_mode & 0o777 == 0o700
