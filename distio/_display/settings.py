"""How progress is shown: as the user has said, or as it fits."""

from __future__ import annotations

import os
from typing import Any, Final, Literal, NamedTuple, get_args

from distio.errors import MatchError

__all__ = ["Settings", "settings", "show_progress", "without_terminal"]

Style = Literal["auto", "lines", "off"]

_VARIABLE: Final = "DISTIO_PROGRESS"
"""The environment variable by which a process, and those that it starts, learn it: `lines:30`."""
_SECONDS: Final = 10.0


class Settings(NamedTuple):
    """How progress is shown."""

    style: Style
    seconds: float
    """The least time between two lines."""


class _Process:
    has_terminal = True


def without_terminal() -> None:
    """The terminal to which this process may write is another one's: a worker leaves it alone."""
    _Process.has_terminal = False


def settings() -> Settings:
    """The settings in force.

    Raises:
        MatchError: the environment variable has none.
    """
    text = os.environ.get(_VARIABLE, "auto")
    style, _, seconds = text.partition(":")
    try:
        how = _checked(style, float(seconds) if seconds else _SECONDS)
        is_bare = how.style == "auto" and not _Process.has_terminal
        return how._replace(style="lines") if is_bare else how
    except ValueError:
        raise MatchError(
            f"{_VARIABLE}: expected auto, lines or off, perhaps with the seconds between two "
            f"lines, as in lines:30, but got {text!r}"
        ) from None


def show_progress(style: Style = "auto", *, seconds: float = _SECONDS) -> None:
    """Say how `progress=True` shows progress, in this process and those that it starts from now on.

    The environment variable DISTIO_PROGRESS says it, too: `off`, or `lines:30`.

    Args:
        style: `"auto"`: a bar on a terminal or in a notebook, else lines on standard error;
            `"lines"`: lines in any case; `"off"`: nothing.
        seconds: the time before the first line, and the least time between two lines. Later they
            become rarer: up to a quarter of the time so far, and 10 minutes at most.

    Raises:
        MatchError: `style` is none of these, or `seconds` no number above 0.

    >>> import distio
    >>> distio.show_progress("auto", seconds=10)
    """
    try:
        how = _checked(style, seconds)
    except (TypeError, ValueError):
        raise MatchError(
            'show_progress: expected "auto", "lines" or "off", and a number of seconds above 0, '
            f"but got {style!r} and {seconds!r}"
        ) from None
    os.environ[_VARIABLE] = f"{how.style}:{how.seconds!r}"


def _checked(style: Any, seconds: Any) -> Settings:
    if style not in get_args(Style) or not 0 < seconds < float("inf"):
        raise ValueError
    return Settings(style, float(seconds))
