"""How the outcome of a program appears in a terminal."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from distio.errors import TracedException
from distio.result import Errors, Ok, Panic, Result

__all__ = ["ERRORS", "INTERRUPTED", "OK", "PANIC", "USAGE", "complain", "report"]

OK: Final = 0
ERRORS: Final = 1
PANIC: Final = 2
USAGE: Final = 64
"""EX_USAGE of sysexits.h: 1 and 2 are outcomes of programs."""
INTERRUPTED: Final = 130
"""What a shell says of a process that SIGINT ended."""

_FRAME: Final = '  File "'
_OWN_FRAME: Final = _FRAME + os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def report(result: Result[Any, Any]) -> int:
    """Print a value on stdout, or failures on stderr; return the exit code."""
    match result:
        case Ok(None):
            return OK
        case Ok(value):
            return _print_value(value)
        case Errors(errors):
            _print_errors(errors)
            return ERRORS
        case Panic(exceptions, errors):
            for traced in exceptions:
                print(_from_user_code(traced.stack_trace).rstrip("\n"), file=sys.stderr)
            _print_errors(errors)
            return PANIC
        case _:
            raise AssertionError(f"not a Result: {result!r}")


def complain(message: object) -> None:
    """Say in one line on stderr what is wrong."""
    print(f"distio: {' '.join(str(message).split())}", file=sys.stderr)


def _from_user_code(stack_trace: str) -> str:
    """Without the frames that led here, which the stack of an exception has that wasn't raised."""
    if not stack_trace.startswith(_FRAME):
        return stack_trace  # a traceback of one that was
    start = stack_trace.find("\n" + _FRAME, stack_trace.rfind(_OWN_FRAME)) + 1
    return "Traceback (most recent call last):\n" + stack_trace[start:]


def _print_value(value: Any) -> int:
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 (it is the user's code that failed)
        print(TracedException.in_except_clause(error).stack_trace, end="", file=sys.stderr)
        return PANIC
    try:
        print(text)
    except UnicodeEncodeError:  # a file name that isn't text, or a stdout that takes ASCII only
        encoding = sys.stdout.encoding
        print(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()  # so that a closed pipe shows now, where it can be handled
    return OK


def _print_errors(errors: list[Any]) -> None:
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
