"""The command line: `distio run`, `coordinator`, `drain`; other modules have the rest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from distio.cli import named, observe, report
from distio.cli.check import check
from distio.cli.configuration import config, defaults_of
from distio.cli.coordinator import coordinator
from distio.cli.fork import fork
from distio.cli.inspect import inspect
from distio.cli.journal import journal_app
from distio.cli.keys import keygen, keys_app
from distio.cli.options import (
    URL_VARIABLE,
    Keys,
    Url,
    is_typed,
    seconds,
    seconds_from_zero,
)
from distio.cli.up import down, up
from distio.coordination.endings.coordinator import GRACE_SECONDS
from distio.coordination.membership.coordinator import LEFT
from distio.errors import ClusterClosed, ClusterError, MatchError, NotPicklable
from distio.protocol.messages import StartRun
from distio.runtime.configuration import BadConfiguration
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.interrupts import Terminated, end_on_sigterm
from distio.runtime.launching import fill_standard_streams

if TYPE_CHECKING:
    from distio.runtime.cluster import Cluster

__all__ = ["main"]

_UsageProblem: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""ClickException: of click, or of the copy of it that later versions of typer carry."""

app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.add_typer(journal_app, name="journal")
app.add_typer(keys_app, name="keys")
app.command()(coordinator)
app.command(epilog="Exits with 0, or with 64 if the folder can't be made.")(keygen)
app.command(
    epilog="Exits with 0 when all workers have joined, or with 64 if the cluster can't be started."
)(up)
app.command(
    epilog="Exits with 0 when the cluster has ended, or with 1 if there is none, or it doesn't end."
)(down)


def main() -> NoReturn:
    """The console script."""
    fill_standard_streams()
    try:
        command: Any = typer.main.get_command(app)
        defaults = defaults_of(command)
        code = report.finish(
            command(standalone_mode=False, prog_name="distio", default_map=defaults)
        )
    except BadConfiguration as error:
        report.complain(error)
        code = report.USAGE
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
    context: typer.Context,
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
            envvar=URL_VARIABLE,
            show_default=False,
            help="Run on the cluster of this coordinator; start no workers. Packages that the file "
            "imports have to be installed there; modules beside it travel along.",
        ),
    ] = None,
    ship: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="Send this code to the workers: a package, a directory with modules in it, a "
            "module, a wheel or a zip file. May be given several times.",
        ),
    ] = None,
    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric",
            help="Under srun or mpirun, which start this command many times: the process of rank 0 "
            "runs the program, and the others are its workers.",
        ),
    ] = False,
    directory: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="With --symmetric: a directory that all hosts share, where the processes find "
            "each other; by default ~/.distio.",
        ),
    ] = None,
    bind: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="With --symmetric: where rank 0 listens, tcp://ADDRESS:PORT.",
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
            callback=seconds,
            show_default=False,
            help="With --connect: how long the coordinator may give no sign of life, because it is "
            f"stopped or cut off, before it is lost; by default {PATIENCE_SECONDS:g}.",
        ),
    ] = None,
    retry: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=seconds_from_zero,
            show_default=False,
            help="With --connect: how long to try again when there is no coordinator yet; by "
            "default 0: not at all.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="With --connect: run all of it on the workers, under this name. The run goes on "
            "when this process ends; the same program under the same name is the same run.",
        ),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="With --name: don't wait for the end; see distio attach."),
    ] = False,
    keep_for: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            callback=seconds_from_zero,
            show_default=False,
            help="With --name: how long the outcome is kept; by default the coordinator says.",
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="With --name: forget the outcome of an earlier run."),
    ] = False,
    keys: Keys = None,
) -> int:
    """Run the program of a file, and print its value.

    Its context is None. The file is loaded as a module is: what it does only
    when it is run as a script, it doesn't do now.
    """
    from distio.cli.programs import ProgramFailed, UsageError, load_program

    if not is_typed(context, "connect") and is_typed(context, "workers", "threads", "grace"):
        connect = None  # where it runs is typed, and comes before what is configured
    if symmetric and (workers, connect, patience, retry, name) != (None,) * 5:
        report.complain(
            "--symmetric runs on the processes that srun or mpirun has started; leave it out, or "
            "leave out --workers, --connect, --patience, --retry and --name"
        )
        return report.USAGE
    if not symmetric and (directory, bind) != (None, None):
        report.complain("--directory and --bind say how the processes of --symmetric meet")
        return report.USAGE
    if connect is not None and (workers, threads, grace) != (None, None, None):
        report.complain(
            "--connect runs on workers that are there already; "
            "leave it out, or leave out --workers, --threads and --grace"
        )
        return report.USAGE
    if connect is None and (patience, retry, keys) != (None, None, None):
        report.complain(
            "--patience, --retry and --keys say how to reach a cluster that is there already; "
            "add --connect URL, or leave them out"
        )
        return report.USAGE
    if name is None and (detach, keep_for, replace) != (False, None, False):
        report.complain("--detach, --keep-for and --replace are for runs with a --name")
        return report.USAGE
    if name is not None and connect is None:
        report.complain(
            "a run with a --name outlives this process, on a cluster that is there already; "
            "add --connect URL, or leave --name out"
        )
        return report.USAGE
    place: _Here | _Elsewhere | _Symmetric
    paths = tuple(ship or ())
    if symmetric:
        place = _Symmetric(threads or 1, GRACE_SECONDS if grace is None else grace, directory, bind)
    elif connect is None:
        place = _Here(workers, threads or 1, GRACE_SECONDS if grace is None else grace, paths)
    else:
        place = _Elsewhere(connect, patience or PATIENCE_SECONDS, retry or 0.0, keys, paths)
    end_on_sigterm()
    try:
        program = load_program(file, args or [])
        if name is not None and isinstance(place, _Elsewhere):
            options = {"name": name, "keep_for": keep_for, "replace": replace}
            return place.submit(program, options, detach=detach)
        outcome = place.run(program)
    except (UsageError, ClusterError, MatchError, NotPicklable) as error:
        report.complain(error)
        return report.USAGE
    except OSError as error:  # from a path that was to be sent along
        report.complain(f"can't read {error.filename!r}: {error.strerror}")
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
    ship: Sequence[str]

    def run(self, program: Any) -> Any:
        if self.workers == 0:
            from distio.runtime.local import LocalHost

            return LocalHost(self.threads, self.grace).run(program, None)

        from distio.runtime.cluster import Cluster

        with Cluster.local(self.workers, self.threads, grace=self.grace) as cluster:
            cluster.ship(*self.ship)
            return program.run(None, on=cluster)


@dataclass(frozen=True)
class _Symmetric:
    """On the processes that an engine has started; of these, only that of rank 0 comes here."""

    threads: int
    grace: float
    directory: str | None
    bind: str | None

    def run(self, program: Any) -> Any:
        from distio.runtime.cluster import Cluster

        options: dict[str, Any] = {"directory": self.directory, "bind": self.bind or ""}
        with Cluster.symmetric(self.threads, grace=self.grace, **options) as cluster:
            return program.run(None, on=cluster)


@dataclass(frozen=True)
class _Elsewhere:
    """On the cluster of a coordinator."""

    url: str
    patience: float
    retry: float
    keys: Path | None
    ship: Sequence[str]

    def run(self, program: Any) -> Any:
        with self._cluster() as cluster:
            cluster._host.require_role(StartRun(0))  # else it is a Panic
            cluster.ship(*self.ship)
            return program.run(None, on=cluster)

    def submit(self, program: Any, options: dict[str, Any], *, detach: bool) -> int:
        """Run it under a name, and wait for its end, unless it is to be detached."""
        with self._cluster() as cluster:
            cluster.ship(*self.ship)
            run = cluster.submit(program, None, **options)
            if not detach:
                return named.wait_for(run, self.url)
            named.goes_on(run, self.url)
            return report.OK

    def _cluster(self) -> Cluster:
        from distio.runtime.cluster import Cluster

        return Cluster.connect(self.url, patience=self.patience, retry=self.retry, keys=self.keys)


@app.command(
    epilog="Exits with 0 when the worker has left, 1 if it was lost before it had, 64 if there is "
    "no such worker or the cluster can't be joined."
)
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

    end_on_sigterm()
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


app.command(
    epilog="Exits with 0 if all fibers can go on as they are, 1 if something has changed, 64 if "
    "the journal can't be read."
)(check)
app.command(
    epilog="Exits with 0, or with 64 if the journal can't be read, or has no such run or fiber."
)(inspect)
app.command(
    epilog="Exits with 0, or with 64 if a journal can't be read or made, or the run can't go on "
    "from there."
)(fork)


@app.command()
def version() -> int:
    """Print the version."""
    from importlib import metadata

    report.say(f"distio {metadata.version('distio')}")
    return report.OK


def _version_and_exit(is_asked: bool) -> None:
    if is_asked:
        raise typer.Exit(version())


named.register(app)
observe.register(app)
app.command(epilog="Exits with 0, or 64 if something there is unknown.")(config)


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
