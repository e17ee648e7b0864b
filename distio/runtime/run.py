"""The one door from a program to what runs it."""

from __future__ import annotations

from typing import Any

from distio.core.ops.base import IO
from distio.result import Result

__all__ = ["run"]


def run(io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any) -> Result[Any, Any]:
    """Run `io` in this process, or with its children on the cluster `on`."""
    if on is None:
        from distio.runtime.local import run_in_process

        return run_in_process(io, context, max(1, pool_size))
    from distio.runtime.cluster import Cluster

    if not isinstance(on, Cluster):
        raise TypeError(f"run: `on` takes a Cluster, but got {on!r} of type {type(on).__name__}")
    return on.run(io, context)
