"""The contents of a journal, and whether it is whole; a coordinator may hold it meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from distio.coordination.coordinator import Coordinator
from distio.coordination.state.registry import NOWHERE
from distio.errors import DistioBug, JournalError
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.opening import open_store
from distio.runtime.journal.reading import NoSuchCut, cuts_of, make, reading
from distio.runtime.journal.store import Access

__all__ = [
    "Contents",
    "CutContents",
    "MemberContents",
    "RunContents",
    "compact",
    "damages_of",
    "show",
]


class MemberContents(msgspec.Struct, frozen=True):
    """The journal's facts about a member."""

    id: int
    name: str
    fibers: int
    """How many fibers are alive there."""


class RunContents(msgspec.Struct, frozen=True):
    """The journal's facts about a run."""

    id: int
    owner: str
    """The member that has started it, in words."""
    alive: int
    """The number of the run's fibers that are alive."""
    without_worker: int
    """How many of these are at no member: they wait for a place, or sleep for long."""


class CutContents(msgspec.Struct, frozen=True):
    """A checkpoint that can be looked at."""

    cut: int
    """The number of the last turn that it includes."""
    as_of: float
    """The time at which the cut's last turn came, in seconds since 1970."""


class Contents(msgspec.Struct, frozen=True):
    """The contents of a journal."""

    journal: str
    version: str
    held_by: str
    """The process that holds it; empty: none does."""
    last_holder: str
    """The process that has held it last."""
    as_of: float | None
    """The time at which the journal's last turn came, in seconds since 1970; None: there was
    none."""
    bytes: dict[str, int]
    """By part, how large it is."""
    turn: int
    """The number of its last turn."""
    turns_to_replay: int
    """How many turns there are since the last checkpoint."""
    cuts: list[CutContents]
    """The oldest first; the journal begins in the last one."""
    blobs: int
    timers: int
    members: list[MemberContents]
    runs: list[RunContents]


# -- show -------------------------------------------------------------------------------------


def show(where: Path | str) -> Contents:
    """Read the contents of a journal.

    Raises:
        JournalError: it is damaged, or of another version.
    """
    with reading(where) as moment:
        store, found = moment
        about, machine = store.about(), moment.machine
        sizes = dict(store.sizes())
        cuts = cuts_of(store)
        for base in cuts:
            part = "checkpoint" if base == about.base else "former checkpoints"
            with suppress(FileNotFoundError):  # the holder has removed it meanwhile
                sizes[part] = sizes.get(part, 0) + store.checkpoints.size(base.checkpoint)
        return Contents(
            journal=store.name,
            version=about.version,
            held_by=store.held_by(),
            last_holder=f"process {about.holder.pid} on {about.holder.host}",
            as_of=found.wall_clock or None,
            bytes=sizes,
            turn=found.turn,
            turns_to_replay=found.turns,
            cuts=[CutContents(base.turn, base.wall_clock) for base in cuts],
            blobs=len(found.blobs.alive),
            timers=len(machine.features.timers),
            members=_members(machine),
            runs=_runs(machine),
        )


def _members(machine: Coordinator) -> list[MemberContents]:
    fibers: Counter[int] = Counter()
    for run in machine.runs.values():
        fibers.update(run.alive_at)
    return [MemberContents(id, member.name(), fibers[id]) for id, member in machine.members.items()]


def _runs(machine: Coordinator) -> list[RunContents]:
    found = []
    for id, run in machine.runs.items():
        owner = machine.members.get(run.owner)
        name = f"member {run.owner}" if owner is None else owner.name()
        found.append(RunContents(id, name, run.alive, run.alive_at.get(NOWHERE, 0)))
    return found


# -- check ------------------------------------------------------------------------------------


def damages_of(where: Path | str) -> Iterator[str]:
    """Read all of a journal, open its checkpoints, and take up its turns.

    Returns:
        The damages.
    """
    try:
        store = open_store(where, None)
    except JournalError as error:
        yield str(error)
        return
    try:
        cuts: list[int | None] = [None]
        found = False
        for damage in store.damages():
            found = True
            yield damage
        if not found:
            cuts += [base.turn for base in cuts_of(store)[:-1]]
    except JournalError as error:
        found = True
        yield str(error)
    finally:
        store.close()
    if not found:
        yield from _damages_in(where, cuts)


def _damages_in(where: Path | str, cuts: Iterable[int | None]) -> Iterator[str]:
    for cut in cuts:
        try:
            with reading(where, cut) as moment:
                moment.machine.validate()
        except NoSuchCut:
            pass  # a holder has removed it meanwhile
        except (JournalError, DistioBug) as error:
            yield str(error)


# -- compact ----------------------------------------------------------------------------------


def compact(where: Path | str, complain: Callable[[str], None]) -> None:
    """Make a checkpoint of a journal that nobody holds, and give back the room of the rest.

    If former checkpoints are kept, it keeps as many.

    Args:
        where: the journal.
        complain: called with what a person should know.

    Raises:
        JournalError: a coordinator holds it, or it is damaged, or can't be written.
    """
    store = open_store(where, None)  # a journal that isn't there isn't made
    try:
        cuts = len(store.cuts())
    finally:
        store.close()
    journal = Journal(where, complain=complain, limits=Limits(cuts=cuts and cuts + 1))
    try:
        board = journal.recover(make)
        journal.checkpoint_now(board)
    finally:
        journal.close()
    store = open_store(where, Access.ALONE)
    try:
        store.shrink()
    finally:
        store.close()
