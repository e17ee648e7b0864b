"""Which store a journal has, by how its place is written."""

from __future__ import annotations

from pathlib import Path

from distio.runtime.journal.database import Database
from distio.runtime.journal.store import Access, Store

__all__ = ["open_store"]


def open_store(where: Path | str, access: Access | None, *, is_power_safe: bool = False) -> Store:
    """Open a journal.

    Args:
        where: a directory.
        access: what to do if another process holds it; None: nothing is to be written.
        is_power_safe: whether what is committed has to survive a loss of power.

    Raises:
        JournalError: it isn't a journal, or can't be used.
    """
    return Database(Path(where), access, is_power_safe=is_power_safe)
