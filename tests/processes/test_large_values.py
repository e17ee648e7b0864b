"""Large values on real clusters: how often they are in memory, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest

from distio import Cluster, Deferred, Ok, Queue, io
from distio import map as map_plainly
from distio.runtime.systems import can_share_memory
from tests.conftest import PATIENCE
from tests.harness.chaos import kill_whole

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_share_memory(), reason="no memory is shared on this system"),
]

COUNT = 250_000
BYTES = COUNT * 8
TABLE = np.arange(float(COUNT))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster.local(workers=2) as cluster:
        yield cluster


def processes_of(program: int) -> list[int]:
    return [program, *[each.pid for each in psutil.Process(program).children(recursive=True)]]


def shared(program: int | None = None) -> dict[int, int]:
    """By file, the size of each that a program, or one of its processes, has in shared memory."""
    found: dict[int, int] = {}
    for pid in processes_of(program or os.getpid()):
        for link in [*Path(f"/proc/{pid}/fd").glob("*"), *Path(f"/proc/{pid}/map_files").glob("*")]:
            with suppress(OSError):
                if "/distio-shared-" in str(link.readlink()):
                    status = link.stat()
                    found[status.st_ino] = status.st_size
    return {file: size for file, size in found.items() if size >= BYTES}


def names() -> list[Path]:
    """The files of parts in the directories of clusters of this program."""
    roots = directories_of(os.getpid())
    assert roots
    return [path for root in roots for path in root.glob("*/*")]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def of_a_script(table: Any) -> Callable[[int], float]:
    """A function of a script, whose global variables travel with it."""
    module = ModuleType("a_script_with_a_table")
    vars(module)["table"] = table
    exec("def value_at(place):\n    return float(table[place])", vars(module))
    return vars(module)["value_at"]  # type: ignore[no-any-return]  # it is one


def arrive(queue: Queue[float], go: Deferred[bool], use: Callable[[Any], float], item: Any) -> Any:
    """Use something, and wait while it is still at hand."""
    return io.defer(use, item).flat_map(queue.put).then(go.get(), io.defer(use, item))


def while_used(cluster: Cluster, calls: list[tuple[Any, Any]], look: Callable[[], Any]) -> Any:
    """The result of `look` here while all of these calls are made, and those of the calls."""

    def main(queue: Queue[float], go: Deferred[bool]) -> Any:
        async def meet() -> Any:
            fibers = await io.parallel([arrive(queue, go, *call) for call in calls])
            for _ in calls:
                await queue.take()
            seen = await io.defer(look)
            await go.set(True)
            return seen, [each.unsafe_get() for each in await io.wait(fibers)]

        return io.do(meet)()

    primitives = io.zip(Queue.create(), Deferred.create())
    return primitives.flat_map(lambda both: main(*both)).run(None, on=cluster).unsafe_get()


def total(array: Any) -> float:
    return float(array.sum())


def test_global_variable_of_many_fibers_is_in_memory_once_and_is_given_back(
    cluster: Cluster,
) -> None:
    value_at = of_a_script(TABLE)
    calls = [(value_at, place) for place in range(20)]
    assert while_used(cluster, calls, lambda: len(shared())) == (1, [*map(float, range(20))])
    until(lambda: not (shared() or names()))


def test_array_that_many_fibers_get_is_in_memory_once_and_is_given_back(cluster: Cluster) -> None:
    array = TABLE + 1.0
    seen, totals = while_used(cluster, [(total, array)] * 20, lambda: len(shared()))
    assert (seen, totals) == (1, [array.sum()] * 20)
    until(lambda: not shared())


def test_array_that_leaves_again_while_others_have_it_is_in_memory_once(cluster: Cluster) -> None:
    array = TABLE + 2.0

    def main(queue: Queue[float], go: Deferred[bool]) -> Any:
        async def waves() -> Any:
            fibers = []
            for _ in range(3):
                fibers += await io.parallel([arrive(queue, go, total, array)])
                await queue.take()
            seen = await io.defer(lambda: len(shared()))
            await go.set(True)
            await io.wait(fibers)
            return seen

        return io.do(waves)()

    both = io.zip(Queue.create(), Deferred.create())
    assert both.flat_map(lambda both: main(*both)).run(None, on=cluster).unsafe_get() == 1
    until(lambda: not (shared() or names()))


def test_arrays_that_come_one_after_another_are_not_kept_until_the_run_ends(
    cluster: Cluster,
) -> None:
    def step(n: int, seen: Any) -> Any:
        call = io.parallel([io.defer(total, TABLE + n)]).flat_map(io.wait)
        return call.then(io.defer(lambda: max(seen, len(shared()))))

    steps: Any = io.pure(0)
    for n in range(20):
        steps = steps.flat_map(partial(step, n))
    assert steps.run(None, on=cluster).unsafe_get() <= 10


def changed(array: Any) -> Any:
    array[0] = -1.0
    return array


def test_array_that_a_fiber_has_changed_is_changed_for_it_alone(cluster: Cluster) -> None:
    results = io.zip_par([io.defer(changed, TABLE), io.defer(total, TABLE)] * 4)
    found = results.run(None, on=cluster).unsafe_get()

    assert [array[0] for array in found[::2]] == [-1.0] * 4
    assert found[1::2] == [TABLE.sum()] * 4
    assert TABLE[0] == 0.0


def test_array_that_came_home_outlives_its_cluster_and_can_be_changed() -> None:
    with Cluster.local(workers=1) as cluster:
        run = cluster.submit(io.defer(changed, TABLE), None)
        array = run.result(PATIENCE).unsafe_get()
    array[1] = 7.0

    assert list(array[:3]) == [-1.0, 7.0, 2.0]


def killed_once(array: Any, place: str) -> float:
    if not os.path.exists(place):
        Path(place).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return total(array)


def test_fiber_whose_worker_is_killed_gets_its_array_elsewhere_and_all_is_given_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    call = io.defer(killed_once, TABLE, str(tmp_path / "killed"))
    outcomes = io.parallel([call]).flat_map(io.wait).run(None, on=cluster).unsafe_get()

    assert outcomes == [Ok(TABLE.sum())]
    until(lambda: not shared())
    until(lambda: not names())


def kill_all_but(others: set[int]) -> int:
    """Kill the coordinator and the workers at once; how many parts are shared before."""
    processes, count = {*processes_of(os.getpid())} - others, len(shared())
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in processes:
            os.kill(pid, number)
    return count


@pytest.mark.parametrize("directory", ["journal", ""])
def test_fibers_go_on_with_their_array_from_the_journal_though_all_others_were_killed(
    directory: str, tmp_path: Path
) -> None:
    journal: Any = tmp_path / directory if directory else True
    array = TABLE + 3.0
    others = {*processes_of(os.getpid())}  # this process, and what other tests have left here
    with Cluster.local(workers=2, journal=journal) as cluster:
        calls = [(total, array)] * 8
        seen, totals = while_used(cluster, calls, partial(kill_all_but, others))
        assert (seen, totals) == (1, [array.sum()] * 8)
        again, _ = while_used(cluster, [(total, array)] * 8, lambda: len(shared()))
        assert again == 1
        until(lambda: not names())


SUBMITS = """
import numpy as np
from distio import Cluster, io
array = np.arange(250_000.0)
main = io.defer(print, "begun", flush=True).then(io.sleep(2), io.defer(np.sum, array))
with Cluster.local(workers=1, journal="journal") as cluster:
    cluster.submit(main, None, name="one").result()
"""
ATTACHES = """
from distio import Cluster
with Cluster.local(workers=1, journal="journal") as cluster:
    print(float(cluster.attach("one").result().unsafe_get()))
"""


def test_run_with_an_array_goes_on_from_the_journal_when_all_processes_were_killed(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", SUBMITS]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        roots = directories_of(program.pid)
        kill_whole(program.pid)
    done = subprocess.run(
        [sys.executable, "-c", ATTACHES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.endswith(f"{TABLE.sum()}\n"), done.stderr
    assert not are_there(roots)


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_array_of_many_fibers_is_in_a_journal_once(tmp_path: Path) -> None:
    with Cluster.local(workers=2, journal=tmp_path) as cluster:
        calls = [(total, TABLE + 4.0)] * 20
        size, _ = while_used(cluster, calls, lambda: size_of(tmp_path))
    assert BYTES < size < 1.5 * BYTES


SCRIPT = """
import os, signal, sys
import numpy as np
from distio import Cluster, io

array = np.arange(250_000.0)

def use():
    print(os.getpid(), array[0], flush=True)
    signal.pause()

with Cluster.local(workers=1, journal=len(sys.argv) == 1) as cluster:
    io.parallel([io.defer(use)]).flat_map(io.wait).run(None, on=cluster)
"""


class Program:
    """A program whose cluster has a large value in shared memory.

    Args:
        tmp_path: the directory of its script.
        has_journal: whether its cluster goes on when its coordinator is lost.
    """

    def __init__(self, tmp_path: Path, *, has_journal: bool = True) -> None:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        command = [sys.executable, str(script), *([] if has_journal else ["none"])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.processes = [psutil.Process(pid) for pid in processes_of(self._process.pid)]
        self.roots = directories_of(self._process.pid)

    def coordinator(self) -> psutil.Process:
        (found,) = [each for each in self.processes if each.name() == "distio-coord"]
        return found

    def kill_whole(self) -> None:
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for each in self.processes:
                with suppress(psutil.NoSuchProcess):  # some have ended before
                    act(each)
        with self._process:  # waits for its end, and closes the pipe
            pass
        psutil.wait_procs(self.processes, PATIENCE)


@pytest.fixture
def program(request: Any, tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, has_journal=getattr(request, "param", True))
    yield program
    program.kill_whole()


def are_there(roots: set[Path]) -> bool:
    assert roots
    return any(root.exists() for root in roots)


def test_directory_of_a_cluster_that_was_killed_whole_is_removed_by_the_next_one(
    program: Program,
) -> None:
    program.kill_whole()  # nobody is left who could remove it
    with Cluster.local(workers=1):
        assert not are_there(program.roots)


def test_directory_is_removed_though_the_program_was_killed(program: Program) -> None:
    program.processes[0].kill()
    until(lambda: not are_there(program.roots))


@pytest.mark.parametrize("program", [False], indirect=True, ids=["without a journal"])
def test_directory_is_removed_though_the_coordinator_was_killed(program: Program) -> None:
    program.coordinator().kill()
    until(lambda: not are_there(program.roots))


def directories_of(program: int) -> set[Path]:
    links = [link for pid in processes_of(program) for link in Path(f"/proc/{pid}/fd").glob("*")]
    found = set()
    for link in links:
        with suppress(OSError):
            path = link.readlink()
            if str(path).startswith("/dev/shm/distio-shared-"):
                found.add(Path(*path.parts[:4]))
    return found


# -- what the program is told -----------------------------------------------------------------


def test_program_is_told_once_of_a_large_value_that_a_function_captures(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    value_at = of_a_script(np.zeros(2_000_000))
    program = io.traverse_par(range(4), lambda place: io.defer(value_at, place))
    for _ in range(2):
        assert program.run(None, on=cluster) == Ok([0.0] * 4)
    assert [*map_plainly(value_at, range(4), on=cluster)] == [0.0] * 4
    told = [text for text in caplog.messages if "takes along" in text]
    assert len(told) == 1
    assert "function value_at (" in told[0]
    assert ", global variable 'table', takes along 16 MB, which each worker gets; " in told[0]
