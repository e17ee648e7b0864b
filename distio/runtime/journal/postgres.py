"""A journal in a PostgreSQL database, which coordinators on several hosts can share.

An advisory lock of the server keeps a second coordinator out, and wakes one that stands by. It is
held as long as the connection, so that a coordinator whose connection broke has to get it anew.
"""

from __future__ import annotations

import errno
import os
import platform
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from io import BytesIO
from typing import Any, BinaryIO, Final, final

from msgspec.structs import replace

from distio.errors import JournalError
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

psycopg: Any = None
with suppress(ImportError):  # the extra isn't installed
    psycopg = import_module("psycopg")

__all__ = ["Postgres"]

_SCHEMA: Final = """
CREATE TABLE distio_about (
    number INTEGER PRIMARY KEY CHECK (number = 1), format INTEGER NOT NULL,
    generation INTEGER NOT NULL, checksum BIGINT NOT NULL, about BYTEA NOT NULL);
CREATE TABLE distio_turns (
    number BIGINT PRIMARY KEY, checksum BIGINT NOT NULL, inputs BYTEA NOT NULL);
CREATE TABLE distio_blobs (
    number BIGINT PRIMARY KEY, checksum BIGINT NOT NULL, bytes BYTEA NOT NULL);
CREATE TABLE distio_cuts (
    turn BIGINT PRIMARY KEY, checksum BIGINT NOT NULL, cut BYTEA NOT NULL);
CREATE TABLE distio_checkpoints (
    name TEXT, part INTEGER, bytes BYTEA NOT NULL, PRIMARY KEY (name, part));
"""
_TABLES: Final = (
    "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename IN "
    "('distio_about', 'distio_turns', 'distio_blobs', 'distio_cuts', 'distio_checkpoints')"
)
_ALL: Final = "distio_about, distio_turns, distio_blobs, distio_cuts, distio_checkpoints"
_LOCK: Final = 0x44_49_53_54
_KEY: Final = f"{_LOCK}, hashtext(current_schema())"
"""By which the server knows the lock: one for each schema, so that this can have a journal."""
_PASSWORD: Final = re.compile(r"(?<=[^/]):[^@/?]*(?=@)|(?<=[?&])password=[^&]*&?")
_KEEPALIVE: Final[dict[str, Any]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Within 20 s a coordinator notices that the host of the server is gone."""
_KEEPALIVE_OF_SERVER: Final = {
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""The keep-alive settings of the server: within 20 s it notices that the holder's host is gone, and
frees the lock."""
_LEAVES_MILLISECONDS: Final = 1_000
"""How long the server may take to see that a holder is gone whose host runs."""
_PART_BYTES: Final = 16 * 2**20


@final
class Postgres:
    """A journal in a database, of which one process at a time is the holder; see `Store`.

    Args:
        url: that of the database; its tables are made if they aren't there.
        access: what to do if another process holds it; None: nothing is to be written.

    Raises:
        JournalError: it can't be reached, or another process holds it.
    """

    def __init__(self, url: str, access: Access | None) -> None:
        if psycopg is None:
            raise JournalError(
                "a journal in PostgreSQL needs psycopg: install it by pip install distio[postgres]"
            )
        self._url = url
        self.name = _without_password(url)
        self.checkpoints = _Rows(self._connect, self.name)
        self._generation = 0
        try:
            self._db = self._connect()
        except psycopg.Error as error:
            raise JournalError(
                f"the journal in {self.name} can't be reached: {_reason(error)}; check the URL, "
                f"and whether the server runs"
            ) from error
        self._backend: int = self._db.info.backend_pid
        """The process of the server that has the lock for this one."""
        try:
            with self._translated():
                self._open(access)
        except BaseException:
            self._db.close()
            raise

    def _connect(self) -> Any:
        name = f"distio: process {os.getpid()} on {platform.node()}"
        db = psycopg.connect(
            self._url,
            autocommit=True,
            application_name=name,
            client_encoding="utf8",  # a database without an encoding would give names as bytes
            **_KEEPALIVE,
        )
        try:
            for setting, value in _KEEPALIVE_OF_SERVER.items():
                db.execute(f"SET {setting} = {value}")
        except BaseException:
            db.close()
            raise
        return db

    def _open(self, access: Access | None) -> None:
        if access is None:
            self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            [[table]] = self._db.execute("SELECT to_regclass('distio_about')")
            if table is None:
                raise JournalError(f"there is no journal in {self.name}; check the URL")
        else:
            self._lock(access)
            [[tables]] = self._db.execute(_TABLES)
            if not tables:  # if some are there, those that are missing were lost
                self._make()
        self.about()

    def _make(self) -> None:
        with self._db.transaction():
            self._db.execute(_SCHEMA)
            row = FORMAT, *encoded_about(About())
            self._db.execute("INSERT INTO distio_about VALUES (1, %s, 0, %s, %s)", row)

    def _lock(self, access: Access) -> None:
        if access is Access.STANDBY:
            self._db.execute(f"SELECT pg_advisory_lock({_KEY})")
            return
        if access is Access.TAKE_OVER:
            # the holder could write no more in any case; it loses its connection, and so the lock
            self._db.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({_HOLDERS}) AS holders")
        if not self._try_lock() and not self._await_lock():
            raise JournalError(
                f"another coordinator holds the journal in {self.name} ({self.held_by()}): stop it "
                f"first, or start this one with --standby, or with --take-over if that one hangs"
            )

    def _try_lock(self) -> bool:
        [[has_it]] = self._db.execute(f"SELECT pg_try_advisory_lock({_KEY})")
        return bool(has_it)

    def _await_lock(self) -> bool:
        """Wait a moment: the server may not have seen yet that the last holder is gone."""
        try:
            with self._db.transaction():
                self._db.execute(f"SET LOCAL lock_timeout = {_LEAVES_MILLISECONDS}")
                self._db.execute(f"SELECT pg_advisory_lock({_KEY})")
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _lock_again(self) -> bool:
        """Get the lock after the connection broke, which the server may not have seen."""
        former, self._backend = self._backend, self._db.info.backend_pid
        if self._try_lock():
            return True
        is_former = f"SELECT pid FROM ({_HOLDERS}) AS holders (pid) WHERE pid = {former}"
        self._db.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM ({is_former}) AS former")
        return self._try_lock()

    def close(self) -> None:
        """Let another process have it, at once: the server may be slow to see that it is free."""
        with suppress(psycopg.Error):
            self._db.execute("SELECT pg_advisory_unlock_all()")
        self._db.close()

    def held_by(self) -> str:
        """The process that holds it now, in words; empty: none does."""
        rows = self._db.execute(
            f"SELECT application_name FROM pg_stat_activity WHERE pid IN ({_HOLDERS})"
        )
        return "".join(name.removeprefix("distio: ") for (name,) in rows)

    # -- errors ---------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise what the server refuses as a JournalError."""
        try:
            yield
        except psycopg.OperationalError as error:
            raise JournalError(
                f"the journal in {self.name} can't be used now: {_reason(error)}; "
                f"see to it, and start again"
            ) from error
        except psycopg.Error as error:
            raise damaged(self.name, _reason(error)) from error

    @contextmanager
    def _held(self) -> Iterator[Any]:
        """Do all of it or nothing, as long as this process is the holder."""
        try:
            if self._db.closed:
                self._db = self._connect()
                if not self._lock_again():
                    raise Fenced
            with self._db.transaction():
                # with a lock on the row: who takes over waits until this is there, or sees nothing
                rows = self._db.execute("SELECT generation FROM distio_about FOR SHARE").fetchall()
                if rows != [(self._generation,)]:
                    raise Fenced
                yield self._db
        except psycopg.OperationalError as error:
            raise NotWritten(_reason(error)) from error
        except psycopg.Error as error:
            raise damaged(self.name, _reason(error)) from error

    # -- what it says of itself -----------------------------------------------------------

    def about(self) -> About:
        """The journal's facts about itself."""
        with self._translated():
            rows = self._db.execute("SELECT format, checksum, about FROM distio_about")
            return checked_about(self.name, rows.fetchone())

    def hold(self, holder: Holder) -> None:
        """Become its holder: whoever was before can't write any more."""
        with self._translated(), self._db.transaction():
            rows = self._db.execute("SELECT generation FROM distio_about FOR UPDATE")
            [[generation]] = rows.fetchall()
            self._generation = generation + 1
            self._note(replace(self.about(), holder=holder))
            self._db.execute("UPDATE distio_about SET generation = %s", [self._generation])

    def _note(self, about: About) -> None:
        self._db.execute("UPDATE distio_about SET checksum = %s, about = %s", encoded_about(about))

    def note_version(self, version: str) -> None:
        """Note the versions with which the journal can be understood."""
        with self._held():
            self._note(replace(self.about(), version=version))

    # -- writing --------------------------------------------------------------------------

    def commit(self, number: int, turn: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a turn and its blobs, all or nothing."""
        checksum = checksum_of(f"turn {number}", turn)
        with self._held() as db:
            # if the connection broke before the server could say that it has this, it has it
            found = db.execute("SELECT checksum FROM distio_turns WHERE number = %s", [number])
            if (row := found.fetchone()) is not None:
                if row != (checksum,):
                    raise Fenced
                return
            for each, data in blobs.items():
                row = each, checksum_of(f"blob {each}", data), data
                db.execute("DELETE FROM distio_blobs WHERE number = %s", [each])
                db.execute("INSERT INTO distio_blobs VALUES (%s, %s, %s)", row)
            db.execute("INSERT INTO distio_turns VALUES (%s, %s, %s)", [number, checksum, turn])

    def begin_at(self, base: Base, dropped: Iterable[int], most_cuts: int = 0) -> bool:
        """The checkpoint is complete: forget the turns that it includes, and blobs."""
        with self._held() as db:
            about = self.about()
            kept, gone = keep_last(most_cuts, self.cuts(), Cut(about.base, [*dropped]))
            db.execute("DELETE FROM distio_turns WHERE number <= %s", [base.turn])
            db.execute("DELETE FROM distio_blobs WHERE number = ANY(%s)", [gone])
            first = kept[0].base.turn if kept else base.turn
            db.execute("DELETE FROM distio_cuts WHERE turn < %s", [first])
            if kept:
                db.execute("INSERT INTO distio_cuts VALUES (%s, %s, %s)", encoded_cut(kept[-1]))
            self._note(replace(about, base=base))
        return True

    def shrink(self) -> None:
        """Give room back that isn't used."""
        with self._translated():
            self._db.execute(f"VACUUM {_ALL}")

    # -- reading --------------------------------------------------------------------------

    def turns_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """All later turns, in order."""
        while rows := self._next_turns(number):
            for found, checksum, inputs in rows:
                number += 1
                if found != number:
                    raise damaged(self.name, f"turn {number} is missing")
                yield number, checked(self.name, f"turn {number}", checksum, inputs)

    def _next_turns(self, number: int) -> list[Any]:
        return self._rows(
            "SELECT number, checksum, inputs FROM distio_turns WHERE number > %s "
            "ORDER BY number LIMIT 1000",
            number,
        )

    def cuts(self) -> list[Cut]:
        """The former checkpoints that were kept, the oldest first."""
        rows = self._rows("SELECT turn, checksum, cut FROM distio_cuts ORDER BY turn")
        return [checked_cut(self.name, *row) for row in rows]

    def blob(self, number: int) -> bytes:
        """The bytes of a blob."""
        rows = self._rows("SELECT checksum, bytes FROM distio_blobs WHERE number = %s", number)
        for row in rows:
            return checked(self.name, f"blob {number}", *row)
        raise damaged(self.name, f"blob {number} is missing")

    def blobs(self) -> Iterator[int]:
        """The numbers of all blobs."""
        for (number,) in self._rows("SELECT number FROM distio_blobs ORDER BY number"):
            yield number

    def _rows(self, query: str, *values: int) -> list[Any]:
        with self._translated():
            found: list[Any] = self._db.execute(query, values).fetchall()
        return found

    def damages(self) -> Iterator[str]:
        """The damages that can be found without opening what the journal holds."""
        try:
            number = self.about().base.turn
            while rows := self._next_turns(number):
                for number, checksum, inputs in rows:
                    if checksum_of(f"turn {number}", inputs) != checksum:
                        yield f"turn {number} isn't what was written"
            for each in self.blobs():
                try:
                    self.blob(each)
                except JournalError:
                    yield f"blob {each} isn't what was written"
        except JournalError as error:
            yield str(error)

    def sizes(self) -> Mapping[str, int]:
        """By part, how many bytes it takes."""
        tables = "turns", "blobs", "checkpoints"
        columns = ", ".join(f"pg_total_relation_size('distio_{table}')" for table in tables)
        [sizes] = self._rows(f"SELECT {columns}")
        return dict(zip(tables, sizes))


_HOLDERS: Final = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) "
    f"AND classid = {_LOCK} AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
)


@final
class _Rows:
    """Checkpoints in rows; see `Checkpoints`. A fork writes them, by a connection of its own."""

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect = connect
        self._name = name

    def where(self, name: str) -> str:
        """The place of a checkpoint, for messages."""
        return f"{name} in {self._name}"

    def write(self, name: str, dump: Callable[[BinaryIO], None]) -> None:
        """Write a checkpoint that is complete as soon as it is there."""
        file = BytesIO()
        dump(file)
        data = file.getbuffer()
        with self._database() as db, db.transaction():
            db.execute("DELETE FROM distio_checkpoints WHERE name = %s", [name])
            for part, start in enumerate(range(0, len(data), _PART_BYTES)):
                row = name, part, bytes(data[start : start + _PART_BYTES])
                db.execute("INSERT INTO distio_checkpoints VALUES (%s, %s, %s)", row)

    def read(self, name: str) -> bytes:
        """The bytes of a checkpoint."""
        with self._database() as db:
            rows = db.execute(
                "SELECT bytes FROM distio_checkpoints WHERE name = %s ORDER BY part", [name]
            )
            return b"".join(data for (data,) in rows)

    def size(self, name: str) -> int:
        """The number of bytes of a checkpoint."""
        return len(self.read(name))

    def keep_only(self, names: Collection[str]) -> None:
        """Remove all others."""
        with self._database() as db:
            db.execute("DELETE FROM distio_checkpoints WHERE name <> ALL(%s)", [[*names]])

    def remove(self, name: str) -> None:
        """Remove a checkpoint, if it is there."""
        with self._database() as db:
            db.execute("DELETE FROM distio_checkpoints WHERE name = %s", [name])

    @contextmanager
    def _database(self) -> Iterator[Any]:
        try:
            with self._connect() as db:
                yield db
        except psycopg.Error as error:
            raise OSError(errno.EIO, _reason(error)) from error


def _without_password(url: str) -> str:
    return _PASSWORD.sub("", url)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or repr(error)
