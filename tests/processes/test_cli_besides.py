"""Commands besides their work: the shell completes `distio`, and the daemon has a version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import distio
from distio_worker.main import main

BASH = shutil.which("bash")

SCRIPT = r"""
distio --install-completion || exit
source "$HOME/.bashrc"
complete -p distio

completes() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _distio_completion distio
    echo "${COMPREPLY[*]}"
}
completes distio insp
completes distio journal comp
completes distio coordinator --keep-sn
"""


@pytest.mark.slow
@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_commands_and_options_when_asked_to(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(BASH), "-c", SCRIPT],
        env={**os.environ, "HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    *_, registered, command, subcommand, option = done.stdout.splitlines()
    assert registered == "complete -o default -F _distio_completion distio"
    assert (command, subcommand, option) == ("inspect", "compact", "--keep-snapshots"), done.stderr


def test_version_of_the_daemon_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"distio {distio.__version__}\n"
