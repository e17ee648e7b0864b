"""The programs by which batch systems are asked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from distio.errors import ClusterError

__all__ = ["ask", "tail"]

_ASK_SECONDS: Final = 60.0
_SHOWN_LINES: Final = 3
_TAIL_BYTES: Final = 8_192
_TAIL_LINES: Final = 10


def ask(system: str, command: Sequence[str], stdin: str = "") -> str:
    """Run a program of a batch system; return what it prints.

    Args:
        system: what it belongs to, in words.
        command: the program and its arguments.
        stdin: what it reads.

    Raises:
        ClusterError: it fails, isn't there, or takes too long.
    """
    shown = " ".join(command[:2])
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"there is no program {command[0]} on this machine; install that of {system}, or start "
            f"this program where it is"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{shown}` has not answered within {_ASK_SECONDS:g} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
        said = " / ".join(lines[-_SHOWN_LINES:]) or f"it exited with code {error.returncode}"
        raise ClusterError(f"{system} refuses `{shown} …`: {said}") from error
    return done.stdout


def tail(path: Path) -> str:
    """The last lines of a log; empty if it isn't there."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
