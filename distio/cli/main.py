"""The command line `distio`: its commands, each of which has a module of its own."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final, NoReturn

import typer

from distio.cli import named, observe, report
from distio.cli.check import check
from distio.cli.configuration import config, defaults_of
from distio.cli.coordinator import coordinator
from distio.cli.drain import drain
from distio.cli.fork import fork
from distio.cli.inspect import inspect
from distio.cli.journal import journal_app
from distio.cli.keys import keygen, keys_app
from distio.cli.run import run
from distio.cli.up import down, up
from distio.runtime.configuration import BadConfiguration, name_source
from distio.runtime.interrupts import Terminated
from distio.runtime.launching import fill_standard_streams

__all__ = ["main"]

_UsageProblem: Final[type[Exception]] = typer.BadParameter.__mro__[2]
"""ClickException: of click, or of the copy of it that later versions of typer carry."""

app: Final = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)
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
app.command(
    epilog="Exits with 0 for Ok, 1 for Errors, 2 for a Panic, 64 if it can't be run as asked, 130 "
    "at Ctrl-C, 143 at SIGTERM and 129 at SIGHUP, when all has been released."
)(run)
app.command(
    epilog="Exits with 0 when the worker has left, 1 if it was lost before it had, 64 if there is "
    "no such worker or the cluster can't be joined."
)(drain)
app.command(
    epilog="Exits with 0 if all fibers can go on as they are, 1 if something has changed, 64 if "
    "the journal can't be read."
)(check)
app.command(
    epilog="Exits with 0, with 1 if a member didn't answer, or with 64 if the journal can't be "
    "read, the cluster can't be joined, or there is no such run or fiber."
)(inspect)
app.command(
    epilog="Exits with 0, or with 64 if a journal can't be read or made, or the run can't go on "
    "from there."
)(fork)


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
        name_source(problem)
        problem.show()  # type: ignore[attr-defined]  # the class is known at run time only
        code = report.USAGE
    except (typer.Abort, KeyboardInterrupt):
        report.complain("interrupted")
        code = report.INTERRUPTED
    except Terminated as terminated:
        report.complain("terminated")
        code = terminated.code
    except report.OutputFailed as failure:
        code = report.output_failed(failure.__cause__)
    except OSError as error:  # the text of --help could not be written
        code = report.output_failed(error)
    sys.exit(code)


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
