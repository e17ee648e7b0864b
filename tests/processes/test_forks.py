"""Programs that fork: what works in the child, and that the parent is unharmed.

Each program is a process of its own: forks of pytest would have its threads and descriptors.
"""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from tests.conftest import MAY_LOSE_SIGNALS

PRELUDE = """
import asyncio, atexit, multiprocessing, os, signal, sys, threading, time
from distio import Cluster, io

parent = os.getpid()

def outcome_of_child(do):
    '''What a forked child prints, and how it ends; it has 20 seconds.'''
    reader, writer = os.pipe()
    sys.stdout.flush()  # else the child prints once more what this process has printed
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os.dup2(writer, 1)
        do()
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    with open(reader) as output:
        said = output.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"{said.strip()} {code}".strip()

def forks(how):
    '''For fibers: fork a child that ends in this way; the exit code of the child.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        if how == "returns":
            return "returned in the child"
        if how == "exits":
            sys.exit(3)
        if how == "raises":
            raise ValueError("in the child")
        if how == "runs":
            inner = io.zip(io.blocking(int, "1"), io.from_coroutine(asyncio.sleep, 0, 2))
            os._exit(5 if inner.run(None, 4).unsafe_get() == (1, 2) else 6)
        os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def shout(text):
    os.write(1, f"{text}\\n".encode())  # whole lines, also of two processes
"""


FORKS_ANYWAY = "-W", "ignore:This process (pid:DeprecationWarning"
"""From 3.12 on, Python warns of each fork with threads; the tests show that it goes well."""


def output_of(program: str, *flags: str, error: str = "") -> list[str]:
    """The lines that a program prints; it writes no more than `error` to standard error."""
    done = subprocess.run(
        [sys.executable, *flags, *FORKS_ANYWAY, "-c", PRELUDE + program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert error in done.stderr
    assert bool(error) == bool(done.stderr), done.stderr
    assert done.returncode == 0
    return done.stdout.splitlines()


# -- the state of the whole process -----------------------------------------------------------


@pytest.mark.slow
def test_child_of_a_process_that_has_run_programs_runs_all_kinds() -> None:
    assert output_of("""
inner = io.zip(io.blocking(int, "1"), io.from_coroutine(asyncio.sleep, 0, 2))
inner.run(None)
print(outcome_of_child(lambda: print(inner.run(None), inner.run(None, 4))))
print(outcome_of_child(lambda: print(outcome_of_child(lambda: print(inner.run(None))))))
print(inner.run(None))
""") == [
        "Ok(success=(1, 2)) Ok(success=(1, 2)) 0",
        "Ok(success=(1, 2)) 0 0",
        "Ok(success=(1, 2))",
    ]


@pytest.mark.slow
def test_child_forked_while_other_threads_work_does_not_hang() -> None:
    assert output_of("""
inner = io.zip(io.blocking(int, "1"), io.from_coroutine(asyncio.sleep, 0, 2))
is_over = False

def work():
    while not is_over:
        io.zip_par([inner] * 10).run(None, 2)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
print({outcome_of_child(lambda: print(inner.run(None, 2))) for _ in range(25)})
is_over = True
for thread in threads: thread.join()
""") == ["{'Ok(success=(1, 2)) 0'}"]


IN_A_THREAD = pytest.param(
    "in a fiber of several threads",
    marks=MAY_LOSE_SIGNALS,
)


@pytest.mark.slow
@pytest.mark.parametrize("fork", ["as it is", "in a fiber", IN_A_THREAD])
def test_ctrl_c_that_is_the_first_in_a_child_cancels_its_run(fork: str) -> None:
    run = {"as it is": "forks()", "in a fiber": "io.defer(forks).run(None)"}
    assert output_of(f"""
def forks():
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        released = io.defer(print, "released", flush=True)
        started = io.defer(os.kill, os.getpid(), signal.SIGINT)
        try:
            started.then(io.sleep(1_000_000)).finally_(lambda _: released).run(None, 2)
        except KeyboardInterrupt:
            os._exit(7)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

io.defer(lambda: None).run(None)
{run.get(fork, "io.defer(forks).run(None, 4)")}
""") == ["released", "7"]


# -- a cluster of the parent ------------------------------------------------------------------


@pytest.mark.slow
def test_cluster_of_the_parent_tells_a_child_to_which_process_it_belongs() -> None:
    lines = output_of(
        """
cluster = Cluster.local(workers=1)
run = cluster.submit(io.sleep(1_000_000), None)
over = cluster.submit(io.pure(1), None)
over.result()

def use():
    told = f"this cluster belongs to process {parent}, from which this one was forked, and runs "
    told += "nothing here; make another in this process with Cluster.local or Cluster.connect"
    print(str(io.pure(1).run(None, on=cluster).exceptions[0].exception) == told)
    print(str(run.result().exceptions[0].exception) == told, run.done())
    print(over.result())
    for call in (run.cancel, lambda: cluster.submit(io.pure(1), None)):
        try:
            call()
        except Exception as error:
            print(type(error).__name__, str(error) == told)
    with cluster:
        pass
    print(str(io.pure(1).run(None, on=cluster).exceptions[0].exception) == told)
    with Cluster.local(workers=1) as own:
        print(io.zip_par(io.pure(3)).run(None, on=own))

print(outcome_of_child(use))
print(io.zip_par(io.pure(2)).run(None, on=cluster), run.done())
cluster.close()
"""
    )
    assert lines == [
        *["True", "True True", "Ok(success=1)", "ClusterClosed True", "ClusterClosed True"],
        *["True", "Ok(success=(3,)) 0", "Ok(success=(2,)) False"],
    ]


@pytest.mark.slow
def test_child_that_exits_leaves_the_cluster_of_its_parent_alone() -> None:
    assert output_of(
        """
import gc
cluster = Cluster.local(workers=1)
atexit.register(cluster.close)
io.zip_par(io.blocking(abs, 1), io.from_coroutine(asyncio.sleep, 0)).run(None, on=cluster)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    other = object.__new__(Cluster)
    del cluster, other
    gc.collect()
    sys.exit(6)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(io.zip_par(io.pure(2)).run(None, on=cluster))
""",
        *("-X", "dev", "-W", "error"),
    ) == ["6", "Ok(success=(2,))"]


@pytest.mark.slow
def test_cluster_closes_quickly_while_a_forked_helper_lives() -> None:
    (seconds,) = output_of("""
cluster = Cluster.local(workers=2)
io.zip_par([io.pure(1)] * 4).run(None, on=cluster)
helper = os.fork()
if helper == 0:
    signal.pause()
start = time.monotonic()
cluster.close()
print(time.monotonic() - start)
os.kill(helper, signal.SIGKILL)
""")
    assert float(seconds) < 1.9  # a process that isn't told, or not seen to end, takes 2 s or more


@pytest.mark.slow
def test_cluster_closes_quickly_while_a_child_of_a_task_lives() -> None:
    lines = output_of("""
def leaves_a_child():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid

cluster = Cluster.local(workers=2)
children = io.zip_par([io.defer(leaves_a_child)] * 2).run(None, on=cluster).unsafe_get()
start = time.monotonic()
cluster.close()
print(time.monotonic() - start)
for child in children: os.kill(child, signal.SIGKILL)
""")
    assert float(lines[0]) < 1.9


@pytest.mark.slow
def test_processes_end_with_a_killed_program_whose_forked_helper_lives() -> None:
    program = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            PRELUDE
            + """
cluster = Cluster.local(workers=2)
io.zip_par(io.pure(1)).run(None, on=cluster)
helper = os.fork()
if helper == 0:
    signal.pause()
processes = cluster._processes
print(helper, processes.coordinator.pid, *[each.pid for each in processes.workers], flush=True)
signal.pause()
""",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with program:
        assert program.stdout is not None
        helper, *others = [psutil.Process(int(pid)) for pid in program.stdout.readline().split()]
        program.kill()
        _, alive = psutil.wait_procs(others, timeout=20)
        assert alive == []
        helper.kill()


@pytest.mark.slow
def test_daemon_forked_by_a_program_that_has_closed_its_streams_lets_the_program_end() -> None:
    """The reader of the program's output sees its end while the daemon lives."""
    lines = output_of("""
with Cluster.local(workers=1) as cluster:
    io.zip_par(io.pure(1)).run(None, on=cluster)
    daemon = os.fork()
    if daemon == 0:
        for stream in range(3): os.close(stream)
        signal.pause()
    print(daemon)
""")
    psutil.Process(int(lines[0])).kill()


@pytest.mark.slow
def test_worker_that_ends_is_seen_to_end_while_a_child_of_its_task_lives() -> None:
    """The connection of a worker breaks although its child has inherited it."""
    lines = output_of(
        """
import subprocess, tempfile
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess

process = CoordinatorProcess(
    "tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True, absence=0)
)
threading.Thread(target=process.run, daemon=True).start()
worker = subprocess.Popen(
    [sys.executable, "-m", "distio_worker.main", process.url], stderr=subprocess.DEVNULL
)

def lost(cluster, path):
    def leave():
        child = os.fork()
        if child == 0:
            signal.pause()
        with open(path, "w") as pipe: pipe.write(str(child))
        time.sleep(1_000_000)
    run = cluster.submit(io.defer(leave), None, snapshots="off")
    with open(path) as pipe: child = int(pipe.read())
    start = time.monotonic()
    worker.kill()
    run.result()
    print(time.monotonic() - start)
    os.kill(child, signal.SIGKILL)

with tempfile.TemporaryDirectory() as directory, Cluster.connect(process.url) as cluster:
    path = directory + "/pipe"
    os.mkfifo(path)
    lost(cluster, path)
worker.wait()
""",
        error="the connection to it broke",
    )
    assert float(lines[0]) < 8  # silence is taken for an end after 10 s


# -- a fiber that forks -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", ["io.defer", "io.blocking"])
@pytest.mark.parametrize(
    "run",
    ["run(None, 4)", "run(None, on=cluster)"],
)
def test_child_of_a_fiber_ends_with_the_function_that_forked_it(make: str, run: str) -> None:
    program = f"""
hows = ["returns", "exits", "raises", "runs", "ends"]
after = io.defer(os.getpid).map(lambda pid: shout("went on"))
program = io.zip_par([{make}(forks, how).then_keep(after) for how in hows])
with Cluster.local(workers=1) as cluster:
    for one in (program, io.zip([{make}(forks, how).then_keep(after) for how in hows])):
        shout(one.{run})
"""
    told = output_of(program, error="ValueError: in the child")
    assert told.count("went on") == 10  # each of ten fibers, and only in its own process
    assert [line for line in told if line != "went on"] == ["Ok(success=[0, 3, 1, 5, 4])"] * 2


@pytest.mark.slow
def test_child_of_a_coroutine_ends_with_the_coroutine() -> None:
    assert output_of("""
async def one(how):
    return forks(how)

hows = ["returns", "exits", "ends"]
print(io.zip_par([io.from_coroutine(one, how) for how in hows]).run(None))
""") == ["Ok(success=[0, 3, 4])"]


@pytest.mark.slow
def test_run_on_the_only_thread_goes_on_in_both_processes() -> None:
    lines = output_of("""
started = threading.Event()
waits = io.blocking(lambda: (started.set(), time.sleep(0.3)) and "waited").attempt()

def both():
    started.wait()
    return os.fork()

pid, other = io.zip_par(io.blocking(started.wait).then(io.defer(both)), waits).run(None).success
if pid:
    os.waitpid(pid, 0)
shout(["parent", "child"][pid == 0] + " " + type(other).__name__)
if pid == 0:
    shout(other.exceptions[0].exception)
    os._exit(0)
""")
    assert [line.split(" goes on")[0] for line in lines] == [
        "child Panic",
        "this call",
        "parent Ok",
    ]


@pytest.mark.slow
def test_child_forked_on_the_only_thread_ends_with_sys_exit() -> None:
    assert output_of('shout(io.defer(forks, "exits").attempt().run(None))') == [
        "Ok(success=Ok(success=3))"
    ]


@pytest.mark.slow
def test_atexit_handlers_run_in_a_child_that_exits_in_a_fiber() -> None:
    assert output_of("""
atexit.register(lambda: shout(f"at exit of {'parent' if os.getpid() == parent else 'child'}"))
io.defer(forks, "exits").run(None, 4)
""") == ["at exit of child", "at exit of parent"]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["run(None)", "run(None, 4)", "run(None, on=cluster)"])
def test_processes_of_multiprocessing_run_and_end_in_a_fiber(run: str) -> None:
    assert output_of(f"""
def starts():
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=time.sleep, args=(1_000_000,))
    process.start()
    process.terminate()
    process.join(20)
    with fork.Pool(2) as pool:
        return process.exitcode, pool.map(abs, [-1, -2])

with Cluster.local(workers=1) as cluster:
    print(io.zip_par([io.defer(starts)] * 2).{run})
""") == ["Ok(success=[(-15, [1, 2]), (-15, [1, 2])])"]
