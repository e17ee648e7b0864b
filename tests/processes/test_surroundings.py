"""The tests pass in any surroundings.

In harsh surroundings, the tests that are most easily disturbed run without a terminal, in a copy
of this tree whose path has a space in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import PATIENCE

ROOT: Final = Path(__file__).parents[2]
NOBODY: Final = 65_534
CHOSEN: Final = [
    "tests/processes/test_smoke.py",
    "tests/processes/test_cli.py::test_signal_ends_a_program_after_its_releases",
    "tests/processes/test_cli.py::test_distio_run_prints_the_value_of_an_ok",
    "tests/processes/test_cli.py::test_functions_and_classes_of_a_file_travel_to_workers_and_back",
    "tests/docs/test_documents.py::test_readme_map_of_the_code_names_files_that_exist",
    "tests/processes/test_interrupts.py::test_signal_handler_of_the_program_itself_is_left_alone",
    "tests/processes/test_interrupts.py::test_ctrl_c_interrupts_a_blocking_call_on_the_main_thread",
    "tests/behaviour/test_laws.py::test_functor_identity",
    "tests/processes/test_processes.py::test_connect_to_an_address_without_a_listener_is_one_clear_sentence",
    "tests/processes/test_processes.py::test_local_cluster_has_its_socket_in_a_private_directory",
]
HARSH: Final = [
    'trap "" INT TERM',
    "export LC_ALL=C LANG=C",
    "umask 077",
    'export TMPDIR="$LONG"',
]
"""Signals are ignored, the language is C, new files are private, and names of temporary ones long.

The tests run once in all of these surroundings: each start of pytest takes seconds.
"""
INPUTS: Final = {
    "standard input is closed": "exec <&-",
    "standard input is empty": "exec </dev/null",
}


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """A copy of the tested files, which any user may read."""
    with tempfile.TemporaryDirectory(prefix="distio tests ", dir="/tmp") as name:
        os.chmod(name, 0o755)
        tree = Path(name, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*"))
        yield tree


def run_chosen(tree: Path, before: str, environment: Mapping[str, str], **user: Any) -> None:
    """Run the chosen tests by a shell that does `before` first."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    python_path = os.pathsep.join([str(tree / "worker"), *sys.path])
    done = subprocess.run(
        ["sh", "-c", f'{before}\nexec "$@"', "sh", sys.executable, "-m", "pytest", "-q", *CHOSEN],
        cwd=tree,
        env={**inherited, "PYTHONPATH": python_path, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        start_new_session=True,
        **user,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("given", INPUTS)
def test_chosen_tests_pass_in_harsh_surroundings(tree: Path, tmp_path: Path, given: str) -> None:
    long = tmp_path / ("long" * 38)
    long.mkdir()
    run_chosen(tree, "\n".join([*HARSH, INPUTS[given]]), {"LONG": str(long)})


@pytest.mark.slow
def test_chosen_tests_pass_in_a_tree_that_may_not_be_written(tree: Path) -> None:
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # root may write everywhere
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        try:
            subprocess.run([sys.executable, "-c", ""], check=True, **user)
        except PermissionError:
            pytest.skip(f"nobody but root may run {sys.executable}")
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o555)
    run_chosen(tree, ":", {"HOME": "/nonexistent"}, **user)
