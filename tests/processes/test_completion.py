"""The shell completes commands and options of `distio`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
