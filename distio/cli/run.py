"""`distio run`: run the program of a file on threads, on local workers, or on a cluster.

Rules
-----
- A program runs at one place. Options that say how to reach another place, or what to start there,
  contradict the choice, and nothing is run.
- A place that is typed comes before one that is configured.
- A mistake that isn't the program's (the file, the options, the cluster) exits as wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distio.cli import named, report
from distio.cli.options import URL_VARIABLE, Keys, is_typed, seconds, seconds_from_zero
from distio.coordination.settings import GRACE_SECONDS
from distio.errors import ClusterError, MatchError, NotPicklable
from distio.protocol.messages import StartRun
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.interrupts import end_on_signals

if TYPE_CHECKING:
    from distio import NamedRun
    from distio.runtime.cluster import Cluster

__all__ = ["run"]


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
    progress: Annotated[
        bool,
        typer.Option(
            "--progress",
            help="Show on stderr how many fibers have ended: a bar on a terminal, else a line now "
            "and then; see DISTIO_PROGRESS.",
        ),
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
    given = {
        option
        for option, value in {
            "symmetric": symmetric,
            "directory": directory,
            "bind": bind,
            "workers": workers,
            "threads": threads,
            "grace": grace,
            "connect": connect,
            "patience": patience,
            "retry": retry,
            "keys": keys,
            "name": name,
            "detach": detach,
            "keep_for": keep_for,
            "replace": replace,
        }.items()
        if value is not None and value is not False
    }
    if wrong := _contradiction(given):
        report.complain(wrong)
        return report.USAGE
    place: _Here | _Elsewhere | _Symmetric
    paths = tuple(ship or ())
    if symmetric:
        place = _Symmetric(threads or 1, GRACE_SECONDS if grace is None else grace, directory, bind)
    elif connect is None:
        place = _Here(workers, threads or 1, GRACE_SECONDS if grace is None else grace, paths)
    else:
        place = _Elsewhere(connect, patience or PATIENCE_SECONDS, retry or 0.0, keys, paths)
    end_on_signals()
    try:
        program = load_program(file, args or [])
        if name is not None and isinstance(place, _Elsewhere):
            options = {
                "name": name,
                "keep_for": keep_for,
                "replace": replace,
                "progress": progress,
            }
            return place.submit(program, options, detach=detach)
        outcome = place.run(program, progress)
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


def _contradiction(given: AbstractSet[str]) -> str:
    """Why these options can't be given together; empty: they can."""
    if "symmetric" in given and given & {"workers", "connect", "patience", "retry", "name"}:
        return (
            "--symmetric runs on the processes that srun or mpirun has started; leave it out, or "
            "leave out --workers, --connect, --patience, --retry and --name"
        )
    if "symmetric" not in given and given & {"directory", "bind"}:
        return "--directory and --bind say how the processes of --symmetric meet"
    if "connect" in given and given & {"workers", "threads", "grace"}:
        return (
            "--connect runs on workers that are there already; "
            "leave it out, or leave out --workers, --threads and --grace"
        )
    if "connect" not in given and given & {"patience", "retry", "keys"}:
        return (
            "--patience, --retry and --keys say how to reach a cluster that is there already; "
            "add --connect URL, or leave them out"
        )
    if "name" not in given and given & {"detach", "keep_for", "replace"}:
        return "--detach, --keep-for and --replace are for runs with a --name"
    if "name" in given and "connect" not in given:
        return (
            "a run with a --name outlives this process, on a cluster that is there already; "
            "add --connect URL, or leave --name out"
        )
    return ""


@dataclass(frozen=True)
class _Here:
    """On threads of this process, or on a local cluster."""

    workers: int | None
    threads: int
    grace: float
    ship: Sequence[str]

    def run(self, program: Any, progress: bool) -> Any:
        if self.workers == 0:
            from distio.runtime.local import LocalHost
            from distio.runtime.run import run_showing

            return run_showing(LocalHost(self.threads, self.grace), program, None, progress)

        from distio.runtime.cluster import Cluster

        with Cluster.local(self.workers, self.threads, grace=self.grace) as cluster:
            cluster.ship(*self.ship)
            return program.run(None, on=cluster, progress=progress)


@dataclass(frozen=True)
class _Symmetric:
    """A place on the processes that an engine has started; of these, only that of rank 0 comes
    here."""

    threads: int
    grace: float
    directory: str | None
    bind: str | None

    def run(self, program: Any, progress: bool) -> Any:
        from distio.runtime.cluster import Cluster

        options: dict[str, Any] = {"directory": self.directory, "bind": self.bind or ""}
        with Cluster.symmetric(self.threads, grace=self.grace, **options) as cluster:
            return program.run(None, on=cluster, progress=progress)


@dataclass(frozen=True)
class _Elsewhere:
    """A place on the cluster of a coordinator."""

    url: str
    patience: float
    retry: float
    keys: Path | None
    ship: Sequence[str]

    def run(self, program: Any, progress: bool) -> Any:
        with self._cluster() as cluster:
            cluster._host.require_role(StartRun(0))  # else it is a Panic
            cluster.ship(*self.ship)
            return program.run(None, on=cluster, progress=progress)

    def submit(self, program: Any, options: dict[str, Any], *, detach: bool) -> int:
        """Run the program under a name, and wait for its end, unless it is to be detached."""
        with self._cluster() as cluster:
            cluster.ship(*self.ship)

            def ask() -> NamedRun[Any, Any]:
                run: NamedRun[Any, Any] = cluster.submit(program, None, **options)
                return run

            if not detach:
                return named.wait_for(options["name"], ask, self.url)
            ask()
            named.goes_on(options["name"], self.url)
            return report.OK

    def _cluster(self) -> Cluster:
        from distio.runtime.cluster import Cluster

        return Cluster.connect(self.url, patience=self.patience, retry=self.retry, keys=self.keys)
