"""How the outcome of a program appears in a terminal."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import Any, Final

from distio.errors import TracedException
from distio.result import Errors, Ok, Panic, Result

__all__ = [
    "ERRORS",
    "INTERRUPTED",
    "OK",
    "PANIC",
    "USAGE",
    "OutputFailed",
    "complain",
    "finish",
    "output_failed",
    "print_error",
    "report",
    "say",
]

OK: Final = 0
ERRORS: Final = 1
PANIC: Final = 2
USAGE: Final = 64
"""EX_USAGE of sysexits.h: 1 and 2 are outcomes of programs."""
INTERRUPTED: Final = 130
"""The exit code in a shell of a process that SIGINT ended."""

_OUTPUT_FAILED: Final = 74
"""EX_IOERR of sysexits.h."""
_READER_GONE: Final = 141
"""The exit code in a shell of a process that SIGPIPE ended, as it ends most tools."""

_STDOUT: Final = "<stdout>"
"""The name that Python gives standard output."""


class OutputFailed(Exception):
    """Standard output can't be written; the cause is the error of the system, if there is one."""


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
        case Panic([first, *_] as exceptions, []) if all(map(_is_of_output, exceptions)):
            return output_failed(first.exception)
        case Panic(exceptions, errors):
            for traced in exceptions:
                print_error(traced.stack_trace.rstrip("\n"))
            _print_errors(errors)
            return PANIC
        case _:
            raise AssertionError(f"not a Result: {result!r}")


def _is_of_output(traced: TracedException) -> bool:
    """Whether a function of the program failed because it couldn't print.

    The stream of a worker names itself in its errors; that of this process doesn't.
    """
    error = traced.exception
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return _has_no_reader()
    return isinstance(error, OSError) and error.filename == _STDOUT


def _has_no_reader() -> bool:
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def complain(message: object) -> None:
    """Say in one line on stderr what is wrong."""
    print_error(f"distio: {' '.join(str(message).split())}")


def print_error(text: str) -> None:
    """Print on stderr, if there is one."""
    if sys.stderr is None:
        return  # print would take stdout
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr)  # there is nobody to tell; the exit code does


def say(text: str) -> None:
    """Print a line on stdout, now.

    Raises:
        OutputFailed: it can't be written.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise OutputFailed
    try:
        try:
            print(text)
        except UnicodeEncodeError:  # a name that isn't text, or a stdout that takes ASCII only
            encoding = sys.stdout.encoding
            print(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed from error


def finish(code: int) -> int:
    """Write what is still to be written; return the exit code."""
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        return code or output_failed(error)
    return code


def output_failed(error: BaseException | None) -> int:
    """Tell that stdout can't be written, and why; return the exit code."""
    if sys.stdout is not None:
        _abandon(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return _READER_GONE  # in silence: who reads no further knows
    reason = error.strerror if isinstance(error, OSError) else "the stream is closed"
    complain(f"can't write to standard output: {reason}; direct it elsewhere")
    return _OUTPUT_FAILED


def _abandon(stream: Any) -> None:
    """Let what is left in a stream go nowhere, lest Python fails over it at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _print_value(value: Any) -> int:
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 (it is the user's code that failed)
        print_error(TracedException.in_except_clause(error).stack_trace.rstrip("\n"))
        return PANIC
    say(text)
    return OK


def _print_errors(errors: list[Any]) -> None:
    for error in errors:
        print_error(f"error: {error}")
