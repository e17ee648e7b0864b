"""A worker of `Cluster.local`: started by a program, imports as it does, ends with it.

The daemon for everything else is `distio_worker.main`; this one skips the command line's
libraries, because a program waits for it.
"""

from __future__ import annotations

import signal
import sys

from distio.errors import ClusterClosed, ClusterError
from distio.runtime.launching import adopt_parent
from distio_worker.host import end, serve


def main() -> None:
    """Read what `Cluster.local` says on the command line, and serve."""
    # Ctrl-C in a terminal reaches the whole group; it is the program's to decide
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_parent()
    _, url, _, threads, _, family = sys.argv
    try:
        serve(url, int(threads), family, lifeline=0)
    except ClusterClosed:
        end(0)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(1)
    end(0)


if __name__ == "__main__":
    main()
