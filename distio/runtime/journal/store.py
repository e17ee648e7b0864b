"""Stores: the places where journals are kept, and what all of them have in common.

A store takes up a turn whole or not at all, survives the end of its process at any moment, and lets
one process write: its holder. It isn't trusted with bytes. Each row has a checksum, which covers
what the row is, too, so that a row isn't taken for another one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

import msgspec

from distio.errors import JournalError

__all__ = [
    "FORMAT",
    "NOWHERE",
    "About",
    "Access",
    "Base",
    "Checkpoints",
    "Cut",
    "Fenced",
    "Holder",
    "NotWritten",
    "SharedStore",
    "Store",
    "checked",
    "checked_about",
    "checked_cut",
    "checksum_of",
    "damaged",
    "encoded_about",
    "encoded_cut",
    "keep_last",
]

FORMAT: Final = 5
"""Raised whenever the coordinator's state, its inputs, or what follows from them changes."""


class Access(StrEnum):
    """The access of a process that wants to hold a journal."""

    ALONE = "alone"
    """The process is refused if another one holds the journal."""
    STANDBY = "standby"
    """The process waits until no other one holds the journal."""
    TAKE_OVER = "take over"
    """The process holds the journal from now on, and one that held it can't write any more."""


class Fenced(Exception):
    """Another coordinator has taken the journal over."""


class NotWritten(Exception):
    """A turn was not written at all, since the disk is full, for one; it may be tried again."""


class Base(NamedTuple):
    """The base at which a coordinator begins that takes the journal up."""

    checkpoint: str
    """The name of the checkpoint; empty: there is none, and the coordinator begins with nothing."""
    turn: int
    """The number of the last turn that the checkpoint includes."""
    wall_clock: float
    """The time at which that turn came."""
    next_blob: int
    """Blobs from this number on came later."""


NOWHERE: Final = Base("", 0, 0.0, 1)


class Cut(msgspec.Struct, frozen=True):
    """A checkpoint that is kept to look back at, though the journal begins at a later one."""

    base: Base
    blobs: list[int]
    """The blobs that this cut needs, and no later one does."""


def keep_last(most: int, cuts: list[Cut], former: Cut) -> tuple[list[Cut], list[int]]:
    """Keep some cuts.

    Args:
        most: how many.
        cuts: those that there are, the oldest first.
        former: the checkpoint with which the journal has begun so far, if there was one.

    Returns:
        The cuts that are kept, and the blobs that are not: all cuts that may need them are gone.
    """
    base, kept = former.base, cuts
    if base.checkpoint:
        needed = [blob for blob in former.blobs if blob < base.next_blob]
        kept = [*cuts, Cut(base, needed)]
    kept = kept[max(0, len(kept) - most) :]
    staying = {blob for cut in kept for blob in cut.blobs}
    return kept, [blob for cut in [*cuts, former] for blob in cut.blobs if blob not in staying]


class Holder(NamedTuple):
    """The process that has held the journal last."""

    host: str
    pid: int
    since: float
    """By the wall clock, in seconds since 1970."""


class About(msgspec.Struct, frozen=True):
    """The facts that a journal keeps about itself."""

    version: str = ""
    """The versions with which it can be understood; empty: nothing was written yet."""
    base: Base = NOWHERE
    holder: Holder = Holder("", 0, 0.0)


class Checkpoints(Protocol):
    """The checkpoints of a journal, by name."""

    def write(self, name: str, dump: Callable[[BinaryIO], None]) -> None:
        """Write a checkpoint that is complete as soon as it is there.

        A fork of the holder may call this, in which no other descriptor is open.

        Raises:
            OSError: it can't be written.
        """

    def read(self, name: str) -> bytes:
        """The bytes of a checkpoint.

        Raises:
            OSError: it can't be read.
        """

    def size(self, name: str) -> int:
        """The number of bytes of a checkpoint.

        Raises:
            OSError: it can't be read.
        """

    def where(self, name: str) -> str:
        """The place of a checkpoint, for messages."""

    def keep_only(self, names: Collection[str]) -> None:
        """Remove all others, and what is left of those that were not completed."""

    def remove(self, name: str) -> None:
        """Remove a checkpoint, if it is there."""


class Store(Protocol):
    """Keeps the turns and blobs of a journal. Its methods raise a JournalError if it is damaged."""

    name: str
    """The store's name in messages."""

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the journal."""

    def close(self) -> None:
        """Let another process have it."""

    def about(self) -> About:
        """The journal's facts about itself."""

    def hold(self, holder: Holder) -> None:
        """Become its holder: whoever was before can't write any more."""

    def note_version(self, version: str) -> None:
        """Note the versions with which the journal can be understood."""

    def commit(self, number: int, turn: bytes, blobs: Mapping[int, bytes]) -> None:
        """Write a turn and its blobs, all or nothing.

        Raises:
            Fenced: this process isn't the holder any more.
            NotWritten: nothing of it was written.
        """

    def begin_at(self, base: Base, dropped: Iterable[int], most_cuts: int = 0) -> bool:
        """The checkpoint is complete: forget the turns that it includes, and blobs.

        Args:
            base: the checkpoint.
            dropped: the blobs that nobody needs who begins there.
            most_cuts: how many former checkpoints stay as cuts, with the blobs that they need.

        Returns:
            Whether that is certain: then former checkpoints that aren't cuts can be removed.

        Raises:
            Fenced: this process isn't the holder any more.
            NotWritten: nothing has changed; or all of it has, and the connection broke before
                that could be said.
        """

    def cuts(self) -> list[Cut]:
        """The former checkpoints that were kept, the oldest first."""

    def turns_after(self, number: int) -> Iterator[tuple[int, bytes]]:
        """All later turns, in order."""

    def blob(self, number: int) -> bytes:
        """The bytes of a blob."""

    def blobs(self) -> Iterator[int]:
        """The numbers of all blobs."""


class SharedStore(Store, Protocol):
    """A store that any process may open, to look at it or to hold it."""

    def held_by(self) -> str:
        """The process that holds it now, in words; empty: none does."""

    def damages(self) -> Iterator[str]:
        """The damages that can be found without opening what the journal holds."""

    def sizes(self) -> Mapping[str, int]:
        """By part, how many bytes it takes."""

    def shrink(self) -> None:
        """Give room back that isn't used."""


# -- rows -------------------------------------------------------------------------------------


def damaged(name: str, what: str) -> JournalError:
    """The error for a journal that isn't what was written."""
    return JournalError(
        f"the journal in {name} is damaged: {what}; restore a copy of it, or begin with another one"
    )


def checksum_of(what: str, data: bytes) -> int:
    """The checksum of a row that is this, like "turn 12", and holds these bytes."""
    return zlib.crc32(data, zlib.crc32(what.encode()))


def checked(name: str, what: str, checksum: Any, data: Any) -> bytes:
    """The bytes of a row.

    Raises:
        JournalError: they aren't what was written.
    """
    if not isinstance(data, bytes) or checksum_of(what, data) != checksum:
        raise damaged(name, f"{what} isn't what was written")
    return data


_ABOUT: Final = "its first row"
_decoder: Final = msgspec.json.Decoder(About)


def encoded_about(about: About) -> tuple[int, bytes]:
    """The journal's facts about itself as bytes, with their checksum."""
    data = msgspec.json.encode(about)
    return checksum_of(_ABOUT, data), data


_cut_decoder: Final = msgspec.json.Decoder(Cut)


def encoded_cut(cut: Cut) -> tuple[int, int, bytes]:
    """The row of a cut: its turn, the checksum, the bytes."""
    data = msgspec.json.encode(cut)
    return cut.base.turn, checksum_of(f"cut {cut.base.turn}", data), data


def checked_cut(name: str, turn: int, checksum: Any, data: Any) -> Cut:
    """The cut of a row.

    Args:
        name: that of the journal.
        turn: the turn of the cut.
        checksum: that of the row.
        data: the bytes of the row.

    Raises:
        JournalError: it isn't what was written.
    """
    return _cut_decoder.decode(checked(name, f"cut {turn}", checksum, data))


def checked_about(name: str, row: tuple[Any, Any, Any] | None) -> About:
    """Check and decode the journal's facts about itself.

    Args:
        name: that of the journal.
        row: its format, the checksum, the bytes.

    Raises:
        JournalError: it isn't what was written, or has another format.
    """
    if row is None:
        raise damaged(name, f"{_ABOUT} is missing")
    found, checksum, data = row
    if found != FORMAT:
        raise JournalError(
            f"the journal in {name} has format {found}, and this distio writes format {FORMAT}: "
            f"go on with the version of distio that wrote it, or begin with another journal"
        )
    try:
        return _decoder.decode(checked(name, _ABOUT, checksum, data))
    except msgspec.DecodeError as error:
        raise damaged(name, f"{_ABOUT} can't be read ({error})") from error
