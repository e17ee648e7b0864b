"""`distio drain`: have a worker leave its cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from distio.cli import report
from distio.cli.options import Keys, Url
from distio.coordination.membership.coordinator import LEFT
from distio.coordination.settings import GRACE_SECONDS
from distio.errors import ClusterClosed, ClusterError
from distio.runtime.interrupts import end_on_signals

__all__ = ["drain"]


def drain(
    worker: Annotated[
        str,
        typer.Argument(metavar="WORKER", help='The number of a worker, or its name: "worker 4 …".'),
    ],
    connect: Url,
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long what runs there may take; then the worker is lost, and its fibers go on "
            "as they were last saved.",
        ),
    ] = GRACE_SECONDS,
    keys: Keys = None,
) -> int:
    """Have a worker leave, and wait until its fibers go on at others.

    Steps that are under way end first. Then the process of the worker ends
    with exit code 0.
    """
    from distio.runtime.cluster import Cluster

    end_on_signals()
    try:
        with Cluster.connect(connect, keys=keys) as cluster:
            drained = cluster._host.inquiries.drain(worker, grace)
    except (ClusterError, ClusterClosed) as error:
        report.complain(error)
        return report.USAGE
    if not drained.worker:
        report.complain(f"there is no worker {worker!r}; {drained.reason}")
        return report.USAGE
    report.say(f"{drained.worker} {drained.reason}")
    return report.OK if drained.reason == LEFT else report.ERRORS
