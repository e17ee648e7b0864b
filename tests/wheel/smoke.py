"""The first steps of newcomers with the wheel: in an environment of its own, with no checkout
near."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import distio
import distio_worker
from distio import Cluster, Ok, io

SCRIPTS = Path(sys.executable).parent
LONGEST_IMPORT_S = 0.1
TIME_OF_IMPORT = """
from time import perf_counter
began = perf_counter()
import distio
print(perf_counter() - began)
"""
TEST_OF_A_USER = """
from distio import Ok, io

def test_sum_is_right(cluster_simulation):
    main = io.zip_par(io.pure(1), io.pure(2)).map(sum)
    cluster_simulation(main, None, lambda run: run.result == Ok(3))
"""


def printed_by(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packages_are_those_of_the_wheel_and_have_types() -> None:
    for module in (distio, distio_worker):
        home = Path(str(module.__file__)).parent
        assert home.is_relative_to(sys.prefix), home
        assert (home / "py.typed").exists()


def import_takes_no_longer_than_promised() -> None:
    times = [float(printed_by(sys.executable, "-c", TIME_OF_IMPORT)) for _ in range(5)]
    assert min(times) <= LONGEST_IMPORT_S, times


def commands_say_what_they_are() -> None:
    assert printed_by(SCRIPTS / "distio", "--version").split()[-1] == version("distio")
    assert "Host fibers" in printed_by(SCRIPTS / "distio-worker", "--help")


def programs_run_here_and_on_a_cluster() -> None:
    main = io.zip_par([io.defer(pow, n, 2) for n in range(10)]).map(sum)
    assert main.run(None) == Ok(285)
    with Cluster.local(workers=2) as cluster:
        assert main.run(None, on=cluster) == Ok(285)
        assert cluster.submit(main, None).result(timeout=60) == Ok(285)


def pytest_has_the_fixture() -> None:
    Path("test_of_a_user.py").write_text(TEST_OF_A_USER)
    printed = printed_by(sys.executable, "-m", "pytest", "--quiet", "test_of_a_user.py")
    assert "1 passed" in printed, printed


for check in (
    packages_are_those_of_the_wheel_and_have_types,
    import_takes_no_longer_than_promised,
    commands_say_what_they_are,
    programs_run_here_and_on_a_cluster,
    pytest_has_the_fixture,
):
    check()
    print("ok:", check.__name__.replace("_", " "), flush=True)
