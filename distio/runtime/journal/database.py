"""The database of a journal: turns, blobs, and which checkpoint they follow, in one SQLite file.

SQLite takes up a transaction whole or not at all, survives the end of its process at any moment,
and keeps a second writer out. Two things it doesn't do are done here. It doesn't notice a byte that
has changed in the file: so each row has a checksum. And it goes back, in silence, over the end of a
damaged write-ahead log: the sessions of members notice that, since these know more then.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from distio.errors import JournalError

__all__ = ["FORMAT", "Base", "Database", "Fenced"]

FORMAT: Final = 2
"""Raised whenever the coordinator's state, its inputs, or what follows from them changes."""
_APPLICATION_ID: Final = 0x44_49_53_54
"""By which tools know what kind of file it is: "DIST"."""
_SCHEMA: Final = """
CREATE TABLE about (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE turns (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, inputs BLOB NOT NULL);
CREATE TABLE blobs (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, bytes BLOB NOT NULL);
"""
_LOG_PAGES: Final = 4_000
"""When this many pages of 4 KiB are in the write-ahead log, they go to the file itself."""


class Fenced(Exception):
    """Another coordinator has taken the journal over."""


class Base(NamedTuple):
    """Where a coordinator begins that takes the journal up."""

    checkpoint: str
    """The name of the file; empty: there is none, and the coordinator begins with nothing."""
    turn: int
    """The number of the last turn that the checkpoint includes."""
    wall_clock: float
    """When that turn came."""


@final
class Database:
    """The database, of which one process at a time is the holder.

    Args:
        path: the file.
        is_power_safe: whether what is committed survives a loss of power. If not, the last moments
            may be missing then; the end of this process, in any way, it survives in any case.
        is_read_only: whether nothing is to be written; the holder may go on meanwhile.

    Raises:
        JournalError: it isn't a journal, or can't be opened; the message says why.
    """

    def __init__(
        self, path: Path, *, is_power_safe: bool = False, is_read_only: bool = False
    ) -> None:
        self.path = path
        self._generation = 0
        mode = "ro" if is_read_only else "rwc"
        try:
            uri = f"{path.absolute().as_uri()}?mode={mode}"
            # the one thread of the coordinator uses it; a standby's first thread may make it
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._open(is_power_safe=is_power_safe, is_read_only=is_read_only)
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        except BaseException:
            self._db.close()
            raise

    def _open(self, *, is_power_safe: bool, is_read_only: bool) -> None:
        [[application]] = self._db.execute("PRAGMA application_id")
        [[tables]] = self._db.execute("SELECT count(*) FROM sqlite_schema")
        is_new = application == 0 and tables == 0 and not is_read_only
        if not is_new and application != _APPLICATION_ID:
            raise JournalError(f"{self.path} is no journal of distio; give another directory")
        if not is_read_only:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if is_power_safe else 'NORMAL'}")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        if is_new:
            self._db.executescript(
                f"BEGIN; PRAGMA application_id={_APPLICATION_ID}; {_SCHEMA} COMMIT;"
            )
            self._db.execute("INSERT INTO about VALUES ('format', ?)", [FORMAT])
        found = self.about("format")
        if found != FORMAT:
            raise JournalError(
                f"{self.path} has format {found}, and this distio writes format {FORMAT}: "
                f"go on with the version of distio that wrote it, or begin in another directory"
            )

    def _unusable(self, error: sqlite3.Error) -> JournalError:
        return JournalError(f"the journal {self.path} can't be used: {error}")

    def close(self) -> None:
        """It isn't used any more."""
        self._db.close()

    # -- what it says of itself -----------------------------------------------------------

    def about(self, key: str) -> Any:
        """What it says of itself under this key; None: nothing."""
        row = self._db.execute("SELECT value FROM about WHERE key = ?", [key]).fetchone()
        return None if row is None else row[0]

    def hold(self, about: Mapping[str, Any]) -> None:
        """Become its holder: whoever was before can't write any more.

        Args:
            about: who this is.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._generation = (self.about("generation") or 0) + 1
            self._note({**about, "generation": self._generation})

    def _note(self, about: Mapping[str, Any]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())

    def note_version(self, version: str) -> None:
        """Say what has to be the same for it to be understood."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._note({"version": version})

    def base(self) -> Base:
        """Where to begin."""
        return Base(
            self.about("checkpoint") or "",
            self.about("turn") or 0,
            self.about("checkpointed_at") or 0.0,
        )

    # -- writing --------------------------------------------------------------------------

    def commit(self, number: int, turn: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a turn and its blobs, all or nothing.

        Raises:
            Fenced: this process isn't the holder any more.
            sqlite3.Error: it can't be written, as the disk is full; nothing of it was.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if blobs:
                rows = [(each, zlib.crc32(data), data) for each, data in blobs.items()]
                # a turn whose commit has failed may be written again
                db.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", rows)
            written = db.execute(
                "INSERT INTO turns SELECT ?, ?, ? FROM about "
                "WHERE key = 'generation' AND value = ?",
                [number, zlib.crc32(turn), turn, self._generation],
            )
            if written.rowcount != 1:
                raise Fenced
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def begin_at(self, base: Base, dropped: Iterable[int]) -> None:
        """The checkpoint is complete: forget the turns that it includes, and blobs.

        Args:
            base: the checkpoint.
            dropped: the blobs that nobody needs who begins there.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if self.about("generation") != self._generation:
                raise Fenced
            db.execute("DELETE FROM turns WHERE number <= ?", [base.turn])
            db.executemany("DELETE FROM blobs WHERE number = ?", ([each] for each in dropped))
            self._note(
                {
                    "checkpoint": base.checkpoint,
                    "turn": base.turn,
                    "checkpointed_at": base.wall_clock,
                }
            )
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        # the former checkpoint is removed next: from here on it is of no use, power or not
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- reading --------------------------------------------------------------------------

    def turns_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """All later turns, in order.

        Raises:
            JournalError: one is missing, or isn't what was written.
        """
        rows = self._db.execute(
            "SELECT number, checksum, inputs FROM turns WHERE number > ? ORDER BY number", [number]
        )
        for found, checksum, inputs in self._rows(rows):
            number += 1
            if found != number:
                raise JournalError(f"the journal {self.path} is damaged: turn {number} is missing")
            self._check(f"turn {number}", checksum, inputs)
            yield number, inputs

    def blob(self, number: int) -> bytes:
        """The bytes of a blob.

        Raises:
            JournalError: it is missing, or isn't what was written.
        """
        rows = self._db.execute("SELECT checksum, bytes FROM blobs WHERE number = ?", [number])
        row = next(self._rows(rows), None)
        if row is None:
            raise JournalError(f"the journal {self.path} is damaged: blob {number} is missing")
        self._check(f"blob {number}", row[0], row[1])
        data: bytes = row[1]
        return data

    def blobs(self) -> Iterator[int]:
        """The numbers of all blobs."""
        for (number,) in self._rows(self._db.execute("SELECT number FROM blobs ORDER BY number")):
            yield number

    def forget_blobs(self, numbers: Iterable[int]) -> None:
        """Nobody needs these, whoever begins where."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM blobs WHERE number = ?", ([each] for each in numbers))

    def _rows(self, cursor: sqlite3.Cursor) -> Iterator[Any]:
        try:
            yield from cursor
        except sqlite3.DatabaseError as error:
            raise JournalError(f"the journal {self.path} is damaged: {error}") from error

    def _check(self, what: str, checksum: Any, data: Any) -> None:
        if not isinstance(data, bytes) or zlib.crc32(data) != checksum:
            raise JournalError(f"the journal {self.path} is damaged: {what} isn't what was written")
