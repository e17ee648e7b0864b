"""Run a script with its programs on a cluster: `python on_cluster.py URL SCRIPT`.

What the script runs without `on=` runs on the cluster that listens at URL, as if the script had
named it. Everything else is as if Python itself had been given the script.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

from distio import IO, Cluster, Result
from distio.runtime import run as door


def main() -> None:
    url, script = sys.argv[1:]
    runs = 0
    run_there = door.run
    with Cluster.connect(url) as cluster:

        def run(io: IO[Any, Any, Any], context: Any, pool_size: int, on: Any) -> Result[Any, Any]:
            nonlocal runs
            runs += on is None
            return run_there(io, context, pool_size, cluster if on is None else on)

        door.run = run
        runpy.run_path(script, run_name="__main__")
    if not runs:
        sys.exit("nothing ran on the cluster")


if __name__ == "__main__":
    main()
