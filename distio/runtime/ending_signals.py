"""The signals by which a process is told to end: by somebody, or by its terminal."""

from __future__ import annotations

import signal
from typing import Final

__all__ = ["ENDING", "OF_TERMINAL", "signals_to_end"]

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""The signals that end a program unless it handles them, and are no Ctrl-C."""
OF_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP)
"""The signals that a terminal sends to a whole group of processes: at Ctrl-C, and at its end."""


def signals_to_end() -> list[signal.Signals]:
    """The signals at which a daemon ends: at `kill`, at Ctrl-C, and when its terminal is closed,
    unless it was started so that it survives that (`nohup`)."""
    survives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, *(each for each in ENDING if each != signal.SIGHUP or not survives)]
