"""A fork in a journal of its own: a new coordinator takes it up, and the run goes on there."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.forking import CanNotFork, find_run, fork
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import JournalError
from distio.protocol.text import is_label
from distio.runtime.journal.checkpoints import dump
from distio.runtime.journal.database import Database
from distio.runtime.journal.reading import reading
from distio.runtime.journal.replaying import version
from distio.runtime.journal.store import Access, Base, Holder, Store

__all__ = ["Fork", "fork_run"]


_LONGEST_NAME: Final = 200


class Fork(NamedTuple):
    """The fate of a run."""

    name: str
    as_of: float
    """The time at which the last turn came that the fork includes, in seconds since 1970."""
    fibers: int
    """How many fibers go on."""
    lost: int
    """How many don't, since there is no snapshot of them."""


def fork_run(
    where: Path | str, run: str, into: Path, *, cut: int | None = None, name: str | None = None
) -> Fork:
    """Make a journal in which a named run goes on from a moment of another journal.

    That journal is only read, and a coordinator may hold it. Sleeps take as long as they had left.

    Args:
        where: the other journal.
        run: the name of the run, or how it is called in messages.
        into: the directory of the new journal, which isn't there yet.
        cut: from which cut; None: from the last moment.
        name: the name of the run there; None: the same.

    Raises:
        CanNotFork: there is no such run, or it can't go on from its snapshots.
        NoSuchCut: there is no such cut.
        JournalError: a journal can't be read, or made.
    """
    if name is not None and not (is_label(name) and len(name) <= _LONGEST_NAME):
        raise CanNotFork("the name of a run is one line of at most 200 characters; give another")
    if into.exists():
        raise JournalError(f"{into} is there already; give a directory that isn't")
    with reading(where, cut) as moment:
        machine = moment.machine
        id = find_run(machine, run)
        board = fork(machine, id, name or machine.runs[id].name)
        machine.validate()
        lost = sum(record.rare.lost is not None for record in machine.fibers.values())
        _write(moment.store, board, moment.found.blobs, into)
        forked = machine.runs[id]
        return Fork(forked.name, moment.wall_clock, forked.alive, lost)


def _write(source: Store, board: Handshakes, blobs: Blobs, into: Path) -> None:
    """Make a directory that is a complete journal as soon as it has its name."""
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
        try:
            store = Database(made, Access.ALONE, is_power_safe=True)
            try:
                _fill(store, source, board, blobs)
            finally:
                store.close()
            made.rename(into)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise JournalError(
            f"no journal can be made in {into}: {error.strerror or error}; give another directory"
        ) from error


def _fill(store: Database, source: Store, board: Handshakes, blobs: Blobs) -> None:
    store.hold(Holder(platform.node(), os.getpid(), time.time()))
    store.note_version(version())
    turn = 0
    for turn, blob in enumerate(sorted(blobs.alive), 1):
        store.commit(turn, b"", {blob: source.blob(blob)})  # the checkpoint includes these turns
    base = Base(f"turn-{turn}", turn, time.time(), blobs.next_number)
    store.checkpoints.write(base.checkpoint, partial(dump, board, turn=turn))
    store.begin_at(base, [])
