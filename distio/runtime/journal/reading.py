"""A journal as tools read it: a copy of one moment, while its holder may go on.

Rules
-----
- Nothing in the directory is written, and its lock isn't taken. The database is copied by SQLite in
  one piece, so the copy is that of a moment between two turns. Its holder waits for no reader for
  longer than the copy takes.
- The checkpoint that the copy begins at may be replaced meanwhile. Then both are copied anew.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import decode, take_up_again
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import JournalError
from distio.runtime.journal.checkpoints import Damaged, load
from distio.runtime.journal.database import Database

__all__ = ["Moment", "reading"]

_DATABASE: Final = "journal.sqlite"
_MOST_TRIES: Final = 5


class Moment(NamedTuple):
    """The coordinator as it was when a turn was committed."""

    machine: Coordinator
    turn: int
    """The number of that turn."""
    wall_clock: float
    """When that was, in seconds since 1970; 0: there was none yet."""


@contextmanager
def reading(directory: Path) -> Iterator[Moment]:
    """Read the journal in a directory; what it holds can be loaded as long as this goes on.

    Args:
        directory: the directory, whose journal another process may hold.

    Raises:
        JournalError: there is none, or it can't be read; the message says why.
    """
    with TemporaryDirectory(prefix="distio-journal-") as made:
        copy = Path(made)
        _copy(directory, copy)
        database = Database(copy / _DATABASE)
        try:
            yield _replayed(database, copy)
        finally:
            database.close()


def _copy(directory: Path, copy: Path) -> None:
    source = directory / _DATABASE
    if not source.is_file():
        raise JournalError(f"there is no journal in {directory}; give the directory of one")
    for _ in range(_MOST_TRIES):
        try:
            # without a holder there is no log beside it, and none is made
            log = source.with_name(f"{_DATABASE}-wal")
            uri = f"{source.absolute().as_uri()}?{'mode=ro' if log.exists() else 'immutable=1'}"
            with (
                closing(sqlite3.connect(uri, uri=True)) as db,
                closing(sqlite3.connect(copy / _DATABASE)) as into,
            ):
                db.backup(into)
                row = into.execute("SELECT value FROM about WHERE key = 'checkpoint'").fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the journal {source} can't be read: {error}") from error
        if row is None or not row[0]:
            return
        try:
            shutil.copyfile(directory / row[0], copy / row[0])
        except FileNotFoundError:
            continue  # its holder begins at a later one by now
        except OSError as error:
            raise JournalError(f"the checkpoint of {source} can't be read: {error}") from error
        return
    raise JournalError(f"the checkpoint that the journal {source} begins at isn't there")


def _replayed(database: Database, directory: Path) -> Moment:
    base = database.base()
    blobs = Blobs(database.blob)
    if base.checkpoint:
        try:
            with (directory / base.checkpoint).open("rb") as file:
                board, blobs = load(file, database.blob)
        except Damaged as error:
            raise JournalError(f"the checkpoint {base.checkpoint} is damaged: {error}") from error
    else:
        board = Handshakes(Coordinator(keep=blobs), _nobody)
    number, wall_clock = base.turn, base.wall_clock
    for number, data in database.turns_after(base.turn):
        try:
            turn = decode(data)
        except msgspec.DecodeError as error:
            raise JournalError(f"turn {number} can't be read: {error}") from error
        take_up_again(board, turn.inputs)
        blobs.commit()
        wall_clock = turn.wall_clock
    return Moment(board.machine, number, wall_clock)


def _nobody(text: str) -> None:
    """Nobody is told."""
