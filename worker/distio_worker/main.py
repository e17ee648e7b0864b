"""The command line of the daemon: `distio-worker URL [--threads N] [--processes N]`."""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from distio.errors import ClusterClosed, ClusterError, MatchError
from distio.protocol.version import VERSION
from distio.runtime.configuration import BadConfiguration, configure, name_source
from distio.runtime.cores import share_of_cores, thread_limits
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.keys import KEYS_VARIABLE, chosen_keys
from distio.runtime.launching import hold_lifeline, tell_started
from distio.runtime.link import LinkedHost
from distio.runtime.log_format import LogFormat, LogLevel, name_lines, set_up_logs
from distio.runtime.process_supervisor import LOST, MAX_RESTARTS, WITHIN_SECONDS
from distio.runtime.workers import Worker, numbered, pairs
from distio_worker.host import GRACE_SECONDS, end, serve
from distio_worker.process import hold_black_box, leave_interrupts_to_program, prepare_streams
from distio_worker.supervising import REFUSED, Supervisor
from distio_worker.tether import hold_tether

__all__ = ["main"]

log: Final = logging.getLogger("distio.worker")

_UsageProblem: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""ClickException: of click, or of the copy of it that later versions of typer carry."""

app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _seconds_from_zero(number: float) -> float:
    if not 0 <= number < math.inf:
        raise typer.BadParameter("give a number of seconds from 0")
    return number


def _seconds(number: float) -> float:
    if not 0 < number < math.inf:
        raise typer.BadParameter("give a number of seconds above 0")
    return number


def _version_and_exit(is_asked: bool) -> None:
    if is_asked:
        print(f"distio {VERSION}")
        raise typer.Exit


def _worker(
    threads: int, name: str, tags: list[str], resources: list[str], memory_limit: str
) -> Worker:
    """The options of each process."""
    try:
        given = pairs(resources, "--resource").items()
        amounts = {key: _amount(key, value) for key, value in given}
        return Worker(threads, name, pairs(tags, "--tag"), amounts, memory_limit)
    except MatchError as error:
        raise typer.BadParameter(str(error)) from error


def _amount(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise MatchError(f"--resource: the amount of {key} is no number: {value!r}") from None


def _import_migrations(modules: list[str]) -> None:
    """Import what says what stands in for changed code; end the process if that fails."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 (whatever a module of the user raises)
            print(f"distio-worker: can't import {module}: {error!r}", file=sys.stderr)
            end(REFUSED)


@app.command(
    epilog="Exits with 0 when it was told to end: by SIGTERM or Ctrl-C, or because the coordinator "
    "ended in order; with 75 when it has lost its coordinator, with 64 when it can't join or an "
    "option is wrong, with 76 when it has come near its memory limit; with 1 when something in it "
    "failed, or when a process of it has ended too often."
)
def worker(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            envvar="DISTIO_URL",
            help="Where the coordinator listens, as it prints it; or several URLs, with commas "
            "between them, if another coordinator may stand in for the first.",
        ),
    ],
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads that step fibers.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many worker processes.")
    ] = 1,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The name of the worker, which no other living member of the cluster has; several "
            "processes are NAME-1, NAME-2 and so on. By default its host and process id.",
        ),
    ] = "",
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="NAME=VALUE",
            show_default=False,
            help="What each process is like, for io.placed: zone=a. May be given several times.",
        ),
    ] = None,
    resources: Annotated[
        list[str] | None,
        typer.Option(
            "--resource",
            metavar="NAME=AMOUNT",
            show_default=False,
            help="What each process has, for io.placed: gpu=1. May be given several times.",
        ),
    ] = None,
    memory_limit: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="How much memory each process may have: 2GiB, or 80% of what the machine or the "
            "container has. One that comes near takes no more fibers, then drains, and exits with "
            "76; one of several is started again. By default there is no limit.",
        ),
    ] = "",
    blas_threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default=False,
            help="Threads that BLAS and OpenMP start in each process; by default its share of the "
            "cores, where variables like OMP_NUM_THREADS don't say otherwise.",
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds,
            help="How long the coordinator may give no sign of life, because it is stopped or cut "
            "off, before it is lost; and how long one of several processes may be stopped.",
        ),
    ] = PATIENCE_SECONDS,
    retry: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds_from_zero,
            help="How long to try again when there is no coordinator yet, or when it was lost; the "
            "worker then joins as a new one. 0: not at all, so that whatever has started it sees "
            "it end.",
        ),
    ] = 0.0,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="How long a worker may take to end when it is told to; then it is killed.",
        ),
    ] = GRACE_SECONDS,
    max_restarts: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="How often each of several processes is started again at most, within --within; "
            "then it is given up.",
        ),
    ] = MAX_RESTARTS,
    within: Annotated[
        float,
        typer.Option(metavar="SECONDS", callback=_seconds, help="The time for --max-restarts."),
    ] = WITHIN_SECONDS,
    accept_changed_code: Annotated[
        bool,
        typer.Option(
            help="Take fibers that were saved with other code than that of this worker: they go on "
            "with what has the same names here. Otherwise they wait for a worker with their code.",
        ),
    ] = False,
    migrations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            show_default=False,
            help="A module to import first: it says what stands in for code that has changed "
            "(distio.stands_in_for). May be given several times.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            envvar=KEYS_VARIABLE,
            help="The folder with the keys of this worker, which `distio keygen` or `distio keys "
            "add` has made.",
        ),
    ] = None,
    tethered: Annotated[
        bool,
        typer.Option(
            "--tethered",
            help="End when standard input ends, or when nothing has come from it for as long as "
            "--patience says. It belongs to a program elsewhere, which has the logs as well.",
        ),
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="DISTIO_LOG_LEVEL", help="The lowest level that is logged.")
    ] = LogLevel.INFO,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            envvar="DISTIO_LOG_FORMAT",
            help="How the log is written: as text, or as one JSON object on each line.",
        ),
    ] = LogFormat.TEXT,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version_and_exit, is_eager=True, help="Print the version."
        ),
    ] = False,
    lifeline: Annotated[
        int | None, typer.Option(hidden=True, help="End with this descriptor.")
    ] = None,
    stderr: Annotated[
        int | None, typer.Option(hidden=True, help="The true stderr, for when it has joined.")
    ] = None,
    black_box: Annotated[
        int | None, typer.Option(hidden=True, help="Where to note what this process does.")
    ] = None,
    family: Annotated[
        str, typer.Option(hidden=True, help="What the processes of one daemon share.")
    ] = "",
    serial: Annotated[
        int, typer.Option(hidden=True, help="The number of this process among them.")
    ] = 0,
) -> None:
    """Host fibers for the cluster at URL, until it closes or this process is told to end."""
    if lifeline is not None:
        hold_lifeline(lifeline)
        leave_interrupts_to_program()
    if tethered:
        lifeline, stderr = hold_tether(patience), os.dup(2)
        leave_interrupts_to_program()
    prepare_streams()
    set_up_logs(log_level, log_format)
    # this level holds, whatever levels the programs have whose fibers come here
    log.setLevel(logging.WARNING if tethered else log_level.number)
    os.environ.update(thread_limits(blas_threads, share_of_cores(processes), os.environ))

    _import_migrations(migrations or [])
    worker = _worker(threads, name, tags or [], resources or [], memory_limit)

    def joined(host: LinkedHost) -> None:
        nonlocal stderr
        if stderr is not None:
            tell_started(stderr)
            stderr = None  # it may join again
        number = host.member.incarnation
        if lifeline is not None and not tethered:  # it writes to the same place as its siblings
            name_lines(host.name)
        log.info("this worker is named %s", host.name)
        log.info("joined the cluster at %s as worker %d", url, number)

    try:
        folder = chosen_keys(keys)
        if lifeline is None and (processes > 1 or retry):
            arguments = ["--retry", str(retry)]
            arguments += ["--patience", str(patience), "--grace", str(grace)]
            arguments += ["--log-level", log_level, "--log-format", log_format]
            arguments += ["--accept-changed-code"] * accept_changed_code
            arguments += [f"--migrations={module}" for module in migrations or []]
            kept = Supervisor(
                numbered([worker] * processes),
                url,
                arguments,
                retry=retry,
                grace=grace,
                max_restarts=max_restarts,
                within_seconds=within,
                patience=patience,
                keys=folder,
            )
            end(kept.run())
        reason = serve(
            url,
            worker,
            joined=joined,
            family=family,
            serial=serial,
            is_of_program=tethered,
            lifeline=lifeline,
            patience=patience,
            retry=retry,
            grace=grace,
            black_box=None if black_box is None else hold_black_box(black_box),
            accepts_other_code=accept_changed_code,
            keys=folder,
        )
    except ClusterClosed as error:
        log.error("lost the cluster at %s: %s", url, error)
        end(LOST)
    except ClusterError as error:
        print(f"distio-worker: {error}", file=sys.stderr)
        end(REFUSED)
    if not tethered:
        log.info("left the cluster at %s: %s", url, reason)
    end(0)


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    given = sys.argv[1:] if arguments is None else arguments
    command: Any = typer.main.get_command(app)
    defaults = {}
    if "--lifeline" not in given:  # else a daemon has started it, and says all
        try:
            defaults = configure({"worker": command}).get("worker", {})
        except BadConfiguration as error:
            print(f"distio-worker: {error}", file=sys.stderr)
            end(REFUSED)
    try:
        code = command(
            given, prog_name="distio-worker", default_map=defaults, standalone_mode=False
        )
        sys.exit(code or 0)  # that of --help and --version
    except _UsageProblem as problem:
        name_source(problem)
        problem.show()  # type: ignore[attr-defined]  # the class is known at run time only
        end(REFUSED)
    except typer.Abort:
        end(0)  # Ctrl-C came before anything had begun
    except BrokenPipeError:
        end(1)  # nobody reads the text of --help


if __name__ == "__main__":
    main()
