"""Starting the processes of a local cluster, and seeing how they end.

They are started as programs, never forked: no lock, thread or socket of the caller can leak into
them. Each lives as long as its standard input, a pipe that nobody writes to, stays open: when
this program ends, in whatever way, they see the end of the pipe. A child that this program forks
closes its copy of the pipe, so a process doesn't outlive the program for a child's sake.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from distio.errors import ClusterError
from distio.runtime.forks import close_in_children, without_forks

__all__ = ["PARENT", "describe_exit", "start_program"]

PARENT: Final = "DISTIO_PARENT"
"""The environment variable by which a worker learns what its parent can import."""


def start_program(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `python -m module` so that it can import what this program can.

    Raises:
        ClusterError: the module is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise ClusterError(f"the module {module} is not installed; install distio anew")
    environment = dict(os.environ)
    # relative entries and '' mean this program's working directory, which is inherited
    path = [os.path.abspath(entry) for entry in sys.path]
    parent = {"path": path, "pythonpath": os.environ.get("PYTHONPATH")}
    environment[PARENT] = json.dumps(parent)
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in path if os.pathsep not in entry)
    with without_forks():  # a child that another thread forks must not keep the pipe open
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            env=environment,
            cwd=Path.cwd(),
        )
        assert process.stdin is not None
        close_in_children(process.stdin)
    return process


def adopt_parent() -> None:
    """Import as the parent does, and leave no trace of it in the environment."""
    text = os.environ.pop(PARENT, None)
    if text is None:
        return
    parent = json.loads(text)
    sys.path[:] = parent["path"]
    if parent["pythonpath"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = parent["pythonpath"]


def describe_exit(code: int) -> str:
    """How a process ended, in words.

    >>> describe_exit(-9), describe_exit(3)
    ('killed by SIGKILL', 'exited with code 3')
    """
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exited with code {code}"
