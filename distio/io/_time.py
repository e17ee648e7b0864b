"""The clock."""

from __future__ import annotations

from typing import Any, Final, Never

from distio.core import expect, ops
from distio.core.ops.arguments import failing
from distio.core.ops.base import IO

__all__ = [
    "now",
    "sleep",
    "sleep_until",
]


now: Final[IO[Any, Never, float]] = ops.Now()
"""The program that reads the clock: `time.time()`, or in a simulation the virtual time.

>>> from distio import io
>>> io.now.map(lambda seconds: seconds > 0).run(None)
Ok(success=True)
"""


def sleep(seconds: float) -> IO[Any, Never, None]:
    """Pause for a number of seconds; the fiber holds no thread meanwhile.

    Args:
        seconds: the least duration of the pause, in seconds. 0 or less: no pause.

    Returns:
        A program that computes None. If `seconds` is no finite number, that is a Panic.

    >>> from distio import io
    >>> io.sleep(0.01).run(None)
    Ok(success=None)
    """
    if wrong := expect.no_time(seconds, "sleep", "a number of seconds"):
        return failing(wrong)
    return ops.Sleep(seconds)


def sleep_until(epoch_in_seconds: float) -> IO[Any, Never, None]:
    """Pause until a moment; the fiber holds no thread meanwhile.

    Args:
        epoch_in_seconds: the earliest moment at which the pause ends, as `now` shows it.

    Returns:
        A program that computes None. If `epoch_in_seconds` is no finite number, that is a Panic.

    >>> from distio import io
    >>> io.now.flat_map(lambda now: io.sleep_until(now + 0.01)).run(None)
    Ok(success=None)
    """
    if wrong := expect.no_time(epoch_in_seconds, "sleep_until", "a moment like time.time()"):
        return failing(wrong)
    return ops.SleepUntil(epoch_in_seconds)
