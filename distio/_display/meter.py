"""Meters: how much of something is done, how fast that goes, and how long the rest may take."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Final, NamedTuple, final

__all__ = ["Counts", "Meter", "Shown", "in_words", "label_of"]

_MEMORY_SECONDS: Final = 10.0
"""The rate is that of about so many seconds."""
_LONGEST_LABEL: Final = 60


class Counts(NamedTuple):
    """How much of something is done."""

    done: int
    total: int | None
    """None: nobody knows."""
    doing: str = ""
    """The work that goes on just now, in words."""


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A meter at one moment."""

    label: str
    done: int
    total: int | None
    doing: str
    seconds: float
    """The seconds since the meter has begun."""
    rate: float
    """How many become done in a second."""
    is_over: bool

    @property
    def fraction(self) -> float | None:
        """How much of it is done, from 0 to 1; None if nobody knows."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest may take; None if nobody knows."""
        if self.total is None or self.rate <= 0 or self.is_over:
            return None
        return max(0, self.total - self.done) / self.rate


@final
class Meter:
    """One thing that goes on; any thread may set its fields.

    Args:
        label: the label, which is shown as one short line.
        look: says how much is done, if nobody sets the fields; called by the thread that draws.
    """

    def __init__(self, label: str = "", look: Callable[[], Counts | None] | None = None) -> None:
        self.label = label_of(label)
        self.counts: Counts | None = None
        """None: nobody knows anything yet."""
        self.is_over = False
        self.context = copy_context()
        """The context of the code which has begun it: a notebook's kernel finds its cell there."""
        self._look = look
        self._started: float | None = None
        self._rate = 0.0
        self._seen = 0.0, 0
        """The time of the last look, and how much was done then."""

    def begin(self, now: float) -> None:
        """Count the time from now on."""
        self._started, self._seen = now, (now, 0)

    def look(self, now: float) -> Shown | None:
        """The figures of the meter now; None if nobody knows anything yet."""
        if self._look is not None:
            self.counts = self._look() or self.counts
        if self.counts is None or self._started is None:
            return None
        done, total, doing = self.counts
        seconds = max(0.0, now - self._started)
        self._learn(now, done, seconds)
        return Shown(self.label, done, total, doing, seconds, self._rate, self.is_over)

    def _learn(self, now: float, done: int, seconds: float) -> None:
        before, count = self._seen
        if self.is_over:
            self._rate = done / seconds if seconds > 0 else 0.0
        elif now > before:
            rate = max(0, done - count) / (now - before)
            # while it is young, all of it counts alike
            memory = min(_MEMORY_SECONDS, seconds)
            self._rate += (rate - self._rate) * -math.expm1(-(now - before) / memory)
            self._seen = now, done


def label_of(text: str) -> str:
    """A text of the user's as a label: one line, and not long.

    >>> label_of("  the pages\\n of a book ")
    'the pages of a book'
    """
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"


def in_words(shown: Shown) -> str:
    """A meter as one line of text.

    >>> in_words(Shown("pages", 450, 1000, "", 14.0, 32.0, False))
    'pages: 450 of 1000 (45 %), 32.0/s, 0:14 so far, 0:17 left'
    >>> in_words(Shown("", 7, None, "on 2 workers", 3700.0, 0.0, False))
    '7 done, 1:01:40 so far; on 2 workers'
    """
    of = f"{shown.done} done"
    if shown.total is not None:
        of = f"{shown.done} of {shown.total}"
    if shown.fraction is not None:
        of += f" ({math.floor(100 * shown.fraction)} %)"
    took = "in all" if shown.is_over else "so far"
    parts = [of, rate_in_words(shown.rate), f"{clock(shown.seconds)} {took}"]
    if shown.seconds_left is not None:
        parts.append(f"{clock(shown.seconds_left)} left")
    line = ", ".join(filter(None, parts))
    if shown.label:
        line = f"{shown.label}: {line}"
    return f"{line}; {shown.doing}" if shown.doing else line


def rate_in_words(rate: float) -> str:
    """The rate in words: so many in a second, or in a minute if that is few; empty: none.

    >>> rate_in_words(1234.5), rate_in_words(0.05), rate_in_words(0)
    ('1234/s', '3.0/min', '')
    """
    if rate <= 0:
        return ""
    if rate < 0.5:
        return f"{60 * rate:.1f}/min"
    return f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s"


def clock(seconds: float) -> str:
    """A time as a clock shows it.

    >>> clock(9.6), clock(61), clock(3 * 24 * 3600)
    ('0:09', '1:01', '72:00:00')
    """
    minutes, rest = divmod(int(min(seconds, 3.6e9)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
