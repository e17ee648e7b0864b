"""Signals while the main thread runs programs: Ctrl-C, those that end it, and handlers of the
user's own.

Python calls a signal's handler in the main thread, wherever that thread is: in the middle of a
machine, perhaps, with its mutex held. An exception there would leave the machine half changed. So
while the main thread is in `run`, a `_Guard` stands in the place of each handler. The guard calls
the handler. If the handler raises, the guard cancels the run, and the exception leaves `run` when
all is released. If a function of the user was interrupted, the exception is raised there, too.

Rules
-----
- A handler for SIGINT, SIGTERM or SIGHUP that the program hasn't set raises KeyboardInterrupt or a
  SystemExit with code 143 or 129; from there on that exception is like one of the program's.
- An exception that isn't an `Exception` asks the program to end: it cancels all runs that the main
  thread is in, each within a function of the one before. A second one is raised wherever the thread
  is.
- An `Exception` concerns the interrupted code. A function of the user may handle it; otherwise it
  cancels the innermost run and leaves that run.
- The first exception counts. An `Exception` that comes while its run is ending is logged.
- A handler that is set meanwhile has its guard at once: `signal.signal` calls a function of the
  module `_signal`, and another one stands in the place of that as long.
- The handlers are in their places when the outermost run has ended.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` is made of it
import _weakrefset
import os
import signal
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from types import FrameType, NoneType, TracebackType
from typing import Any, Final, final

from distio.core.fiber import Fiber
from distio.core.interrupts import calls_user_code, recognised_by
from distio.runtime.ending_signals import ENDING
from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.main_thread import is_main_thread
from distio.runtime.messenger import hand_over
from distio.runtime.telling import on_sigusr1, tell_at_sigusr1, tell_no_more

__all__ = [
    "Terminated",
    "end_on_signals",
    "interruptible",
    "noted",
]

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_RUNTIME: Final = os.path.join(_PACKAGE, "runtime") + os.sep
_OF_WEAK_REFERENCES: Final = {_weakrefset.__file__, weakref.__file__}
"""The files that call callbacks of weak references, in the midst of any function."""
_PATIENCE_SECONDS: Final = 1.0
"""How long a program may take to be cancelled before it is told what it is at."""
_MARK: Final = "_distio_raised_by_signal_handler"
"""An attribute of exceptions that a guard has let through into a function of the user."""

_NUMBERS: Final = [int(number) for number in signal.valid_signals()]
_handler_of: Final[Callable[[int], Any]] = _signal.getsignal
"""The function behind `signal.getsignal`: it makes no members of enumerations, and so takes a 20th
of the time."""
_set_handler: Final[Callable[[int, Any], Any]] = _signal.signal


class Terminated(SystemExit):
    """A signal has ended the program: it was told to end, or its terminal was closed.

    Args:
        code: that of a process in a shell which this signal has ended.
    """

    code: int

    def __init__(self, code: int) -> None:
        super().__init__(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Takes the place of the default action of such a signal, which would release nothing."""
    raise Terminated(128 + number)


def end_on_signals() -> None:
    """Raise `Terminated` at SIGTERM and SIGHUP from now on, also outside of runs, unless they are
    handled."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _terminate)


@final
class _Guard:
    """Stands in the place of a handler while the main thread is in `run`."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if not _running:  # somebody has kept it, and set it again since
            return self._act_as_handler(number, frame)
        try:
            (self.handler if callable(self.handler) else _terminate)(number, frame)
        except BaseException as exception:
            if _is_raised_here(exception, number, frame):
                raise

    def _act_as_handler(self, number: int, frame: FrameType | None) -> None:
        if callable(self.handler):
            self.handler(number, frame)
        else:
            signal.signal(number, self.handler)
            signal.raise_signal(number)


class interruptible:
    """Cancels the run inside it when a signal handler raises; raises the exception at the end.

    Only the main thread hears signals. In other threads, it raises the exception of `end_with`.

    Args:
        cancel: cancels the run, and returns at once; called by another thread.
        describe: the fibers that go on, in words; empty if there are none.
    """

    def __init__(self, cancel: Callable[[], None], describe: Callable[[], str]) -> None:
        self.cancel = cancel
        self.describe = describe
        self._exception: BaseException | None = None
        """The exception that leaves the run."""
        self._is_heard = False

    def __enter__(self) -> interruptible:
        self._is_heard = is_main_thread()
        if self._is_heard:
            if not _running:
                _demands.tells = tell_at_sigusr1()
                _guard_handlers()
            _running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_heard:
            _running.remove(self)
            if not _running:
                _demands.count = 0
                _put_back()
                if _demands.tells:
                    tell_no_more()
        if error is None and self._exception is not None:
            if not _running:
                vars(self._exception).pop(_MARK, None)
            _demands.counted = self._exception if _running else None
            raise self._exception

    @property
    def exception(self) -> BaseException | None:
        """The exception that leaves the run, if there is one."""
        return self._exception

    @property
    def is_ending(self) -> bool:
        """Whether something is to leave it."""
        return self._exception is not None

    def end_with(self, exception: BaseException) -> bool:
        """Cancel the run, and let this exception leave it, unless it is being cancelled already.

        Returns:
            Whether this is what leaves it.
        """
        if self._exception is None:
            self._exception = exception
            hand_over(self.cancel)
        return self._exception is exception

    def noted(self, exception: BaseException) -> None:
        """Note an exception that a function of a fiber has let pass: it ends the run.

        Raises:
            BaseException: this exception, if all is given up.
        """
        if self in _running and _demands.count > 1:
            raise exception
        if self._exception is None:
            self._exception = exception
        self.cancel()  # before anybody else hears that the function has failed


class _Demands:
    count = 0
    counted: BaseException | None = None
    """The exception that has just left an inner run, perhaps one that a handler has begun."""
    tells = False
    """Whether SIGUSR1 was given a handler when the outermost run began."""


_running: Final[list[interruptible]] = []
"""The runs that the main thread is in, the outermost first."""
_demands: Final = _Demands()
"""How often a handler has asked the program to end since the outermost began."""
_guards: Final[dict[int, _Guard]] = {}
"""The guards, by the number of the signal."""


def noted(exception: BaseException) -> None:
    """A function that the main thread has called lets this pass; see `interruptible.noted`."""
    if is_main_thread() and _running:
        _running[-1].noted(exception)


# -- handlers and their guards ----------------------------------------------------------------


def _guard_handlers() -> None:
    """Put a guard in the place of each handler, and of each that is set from now on."""
    for number in _worth_a_look(tuple(map(type, map(_handler_of, _NUMBERS)))):
        handler = _handler_of(number)
        if _lacks_guard(number, handler):
            _set_guarded(number, handler)
    _signal.signal = _set_guarded


@lru_cache(maxsize=1)
def _worth_a_look(kinds: tuple[type, ...]) -> list[int]:
    """The signals of which some may lack a guard: few have handlers, and seldom do others get one.

    Args:
        kinds: by signal, the type of what `getsignal` returns.
    """
    plain = (int, NoneType)  # the default, none, or one that isn't Python's
    return [
        number for number, kind in zip(_NUMBERS, kinds) if number in ENDING or kind not in plain
    ]


def _set_guarded(number: Any, handler: Any) -> Any:
    """Stands for `_signal.signal` while the main thread is in `run`.

    Returns:
        The handler before: a guard, most likely.
    """
    if not _lacks_guard(number, handler):
        return _set_handler(number, handler)
    guard = _Guard(handler)
    before = _set_handler(number, guard)
    _guards[number] = guard
    return before


def _lacks_guard(number: int, handler: Any) -> bool:
    if callable(handler):
        return type(handler) is not _Guard and handler is not on_sigusr1  # which never raises
    return number in ENDING and bool(handler == signal.SIG_DFL)


def _put_back() -> None:
    """Let the handlers be in their places that are guarded: those of before, or set meanwhile."""
    _signal.signal = _set_handler
    while _guards:
        number, guard = _guards.popitem()
        if _handler_of(number) is guard:
            _set_handler(number, guard.handler)


# -- what they raise --------------------------------------------------------------------------


def _is_raised_here(exception: BaseException, number: int, frame: FrameType | None) -> bool:
    """Let the runs hear what a handler has raised; return whether it is to be raised."""
    is_in_user_code = _is_in_user_code(frame)
    if isinstance(exception, Exception):
        if is_in_user_code:
            vars(exception)[_MARK] = True
        elif not _running[-1].end_with(exception):
            hand_over(partial(_call_later, 0.0, partial(_report_lost, exception, number)))
        return is_in_user_code
    vars(exception)[_MARK] = True
    if exception is _demands.counted:
        _demands.counted = None
    else:
        _demand(exception, number)
    return is_in_user_code or _demands.count > 1


def _demand(exception: BaseException, number: int) -> None:
    _demands.count += 1
    if _demands.count == 1:
        for run in _running:
            run.end_with(exception)
        hand_over(partial(_call_later, _PATIENCE_SECONDS, partial(_report, _running[0], number)))


def _is_in_user_code(interrupted: FrameType | None) -> bool:
    """Whether what is raised here is what a function of the user raises, and may be cancelled."""
    frame = interrupted
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_filename in _OF_WEAK_REFERENCES:
            return False  # Python would ignore it
        if _is_ours(frame):
            is_innermost = frame is interrupted
            is_marked = calls_user_code(code, is_innermost=is_innermost)
            fiber = frame.f_locals.get("fiber") if is_marked else None
            if isinstance(fiber, Fiber):
                # a resource that a function has just opened must not be lost when it has returned
                is_opened = bool(fiber.acquiring) and _is_ours(interrupted)
                return fiber.shield == 0 and not is_opened
            if code.co_filename.startswith(_RUNTIME) or (is_innermost and not is_marked):
                return False
        frame = frame.f_back
    return False


def _is_ours(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename.startswith(_PACKAGE)


def _is_from_handler(exception: BaseException) -> bool:
    """Whether a signal handler has raised it."""
    return _MARK in vars(exception)


recognised_by(_is_from_handler)


# -- reports ----------------------------------------------------------------------------------


def _call_later(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True  # a program that has ended by then waits for nobody
    timer.start()


def _report(outermost: interruptible, number: int) -> None:
    if outermost in _running:  # not another that has begun since
        going_on = "; ".join(filter(None, [run.describe() for run in list(_running)]))
        again = "Ctrl-C" if number in (0, signal.SIGINT) else signal.Signals(number).name
        if going_on:
            log.warning("interrupted; %s again gives up what still goes on: %s", again, going_on)


def _report_lost(exception: BaseException, number: int) -> None:
    log.warning(
        "the handler of %s raised while the run was ending, and that is lost:",
        signal.Signals(number).name,
        exc_info=exception,
    )


# -- forked children --------------------------------------------------------------------------


def _drop_in_child() -> None:
    """In a forked child no run is going on yet."""
    _demands.count = 0
    for run in _running:
        run._is_heard = False  # its end takes nothing back
    _running.clear()
    _put_back()


renew_in_children(_drop_in_child)
