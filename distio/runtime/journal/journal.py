"""The journal of a coordinator: what it was told is kept before anybody hears of it."""

from __future__ import annotations

import gc
import os
import platform
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, final

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Input, Turn, encode
from distio.coordination.journal.payloads import with_numbers
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import JournalError
from distio.runtime.journal.checkpoints import Damaged, dump
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.lock import describe
from distio.runtime.journal.log import Log
from distio.runtime.journal.opening import open_store
from distio.runtime.journal.replaying import replay, version
from distio.runtime.journal.store import NOWHERE, Access, Base, Fenced, Holder, NotWritten, Store
from distio.runtime.systems import DESCRIPTORS, watch_process

__all__ = ["Access", "Journal", "JournalLost", "describe"]

_AGAIN_SECONDS: Final = 1.0
_COMPLAINTS_EVERY_SECONDS: Final = 60.0
_STREAMS: Final = {0, 1, 2}
_UNKNOWN: Final = 255
"""The exit code of a fork that failed otherwise than by an error of the system."""


class JournalLost(Exception):
    """Raised when this process can no longer write its journal, so it is no coordinator any
    more."""


@final
class Journal:
    """A journal that is held by this process.

    Args:
        where: a directory, which is made if it isn't there; or the URL of a database.
        complain: called with what a person should know.
        is_power_safe: whether what is committed survives a loss of power. If not, the last moments
            may be missing then; the end of this process, in any way, it survives in any case.
        limits: when to make checkpoints.
        access: what to do if another process holds it.
        is_private: whether the directory is that of one program, which nobody else uses, and with
            which the journal ends. If such a journal can't be written, it is given up: the
            coordinator goes on without one.

    Raises:
        JournalError: it can't be used, or another process holds it.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        complain: Callable[[str], None],
        is_power_safe: bool = False,
        limits: Limits | None = None,
        access: Access = Access.ALONE,
        is_private: bool = False,
    ) -> None:
        self._complain = complain
        self._limits = limits or Limits()
        self._store: Store
        self._log: Log | None = None
        """The store, if it is private."""
        if is_private:
            self._store = self._log = Log(Path(where))
        else:
            self._store = open_store(where, access, is_power_safe=is_power_safe)
        self._is_given_up = False
        self.name = self._store.name
        """The journal's name in messages."""
        try:
            self._store.hold(Holder(platform.node(), os.getpid(), time.time()))
        except BaseException:
            self._store.close()
            raise
        self.blobs = Blobs(self._read)
        self.blobs.trusts_memory = is_private
        self._damage: JournalError | None = None
        """The reason why a blob couldn't be read."""
        self._inputs: list[Input] = []
        self._next_blobs: list[int] = []
        """The number that the next blob was to have when each of these came."""
        self._said: Callable[[], int] = lambda: 0
        """How many messages the coordinator has said."""
        self._turn = 0
        """The number of the last turn that was committed."""
        self._bytes = 0
        """How many bytes the turns have since the last checkpoint."""
        self._blob_bytes = 0
        """How many bytes the blobs have that came since."""
        self._turns = 0
        self._base_bytes = 0
        """How many bytes that checkpoint has, if this process has made it."""
        self._cut_at: float | None = None
        """The time at which a checkpoint is to be made, as there was a change; None: there was
        none."""
        self._child: int | None = None
        """The process that writes a checkpoint."""
        self.child: int | None = None
        """A descriptor that can be read when the checkpoint is written, or can't be."""
        self._base = NOWHERE
        """The checkpoint that is being made."""
        self._dropped: list[int] = []
        """The blobs that aren't needed after it."""
        self._clock_ahead = 0.0
        self.last_wall_clock = 0.0
        """The time at which the last turn came; 0: there was none."""

    def now(self) -> float:
        """The time on the coordinator's clock: it goes on while no process is the coordinator."""
        return time.monotonic() + self._clock_ahead

    def _read(self, number: int) -> bytes:
        try:
            return self._store.blob(number)
        except JournalError as error:
            self._damage = error  # nothing that follows from this is committed
            raise

    # -- taking up again ------------------------------------------------------------------

    def recover(self, make: Callable[[Blobs], Handshakes]) -> Handshakes:
        """The coordinator as it was when its last turn was committed.

        Args:
            make: makes the coordinator of a new journal.

        Raises:
            JournalError: the journal is damaged, or another version of distio has written it.
        """
        found = replay(self._store, make, self._read)
        board = found.board
        self._said = lambda: board.messages_said
        self.blobs = found.blobs
        self.blobs.trusts_memory = self.is_private
        self._turn, self._turns, self._bytes = found.turn, found.turns, found.bytes
        self._blob_bytes = found.blob_bytes
        self.last_wall_clock = found.wall_clock
        self._go_on_from(found.now)
        try:
            self._store.note_version(version())
            self._sweep()
        except Fenced as error:
            raise JournalError(str(self._lost())) from error
        except (NotWritten, OSError) as error:
            raise JournalError(
                f"the journal in {self.name} can't be written: {error}; see to it, and start again"
            ) from error
        return found.board

    def require_parts(self) -> None:
        """Raise JournalError unless shared memory has all parts that it is trusted with."""
        if not self.blobs.trusts_memory:
            return
        missing = [part for part in self.blobs.parts if part.shared is None]
        if missing:
            raise JournalError(
                f"{len(missing)} large values of the journal in {self.name} were in shared memory, "
                f"and somebody has removed them there: begin with another journal"
            )

    def _go_on_from(self, last: float) -> None:
        """The clock goes on where it was, and by as much as the wall clock has gone on since."""
        if self.last_wall_clock:
            asleep = max(0.0, time.time() - self.last_wall_clock)
            self._clock_ahead = last + asleep - time.monotonic()

    def _sweep(self) -> None:
        """Remove what a process has left that ended while it made a checkpoint."""
        self._keep_checkpoints()
        needed = self.blobs.alive.union(*(cut.blobs for cut in self._store.cuts()))
        # the turns since the checkpoint may need others, if they are taken up once more
        self.blobs.dropped = [each for each in self._store.blobs() if each not in needed]

    def _keep_checkpoints(self) -> None:
        bases = [cut.base for cut in self._store.cuts()]
        bases.append(self._store.about().base)
        self._store.checkpoints.keep_only([base.checkpoint for base in bases if base.checkpoint])

    # -- a turn ---------------------------------------------------------------------------

    def note(self, input: Input, *, is_change: bool = True) -> None:
        """The coordinator takes this up in the turn that is under way.

        Args:
            input: what it takes up.
            is_change: whether anything may follow from it for a run.
        """
        self._inputs.append(input)
        self._next_blobs.append(self.blobs.next_number)
        if is_change and self._limits.cuts and self._cut_at is None:
            self._cut_at = time.monotonic() + self._limits.seconds

    def commit(self, wait: Callable[[float], bool]) -> None:
        """End the turn: when this returns, it survives the end of this process.

        If it can't be written, as the disk is full, this waits until it can. Nothing is sent
        meanwhile, so nobody knows what isn't written.

        Args:
            wait: waits for so many seconds; returns whether the coordinator is told to end.

        Raises:
            JournalLost: another process has taken the journal over; or it is damaged; or it can't
                be written, and the coordinator is told to end.
        """
        if self._damage is not None:
            raise JournalLost(str(self._damage)) from self._damage
        if self._is_given_up:
            self._keep_in_memory()
            return
        if not self._inputs:
            self.blobs.commit()  # nothing comes without an input
            return
        self.last_wall_clock = time.time()
        fresh = self.blobs.fresh
        inputs: Sequence[Input] = self._inputs
        if fresh:
            inputs = with_numbers(inputs, self._next_blobs, fresh)
            self._blob_bytes += sum(map(len, fresh.values()))
        turn = encode(Turn(self.last_wall_clock, inputs, self._said()))
        self._write(turn, wait)
        self._turn += 1
        self._turns += 1
        self._bytes += len(turn)
        self._forget_inputs()
        self.blobs.commit()

    def _forget_inputs(self) -> None:
        self._inputs, self._next_blobs = [], []

    def _write(self, turn: bytes, wait: Callable[[float], bool]) -> None:
        complain_at = began = time.monotonic()
        while True:
            try:
                self._store.commit(self._turn + 1, turn, self.blobs.fresh)
                break
            except Fenced:
                raise self._lost() from None
            except JournalError as error:
                raise JournalLost(str(error)) from error
            except NotWritten as error:
                if self._log is not None:
                    self._give_up(self._log, error)
                    return
                if time.monotonic() >= complain_at:
                    complain_at = time.monotonic() + _COMPLAINTS_EVERY_SECONDS
                    self._complain(
                        f"the journal in {self.name} can't be written ({error}), so the "
                        f"cluster stands still; it goes on as soon as that is mended"
                    )
                if wait(_AGAIN_SECONDS):
                    raise JournalLost(
                        f"it was told to, while the journal in {self.name} couldn't be written "
                        f"({error}); nobody was told anything that isn't in the journal"
                    ) from error
        if complain_at > began:
            self._complain(f"the journal in {self.name} is written again, and the cluster goes on")

    def _give_up(self, log: Log, error: NotWritten) -> None:
        self._is_given_up = True
        log.give_up()
        self._keep_in_memory()
        self._complain(
            f"the private journal in {self.name} can't be written ({error}), so the cluster goes "
            f"on without one: should its coordinator be lost, it ends"
        )

    def _keep_in_memory(self) -> None:
        """A turn is over, and there is no journal any more."""
        assert self._log is not None
        self._log.keep(self.blobs.fresh)
        self._log.forget(self.blobs.dropped)
        self.blobs.dropped.clear()
        self.blobs.commit()
        self._forget_inputs()

    def _lost(self) -> JournalLost:
        by = self._store.about().holder
        return JournalLost(
            f"another coordinator (process {by.pid} on {by.host}) has taken over the journal in "
            f"{self.name}"
        )

    # -- checkpoints ----------------------------------------------------------------------

    @property
    def is_private(self) -> bool:
        """Whether the journal ends with the program of the cluster."""
        return self._log is not None

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the turns since the last checkpoint are many, and none is being made."""
        limits = self._limits
        if self._is_given_up:
            return False
        is_much = self._bytes >= limits.bytes or self._turns >= limits.turns
        is_much = is_much or self._blob_bytes >= limits.blob_bytes
        is_much = is_much and self._bytes + self._blob_bytes >= self._base_bytes
        return (is_much or self.seconds_to_cut == 0) and self._child is None and not self._inputs

    @property
    def seconds_to_cut(self) -> float | None:
        """How long it is until a checkpoint is to be made; None: nothing has changed."""
        if self._cut_at is None or self._child is not None:
            return None
        return max(0.0, self._cut_at - time.monotonic())

    def _begin(self) -> None:
        self._cut_at = None
        turn, next_blob = self._turn, self.blobs.next_number
        self._base = Base(f"turn-{turn}", turn, self.last_wall_clock, next_blob)
        self._dropped, self.blobs.dropped = self.blobs.dropped, []

    def begin_checkpoint(self, board: Handshakes) -> None:
        """Let a fork of this process write a checkpoint, between two turns."""
        self._begin()
        self._bytes = self._blob_bytes = self._turns = 0
        try:
            with warnings.catch_warnings():
                # the fork touches nothing that another thread may have in hand
                warnings.simplefilter("ignore", DeprecationWarning)
                self._child = os.fork()
        except OSError as error:
            self._failed(f"{error}")
            return
        if self._child == 0:
            self._write_and_exit(board)
        self.child = watch_process(self._child)

    def _write_and_exit(self, board: Handshakes) -> None:
        """The work of the fork: nothing of its parent's is closed, and no handler is run."""
        code = _UNKNOWN
        try:
            gc.disable()  # it would touch, and so copy, all memory
            _close_all_but_streams()
            self._write_checkpoint(board)
            code = 0
        except OSError as error:
            code = error.errno or _UNKNOWN
        except BaseException:  # noqa: BLE001 (its parent hears of the exit code)
            traceback.print_exc()
        finally:
            os._exit(code)

    def _write_checkpoint(self, board: Handshakes) -> None:
        write = partial(dump, board, turn=self._base.turn)
        self._store.checkpoints.write(self._base.checkpoint, write)

    def end_checkpoint(self) -> None:
        """The fork has ended: begin at its checkpoint from now on, if it has written one.

        Raises:
            JournalLost: another process has taken the journal over.
        """
        status = self._reap()
        if self._is_given_up:
            self._store.checkpoints.remove(self._base.checkpoint)
        elif status:
            self._failed(_exit_of(status))
        else:
            self._adopt()

    def _reap(self) -> int:
        assert self._child is not None
        assert self.child is not None
        os.close(self.child)
        _, status = os.waitpid(self._child, 0)
        self._child = self.child = None
        return status

    def _adopt(self) -> None:
        try:
            most_cuts = max(0, self._limits.cuts - 1)
            is_certain = self._store.begin_at(self._base, self._dropped, most_cuts)
        except Fenced:
            raise self._lost() from None
        except JournalError as error:
            raise JournalLost(str(error)) from error
        except NotWritten as error:
            # a server whose connection broke may have done it: then the journal begins there
            self._failed(f"{error}", may_be_needed=True)
            return
        self._dropped = []
        with suppress(OSError):  # then the next one is made as early as the limits say
            self._base_bytes = self._store.checkpoints.size(self._base.checkpoint)
        if is_certain:
            self._keep_checkpoints()

    def _failed(self, reason: str, *, may_be_needed: bool = False) -> None:
        self.blobs.dropped += self._dropped
        self._dropped = []
        if not may_be_needed:  # else it goes with the next one that is made
            self._store.checkpoints.remove(self._base.checkpoint)
        self._complain(
            f"no checkpoint could be made in {self.name} ({reason}); the journal grows until "
            f"one can"
        )

    def checkpoint_now(self, board: Handshakes) -> None:
        """Write a checkpoint in this process, and begin there the next time.

        All turns are in the journal already, so that nothing is lost if it can't be made.
        """
        try:
            if self._child is not None:
                self.end_checkpoint()
            if self._turns:
                self._begin()
                self._write_checkpoint(board)
                self._adopt()
                self._turns = self._bytes = self._blob_bytes = 0
        except JournalLost as lost:
            self._complain(str(lost))
        except (OSError, Damaged) as error:
            self._failed(f"{error}")

    def close(self) -> None:
        """Let another process have it."""
        if self._child is not None:  # the next process sweeps up its files
            os.kill(self._child, signal.SIGKILL)
            self._reap()
        self._store.close()


def _close_all_but_streams() -> None:
    """Close sockets, and the lock: another process may go on while a fork still writes."""
    for descriptor in {*map(int, os.listdir(DESCRIPTORS))} - _STREAMS:
        with suppress(OSError):  # the one by which they were listed
            os.close(descriptor)


def _exit_of(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"the process that writes it was killed by {signal.Signals(-code).name}"
    return "the process that writes it failed" if code == _UNKNOWN else os.strerror(code)
