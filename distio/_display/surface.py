"""Surfaces: where meters are drawn. All methods are called by one thread."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from html import escape
from math import inf
from typing import TYPE_CHECKING, Any, Final, TextIO, final

from distio._display.meter import Meter, Shown, clock, in_words, rate_in_words

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["Calls", "Lines", "Nothing", "Notebook", "Surface", "Terminal"]


_YOUNG_SECONDS: Final = 0.2
"""A meter that ends sooner than this isn't shown."""


class Surface(ABC):
    """Draws meters now and then."""

    @abstractmethod
    def next_look(self, now: float) -> float:
        """When to draw next, if no meter is over before."""

    @abstractmethod
    def draw(self, meters: Sequence[Meter], now: float) -> None:
        """Draw all meters; those that are over, for the last time."""

    def abandon(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """In a forked child: let go of what it has, since the parent draws."""


@final
class Nothing(Surface):
    """Shows nothing."""

    def next_look(self, now: float) -> float:
        return inf

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        pass


def _is_worth_it(found: Sequence[Shown]) -> bool:
    return any(each.seconds >= _YOUNG_SECONDS and not each.is_over for each in found)


# -- a terminal -------------------------------------------------------------------------------

_WIDTH: Final = 100
_LABEL_WIDTH: Final = 24
_LEAST_BAR_WIDTH: Final = 8


@final
class Terminal(Surface):
    """Bars on a terminal, one below the other; they are gone when all are over.

    Output that the program prints meanwhile appears above the bars.
    """

    _GAP_SECONDS: Final = 0.1

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._live: Live | None = None

    def next_look(self, now: float) -> float:
        return now + self._GAP_SECONDS

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        found = [shown for each in meters if (shown := each.look(now)) is not None]
        if self._live is None and _is_worth_it(found):
            self._live = self._begin()
        if self._live is None:
            return
        self._live.update(_table(found, self._live.console.width), refresh=True)
        if all(each.is_over for each in meters):
            live, self._live = self._live, None
            live.stop()

    def abandon(self) -> None:
        # a thread of the parent may hold the lock of the console to which these write
        for name in ("stdout", "stderr"):
            proxied = getattr(getattr(sys, name), "rich_proxied_file", None)
            if proxied is not None:
                setattr(sys, name, proxied)

    def _begin(self) -> Live:
        # importing rich takes its time, and most programs show no bar
        from rich.console import Console
        from rich.live import Live

        live = Live(
            console=Console(file=self._file, force_terminal=True, force_jupyter=False),
            auto_refresh=False,
            transient=True,
            # text that goes into a file or a pipe must not come here
            redirect_stdout=_is_terminal(sys.stdout),
        )
        live.start()
        return live


def _table(found: Sequence[Shown], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Column, Table
    from rich.text import Text

    table = Table.grid(
        Column(no_wrap=True, max_width=_LABEL_WIDTH),
        Column(ratio=1, min_width=_LEAST_BAR_WIDTH),
        *[Column(no_wrap=True, justify="right") for _ in range(5)],
        Column(no_wrap=True, max_width=_LABEL_WIDTH),
        padding=(0, 1),
        expand=True,
    )
    table.width = min(width, _WIDTH)
    for each in found:
        done = f"{each.done}" if each.total is None else f"{each.done}/{each.total}"
        percent = "" if each.fraction is None else f"{int(100 * each.fraction)} %"
        left = "" if each.seconds_left is None else f"{clock(each.seconds_left)} left"
        bar = ProgressBar(each.total or None, each.done, pulse=each.total is None)
        texts = [percent, done, rate_in_words(each.rate), clock(each.seconds), left]
        row = [Text(text) for text in texts]
        table.add_row(Text(each.label), bar, *row, Text(each.doing, style="dim"))
    return table


def _is_terminal(file: Any) -> bool:
    try:
        return bool(file.isatty())
    except (AttributeError, ValueError, OSError):  # it is None, closed, or no whole file
        return False


# -- a notebook -------------------------------------------------------------------------------


@final
class Notebook(Surface):
    """An output in the cell that has begun the meter, which is changed in place.

    It needs neither widgets nor scripts. Its last state stays in the notebook.
    """

    _GAP_SECONDS: Final = 0.25

    def __init__(self, display: Callable[..., Any]) -> None:
        """
        Args:
            display: `IPython.display.display`.
        """
        self._display = display
        self._outputs: dict[Meter, Any] = {}

    def next_look(self, now: float) -> float:
        return now + self._GAP_SECONDS

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        for meter in meters:
            shown = meter.look(now)
            if shown is not None and (meter in self._outputs or _is_worth_it([shown])):
                self._draw(meter, {"text/plain": in_words(shown), "text/html": _html(shown)})
            if meter.is_over:
                self._outputs.pop(meter, None)

    def _draw(self, meter: Meter, data: dict[str, str]) -> None:
        output = self._outputs.get(meter)
        if output is None:
            self._outputs[meter] = meter.context.run(self._display, data, raw=True, display_id=True)
        else:
            meter.context.run(output.update, data, raw=True)


def _html(shown: Shown) -> str:
    value = "" if shown.fraction is None else f' value="{shown.fraction:.4f}"'
    bar = f'<progress max="1"{value} style="width: 16em; vertical-align: middle"></progress>'
    return f"<div>{bar} <span>{escape(in_words(shown))}</span></div>"


# -- a log ------------------------------------------------------------------------------------

_LONGEST_GAP_SECONDS: Final = 600.0
_GAP_OF_AGE: Final = 0.25


@final
class Lines(Surface):
    """Plain lines, seldom, and the more seldom the longer it takes; none of what is over soon."""

    def __init__(self, write: Callable[[str], object], gap_seconds: float) -> None:
        self._write = write
        self._gap = gap_seconds
        self._due: dict[Meter, float] = {}
        """When the next line of a meter is due."""
        self._told: set[Meter] = set()

    def next_look(self, now: float) -> float:
        return min(self._due.values(), default=now)

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        for meter in meters:
            due = self._due.setdefault(meter, now + self._gap)
            if meter.is_over:
                del self._due[meter]
            elif now < due:
                continue
            if meter.is_over and meter not in self._told:
                continue
            shown = meter.look(now)
            if not meter.is_over:
                age = 0.0 if shown is None else shown.seconds
                gap = min(max(self._gap, _GAP_OF_AGE * age), _LONGEST_GAP_SECONDS)
                self._due[meter] = now + gap
            if shown is not None:
                self._told.add(meter)
                self._write(in_words(shown))
        self._told.intersection_update(self._due)


# -- a function -------------------------------------------------------------------------------


@final
class Calls(Surface):
    """A function of the user's, called as `progress(done, total)` when that has changed."""

    _GAP_SECONDS: Final = 0.1

    def __init__(self, progress: Callable[[int, int | None], object]) -> None:
        self._progress = progress
        self._told: tuple[int, int | None] | None = None

    def next_look(self, now: float) -> float:
        return now + self._GAP_SECONDS

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        for meter in meters:
            shown = meter.look(now)
            if shown is not None and (shown.done, shown.total) != self._told:
                self._told = shown.done, shown.total
                self._progress(*self._told)
