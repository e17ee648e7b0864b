"""`distio coordinator`: the daemon that a cluster has around it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distio.cli import report
from distio.cli.options import (
    Keys,
    LogFormatOption,
    LogLevelOption,
    is_typed,
    seconds,
    seconds_from_zero,
)
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.coordination.settings import GRACE_SECONDS, KEEP_SECONDS, MAX_LOSSES, MAX_MEMBERS
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.coordination.state.unread import MOST_UNREAD_BYTES
from distio.errors import ClusterError
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.interrupts import end_on_signals
from distio.runtime.journal.limits import CUT_SECONDS, Limits
from distio.runtime.log_format import LogFormat, LogLevel, set_up_logs
from distio.runtime.telling import tell_at_sigusr1

__all__ = ["coordinator"]


class _Sync(StrEnum):
    PROCESS = "process"
    POWER = "power"


def coordinator(
    context: typer.Context,
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
    max_members: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="How many clients and workers there may be at one time; others are refused.",
        ),
    ] = MAX_MEMBERS,
    snapshot_memory: Annotated[
        int,
        typer.Option(
            metavar="MIB",
            min=0,
            help="How many MiB of snapshots and outcomes are kept in memory; the rest is in a "
            "temporary file.",
        ),
    ] = IN_MEMORY_BYTES >> 20,
    unread_memory: Annotated[
        int,
        typer.Option(
            metavar="MIB",
            min=1,
            help="How many MiB of messages a member may have before it that it has not read. With "
            "more, runs that have something for it are slowed; it is lost if it reads nothing.",
        ),
    ] = MOST_UNREAD_BYTES >> 20,
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
    keys: Keys = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="On loopback alone: have no keys, and let every user of this machine run programs "
            "as you.",
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

    It lets in whoever has a key that is on its list (see `distio keygen`).
    At an ipc address it needs none: nobody but you can connect there.

    Workers join it with `distio-worker URL`; programs run on it with
    `distio run FILE --connect URL`, or in Python with `Cluster.connect(URL)`.
    """
    from distio.cli.journal import opened
    from distio.runtime.coordinator_options import CoordinatorOptions
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
    try:
        are_typed = is_typed(context, "keys")
        folder = _keys_for(bind, keys, are_typed=are_typed, is_insecure=insecure)
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    set_up_logs(log_level, log_format)
    end_on_signals()  # while it stands by
    tell_at_sigusr1()
    try:
        is_done = serve(
            bind,
            _say_ready,
            CoordinatorOptions(
                grace=grace,
                patience=patience,
                absence=absence,
                max_losses=max_losses,
                max_members=max_members,
                snapshot_memory=snapshot_memory << 20,
                unread_memory=unread_memory << 20,
                outage=outage,
                keep_seconds=keep_for,
                keys=folder,
                is_insecure=insecure,
            ),
            journal=None
            if journal is None
            else opened(
                journal,
                bind,
                Limits(cuts=keep_snapshots, seconds=snapshot_every),
                is_power_safe=sync is _Sync.POWER,
                stands_by=standby,
                takes_over=take_over,
                has_keys=folder is not None,
                is_insecure=insecure,
            ),
            metrics=metrics,
        )
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    return report.OK if is_done else report.ERRORS


def _keys_for(bind: str, keys: Path | None, *, are_typed: bool, is_insecure: bool) -> Path | None:
    """The folder of the keys of a coordinator that is to listen there; None: it needs none.

    Those that the environment or the file names are for whichever coordinator needs some.

    Raises:
        ClusterError: the options contradict each other.
    """
    from distio.runtime.addresses import ipc_path

    if are_typed and ipc_path(bind) is not None:
        raise ClusterError(
            f"--keys are for tcp addresses, but {bind} is a file that nobody but you can open; "
            f"leave --keys out"
        )
    if are_typed and is_insecure:
        raise ClusterError("--insecure means that there are no keys; leave it out, or --keys")
    if ipc_path(bind) is not None:
        return None
    if is_insecure:
        report.complain(
            "--insecure: every user of this machine who finds the port can run programs as you"
        )
        return None
    return keys


def _say_ready(url: str) -> None:
    from distio.runtime.addresses import url_to_join

    report.say(f"The coordinator is ready at {url}; join it with: distio-worker {url_to_join(url)}")
