"""Which store a journal has, by how its place is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from distio.runtime.journal.store import Access, SharedStore

SCHEMES: Final = ("postgresql://", "postgres://")

__all__ = ["open_store"]


def open_store(
    where: Path | str, access: Access | None, *, is_power_safe: bool = False
) -> SharedStore:
    """Open a journal.

    Args:
        where: a directory, or the URL of a PostgreSQL database.
        access: what to do if another process holds it; None: nothing is to be written.
        is_power_safe: whether what is committed has to survive a loss of power.

    Raises:
        JournalError: it isn't a journal, or can't be used.
    """
    if isinstance(where, str) and where.startswith(SCHEMES):
        from distio.runtime.journal.postgres import Postgres

        return Postgres(where, access)
    from distio.runtime.journal.database import Database  # a cluster may have no journal

    return Database(Path(where), access, is_power_safe=is_power_safe)
