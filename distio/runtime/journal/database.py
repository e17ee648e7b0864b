"""A journal in one SQLite file: turns, blobs, and which checkpoint they follow.

SQLite takes up a transaction whole or not at all, survives the end of its process at any moment,
and keeps a second writer out. Two things it doesn't do. It doesn't notice a byte that has changed
in the file: so each row has a checksum. And it goes back, in silence, over the end of a damaged
write-ahead log: the sessions of members notice that, since these know more then.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, final

from msgspec.structs import replace

from distio.errors import JournalError
from distio.runtime.journal.files import Files, sync_directory
from distio.runtime.journal.lock import hold, holder_of, require_private
from distio.runtime.journal.store import (
    FORMAT,
    About,
    Access,
    Base,
    Cut,
    Fenced,
    Holder,
    NotWritten,
    checked,
    checked_about,
    checked_cut,
    checksum_of,
    damaged,
    encoded_about,
    encoded_cut,
    keep_last,
)

__all__ = ["Database"]

FILE: Final = "journal.sqlite"
_APPLICATION_ID: Final = 0x44_49_53_54
"""By which tools know what kind of file it is: "DIST"."""
_SCHEMA: Final = """
CREATE TABLE about (
    number INTEGER PRIMARY KEY CHECK (number = 1), format INTEGER NOT NULL,
    generation INTEGER NOT NULL, checksum INTEGER NOT NULL, about BLOB NOT NULL);
CREATE TABLE turns (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, inputs BLOB NOT NULL);
CREATE TABLE blobs (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE cuts (turn INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, cut BLOB NOT NULL);
"""
_LOG_PAGES: Final = 4_000
"""When this many pages of 4 KiB are in the write-ahead log, they go to the file itself."""
_BUSY_SECONDS: Final = 2.0
"""How long a process that begins waits for another one that is in the midst of a write."""


@final
class Database:
    """A directory with a database, of which one process at a time is the holder; see `Store`.

    Args:
        directory: the directory.
        access: what to do if another process holds it; None: nothing is to be written, and the
            holder may go on meanwhile.
        is_power_safe: whether what is committed survives a loss of power. If not, the last moments
            may be missing then; the end of this process, in any way, it survives in any case.

    Raises:
        JournalError: it isn't a journal, or can't be opened; the message says why.
    """

    def __init__(
        self, directory: Path, access: Access | None, *, is_power_safe: bool = False
    ) -> None:
        self.name = os.fspath(directory)
        self.checkpoints = Files(directory)
        self._path = directory / FILE
        self._generation = 0
        self._lock = None if access is None else hold(directory, access)
        self._db: sqlite3.Connection | None = None
        try:
            with self._translated():
                self._open(directory, is_power_safe=is_power_safe)
        except BaseException:
            self.close()
            raise

    def _open(self, directory: Path, *, is_power_safe: bool) -> None:
        is_read_only = self._lock is None
        if is_read_only and not directory.exists():
            raise _no_journal(directory)
        require_private(directory)
        if not self._path.exists():
            self._make_new(directory, is_read_only=is_read_only)
        self._db = db = _connect(self._path, is_read_only=is_read_only)
        [[application]] = db.execute("PRAGMA application_id")
        if application != _APPLICATION_ID:
            raise JournalError(
                f"{self._path} is no journal of distio; give another directory, or restore a copy"
            )
        if is_read_only:
            db.execute("BEGIN")  # all rows are of one moment
        else:
            db.execute(f"PRAGMA synchronous={'FULL' if is_power_safe else 'NORMAL'}")
            db.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        self.about()

    def _make_new(self, directory: Path, *, is_read_only: bool) -> None:
        """Make a database that is complete as soon as it is there: an empty one is damaged."""
        if is_read_only:
            raise _no_journal(directory)
        if self.checkpoints.has_any() or _log_of(self._path).exists():
            raise damaged(self.name, f"{self._path.name} is missing")
        partial = self._path.with_name(f"{FILE}.partial")
        for each in (partial, partial.with_name(f"{partial.name}-journal")):
            each.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        db = _connect(partial, is_read_only=False)
        try:
            with db:
                db.executescript(f"BEGIN; PRAGMA application_id={_APPLICATION_ID}; {_SCHEMA}")
                row = FORMAT, *encoded_about(About())
                db.execute("INSERT INTO about VALUES (1, ?, 0, ?, ?)", row)
            db.execute("PRAGMA journal_mode=WAL")
        finally:
            db.close()
        partial.rename(self._path)
        sync_directory(directory)

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    def close(self) -> None:
        """Let another process have it."""
        if self._db is not None:
            with suppress(sqlite3.Error):  # on a full disk the log stays, and is taken up later
                self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- errors ---------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise what SQLite or the system refuses as a JournalError."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        except OSError as error:
            reason = error.strerror or error
            raise JournalError(
                f"the journal in {self.name} can't be used: {error.filename or FILE}: {reason}"
            ) from error

    def _unusable(self, error: sqlite3.Error) -> JournalError:
        if _is_temporary(error):
            return JournalError(
                f"the journal in {self.name} can't be used now: {_reason(error)}; "
                f"see to it, and start again"
            )
        return damaged(self.name, f"{FILE}: {_reason(error)}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing."""
        db = self._connection
        with self._in_order():
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    with suppress(sqlite3.Error):  # SQLite has done so, or does when it is opened
                        db.execute("ROLLBACK")
                raise

    @contextmanager
    def _in_order(self) -> Iterator[None]:
        """Raise NotWritten for what may be tried again, and a JournalError for what is damaged."""
        try:
            yield
        except sqlite3.Error as error:
            if _is_temporary(error):
                raise NotWritten(_reason(error)) from error
            raise self._unusable(error) from error

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """The same, as long as this process is the holder."""
        with self._transaction() as db:
            rows = db.execute("SELECT generation FROM about").fetchall()
            if rows != [(self._generation,)]:
                raise Fenced
            yield db

    # -- what it says of itself -----------------------------------------------------------

    def about(self) -> About:
        """The journal's facts about itself."""
        with self._translated():
            rows = self._connection.execute("SELECT format, checksum, about FROM about")
            return checked_about(self.name, rows.fetchone())

    def held_by(self) -> str:
        """The process that holds it now, in words; empty: none does."""
        return holder_of(self._path.parent)

    def hold(self, holder: Holder) -> None:
        """Become its holder: whoever was before can't write any more."""
        try:
            with self._transaction() as db:
                [[generation]] = db.execute("SELECT generation FROM about")
                self._generation = int(generation) + 1
                self._note(db, replace(self.about(), holder=holder))
                db.execute("UPDATE about SET generation = ?", [self._generation])
        except NotWritten as error:
            raise JournalError(
                f"the journal in {self.name} can't be written: {error}{self._last_held()}; see to "
                f"it, and start again"
            ) from error

    def _last_held(self) -> str:
        host, pid, _ = self.about().holder
        return f" (process {pid} on {host} has held it last)" if pid else ""

    def _note(self, db: sqlite3.Connection, about: About) -> None:
        db.execute("UPDATE about SET checksum = ?, about = ?", encoded_about(about))

    def note_version(self, version: str) -> None:
        """Note the versions with which the journal can be understood."""
        with self._held() as db:
            self._note(db, replace(self.about(), version=version))

    # -- writing --------------------------------------------------------------------------

    def commit(self, number: int, turn: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a turn and its blobs, all or nothing."""
        if not blobs:  # the one statement is a transaction of its own
            with self._in_order():
                self._append(number, turn)
            return
        with self._transaction() as db:
            rows = [(each, checksum_of(f"blob {each}", data), data) for each, data in blobs.items()]
            # those of turns that a damaged log has lost may be there
            db.executemany("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", rows)
            self._append(number, turn)

    def _append(self, number: int, turn: bytes) -> None:
        written = self._connection.execute(
            "INSERT INTO turns SELECT ?, ?, ? FROM about WHERE generation = ?",
            (number, checksum_of(f"turn {number}", turn), turn, self._generation),
        )
        if written.rowcount != 1:
            raise Fenced

    def begin_at(self, base: Base, dropped: Iterable[int], most_cuts: int = 0) -> bool:
        """The checkpoint is complete: forget the turns that it includes, and blobs."""
        with self._held() as db:
            about = self.about()
            kept, gone = keep_last(most_cuts, self.cuts(), Cut(about.base, [*dropped]))
            db.execute("DELETE FROM turns WHERE number <= ?", [base.turn])
            db.executemany("DELETE FROM blobs WHERE number = ?", ([each] for each in gone))
            first = kept[0].base.turn if kept else base.turn
            db.execute("DELETE FROM cuts WHERE turn < ?", [first])
            if kept:
                db.execute("INSERT INTO cuts VALUES (?, ?, ?)", encoded_cut(kept[-1]))
            self._note(db, replace(about, base=base))
        return self._empty_log()

    def _empty_log(self) -> bool:
        """Whether all that was committed is in the file itself, power or not."""
        db = self._connection
        try:
            db.execute("PRAGMA busy_timeout=0")  # a process that only reads isn't waited for
            [(is_busy, _, _)] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
        except sqlite3.OperationalError:  # there is no room: the log stays
            return False
        return not is_busy

    def shrink(self) -> None:
        """Give room back that isn't used."""
        with self._translated():
            self._connection.execute("VACUUM")
            self._empty_log()

    # -- reading --------------------------------------------------------------------------

    def turns_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """All later turns, in order."""
        rows = self._rows(
            "SELECT number, checksum, inputs FROM turns WHERE number > ? ORDER BY number", number
        )
        for found, checksum, inputs in rows:
            number += 1
            if found != number:
                raise damaged(self.name, f"turn {number} is missing")
            yield number, checked(self.name, f"turn {number}", checksum, inputs)

    def cuts(self) -> list[Cut]:
        """The former checkpoints that were kept, the oldest first."""
        rows = self._rows("SELECT turn, checksum, cut FROM cuts ORDER BY turn")
        return [checked_cut(self.name, *row) for row in rows]

    def blob(self, number: int) -> bytes:
        """The bytes of a blob."""
        for row in self._rows("SELECT checksum, bytes FROM blobs WHERE number = ?", number):
            return checked(self.name, f"blob {number}", *row)
        raise damaged(self.name, f"blob {number} is missing")

    def blobs(self) -> Iterator[int]:
        """The numbers of all blobs."""
        for (number,) in self._rows("SELECT number FROM blobs ORDER BY number"):
            yield number

    def _rows(self, query: str, *values: int) -> Iterator[Any]:
        with self._translated():
            rows = self._connection.execute(query, values)
            row = rows.fetchone()
        while row is not None:
            yield row
            with self._translated():
                row = rows.fetchone()

    def damages(self) -> Iterator[str]:
        """The damages that can be found without opening what the journal holds."""
        try:
            for (found,) in self._rows("PRAGMA integrity_check(20)"):
                if found != "ok":
                    yield f"{FILE}: {found}"
            for kind, table, column in (("turn", "turns", "inputs"), ("blob", "blobs", "bytes")):
                query = f"SELECT number, checksum, {column} FROM {table} ORDER BY number"
                for number, found, data in self._rows(query):
                    what = f"{kind} {number}"
                    if not isinstance(data, bytes) or checksum_of(what, data) != found:
                        yield f"{what} isn't what was written"
        except JournalError as error:
            yield str(error)

    def sizes(self) -> Mapping[str, int]:
        """By part, how many bytes it takes."""
        log = _log_of(self._path)
        sizes = {"database": self._path.stat().st_size}
        with suppress(FileNotFoundError):
            sizes["write-ahead log"] = log.stat().st_size
        return sizes


def _no_journal(directory: Path) -> JournalError:
    return JournalError(f"there is no journal in {directory}; check the path")


def _connect(path: Path, *, is_read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if is_read_only else 'rwc'}"
    # one thread uses it at a time, and not always the one that made it
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
    )


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


_TEMPORARY: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Errors of SQLite that tell of a disk or of other users; the rest tell of the file's contents."""


def _is_temporary(error: sqlite3.Error) -> bool:
    code: int | None = getattr(error, "sqlite_errorcode", None)  # errors of the module have none
    return code is not None and code & 0xFF in _TEMPORARY


def _reason(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return "another process is in the midst of a write, or hangs there: end that one"
    return str(error)
