"""Run a script with its programs on a cluster: `python on_cluster.py URL SCRIPT`.

Programs that the script runs without `on=` run on the cluster whose coordinator listens at URL.
Everything else is as if Python itself had been given the script.
"""

from __future__ import annotations

import runpy
import sys
from contextlib import ExitStack
from functools import cache
from typing import Any

from distio import IO, Cluster, Result
from distio.runtime import run as door


def main() -> None:
    url, script = sys.argv[1:]
    run_there = door.run
    with ExitStack() as stack:

        @cache
        def cluster() -> Cluster:
            """Join the cluster late: the script may fork, which is no good with threads."""
            return stack.enter_context(Cluster.connect(url))

        def run(
            io: IO[Any, Any, Any],
            context: Any,
            pool_size: int,
            on: Any,
            has: Any = None,
            progress: Any = None,
        ) -> Result[Any, Any]:
            on = cluster() if on is None else on
            return run_there(io, context, pool_size, on, None, progress)

        door.run = run
        runpy.run_path(script, run_name="__main__")
        if not cluster.cache_info().currsize:
            sys.exit("nothing ran on the cluster: say in the document why it is for threads")


if __name__ == "__main__":
    main()
