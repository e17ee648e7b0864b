"""The commands that look at a cluster: `distio status`, `top`, `dump`."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from distio.cli import report
from distio.cli.options import Keys, Url, seconds
from distio.errors import ClusterClosed, ClusterError
from distio.runtime.interrupts import end_on_signals

if TYPE_CHECKING:
    from distio.protocol.messages.overview import OverviewTold
    from distio.runtime.observing import Observer

__all__ = ["NoSuchRun", "id_of", "register", "run_called", "runs_in"]

_EVERY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0
_ID: Final = re.compile(r"(\d+)\.(\d+)", re.ASCII)
_MOST_NAMED: Final = 10


class NoSuchRun(Exception):
    """Raised when no run has this name or id; the message says which runs there are."""


class _Column(StrEnum):
    FIBERS = "fibers"
    BLOCKED = "blocked"
    READY = "ready"
    SINCE = "since"
    NAME = "name"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    refusal = "64 if the cluster can't be joined"
    app.command(epilog=f"Exits with 0, or {refusal}.")(status)
    app.command(epilog=f"Exits with 0, with 130 at Ctrl-C, or {refusal}.")(top)
    app.command(
        epilog=f"Exits with 0, with 1 if a member didn't answer, or {refusal} or there is no such "
        "run."
    )(dump)


@contextmanager
def _observer(url: str, keys: Path | None) -> Iterator[Observer]:
    from distio.runtime.observing import observing

    end_on_signals()
    with observing(url, keys=keys) as observer:
        yield observer


def status(
    connect: Url,
    keys: Keys = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, with all that is known.")
    ] = False,
) -> int:
    """Show what goes on in a cluster: its members, runs, fibers and locks."""
    from distio.cli.views import overview_as_data
    from distio.coordination.overview.text import lines_of_overview

    try:
        with _observer(connect, keys) as observer:
            told = observer.overview()
    except (ClusterError, ClusterClosed) as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        report.say(json.dumps(overview_as_data(told), indent=2))
    else:
        report.say("\n".join(lines_of_overview(told)))
    return report.OK


def top(
    connect: Url,
    keys: Keys = None,
    sort: Annotated[
        _Column, typer.Option(help="By which column members and runs are sorted.")
    ] = _Column.FIBERS,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    every: Annotated[
        float,
        typer.Option(metavar="SECONDS", callback=seconds, help="How often the cluster is asked."),
    ] = _EVERY_SECONDS,
) -> int:
    """Show what goes on in a cluster, again and again, until Ctrl-C.

    On a terminal the screen is drawn anew. Elsewhere the text is repeated.
    """
    try:
        with _observer(connect, keys) as observer:
            if once:
                _say(observer.overview(), sort)
            elif sys.stdout.isatty():
                _draw(observer, sort, every)
            else:
                while True:
                    _say(observer.overview(), sort)
                    time.sleep(every)
    except (ClusterError, ClusterClosed) as error:
        report.complain(error)
        return report.USAGE
    return report.OK


def _say(told: OverviewTold, sort: str) -> None:
    from distio.coordination.overview.text import lines_of_overview

    report.say("\n".join(lines_of_overview(told, sort)))


def _draw(observer: Observer, sort: str, every: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from distio.coordination.overview.text import lines_of_overview

    def picture() -> Text:
        text = "\n".join(lines_of_overview(observer.overview(), sort))
        return Text(text, no_wrap=True, overflow="ellipsis")

    with Live(picture(), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(picture(), refresh=True)


def dump(
    connect: Url,
    keys: Keys = None,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help='A run, by its name or its id, like "2.0"; else all.'),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as one JSON document.")
    ] = False,
    as_dot: Annotated[
        bool, typer.Option("--dot", help="Print what waits for what, as a graph for Graphviz.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", callback=seconds, help="How long a member may take to answer."
        ),
    ] = _ANSWER_SECONDS,
) -> int:
    """Show each fiber: where it stands, what it waits for, which locks it holds.

    A fiber that moves or ends meanwhile may be shown as it was. Members that
    don't answer are named.
    """
    from distio.cli.views import dot_of, dump_as_data, lines_of_dump

    if as_json and as_dot:
        report.complain("--json and --dot are two forms of the same; leave one out")
        return report.USAGE
    try:
        with _observer(connect, keys) as observer:
            of = None if run is None else run_called(run, observer.overview())
            found = observer.dump(of, wait)
    except (ClusterError, ClusterClosed, NoSuchRun) as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        import msgspec

        report.say(msgspec.json.encode(dump_as_data(found)).decode())
    else:
        show: Callable[..., Iterator[str]] = dot_of if as_dot else lines_of_dump
        report.say("\n".join(show(found)))
    return report.ERRORS if found.silent or found.gone or found.cut else report.OK


def id_of(text: str) -> int | None:
    """The id of a run that is called so in messages; None: it is no id.

    >>> id_of("2.0") == 2 << 40, id_of("nightly")
    (True, None)
    """
    from distio.protocol.ids import fiber_id

    found = _ID.fullmatch(text)
    return None if found is None else fiber_id(int(found[1]), int(found[2]))


def run_called(text: str, told: OverviewTold) -> int:
    """The id of the run that has this name or this id.

    Raises:
        NoSuchRun: none has.
    """
    named = [each.id for each in told.runs if each.name == text]
    asked = named[0] if named else id_of(text)
    is_known = any(each.id == asked for each in told.runs)
    if asked is None or not (is_known or told.cluster.runs > len(told.runs)):
        raise NoSuchRun(f"no run {text!r} goes on; those that do: {runs_in(told)}")
    return asked


def runs_in(told: OverviewTold) -> str:
    """The names of the first runs that go on, for messages."""
    from distio.coordination.overview.text import shown
    from distio.protocol.ids import name_of

    there = [shown(each.name) or name_of(each.id) for each in told.runs[:_MOST_NAMED]]
    more = told.cluster.runs - len(there)
    listed = ", ".join(there) + (f" and {more} more" if more > 0 else "")
    return listed or "none"
