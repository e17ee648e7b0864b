"""What a person may want to know of the coordinator, said so seldom that no log fills a disk.

Rules
-----
- Of notes of one kind that follow each other fast, the first is said, and then one a second: the
  next that comes says how many were left out. So what strangers and members do again and again
  costs a line a second.
- Nothing wakes the coordinator to say what was left out: the last of them are counted in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from traceback import format_exception
from typing import Final, final

__all__ = ["Notes"]

_PAUSE_SECONDS: Final = 1.0
_LONGEST: Final = 500
"""Characters of a note: a peer may have chosen some of them."""


@final
class Notes:
    """Says notes, and counts those that it leaves out."""

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._say = say
        self._warn = warn
        self._last: dict[str, float] = {}
        """By kind: when one was said last."""
        self._omitted: dict[str, int] = {}
        """By kind: how many weren't said since."""

    def note(self, text: str) -> None:
        """Say this."""
        self._say(text)

    def repeated(
        self, now: float, kind: str, text: str, error: BaseException | None = None
    ) -> None:
        """Say this, of which there may be very many, unless one of its kind was just said.

        Args:
            now: seconds on the coordinator's clock.
            kind: what they have in common, in a few words; there are only a few kinds.
            text: what is said.
            error: a mistake of distio's own, whose traceback belongs to it.
        """
        last = self._last.get(kind)
        if last is not None and now - last < _PAUSE_SECONDS:
            self._omitted[kind] = self._omitted.get(kind, 0) + 1
            return
        self._last[kind] = now
        omitted = self._omitted.pop(kind, 0)
        text = text[:_LONGEST] + (f" (and {omitted:,} more {kind} before)" if omitted else "")
        if error is None:
            self._say(text)
        else:
            self._warn(f"{text}\n{''.join(format_exception(error))}")

    def finish(self) -> None:
        """Say how many were left out."""
        for kind, omitted in self._omitted.items():
            self._say(f"{omitted:,} more {kind}")
        self._omitted.clear()
