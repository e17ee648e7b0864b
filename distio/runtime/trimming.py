"""Memory that is free in this process, and could be of use to others: it is given back.

The C library keeps what one thread has allocated in small pieces and another one has freed, as it
is with messages: the thread of libzmq allocates them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

__all__ = ["Streak", "trim"]

_LONG_STREAK: Final = 50_000
"""Messages: some 25 MB, if they are small."""


def trim() -> None:
    """Let the C library give back what is free; not every one can."""
    import ctypes  # few processes come so far

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@final
class Streak:
    """How many messages came without a pause; after many, their memory is given back.

    Args:
        give_back: does so.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._count = 0

    def took(self, count: int) -> None:
        """Count so many messages that were taken up; more may be there."""
        self._count += count

    def ended(self) -> None:
        """End the streak: no message is left."""
        if self._count >= _LONG_STREAK:
            self._give_back()
        self._count = 0
