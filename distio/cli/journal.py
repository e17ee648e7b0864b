"""The command line: `distio journal check`, `show` and `compact`, and `--journal`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from distio.cli import report
from distio.errors import JournalError

if TYPE_CHECKING:
    from distio.runtime.journal.journal import Journal
    from distio.runtime.journal.limits import Limits

__all__ = ["journal_app", "opened"]

journal_app: Final = typer.Typer(
    no_args_is_help=True, help="Look at the journal of a coordinator, check it, make it small."
)

_Where = Annotated[
    str, typer.Argument(metavar="DIR", help="What was given as --journal to the coordinator.")
]


@journal_app.command(epilog="Exits with 0 if all is whole, 1 if something is damaged.")
def check(where: _Where) -> int:
    """Read all of a journal, and take it up as a coordinator would; nothing is changed.

    A coordinator may hold the journal meanwhile.
    """
    from distio.runtime.journal.inspecting import damages_of, show

    count = 0
    for damage in damages_of(where):
        report.complain(damage)
        count += 1
    if count:
        report.say(f"{where}: {count} {'damages' if count > 1 else 'damage'} found")
        return report.ERRORS
    contents = show(where)
    report.say(
        f"{where} is whole: {contents.turn} turns, {contents.turns_to_replay} of them since the "
        f"last checkpoint, and {contents.blobs} blobs"
    )
    return report.OK


@journal_app.command(epilog="Exits with 0, or with 64 if there is no journal or it is damaged.")
def show(
    where: _Where,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """Print what is in a journal: members, runs, timers, and as of when; nothing is changed.

    A coordinator may hold the journal meanwhile.
    """
    from distio.runtime.journal.inspecting import show

    try:
        contents = show(where)
    except JournalError as error:
        report.complain(error)
        return report.USAGE
    if as_json:
        report.say(msgspec.json.format(msgspec.json.encode(contents), indent=2).decode())
        return report.OK
    from distio.protocol.ids import name_of
    from distio.runtime.journal.lock import describe

    sizes = ", ".join(f"{part} {size:,}" for part, size in contents.bytes.items())
    when = "it has no turns yet" if contents.as_of is None else describe(contents.as_of)
    report.say(f"journal   {contents.journal}")
    report.say(f"version   {contents.version or 'none yet'}")
    report.say(f"holder    {contents.held_by or f'none; the last one was {contents.last_holder}'}")
    report.say(f"as of     {when}")
    report.say(f"bytes     {sizes}")
    report.say(f"turns     {contents.turn:,}, {contents.turns_to_replay:,} since the checkpoint")
    report.say(f"cuts      {len(contents.cuts):,}")
    for cut in contents.cuts:
        report.say(f"  cut {cut.cut}: as of {describe(cut.as_of)}")
    report.say(f"blobs     {contents.blobs:,}")
    report.say(f"timers    {contents.timers:,}")
    report.say(f"members   {len(contents.members):,}")
    for member in contents.members:
        report.say(f"  {member.name}: {member.fibers:,} fibers")
    report.say(f"runs      {len(contents.runs):,}")
    for run in contents.runs:
        report.say(
            f"  run {name_of(run.id)} of {run.owner}: {run.alive:,} fibers, "
            f"{run.without_worker:,} of them at no worker"
        )
    return report.OK


@journal_app.command(
    epilog="Exits with 0, or with 64 if a coordinator holds the journal, or it can't be written."
)
def compact(where: _Where) -> int:
    """Make a checkpoint of a journal now, and give back the room of what it includes."""
    from distio.runtime.journal.inspecting import compact

    try:
        compact(where, report.complain)
    except JournalError as error:
        report.complain(error)
        return report.USAGE
    report.say(f"{where} begins at its last turn now")
    return report.OK


def opened(
    where: str,
    bind: str,
    limits: Limits,
    *,
    is_power_safe: bool,
    stands_by: bool,
    takes_over: bool,
    has_keys: bool,
    is_insecure: bool,
) -> Journal:
    """The journal of a coordinator that begins; perhaps as soon as another one has ended.

    Args:
        where: the directory, or the URL of a database.
        bind: where the coordinator is to listen.
        limits: when checkpoints are made, and how many are kept.
        is_power_safe: see `Journal`.
        stands_by: whether to wait for another coordinator that holds the journal.
        takes_over: whether to take the journal away from it.
        has_keys: see `check_bind`.
        is_insecure: see `check_bind`.

    Raises:
        ClusterError: the journal can't be had, or the address can't: then nothing is taken away.
    """
    from distio.runtime.coordinator_process import log
    from distio.runtime.journal.journal import Access, Journal
    from distio.runtime.listening import require_free

    access = Access.ALONE
    if stands_by:
        access = Access.STANDBY
        log.info("standing by until no other coordinator holds the journal in %s", where)
    elif takes_over:
        access = Access.TAKE_OVER
        require_free(bind, has_keys=has_keys, is_insecure=is_insecure)
        log.info("taking over the journal in %s from whoever holds it", where)
    return Journal(
        where,
        is_power_safe=is_power_safe,
        complain=log.warning,
        limits=limits,
        access=access,
    )
