"""Interrupts: exceptions that end a run, and the functions in which they may be raised.

A signal handler interrupts the main thread wherever that thread is. An exception of the handler
concerns the program, not the fiber that happens to be stepped. The exception is raised in the
interrupted function, as in any Python program, if that function is the user's. So the methods that
call such functions are marked here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, Final, TypeVar

__all__ = ["calls_user_code", "is_interrupt", "is_user_call", "recognised_by", "runs_user_code"]

F = TypeVar("F", bound=Callable[..., Any])

_running: Final[set[CodeType]] = set()
_calling: Final[set[CodeType]] = set()
_tests: Final[list[Callable[[BaseException], bool]]] = []


def runs_user_code(f: F) -> F:
    """Mark a function that may call functions of the user, on behalf of its local `fiber`."""
    _running.add(f.__code__)
    return f


def is_user_call(f: F) -> F:
    """Mark a function as one that does little but call one of the user's.

    The user's function may be written in C, and so have no frame. An exception that is raised in
    the marked function must have the effect of one that the user's function raises.
    """
    _calling.add(f.__code__)
    return runs_user_code(f)


def calls_user_code(code: CodeType, *, is_innermost: bool) -> bool:
    """Whether the function with this code is marked.

    Args:
        code: that of a frame.
        is_innermost: whether it is the frame that was interrupted, so that any function which it
            has called has no frame.
    """
    return code in (_calling if is_innermost else _running)


def recognised_by(test: Callable[[BaseException], bool]) -> None:
    """Let `test` decide, too, what is an interrupt."""
    _tests.append(test)


def is_interrupt(exception: BaseException) -> bool:
    """Whether what a function of the user has raised is to end the run, and not its fiber alone."""
    return isinstance(exception, KeyboardInterrupt) or any(test(exception) for test in _tests)
