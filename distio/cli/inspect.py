"""`distio inspect`: where the fibers of a run stand, by the snapshots in a journal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from distio.cli import report
from distio.errors import JournalError

__all__ = ["inspect"]


def inspect(
    journal: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory of the coordinator's journal.")
    ],
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help='A run, like "2.0"; without it, all runs are listed.'),
    ] = None,
    fiber: Annotated[
        str | None, typer.Argument(metavar="FIBER", help='One of its fibers, like "2.7".')
    ] = None,
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
) -> int:
    """Show the fibers of a run as they were saved last.

    For each fiber it shows what it waits for, what it holds, and where it
    stands: the place at which it goes on first, then those that it returns
    to, each with the values that its function has captured. With --cut it
    shows them as they were when that cut was made.

    Nothing is written, and the coordinator may go on meanwhile. To open the
    snapshots imports the modules that they name, and makes their objects, in
    this process.
    """
    sys.path.insert(0, os.getcwd())
    from distio.cli.stories import NotThere, look

    try:
        found = look(journal, run, fiber, cut)
    except (JournalError, NotThere) as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        report.say(json.dumps(found.as_data(), indent=2))
    else:
        for line in found.lines():
            report.say(line)
    return report.OK
