"""Taking up a journal: the coordinator becomes what it was when the last turn was committed.

Nothing is written, and nobody is told anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import decode, take_up_again
from distio.coordination.journal.payloads import with_bytes
from distio.coordination.membership.handshakes import Handshakes
from distio.errors import JournalError
from distio.protocol.version import PROTOCOL
from distio.runtime.journal.checkpoints import Damaged, load
from distio.runtime.journal.store import Base, Store, damaged

__all__ = ["Replayed", "replay", "version"]


class Replayed(NamedTuple):
    """A coordinator that was taken up, and from what."""

    board: Handshakes
    blobs: Blobs
    base: Base
    """The checkpoint with which it began."""
    turn: int
    """The number of the last turn."""
    turns: int
    """How many turns followed the checkpoint."""
    bytes: int
    """How many bytes these have."""
    blob_bytes: int
    """How many bytes their blobs have."""
    wall_clock: float
    """The time at which the last turn came; 0: there was none."""
    now: float
    """The time on the coordinator's clock then."""


def version() -> str:
    """The versions that have to be the same for a journal to be understood."""
    return f"protocol {PROTOCOL} on Python {sys.version_info.major}.{sys.version_info.minor}"


def replay(
    store: Store,
    make: Callable[[Blobs], Handshakes],
    read: Callable[[int], bytes] | None = None,
    cut: Base | None = None,
) -> Replayed:
    """Take up all that is in a journal.

    Args:
        store: the journal.
        make: makes the coordinator of a new journal.
        read: the bytes of a blob; by default the store's.
        cut: take up this checkpoint alone.

    Raises:
        JournalError: the journal is damaged, or another version of distio has written it.
    """
    about = store.about()
    if about.version and about.version != version():
        raise JournalError(
            f"the journal in {store.name} was written by {about.version}, and this is "
            f"{version()}: go on with that version, or begin with another journal"
        )
    base = cut or about.base
    if base.checkpoint:
        board, blobs = _load(store, base, read or store.blob)
    else:
        blobs = Blobs(read or store.blob)
        board = make(blobs)
    turn, size, blob_bytes = base.turn, 0, 0
    wall_clock, now = base.wall_clock, board.machine.state.now
    for number, data in () if cut else store.turns_after(base.turn):
        wall_clock, now, read_bytes = _take_up(store, number, data, board, blobs, now)
        blobs.commit()
        turn, size, blob_bytes = number, size + len(data), blob_bytes + read_bytes
    for number in sorted(blobs.alive):
        store.blob(number)
    return Replayed(board, blobs, base, turn, turn - base.turn, size, blob_bytes, wall_clock, now)


def _load(store: Store, base: Base, read: Callable[[int], bytes]) -> tuple[Handshakes, Blobs]:
    try:
        return load(BytesIO(store.checkpoints.read(base.checkpoint)), read, base.turn)
    except OSError as error:
        reason: object = error.strerror or error
    except Damaged as error:
        reason = error
    except Exception as error:  # noqa: BLE001 (whatever a pickle may do that isn't what was written)
        reason = repr(error)
    where = store.checkpoints.where(base.checkpoint)
    raise damaged(store.name, f"the checkpoint {where} can't be opened: {reason}")


def _take_up(
    store: Store, number: int, data: bytes, board: Handshakes, blobs: Blobs, now: float
) -> tuple[float, float, int]:
    """The wall clock and the coordinator's clock, when the turn came; the bytes of its blobs."""
    try:
        turn = decode(data)
        inputs, read_bytes = with_bytes(turn.inputs, store.blob)
        take_up_again(board, inputs, blobs.take)
    except JournalError:  # a blob is damaged, and it says so
        raise
    except Exception as error:
        raise JournalError(
            f"turn {number} of the journal in {store.name} can't be taken up ({error!r}): "
            f"go on with the version of distio that wrote it, or begin with another journal"
        ) from error
    if board.messages_said != turn.said:
        raise JournalError(
            f"turn {number} of the journal in {store.name} can't be taken up again: "
            f"{board.messages_said} messages follow from it in place of {turn.said}. This is a bug "
            f"in distio: please report it, with the journal"
        )
    return turn.wall_clock, max(now, inputs[-1].now) if inputs else now, read_bytes
