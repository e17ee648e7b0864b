"""`distio check`: whether the fibers in a journal can go on with the code that is here."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from distio.cli import report
from distio.errors import JournalError
from distio.protocol.text import readable_exception

__all__ = ["check"]


def check(
    journal: Annotated[
        Path, typer.Option(metavar="DIR", help="The directory of the coordinator's journal.")
    ],
    migrations: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            show_default=False,
            help="A module to import first: it says what stands in for code that has changed "
            "(distio.stands_in_for). May be given several times.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as one JSON document.")
    ] = False,
) -> int:
    """Say which fibers in a journal were saved with other code than that which is here.

    Run it where the new code can be imported, before workers get it. For
    each run it lists which fibers name functions or classes that have
    changed or are gone. Functions of io.do that have changed are tried: what
    such a fiber had awaited is replayed, without any effect.

    Nothing is written, and the coordinator may go on meanwhile. To open the
    snapshots imports the modules that they name.
    """
    sys.path.insert(0, os.getcwd())
    for module in migrations or []:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 (whatever a module of the user raises)
            report.complain(f"can't import {module}: {readable_exception(error)}")
            return report.USAGE
    from distio.cli.findings import find

    try:
        found = find(journal)
    except JournalError as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        report.say(json.dumps(found.as_data(), indent=2))
    else:
        for line in found.lines():
            report.say(line)
    return report.OK if found.is_right else report.ERRORS
