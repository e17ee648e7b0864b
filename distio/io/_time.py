"""The clock."""

from __future__ import annotations

from typing import Any, Final

from distio.core import expect, ops
from distio.core.ops.base import IO, failing

__all__ = [
    "now",
    "sleep",
    "sleep_until",
]


now: Final[IO[Any, Any, float]] = ops.Now()
"""The program that reads the clock: what `time.time()` shows, or in a simulation the virtual time.

>>> now.map(lambda seconds: seconds > 0).run(None)
Ok(success=True)
"""


def sleep(seconds: float) -> IO[Any, Any, None]:
    """Pause for at least this many seconds; for none if `seconds` is 0 or less."""
    if wrong := expect.no_time(seconds, "sleep", "a number of seconds"):
        return failing(wrong)
    return ops.Sleep(seconds)


def sleep_until(epoch_in_seconds: float) -> IO[Any, Any, None]:
    """Pause at least until `now` is this number of seconds."""
    if wrong := expect.no_time(epoch_in_seconds, "sleep_until", "a moment like time.time()"):
        return failing(wrong)
    return ops.SleepUntil(epoch_in_seconds)
