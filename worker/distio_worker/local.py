"""A worker of `Cluster.local`: started by a program, imports as it does, ends with it.

The daemon for everything else is `distio_worker.main`; this one skips the command line's
libraries, because a program waits for it.
"""

from __future__ import annotations

import sys

from distio.errors import ClusterClosed, ClusterError
from distio.runtime.launching import hold_lifeline
from distio_worker.host import end, serve
from distio_worker.process import leave_interrupts_to_program, prepare_streams

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Read what `Cluster.local` says on the command line, and serve."""
    leave_interrupts_to_program()
    prepare_streams()
    url, _, threads, _, family, _, lifeline = arguments
    try:
        end(serve(url, int(threads), family, hold_lifeline(int(lifeline))))
    except ClusterClosed:
        end(0)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(1)
