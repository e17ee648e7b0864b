"""The journal of a coordinator: what it was told is in a directory before anybody hears of it."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import sqlite3
import stat
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, final

import msgspec

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Input, Turn, decode, encode, take_up_again
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import JournalError
from distio.protocol.version import PROTOCOL
from distio.runtime.journal.checkpoints import Damaged, dump, load
from distio.runtime.journal.database import Base, Database, Fenced

__all__ = ["Journal", "JournalLost", "Limits"]

_DATABASE: Final = "journal.sqlite"
_LOCK: Final = "lock"
_CHECKPOINT: Final = "checkpoint-"
_AGAIN_SECONDS: Final = 1.0
_COMPLAINTS_EVERY_SECONDS: Final = 60.0


class Limits(msgspec.Struct, frozen=True):
    """When a checkpoint is made: as soon as this much was written since the one before."""

    bytes: int = 64 * 2**20
    turns: int = 100_000


class JournalLost(Exception):
    """This process isn't the coordinator any more: another one has taken the journal over."""


@final
class Journal:
    """The journal in a directory, held by this process.

    Args:
        directory: the directory, which is made if it isn't there.
        complain: called with what a person should know.
        is_power_safe: see `Database`.
        limits: when to make checkpoints.

    Raises:
        JournalError: it can't be used, or another process holds it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        complain: Callable[[str], None],
        is_power_safe: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.directory = directory
        self._complain = complain
        self._limits = limits or Limits()
        self._lock = _hold(directory)
        try:
            self._database = Database(directory / _DATABASE, is_power_safe=is_power_safe)
            self._database.hold({"pid": os.getpid(), "since": time.time()})
        except sqlite3.Error as error:
            os.close(self._lock)
            raise JournalError(f"the journal in {directory} can't be used: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise
        self.blobs = Blobs(self._database.blob)
        self._inputs: list[Input] = []
        self._turn = 0
        """The number of the last turn that was committed."""
        self._bytes = 0
        """How many bytes the turns have since the last checkpoint."""
        self._turns = 0
        self._checkpoint = ""
        self._child: int | None = None
        """The process that writes a checkpoint."""
        self.child: int | None = None
        """A descriptor that can be read when the checkpoint is written, or can't be."""
        self._base = Base("", 0, 0.0)
        """The checkpoint that is being made."""
        self._dropped: list[int] = []
        """The blobs that aren't needed after it."""
        self._clock_ahead = 0.0
        self.last_wall_clock = 0.0
        """When the last turn came; 0: there was none."""

    def now(self) -> float:
        """The time on the coordinator's clock: it goes on while no process is the coordinator."""
        return time.monotonic() + self._clock_ahead

    # -- taking up again ------------------------------------------------------------------

    def recover(self, make: Callable[[Blobs], Handshakes]) -> Handshakes:
        """The coordinator as it was when its last turn was committed.

        Args:
            make: makes the coordinator of a new journal.

        Raises:
            JournalError: the journal is damaged, or another version of distio has written it.
        """
        base = self._database.base()
        written_by = self._database.about("version")
        if written_by is not None and written_by != _version():
            raise JournalError(
                f"the journal in {self.directory} was written by {written_by}, and this is "
                f"{_version()}: go on with that version, or begin in another directory"
            )
        self._database.note_version(_version())
        board = self._load(base) if base.checkpoint else make(self.blobs)
        self._checkpoint, self._turn, self.last_wall_clock = base
        last = 0.0
        for number, data in self._database.turns_after(base.turn):
            turn = self._decode(number, data)
            self.last_wall_clock = turn.wall_clock
            take_up_again(board, turn.inputs)
            if board.messages_said != turn.said:
                raise JournalError(
                    f"turn {number} of the journal in {self.directory} can't be taken up again: "
                    f"{board.messages_said} messages follow from it in place of {turn.said}. This "
                    f"is a bug in distio: please report it, with the journal"
                )
            self.blobs.commit()
            self._turn, self._bytes = number, self._bytes + len(data)
            self._turns += 1
            if turn.inputs:
                last = max(last, turn.inputs[-1].now)
        self._go_on_from(max(last, board.machine.state.now))
        self._sweep()
        return board

    def _load(self, base: Base) -> Handshakes:
        path = self.directory / base.checkpoint
        try:
            with path.open("rb") as file:
                board, self.blobs = load(file, self._database.blob)
        except (OSError, Damaged) as error:
            raise JournalError(f"the checkpoint {path} is damaged: {error}") from error
        except Exception as error:
            raise JournalError(f"the checkpoint {path} can't be opened: {error!r}") from error
        return board

    def _decode(self, number: int, data: bytes) -> Turn:
        try:
            return decode(data)
        except msgspec.DecodeError as error:
            raise JournalError(
                f"turn {number} of the journal in {self.directory} can't be read: {error}"
            ) from error

    def _go_on_from(self, last: float) -> None:
        """The clock goes on where it was, and by as much as the wall clock has gone on since."""
        if self.last_wall_clock:
            asleep = max(0.0, time.time() - self.last_wall_clock)
            self._clock_ahead = last + asleep - time.monotonic()

    def _sweep(self) -> None:
        """Remove what a process has left that ended while it made a checkpoint."""
        for path in self.directory.glob(f"{_CHECKPOINT}*"):
            if path.name != self._checkpoint:
                path.unlink()
        alive = self.blobs.alive
        # the turns since the checkpoint may need them, if they are taken up once more
        self.blobs.dropped = [each for each in self._database.blobs() if each not in alive]

    # -- a turn ---------------------------------------------------------------------------

    def note(self, input: Input) -> None:
        """The coordinator takes this up in the turn that is under way."""
        self._inputs.append(input)

    def commit(self, board: Handshakes, wait: Callable[[float], bool]) -> None:
        """End the turn: when this returns, it survives the end of this process.

        If it can't be written, as the disk is full, this waits until it can. Nothing is sent
        meanwhile, so nobody knows what isn't written.

        Args:
            board: the coordinator.
            wait: waits for so many seconds; returns whether the coordinator is told to end.

        Raises:
            JournalLost: another process has taken the journal over; or it can't be written, and the
                coordinator is told to end.
        """
        if not self._inputs:
            self.blobs.commit()  # nothing comes without an input
            return
        self.last_wall_clock = time.time()
        turn = encode(Turn(self.last_wall_clock, self._inputs, board.messages_said))
        complained_at = -_COMPLAINTS_EVERY_SECONDS
        while True:
            try:
                self._database.commit(self._turn + 1, turn, self.blobs.fresh)
                break
            except Fenced:
                raise self._lost() from None
            except sqlite3.IntegrityError:  # the number of the turn is taken
                raise self._lost() from None
            except sqlite3.Error as error:
                if time.monotonic() - complained_at >= _COMPLAINTS_EVERY_SECONDS:
                    complained_at = time.monotonic()
                    self._complain(
                        f"the journal in {self.directory} can't be written ({error}), so the "
                        f"cluster stands still; it goes on as soon as there is room"
                    )
                if wait(_AGAIN_SECONDS):
                    raise JournalLost(f"the journal can't be written: {error}") from error
        if complained_at > 0:
            self._complain(f"the journal in {self.directory} is written again")
        self._turn += 1
        self._turns += 1
        self._bytes += len(turn)
        self._inputs = []
        self.blobs.commit()

    def _lost(self) -> JournalLost:
        return JournalLost(f"another coordinator has taken over the journal in {self.directory}")

    # -- checkpoints ----------------------------------------------------------------------

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the turns since the last checkpoint are many, and none is being made."""
        limits = self._limits
        is_much = self._bytes >= limits.bytes or self._turns >= limits.turns
        return is_much and self._child is None and not self._inputs

    def _next_base(self) -> Base:
        return Base(f"{_CHECKPOINT}{self._turn}", self._turn, self.last_wall_clock)

    def begin_checkpoint(self, board: Handshakes) -> None:
        """Let a fork of this process write a checkpoint, between two turns."""
        self._base = self._next_base()
        self._dropped, self.blobs.dropped = self.blobs.dropped, []
        self._bytes = self._turns = 0
        try:
            with warnings.catch_warnings():
                # the fork touches nothing that another thread may have in hand
                warnings.simplefilter("ignore", DeprecationWarning)
                self._child = os.fork()
        except OSError as error:
            self._failed(f"{error}")
            return
        if self._child == 0:
            _write_and_exit(board, self.directory / self._base.checkpoint)
        self.child = os.pidfd_open(self._child)

    def end_checkpoint(self) -> None:
        """The fork has ended: begin at its checkpoint from now on, if it has written one.

        Raises:
            JournalLost: another process has taken the journal over.
        """
        assert self._child is not None
        assert self.child is not None
        os.close(self.child)
        _, status = os.waitpid(self._child, 0)
        self._child = self.child = None
        if status:
            self._failed(f"the process that writes it {_exit_of(status)}")
            return
        self._adopt()

    def _adopt(self) -> None:
        try:
            self._database.begin_at(self._base, self._dropped)
        except Fenced:
            raise self._lost() from None
        except sqlite3.Error as error:
            self._failed(f"{error}")
            return
        former, self._checkpoint = self._checkpoint, self._base.checkpoint
        self._dropped = []
        if former:
            (self.directory / former).unlink(missing_ok=True)

    def _failed(self, reason: str) -> None:
        self.blobs.dropped += self._dropped
        self._dropped = []
        (self.directory / self._base.checkpoint).unlink(missing_ok=True)
        self._complain(
            f"no checkpoint could be made in {self.directory} ({reason}); the journal grows until "
            f"one can"
        )

    def checkpoint_now(self, board: Handshakes) -> None:
        """Write a checkpoint in this process, and begin there the next time."""
        if self._child is not None:
            self.end_checkpoint()
        if not self._turns:
            return
        self._base = self._next_base()
        self._dropped, self.blobs.dropped = self.blobs.dropped, []
        try:
            _write(board, self.directory / self._base.checkpoint)
        except OSError as error:
            self._failed(f"{error}")
            return
        self._adopt()

    def close(self) -> None:
        """Let another process have it."""
        if self._child is not None:
            self.end_checkpoint()
        self._database.close()
        os.close(self._lock)


def _version() -> str:
    """What has to be the same for a journal to be understood."""
    return f"protocol {PROTOCOL} on Python {sys.version_info.major}.{sys.version_info.minor}"


def _exit_of(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"


def _write(board: Handshakes, path: Path) -> None:
    """Write a checkpoint that is complete as soon as it is there."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            dump(board, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write_and_exit(board: Handshakes, path: Path) -> None:
    """What the fork does: nothing of its parent's is closed, and no handler is run."""
    code = 1
    try:
        gc.disable()  # it would touch, and so copy, all memory
        _write(board, path)
        code = 0
    except BaseException:  # noqa: BLE001 (its parent hears of the exit code)
        traceback.print_exc()
    finally:
        os._exit(code)


def _hold(directory: Path) -> int:
    """The descriptor that holds the directory, until its process ends."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(directory)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{directory} can't be the directory of a journal: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 100).decode(errors="replace").strip()
        os.close(lock)
        if error.errno != errno.EWOULDBLOCK:
            raise JournalError(f"the journal in {directory} can't be held: {error}") from error
        raise JournalError(
            f"another coordinator holds the journal in {directory} ({holder or 'it starts'}); "
            f"stop it first, or start this one with --standby"
        ) from error
    os.ftruncate(lock, 0)
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    os.write(lock, f"process {os.getpid()}, since {began}\n".encode())
    return lock


def _require_private(directory: Path) -> None:
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise JournalError(f"{directory} is no directory; a journal needs one of its own")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise JournalError(
            f"others can write to {directory}, and so could run code in the cluster; "
            f"give a directory that is yours alone (chmod 700)"
        )


def describe(wall_clock: float) -> str:
    """A moment, in words."""
    return datetime.fromtimestamp(wall_clock).astimezone().isoformat(timespec="milliseconds")
