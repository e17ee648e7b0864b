"""A head start for the fork server: it imports while this process still imports, too."""

from __future__ import annotations

from contextlib import suppress

from distio.errors import ClusterError
from distio.runtime.launching import WORKER, Program
from distio.runtime.python_options import python_options

__all__ = ["give_head_start"]


def give_head_start() -> None:
    """Have the fork server start that workers of this program will need.

    If it can't start, that is told when they are started.
    """
    with suppress(ClusterError, OSError):
        Program(WORKER, options=python_options(), fork_seconds=0.0).prepare()
