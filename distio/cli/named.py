"""The commands about named runs: `distio runs`, `attach`, `cancel`, `forget`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from distio.cli import report
from distio.cli.observe import id_of
from distio.cli.options import Keys, Url
from distio.errors import ClusterError, MatchError, RunRefused
from distio.runtime.interrupts import Terminated, end_on_signals

if TYPE_CHECKING:
    from distio import Cluster, NamedRun, RunStatus

__all__ = ["attach", "cancel", "forget", "register", "runs", "wait_for"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the run.")]

_OUTCOMES: Final = {"ok": "ended: Ok", "errors": "ended: Errors", "panic": "ended: Panic"}


class _Failed(Exception):
    """The command can't do what it was asked for; the exit code says so."""


@contextmanager
def _cluster(url: str, keys: Path | None) -> Iterator[Cluster]:
    """The cluster; whatever it refuses is told in one line."""
    from distio.runtime.cluster import Cluster

    end_on_signals()
    try:
        with Cluster.connect(url, keys=keys) as cluster:
            yield cluster
    except (ClusterError, MatchError) as error:
        report.complain(error)
        raise _Failed from error


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Exits with 0, or 64 if the cluster can't be joined.",
    )(runs)
    app.command(
        epilog="Exits as `distio run` does: with 0 for Ok, 1 for Errors, 2 for a Panic, 64 if "
        "there is no such run or the cluster can't be joined, 130 at Ctrl-C, 143 at SIGTERM and "
        "129 at SIGHUP.",
    )(attach)
    refusals = "64 if there is no such run or the cluster can't be joined."
    app.command(epilog=f"Exits with 0, or {refusals}")(cancel)
    app.command(epilog=f"Exits with 0, with 1 if the run goes on, or {refusals}")(forget)


def runs(
    connect: Url,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON array, with all that is known.")
    ] = False,
    keys: Keys = None,
) -> int:
    """List the named runs: those that go on, and those whose outcomes are kept."""
    try:
        with _cluster(connect, keys) as cluster:
            found = cluster.runs()
    except _Failed:
        return report.USAGE
    if as_json:
        report.say(json.dumps([_as_json(run) for run in found], indent=2))
    else:
        for run in found:
            report.say(describe(run))
        if not found:
            report.complain("no named run goes on, and the outcome of none is kept")
    return report.OK


def attach(name: Name, connect: Url, keys: Keys = None) -> int:
    """Wait for the end of a named run, and print its value.

    Its last log records are told first, then those that follow. Ctrl-C
    detaches: the run goes on.
    """
    try:
        with _cluster(connect, keys) as cluster:
            return wait_for(name, lambda: cluster.attach(name), connect)
    except _Failed:
        return report.USAGE


def wait_for(name: str, ask: Callable[[], NamedRun[Any, Any]], url: str) -> int:
    """Ask for a run, wait for its end, and print it; whoever interrupts that hears how to go on."""
    run = None
    try:
        run = ask()
        result = run.result()
    except (KeyboardInterrupt, Terminated):
        goes_on(name, url, is_sure=run is not None)
        raise
    return report.report(result)


def goes_on(name: str, url: str, *, is_sure: bool = True) -> None:
    """Tell on stderr that a run goes on, and how to wait for it.

    Args:
        name: The name of the run.
        url: The coordinator's.
        is_sure: Whether the coordinator has said that there is such a run.
    """
    how = f"distio attach {name!r} --connect {url}"
    if is_sure:
        report.complain(f"the run {name!r} goes on; {how}")
    else:
        report.complain(f"the coordinator had not answered: the run {name!r} may go on; {how}")


def cancel(
    run: Annotated[str, typer.Argument(metavar="RUN", help='Its name, or its id, like "2.0".')],
    connect: Url,
    keys: Keys = None,
) -> int:
    """Cancel a run, without waiting for its end: it releases what it holds.

    Runs without a name are cancelled by their id; `distio status` shows it.
    """
    id = id_of(run)
    try:
        if id is not None and _is_cancelled(id, connect, keys):
            report.say(f"the run {run} is being cancelled")
            return report.OK
        with _cluster(connect, keys) as cluster:
            found = cluster.cancel(run)
    except _Failed:
        return report.USAGE
    if found.ended is None:
        report.say(f"the run {run!r} is being cancelled")
    else:
        report.say(f"the run {run!r} had ended before ({_OUTCOMES[found.state]})")
    return report.OK


def _is_cancelled(run: int, url: str, keys: Path | None) -> bool:
    """Cancel the run of this id; return whether it goes on."""
    from distio.runtime.observing import observing

    end_on_signals()
    try:
        with observing(url, "client", keys) as client:
            return client.cancel(run)
    except ClusterError as error:
        report.complain(error)
        raise _Failed from error


def forget(name: Name, connect: Url, keys: Keys = None) -> int:
    """Forget the outcome of a named run that has ended, so that its name is free."""
    try:
        with _cluster(connect, keys) as cluster:
            try:
                cluster.forget(name)
            except RunRefused as refusal:
                report.complain(refusal)
                return report.ERRORS
    except _Failed:
        return report.USAGE
    report.say(f"the run {name!r} is forgotten")
    return report.OK


# -- in words ---------------------------------------------------------------------------------


def describe(run: RunStatus) -> str:
    """A named run on one line.

    >>> from datetime import datetime, UTC
    >>> from distio import RunStatus
    >>> at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    >>> status = RunStatus("n", "running", at, None, None, 3, 1, 2, ("client 7",), 0, 0)
    >>> describe(status).partition(", started")[0]
    'n: running'
    >>> describe(status).partition("; ")[2]
    '3 fibers, of which 1 waits for a worker and 2 sleep; attached: client 7'
    """
    parts = [f"{run.name}: {_OUTCOMES.get(run.state, run.state)}, started {_time(run.started)}"]
    if run.ended is None:
        parts.append(_fibers(run))
        if run.clients:
            parts.append(f"attached: {', '.join(run.clients)}")
    else:
        kept = "" if run.kept_until is None else f", kept until {_time(run.kept_until)}"
        parts[0] += f", ended {_time(run.ended)}{kept}"
    if run.log_records or run.left_out:
        more = f", {run.left_out} more left out" if run.left_out else ""
        parts.append(f"{_count(run.log_records, 'log record')} kept{more}")
    return "; ".join(parts)


def _fibers(run: RunStatus) -> str:
    if run.waiting == run.fibers:
        return f"waits for a worker ({_count(run.fibers, 'fiber')})"
    which = []
    if run.waiting:
        which.append(f"{run.waiting} wait{'s' * (run.waiting == 1)} for a worker")
    if run.asleep:
        which.append(f"{run.asleep} sleep{'s' * (run.asleep == 1)}")
    return _count(run.fibers, "fiber") + (f", of which {' and '.join(which)}" if which else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _as_json(run: RunStatus) -> dict[str, Any]:
    """A run as JSON: moments as ISO 8601 has them."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(run).items()
    }
