"""Ctrl-C while the main thread runs programs: the first cancels them, the second gives up.

Python calls a signal's handler in the main thread, wherever that is: in the middle of a machine,
perhaps, with its mutex held. So the handler does nothing itself: a thread of its own does. It
raises KeyboardInterrupt only where a function of the user would raise it, or if all is given up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from distio.runtime.errands import errands
from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.main_thread import is_main_thread
from distio.runtime.threads import CannotStartThread

__all__ = ["interruptible"]

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_RUNTIME: Final = os.path.join(_PACKAGE, "runtime") + os.sep
_CALLS: Final = os.path.join(_PACKAGE, "core", "ops", "values.py")
"""Where functions of the user are called that may be written in C: these have no frame."""
_PATIENCE_SECONDS: Final = 1.0
"""How long a program may take to be cancelled before it is told what it is at."""


class interruptible:
    """What runs in it is cancelled by the first Ctrl-C.

    When it has ended, or at the second Ctrl-C, KeyboardInterrupt is raised. Only the main thread
    hears signals, and a handler that the program has installed itself, before or meanwhile, is left
    alone.

    Args:
        cancel: cancels it, and returns at once; called by another thread.
        describe: what of it goes on, in words; empty if nothing does.
    """

    def __init__(self, cancel: Callable[[], None], describe: Callable[[], str]) -> None:
        self.cancel = cancel
        self.describe = describe
        self._is_outermost = False
        self._is_heard = is_main_thread()

    def __enter__(self) -> None:
        if not self._is_heard:
            return
        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._is_outermost = is_ours and _can_be_heard()
        if self._is_outermost:
            signal.signal(signal.SIGINT, _heard)
        _running.append(self)

    def __exit__(self, *_: object) -> None:
        if not self._is_heard:
            return
        _running.remove(self)
        if self._is_outermost:
            if signal.getsignal(signal.SIGINT) is _heard:  # else a fiber has installed another
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if _count.times:
                _count.times = 0
                raise KeyboardInterrupt


class _Count:
    times = 0


_running: Final[list[interruptible]] = []
"""Those that the main thread is in, the outermost first."""
_count: Final = _Count()
"""How often Ctrl-C was heard since the outermost began."""


def _heard(number: int, frame: FrameType | None) -> None:
    """The handler."""
    _count.times += 1
    if _count.times == 1:
        for run in _running:
            errands.ask(run.cancel)
        errands.ask(_report_later)
    if _count.times > 1 or _is_in_user_code(frame):
        raise KeyboardInterrupt


def _is_in_user_code(frame: FrameType | None) -> bool:
    """Whether what a function raises here is what the user's function raises."""
    if frame is not None and frame.f_code.co_filename == _CALLS:
        return _can_be_cancelled(frame)
    is_innermost = True
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE):
            return not (is_innermost or name.startswith(_RUNTIME)) and _can_be_cancelled(frame)
        is_innermost = False
        frame = frame.f_back
    return False


def _can_be_cancelled(frame: FrameType) -> bool:
    """Whether the operation that calls is not one that releases something."""
    fiber = frame.f_locals.get("fiber")
    return getattr(fiber, "shield", 1) == 0


def _can_be_heard() -> bool:
    """Whether there is a thread for what the handler asks for; without, Ctrl-C is as in Python."""
    try:
        errands.prepare()
    except CannotStartThread as error:
        log.warning("Ctrl-C will not cancel this run: %s", error)
        return False
    return True


def _drop_in_child() -> None:
    """In a forked child no run is going on yet."""
    _count.times = 0
    for run in _running:
        run._is_heard = False  # its end takes nothing back
    _running.clear()
    if signal.getsignal(signal.SIGINT) is _heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)


renew_in_children(_drop_in_child)


def _report_later() -> None:
    timer = threading.Timer(_PATIENCE_SECONDS, _report)
    timer.daemon = True  # a program that has ended by then waits for nobody
    timer.start()


def _report() -> None:
    if _count.times:
        going_on = "; ".join(filter(None, [run.describe() for run in list(_running)]))
        if going_on:
            log.warning("interrupted; Ctrl-C again gives up what still goes on: %s", going_on)
