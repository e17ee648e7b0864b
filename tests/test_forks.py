"""Programs that fork: what works in the child, and that the parent is unharmed.

Each runs as a process of its own: forks of pytest would carry its threads and descriptors along.
"""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

PRELUDE = """
import asyncio, atexit, multiprocessing, os, signal, sys, threading, time
from distio import Cluster, io

parent = os.getpid()

def outcome_of_child(do):
    '''What a forked child prints, and how it ends; it has 20 seconds.'''
    reader, writer = os.pipe()
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
            os._exit(5 if inner.run(None, 4).unsafe_get() == [1, 2] else 6)
        os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def shout(text):
    os.write(1, f"{text}\\n".encode())  # whole lines, also of two processes
"""


def output_of(program: str, *flags: str, error: str = "") -> list[str]:
    """The lines that a program prints; it writes nothing else than `error` to standard error."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", PRELUDE + program],
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
        "Ok(success=[1, 2]) Ok(success=[1, 2]) 0",
        "Ok(success=[1, 2]) 0 0",
        "Ok(success=[1, 2])",
    ]


@pytest.mark.slow
def test_child_forked_amid_the_work_of_other_threads_does_not_hang() -> None:
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
""") == ["{'Ok(success=[1, 2]) 0'}"]


@pytest.mark.slow
@pytest.mark.parametrize("fork", ["as it is", "in a fiber", "in a fiber of several threads"])
def test_first_ctrl_c_in_a_child_cancels_its_run(fork: str) -> None:
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
def test_close_is_quick_while_a_forked_helper_lives() -> None:
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
def test_close_is_quick_while_a_child_of_a_task_lives() -> None:
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
def test_end_of_a_worker_is_seen_while_a_child_of_its_task_lives() -> None:
    """The connection of a worker breaks although its child has inherited it."""
    lines = output_of("""
import subprocess, tempfile
from distio.runtime.coordinator_process import CoordinatorProcess

process = CoordinatorProcess("tcp://127.0.0.1:0")
threading.Thread(target=process.run, daemon=True).start()
worker = subprocess.Popen([sys.executable, "-m", "distio_worker.local", process.url,
                           "--threads", "1", "--family", ""], stdin=subprocess.PIPE)

def lost(cluster, path):
    def leave():
        child = os.fork()
        if child == 0:
            signal.pause()
        with open(path, "w") as pipe: pipe.write(str(child))
        time.sleep(1_000_000)
    run = cluster.submit(io.defer(leave), None)
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
worker.stdin.close()
""")
    assert float(lines[0]) < 8  # silence is taken for an end after 10 s
