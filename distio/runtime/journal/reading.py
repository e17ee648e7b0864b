"""A journal as tools read it: as it is at one moment, while its holder may go on.

Nothing is written, and no lock is taken. The checkpoint with which the journal begins may be
replaced meanwhile; then it is read anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.state.store import Keep
from distio.errors import JournalError
from distio.runtime.journal.opening import open_store
from distio.runtime.journal.replaying import Replayed, replay
from distio.runtime.journal.store import About, Base, SharedStore

__all__ = ["Moment", "NoSuchCut", "cuts_of", "make", "reading"]

_MOST_TRIES: Final = 5


class NoSuchCut(Exception):
    """A journal has no such cut, or none any more."""


class Moment(NamedTuple):
    """The coordinator as it was when a turn was committed."""

    store: SharedStore
    found: Replayed

    @property
    def machine(self) -> Coordinator:
        """The coordinator's machine; what it keeps can be loaded while the journal is read."""
        return self.found.board.machine

    @property
    def turn(self) -> int:
        """The number of the turn."""
        return self.found.turn

    @property
    def wall_clock(self) -> float:
        """When the turn came, in seconds since 1970; 0: there was none yet."""
        return self.found.wall_clock


@contextmanager
def reading(where: Path | str, cut: int | None = None) -> Iterator[Moment]:
    """Read a journal, which another process may hold.

    Args:
        where: the journal.
        cut: the turn of a checkpoint that was kept; None: the last turn.

    Raises:
        NoSuchCut: there is none of that turn.
        JournalError: there is no journal, or it is damaged, or of another version.
    """
    for left in reversed(range(_MOST_TRIES)):
        store = open_store(where, None)
        try:
            try:
                found = replay(store, make, cut=None if cut is None else _find(store, cut))
            except JournalError:
                if left and _has_moved_on(where, store.about()):
                    continue  # its holder has removed the checkpoint meanwhile
                raise
            yield Moment(store, found)
            return
        finally:
            store.close()


def cuts_of(store: SharedStore) -> list[Base]:
    """The checkpoints of a journal that can be looked at, the oldest first."""
    base = store.about().base
    return [*(cut.base for cut in store.cuts()), *([base] if base.checkpoint else [])]


def _find(store: SharedStore, cut: int) -> Base:
    bases = cuts_of(store)
    for base in bases:
        if base.turn == cut:
            return base
    turns = ", ".join(str(base.turn) for base in bases) or "none"
    raise NoSuchCut(f"the journal in {store.name} has no cut {cut}; those that it has: {turns}")


def _has_moved_on(where: Path | str, about: About) -> bool:
    store = open_store(where, None)
    try:
        return store.about().base != about.base
    finally:
        store.close()


def make(keep: Keep) -> Handshakes:
    """A coordinator that tells nobody anything."""
    return Handshakes(Coordinator(keep=keep), _nobody)


def _nobody(text: str) -> None:
    """Drop a message that the coordinator says again."""
