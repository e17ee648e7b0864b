"""The tests pass whatever surrounds them.

In harsh surroundings, those tests are run that are most easily disturbed. All of it
happens without a terminal, in a copy of this tree whose path has a space in it.
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
    "tests/processes/test_cli.py::test_a_signal_ends_a_program",
    "tests/processes/test_cli.py::test_the_value_of_an_ok_is_printed",
    "tests/processes/test_cli.py::test_what_a_file_defines_travels_to_workers_and_back",
    "tests/docs/test_documents.py::test_the_map_of_the_code_is_true",
    "tests/processes/test_interrupts.py::test_a_handler_of_the_program_itself_is_left_alone",
    "tests/processes/test_interrupts.py::test_ctrl_c_interrupts_what_blocks_the_main_thread",
    "tests/behaviour/test_laws.py::test_functor_identity",
    "tests/processes/test_processes.py::test_an_address_where_nobody_listens_is_one_clear_sentence",
    "tests/processes/test_processes.py::test_the_socket_of_a_local_cluster_lies_in_a_private_directory",
]
HARSH: Final = [
    'trap "" INT TERM',
    "export LC_ALL=C LANG=C",
    "umask 077",
    'export TMPDIR="$LONG"',
]
"""Signals are ignored, the language is C, new files are private, and names of temporary ones long.

All of it at once: each start of pytest takes seconds, and none of these makes up for another.
"""
INPUTS: Final = {
    "standard input is closed": "exec <&-",
    "standard input is empty": "exec </dev/null",
}


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """A copy of what is tested, which everybody may read."""
    with tempfile.TemporaryDirectory(prefix="distio tests ", dir="/tmp") as name:
        os.chmod(name, 0o755)
        tree = Path(name, "tree")
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__"))
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
def test_what_is_easily_disturbed_passes_where_all_is_harsh(
    tree: Path, tmp_path: Path, given: str
) -> None:
    long = tmp_path / ("long" * 38)
    long.mkdir()
    run_chosen(tree, "\n".join([*HARSH, INPUTS[given]]), {"LONG": str(long)})


@pytest.mark.slow
def test_it_passes_in_a_tree_that_may_not_be_written(tree: Path) -> None:
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
