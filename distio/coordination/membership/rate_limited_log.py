"""The log of the coordinator for its operator, limited so that no peer can fill a disk.

Rules
-----
- Of lines of one kind that follow each other fast, the log writes the first, and then one a second.
  The next line says how many were omitted. So a peer that does the same again and again costs one
  line a second.
- A line stays one line, whatever a peer has written into it.
- Nothing wakes the coordinator to write what was omitted: `finish` counts the last omissions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from traceback import format_exception
from typing import Final, Self, final

__all__ = ["Note", "RateLimitedLog"]

_INTERVAL_SECONDS: Final = 1.0
_MAX_LENGTH: Final = 500
"""The most characters of a line: a peer may have chosen some of them."""
_LONGEST_OWN: Final = 4_000
"""The most characters of a line that is written once, for an event that no peer can repeat."""


@final
class Note(str):
    """A line for the operator, with what it is about.

    >>> Note("worker 3 joined", member=3).facts
    {'member': 3}
    """

    __slots__ = ("facts",)

    facts: Mapping[str, int | str]

    def __new__(cls, text: str, **facts: int | str) -> Self:
        """Make a note: the line with its facts."""
        note = super().__new__(cls, text)
        note.facts = facts
        return note


@final
class RateLimitedLog:
    """Writes lines, and counts those that it omits."""

    def __init__(self, info: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._info = info
        self._warn = warn
        self._last: dict[str, float] = {}
        """By kind: when the last line was written."""
        self._omitted: dict[str, int] = {}
        """By kind: how many lines were omitted since."""

    def log(self, text: str) -> None:
        """Write this line."""
        self._info(_one_line(text, _LONGEST_OWN))

    def log_limited(
        self, now: float, kind: str, text: str, error: BaseException | None = None
    ) -> None:
        """Write this line, unless one of its kind was written less than a second ago.

        Args:
            now: seconds on the coordinator's clock.
            kind: what such lines have in common, in a few words; there are only a few kinds.
            text: the line.
            error: a bug of distio, whose traceback is written below the line.
        """
        last = self._last.get(kind)
        if last is not None and now - last < _INTERVAL_SECONDS:
            self._omitted[kind] = self._omitted.get(kind, 0) + 1
            return
        self._last[kind] = now
        omitted = self._omitted.pop(kind, 0)
        text = _one_line(text, _MAX_LENGTH) + (
            f" (and {omitted:,} more {kind} before)" if omitted else ""
        )
        if error is None:
            self._info(text)
        else:
            self._warn(f"{text}\n{''.join(format_exception(error))}")

    def finish(self) -> None:
        """Write how many lines of each kind were omitted."""
        for kind, omitted in self._omitted.items():
            self._info(f"{omitted:,} more {kind}")
        self._omitted.clear()


def _one_line(text: str, length: int) -> str:
    """The text, no longer than this, with what can't be printed as escapes."""
    text = text[:length]
    return (
        text
        if text.isprintable()
        else "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
        )
    )
