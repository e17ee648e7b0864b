"""`distio inspect`: where the fibers of a run stand, by their snapshots."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from distio.cli import report
from distio.cli.observe import NoSuchRun
from distio.cli.options import URL_VARIABLE, Keys, is_typed, seconds
from distio.errors import ClusterClosed, ClusterError, JournalError
from distio.runtime.interrupts import end_on_signals

if TYPE_CHECKING:
    from distio.cli.stories import Stories

__all__ = ["inspect"]

_ANSWER_SECONDS: Final = 5.0


def inspect(
    context: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help='A run, like "2.0", or its name with --connect; without it, all runs of a '
            "journal are listed.",
        ),
    ] = None,
    fiber: Annotated[
        str | None, typer.Argument(metavar="FIBER", help='One of its fibers, like "2.7".')
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The directory of the coordinator's journal."),
    ] = None,
    connect: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=URL_VARIABLE,
            help="Where the coordinator listens, if it is to be asked, and no journal is read.",
        ),
    ] = None,
    keys: Keys = None,
    cut: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Look at a cut in place of the last moment; `distio journal show` lists them.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as one JSON document.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=seconds,
            help="How long a member may take to answer; members tell of what isn't saved.",
        ),
    ] = _ANSWER_SECONDS,
) -> int:
    """Show the fibers of a run as they were saved last.

    For each fiber it shows what it waits for, what it holds, and where it
    stands: the place at which it goes on first, then those that it returns
    to, each with the values that its function has captured. With --cut it
    shows them as they were when that cut was made.

    The snapshots are in a journal (--journal), or are those of a coordinator
    that lives (--connect), which takes the key of a client. Such a
    coordinator's members tell where fibers stand of which there is no
    snapshot.

    Nothing is changed, and the coordinator may go on meanwhile. To open the
    snapshots imports the modules that they name, and makes their objects, in
    this process.
    """
    if is_typed(context, "connect"):
        if is_typed(context, "journal"):
            report.complain("--journal and --connect are two places to look at; leave one out")
            return report.USAGE
        journal = None  # a setting says where it is, for other days
    if journal is None and connect is None:
        report.complain("say where the run is: --journal DIR, or --connect URL")
        return report.USAGE
    if journal is None and cut is not None:
        report.complain("--cut is for journals, which keep cuts; give --journal DIR")
        return report.USAGE
    sys.path.insert(0, os.getcwd())
    from distio.cli.stories import NotThere, look

    try:
        if journal is not None:
            found = look(journal, run, fiber, cut)
        else:
            assert connect is not None  # as above
            found = _look_at(connect, keys, run, fiber, wait)
    except (JournalError, NotThere, NoSuchRun, ClusterError, ClusterClosed) as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        report.say(json.dumps(found.as_data(), indent=2))
    else:
        for line in found.lines():
            report.say(line)
    return report.ERRORS if found.missing else report.OK


def _look_at(
    url: str, keys: Path | None, run: str | None, fiber: str | None, wait: float
) -> Stories:
    from distio.cli.stories import look_at
    from distio.runtime.observing import observing

    end_on_signals()
    with observing(url, "client", keys) as client:
        return look_at(client, run, fiber, wait)
