"""What ends a run though a function of one fiber has raised it, and where that may be raised.

A signal handler interrupts the main thread wherever that is. What it raises concerns the program,
not the fiber that happens to be stepped. It can be raised in the function that was interrupted, as
in any Python program, if that function is the user's. So the methods that call such functions are
marked here.
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
    """Mark a function: what it calls may be the user's. Its local `fiber` says on whose behalf."""
    _running.add(f.__code__)
    return f


def is_user_call(f: F) -> F:
    """Mark a function as one that does little but call one of the user's.

    The latter may be written in C, and so have no frame. Whatever is raised in the marked function
    has to have the effect that it has when the user's function raises it.
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
