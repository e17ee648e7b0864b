"""The command line: `distio run`, `distio coordinator`, `distio drain`, and so on."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from distio.cli import report
from distio.cli.check import check
from distio.cli.inspect import inspect
from distio.coordination.endings.coordinator import GRACE_SECONDS
from distio.coordination.membership.coordinator import LEFT
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.coordination.recovery.coordinator import MAX_LOSSES
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.errors import ClusterClosed, ClusterError
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.interrupts import Terminated, end_on_sigterm
from distio.runtime.launching import fill_standard_streams

__all__ = ["main"]

_UsageProblem: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""ClickException: of click, or of the copy of it that later versions of typer carry."""

app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


class _Sync(StrEnum):
    PROCESS = "process"
    POWER = "power"


def _seconds(number: float | None) -> float | None:
    if number is not None and not 0 < number < math.inf:
        raise typer.BadParameter("give a number of seconds above 0")
    return number


def _seconds_from_zero(number: float | None) -> float | None:
    if number is not None and not 0 <= number < math.inf:
        raise typer.BadParameter("give a number of seconds from 0")
    return number


def main() -> NoReturn:
    """The console script."""
    fill_standard_streams()
    try:
        code = report.finish(app(standalone_mode=False, prog_name="distio"))
    except _UsageProblem as problem:
        problem.show()  # type: ignore[attr-defined]  # the class is known at run time only
        code = report.USAGE
    except (typer.Abort, KeyboardInterrupt):
        report.complain("interrupted")
        code = report.INTERRUPTED
    except Terminated:
        report.complain("terminated")
        code = report.TERMINATED
    except report.OutputFailed as failure:
        code = report.output_failed(failure.__cause__)
    except OSError as error:  # the text of --help could not be written
        code = report.output_failed(error)
    sys.exit(code)


@app.command(
    epilog="Exits with 0 for Ok, 1 for Errors, 2 for a Panic, 64 if it can't be run as asked, 130 "
    "at Ctrl-C and 143 at SIGTERM, when all has been released."
)
def run(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:NAME]",
            help="A Python file and the name of an IO in it, or of a function that returns one; "
            "NAME is main unless given.",
        ),
    ],
    args: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARGS", help="Put -- before them. The function is called with them, as strings."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            show_default=False,
            help="Worker processes to start; by default one for each core. 0: run on threads of "
            "this process.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="Threads of each worker, or of this process if --workers is 0; by default 1.",
        ),
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="Run on the cluster of this coordinator; start no workers. What the file imports "
            "has to be installed there, the modules beside it too.",
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            show_default=False,
            help="How long the program may take to release what it holds when it is interrupted "
            f"or deadlocked; by default {GRACE_SECONDS:g}. With --connect, its coordinator says.",
        ),
    ] = None,
    patience: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds,
            show_default=False,
            help="With --connect: how long the coordinator may give no sign of life, because it is "
            f"stopped or cut off, before it is lost; by default {PATIENCE_SECONDS:g}.",
        ),
    ] = None,
    retry: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds_from_zero,
            show_default=False,
            help="With --connect: how long to try again when there is no coordinator yet; by "
            "default 0: not at all.",
        ),
    ] = None,
) -> int:
    """Run the program of a file, and print its value.

    Its context is None. The file is loaded as a module is: what it does only
    when it is run as a script, it doesn't do now.
    """
    from distio.cli.programs import ProgramFailed, UsageError, load_program

    if connect is not None and (workers, threads, grace) != (None, None, None):
        report.complain(
            "--connect runs on workers that are there already; "
            "leave it out, or leave out --workers, --threads and --grace"
        )
        return report.USAGE
    if connect is None and (patience, retry) != (None, None):
        report.complain(
            "--patience and --retry say how to reach a cluster that is there already; "
            "add --connect URL, or leave them out"
        )
        return report.USAGE
    place: _Here | _Elsewhere
    if connect is None:
        place = _Here(workers, threads or 1, GRACE_SECONDS if grace is None else grace)
    else:
        place = _Elsewhere(connect, patience or PATIENCE_SECONDS, retry or 0.0)
    end_on_sigterm()
    try:
        program = load_program(file, args or [])
        outcome = place.run(program)
    except (UsageError, ClusterError) as error:
        report.complain(error)
        return report.USAGE
    except ProgramFailed as failure:
        report.print_error(str(failure).rstrip("\n"))
        return report.PANIC
    except KeyboardInterrupt:
        report.complain("interrupted")
        return report.INTERRUPTED
    return report.report(outcome)


@dataclass(frozen=True)
class _Here:
    """On threads of this process, or on a local cluster."""

    workers: int | None
    threads: int
    grace: float

    def run(self, program: Any) -> Any:
        if self.workers == 0:
            from distio.runtime.local import LocalHost

            return LocalHost(self.threads, self.grace).run(program, None)

        from distio.runtime.cluster import Cluster

        with Cluster.local(self.workers, self.threads, grace=self.grace) as cluster:
            return program.run(None, on=cluster)


@dataclass(frozen=True)
class _Elsewhere:
    """On the cluster of a coordinator."""

    url: str
    patience: float
    retry: float

    def run(self, program: Any) -> Any:
        from distio.runtime.cluster import Cluster

        with Cluster.connect(self.url, patience=self.patience, retry=self.retry) as cluster:
            return program.run(None, on=cluster)


@app.command()
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
            callback=_seconds,
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
            callback=_seconds_from_zero,
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
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="A directory in which all that the coordinator is told is kept, before anybody "
            "hears what follows from it. If the coordinator ends in any way, start it again with "
            "the same directory: members come back, and runs go on.",
        ),
    ] = None,
    sync: Annotated[
        _Sync,
        typer.Option(
            help="With --journal, what it survives: the end of the process in any way, or a loss "
            "of power as well, which takes a write to the disk for each commit.",
        ),
    ] = _Sync.PROCESS,
    outage: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds,
            help="With --journal: how long members wait when the coordinator is gone.",
        ),
    ] = OUTAGE_SECONDS,
) -> int:
    """Run the coordinator of a cluster, until it is interrupted or told to end (SIGTERM).

    Then runs that go on are cancelled, and it ends when they have released
    what they hold. A second signal ends it at once. With --journal it ends
    at once, and runs go on when it is started again.

    Workers join it with `distio-worker URL`; programs run on it with
    `distio run FILE --connect URL`, or in Python with `Cluster.connect(URL)`.
    """
    from distio.runtime.coordinator_process import log, serve
    from distio.runtime.journal.journal import Journal

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
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
            else Journal(journal, is_power_safe=sync is _Sync.POWER, complain=log.warning),
            outage=outage,
        )
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    return report.OK if is_done else report.ERRORS


@app.command(
    epilog="Exits with 0 when the worker has left, 1 if it was lost before it had, 64 if there is "
    "no such worker or the cluster can't be joined."
)
def drain(
    worker: Annotated[
        str,
        typer.Argument(metavar="WORKER", help='The number of a worker, or its name: "worker 4 …".'),
    ],
    connect: Annotated[
        str, typer.Option(metavar="URL", help="Where the coordinator of the cluster listens.")
    ],
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long what runs there may take; then the worker is lost, and its fibers go on "
            "as they were last saved.",
        ),
    ] = GRACE_SECONDS,
) -> int:
    """Have a worker leave, and wait until its fibers go on at others.

    Steps that are under way end first. Then the process of the worker ends
    with exit code 0.
    """
    from distio.runtime.cluster import Cluster

    end_on_sigterm()
    try:
        with Cluster.connect(connect) as cluster:
            drained = cluster._host.drain(worker, grace)
    except (ClusterError, ClusterClosed) as error:
        report.complain(error)
        return report.USAGE
    if not drained.worker:
        report.complain(f"there is no worker {worker!r}; {drained.reason}")
        return report.USAGE
    report.say(f"{drained.worker} {drained.reason}")
    return report.OK if drained.reason == LEFT else report.ERRORS


def _say_ready(url: str) -> None:
    report.say(f"The coordinator is ready at {url}; join it with: distio-worker {url}")


app.command(
    epilog="Exits with 0 if all fibers can go on as they are, 1 if something has changed, 64 if "
    "the journal can't be read."
)(check)
app.command(
    epilog="Exits with 0, or with 64 if the journal can't be read, or has no such run or fiber."
)(inspect)


@app.command()
def version() -> int:
    """Print the version."""
    from importlib import metadata

    report.say(f"distio {metadata.version('distio')}")
    return report.OK


def _version_and_exit(is_asked: bool) -> None:
    if is_asked:
        raise typer.Exit(version())


@app.callback()
def distio(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version_and_exit, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run concurrent Python programs on threads, on all cores, or on a cluster."""


if __name__ == "__main__":
    main()
