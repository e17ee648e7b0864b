"""How long a thread waits at once."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_WAIT_SECONDS"]

MAX_WAIT_SECONDS: Final = 86_400.0
"""A thread that has to wait longer wakes once a day: the system can't count much more."""
