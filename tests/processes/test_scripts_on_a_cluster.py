"""A script whose functions run on workers, as a user has it: run as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import os, pickle, shelve, sys, tempfile, typing
from concurrent.futures import ProcessPoolExecutor
from distio import Cluster, Ok, io

class Point:
    colour: "Colour"
    def __init__(self, x): self.x = x
class Colour: ...
def double(n): return 2 * n
def on_worker(f, *args):
    with Cluster.local(workers=1) as cluster:
        result = io.zip_par(io.defer(f, *args)).run(None, on=cluster)
    if not isinstance(result, Ok):
        print(result.exceptions[0].stack_trace)
        sys.exit("failed")
    return result.success[0]
HOME = os.getpid()
"""


def run(directory: Path, text: str, *arguments: str) -> str:
    """The output of a script."""
    script = directory / "job.py"
    script.write_text(PRELUDE + dedent(text))
    command = [sys.executable, *(arguments or (str(script),))]
    # the packages that a script needs are installed; the path of the tests is not its own
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_task_finds_the_script_in_main(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        def task():
            import __main__
            with tempfile.TemporaryDirectory() as place, shelve.open(place + "/kept") as kept:
                kept["point"] = Point(3)
                point = kept["point"]
            copy = pickle.loads(pickle.dumps(Point(4)))
            hints = typing.get_type_hints(Point)
            assert type(point) is type(copy) is Point is __main__.Point
            assert hints == {"colour": Colour}
            assert __main__.__file__ == __file__
            return os.getpid() != HOME, point.x, copy.x
        print(on_worker(task))
        """,
    )
    assert told == "(True, 3, 4)\n"


def test_task_may_have_a_process_pool_of_its_own(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        import multiprocessing
        def task(how):
            context = multiprocessing.get_context(how)
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                return pool.submit(double, 4).result(timeout=30)
        if __name__ == "__main__":
            print(on_worker(task, "fork"), on_worker(task, "spawn"))
        """,
    )
    assert told == "8 8\n"


@pytest.mark.parametrize("how", ["-c", "-", "-m"])
def test_program_without_a_script_runs_as_one_with_it(tmp_path: Path, how: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "prices.py").write_text("def of(dish): return len(dish)\n")
    text = """
        def task():
            PART
            return double(n), Point(1).x, __name__
        print(on_worker(task))
        """
    part = "from .prices import of; n = of('tea')" if how == "-m" else "n = 3"
    text = PRELUDE + dedent(text).replace("PART", part)
    (tmp_path / "shop" / "job.py").write_text(text)
    command = {"-c": ["-c", text], "-": ["-"], "-m": ["-m", "shop.job"]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input=text if how == "-" else "",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "(6, 1, '__main__')\n", done.stdout + done.stderr


def test_module_put_on_the_path_later_is_found(tmp_path: Path) -> None:
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart" / "late.py").write_text(
        "import later\ndef twice(n): return later.two * n\n"
    )
    (tmp_path / "apart" / "later.py").write_text("two = 2\n")
    told = run(
        tmp_path,
        """
        with Cluster.local(workers=1) as cluster:
            sys.path.insert(0, "apart")
            import late
            print(io.zip_par(io.defer(late.twice, 4)).run(None, on=cluster))
        """,
    )
    assert told == "Ok(success=(8,))\n"


def test_failure_on_a_worker_shows_file_line_and_source(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        def share(cakes, guests):
            return cakes / guests
        with Cluster.local(workers=1) as cluster:
            result = io.zip_par(io.defer(share, 1, 0)).run(None, on=cluster)
        print(result.exceptions[0].stack_trace)
        """,
    )
    assert f'File "{tmp_path / "job.py"}", line ' in told
    assert "in share\n    return cakes / guests\n" in told


def test_simulation_returns_objects_of_the_classes_of_the_script(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        from distio.testing import simulate
        kept = []
        def make(n):
            kept.append(n)
            return Point(n), double
        result = simulate(io.zip_par([io.defer(make, n) for n in range(3)])).result
        points = [point for point, _ in result.unsafe_get()]
        assert [type(point) for point in points] == [Point] * 3
        assert all(f is double for _, f in result.unsafe_get())
        print([point.x for point in points], kept)
        """,
    )
    assert told == "[0, 1, 2] []\n"
