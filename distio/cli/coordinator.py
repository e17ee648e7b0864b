"""`distio coordinator`: the daemon that a cluster has around it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from distio.cli import report
from distio.cli.options import LogFormatOption, LogLevelOption, seconds, seconds_from_zero
from distio.coordination.durable.coordinator import KEEP_SECONDS
from distio.coordination.endings.coordinator import GRACE_SECONDS
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.coordination.recovery.coordinator import MAX_LOSSES
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.errors import ClusterError
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.interrupts import end_on_sigterm
from distio.runtime.journal.limits import CUT_SECONDS, Limits
from distio.runtime.log_format import LogFormat, LogLevel, set_up_logs
from distio.runtime.telling import tell_at_sigusr1

__all__ = ["coordinator"]


class _Sync(StrEnum):
    PROCESS = "process"
    POWER = "power"


def coordinator(
    bind: Annotated[
        str, typer.Option(metavar="URL", help="Where to listen; port 0: any that is free.")
    ] = "tcp://127.0.0.1:7077",
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long a run that is ended may take to release what it holds.",
        ),
    ] = GRACE_SECONDS,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds,
            help="How long a member may give no sign of life, because it is stopped or cut off, "
            "before it is lost.",
        ),
    ] = PATIENCE_SECONDS,
    max_losses: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="How many workers may be lost while they step a fiber, before that is lost too.",
        ),
    ] = MAX_LOSSES,
    absence: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds_from_zero,
            help="How long a member whose connection broke may take to come back before it is "
            "lost; nothing is lost meanwhile. 0: it never comes back.",
        ),
    ] = ABSENCE_SECONDS,
    snapshot_memory: Annotated[
        int,
        typer.Option(
            metavar="MIB",
            min=0,
            help="How many MiB of snapshots and outcomes are kept in memory; the rest is in a "
            "temporary file.",
        ),
    ] = IN_MEMORY_BYTES >> 20,
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="A directory in which all that the coordinator is told is kept, before anybody "
            "hears what follows from it; or the URL of a PostgreSQL database. If the coordinator "
            "ends in any way, start it again with "
            "the same journal: members come back, and runs go on.",
        ),
    ] = None,
    sync: Annotated[
        _Sync,
        typer.Option(
            help="With --journal, what it survives: the end of the process in any way, or a loss "
            "of power as well, which takes a write to the disk for each commit.",
        ),
    ] = _Sync.PROCESS,
    keep_snapshots: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="With --journal: how many cuts are kept. A cut has all runs as they were at one "
            "moment; `distio inspect RUN --cut N` looks at it.",
        ),
    ] = 0,
    snapshot_every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds,
            help="With --keep-snapshots: a cut is made so long after something has changed.",
        ),
    ] = CUT_SECONDS,
    outage: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds,
            help="With --journal: how long members wait when the coordinator is gone.",
        ),
    ] = OUTAGE_SECONDS,
    keep_for: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds_from_zero,
            help="How long the outcome of a named run is kept after its end, unless the client "
            "that submits it says otherwise.",
        ),
    ] = KEEP_SECONDS,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="With --journal: if another coordinator holds it, wait until that one has ended, "
            "and go on from there at once.",
        ),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="With --journal: go on at another address though a coordinator that hangs holds "
            "it; that one can do nothing any more, and ends when it notices.",
        ),
    ] = False,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            show_default=False,
            help="Serve /metrics, for Prometheus, and /healthz at this address of this machine; by "
            "default nowhere.",
        ),
    ] = "",
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> int:
    """Run the coordinator of a cluster, until it is interrupted or told to end (SIGTERM).

    Then runs that go on are cancelled, and it ends when they have released
    what they hold. A second signal ends it at once. With --journal it ends
    at once, and runs go on when it is started again.

    Workers join it with `distio-worker URL`; programs run on it with
    `distio run FILE --connect URL`, or in Python with `Cluster.connect(URL)`.
    """
    from distio.cli.journal import opened
    from distio.runtime.coordinator_process import serve

    if journal is None and (standby or take_over):
        report.complain("--standby and --take-over say what to do with a journal; add --journal")
        return report.USAGE
    if journal is None and keep_snapshots:
        report.complain("--keep-snapshots keeps them in a journal; add --journal")
        return report.USAGE
    if standby and take_over:
        report.complain("--standby waits for a coordinator, --take-over doesn't; leave one out")
        return report.USAGE
    set_up_logs(log_level, log_format)
    end_on_sigterm()  # while it stands by
    tell_at_sigusr1()
    try:
        is_done = serve(
            bind,
            _say_ready,
            grace=grace,
            patience=patience,
            absence=absence,
            max_losses=max_losses,
            snapshot_memory=snapshot_memory << 20,
            journal=None
            if journal is None
            else opened(
                journal,
                bind,
                Limits(cuts=keep_snapshots, seconds=snapshot_every),
                is_power_safe=sync is _Sync.POWER,
                stands_by=standby,
                takes_over=take_over,
            ),
            outage=outage,
            keep_seconds=keep_for,
            metrics=metrics,
        )
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    return report.OK if is_done else report.ERRORS


def _say_ready(url: str) -> None:
    report.say(f"The coordinator is ready at {url}; join it with: distio-worker {url}")
