"""`distio fork`: a named run goes on from an earlier moment, in a cluster of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distio.cli import report
from distio.errors import JournalError

__all__ = ["fork"]


def fork(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help='The name of a run, or its number, like "0.1".')
    ],
    journal: Annotated[
        str, typer.Option(metavar="DIR", help="What was given as --journal to the coordinator.")
    ],
    into: Annotated[
        Path, typer.Option(metavar="NEW", help="The directory of the new journal, which is made.")
    ],
    cut: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="From which cut; `distio journal show` lists them. Otherwise from the last "
            "moment.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name of the run there; otherwise the same."),
    ] = None,
) -> int:
    """Make a journal in which a named run goes on from an earlier moment.

    A coordinator that is started with the new journal is a cluster of its
    own, in which the run goes on when workers have joined: its fibers from
    their snapshots, with the locks, queues and variables of that moment. The
    run in the other journal isn't touched, and its coordinator may go on.
    """
    from distio.coordination.journal.forking import CanNotFork
    from distio.runtime.journal.forks import fork_run
    from distio.runtime.journal.lock import describe
    from distio.runtime.journal.reading import NoSuchCut

    try:
        forked = fork_run(journal, run, into, cut=cut, name=name)
    except (JournalError, CanNotFork, NoSuchCut) as error:
        report.complain(error)
        return report.USAGE
    report.say(
        f"{into} has the run {forked.name} as it was at {describe(forked.as_of)}, with "
        f"{forked.fibers:,} fibers; start it with: distio coordinator --journal {into}"
    )
    if forked.lost:
        report.complain(
            f"{forked.lost:,} fibers are lost in the fork, since there is no snapshot of them"
        )
    return report.OK
