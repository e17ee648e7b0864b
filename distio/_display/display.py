"""The display: a thread that draws all meters of the process while there are any."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, final

from distio._display.meter import Meter
from distio._display.settings import settings
from distio._display.surface import Lines, Notebook, Nothing, Surface, Terminal

__all__ = ["Display", "shared"]

log: Final = logging.getLogger("distio")

_PATIENCE_SECONDS: Final = 1.0
"""How long a program waits until its last state is drawn: a terminal may be stopped."""


@final
class Display:
    """Draws meters on a surface.

    Args:
        choose: makes the surface, whenever there is a first meter.
        now: the clock.
        shows_all: whether a meter is shown for the last time even if it wasn't before.
    """

    def __init__(
        self,
        choose: Callable[[], Surface],
        now: Callable[[], float] = time.monotonic,
        *,
        shows_all: bool = False,
    ) -> None:
        self._shows_all = shows_all
        self._choose = choose
        self._now = now
        self._surface: Surface | None = None
        self.renew()

    def renew(self) -> None:
        """Begin without any meter; in a forked child, whose parent shows them."""
        if self._surface is not None:
            self._surface.abandon()
        # reentrant: a collector of garbage may end a meter in the midst of anything
        self._changed = threading.Condition(threading.RLock())
        self._meters: dict[Meter, bool] = {}
        """By meter, whether it may have been drawn."""
        self._surface = None
        self._worker: threading.Thread | None = None

    def begin(self, meter: Meter) -> None:
        """Show a meter until `end`."""
        meter.begin(self._now())
        with self._changed:
            if not self._meters:
                self._surface = None  # the thread hasn't seen yet that the last meter is gone
            self._meters[meter] = self._shows_all
            self._changed.notify_all()
            if self._worker is not None:
                return
            worker = threading.Thread(target=self._work, name="distio-progress", daemon=True)
            self._worker = worker
        try:
            worker.start()
        except (RuntimeError, MemoryError):  # there is no thread for it: then nothing is shown
            with self._changed:
                self._worker = None
                self._meters.clear()
        except BaseException:  # a signal's handler raises; if the thread has begun, it ends
            with self._changed:
                self._worker = None
                self._meters.pop(meter, None)
            raise

    def end(self, meter: Meter, patience: float | None = _PATIENCE_SECONDS) -> None:
        """Show the meter for the last time, and no longer; to do so again does nothing.

        Args:
            meter: which.
            patience: for how many seconds to wait until it is drawn; None: as long as it takes.
        """
        with self._changed:
            meter.is_over = True
            if self._meters.get(meter) is False:
                del self._meters[meter]  # nobody has seen it
            self._changed.notify_all()
            if threading.current_thread() is not self._worker:
                self._changed.wait_for(lambda: meter not in self._meters, patience)

    def end_all(self) -> None:
        """The process ends: leave the terminal as it was."""
        for meter in list(self._meters):
            self.end(meter)

    # -- the thread -----------------------------------------------------------------------

    def _work(self) -> None:
        changed = self._changed
        drawn: list[Meter] = []
        while True:
            with changed:
                if self._worker is not threading.current_thread():
                    return
                if not self._wait(drawn):
                    self._surface = self._worker = None
                    return
                drawn = meters = list(self._meters)
                self._meters.update(dict.fromkeys(meters, True))
                surface = self._surface
            over = [meter for meter in meters if meter.is_over]
            try:
                if surface is None:
                    surface = self._choose()
                surface.draw(meters, self._now())
            except Exception as error:  # noqa: BLE001 (a program isn't harmed by what it shows)
                log.warning("progress is shown no more: %s: %s", type(error).__name__, error)
                surface = Nothing()
            with changed:
                for meter in over:
                    self._meters.pop(meter, None)
                self._surface = surface if self._meters else None
                changed.notify_all()

    def _wait(self, drawn: Sequence[Meter]) -> bool:
        """Wait until there is something to draw; False if there is no meter (lock held).

        Args:
            drawn: the meters that were drawn last.
        """
        now = self._now()
        due = now if self._surface is None else self._surface.next_look(now)
        while self._meters:
            left = due - self._now()
            is_new = any(meter not in drawn for meter in self._meters)
            if left <= 0 or is_new or any(meter.is_over for meter in self._meters):
                return True
            self._changed.wait(None if due == inf else left)
        return False


# -- the surface of this process --------------------------------------------------------------


def _choose() -> Surface:
    how = settings()
    if how.style == "off":
        return Nothing()
    if how.style == "auto":
        if (display := _display_of_notebook()) is not None:
            return Notebook(display)
        if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            return Terminal(sys.stderr)
    return Nothing() if sys.stderr is None else Lines(_write, how.seconds)


def _write(line: str) -> None:
    print(f"distio: {line}", file=sys.stderr, flush=True)


def _display_of_notebook() -> Callable[..., Any] | None:
    """The function that shows something in the cell; None if this is no notebook's process."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display


shared: Final = Display(_choose)
"""The display of this process: all bars are here, so that they don't write over each other."""

os.register_at_fork(after_in_child=shared.renew)
atexit.register(shared.end_all)
