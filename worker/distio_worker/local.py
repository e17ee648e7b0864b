"""A worker of `Cluster.local`: started by a program, imports as it does, ends with it.

The daemon for everything else is `distio_worker.main`; this one skips the command line's
libraries, because a program waits for it.
"""

from __future__ import annotations

import json
import sys

from distio.errors import ClusterClosed, ClusterError
from distio.runtime.launching import hold_lifeline, tell_started
from distio.runtime.link import LinkedHost
from distio.runtime.process_supervisor import LOST
from distio.runtime.systems import name_process
from distio.runtime.workers import Worker
from distio_worker.host import end, serve
from distio_worker.output import keep_lines_whole
from distio_worker.process import hold_black_box, leave_interrupts_to_program, prepare_streams

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Read what `Cluster.local` says on the command line, and serve."""
    url, equipment, family, start_seconds, accepts, serial, lifeline, stderr, box = arguments
    name_process("distio-worker")
    leave_interrupts_to_program()
    prepare_streams()

    def joined(host: LinkedHost) -> None:
        tell_started(int(stderr))
        keep_lines_whole()

    try:
        serve(
            url,
            Worker(**json.loads(equipment)),
            family=family,
            serial=int(serial),
            is_of_program=True,
            timeout=float(start_seconds),
            lifeline=hold_lifeline(int(lifeline)),
            joined=joined,
            black_box=hold_black_box(int(box)),
            accepts_other_code=bool(accepts),
        )
    except ClusterClosed:
        end(LOST)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(1)
    end(0)
