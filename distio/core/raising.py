"""Failures as exceptions, and exceptions as the failures that they were.

In a function of `io.do` an await raises the failure of an `IO` as an exception. An exception that
leaves the function becomes a failure again: the same one, if an await has raised it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from distio.errors import BasePanicGroup, DomainErrors, PanicGroup, TracedException
from distio.result import Errors, Panic
from distio.result._exceptions import group_of

__all__ = ["Raised", "exception_of", "failure_of"]

Failure = Errors[Any, Any] | Panic[Any, Any]


@final
class Raised:
    """The exception that an await has raised, and the failure that it stands for."""

    __slots__ = ("exception", "failure", "is_foreign")

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        self.exception = exception_of(failure)
        self.is_foreign = self.exception.__traceback__ is None
        """Whether nothing but the failure knows where it was raised first."""


def exception_of(failure: Failure) -> BaseException:
    """The exception for an await: `DomainErrors`, the exception of a panic, or a group."""
    if isinstance(failure, Errors):
        return DomainErrors(failure.errors)
    exceptions = [traced.exception for traced in failure.exceptions]
    if len(exceptions) == 1 and not failure.errors:
        return _raisable(exceptions[0])
    if failure.errors or not exceptions:
        exceptions.append(DomainErrors(failure.errors))
    return group_of("several failures", exceptions)


def _raisable(exception: BaseException) -> BaseException:
    """Wrap a StopIteration: Python would take one that leaves an await for the end of the
    function."""
    if not isinstance(exception, StopIteration):
        return exception
    instead = _Stopped("an await raised StopIteration")
    instead.__cause__ = exception
    return instead


class _Stopped(RuntimeError):
    """Stands for a StopIteration, its cause."""


def failure_of(exception: BaseException, raised: Raised | None) -> Failure:
    """The failure that an exception becomes when it leaves a function.

    Args:
        exception: the exception.
        raised: the last one that an await has raised in that function.
    """
    if isinstance(exception, DomainErrors):
        return Errors(list(exception.errors))
    if not isinstance(exception, PanicGroup | BasePanicGroup):
        return Panic([_traced(exception, raised)], [])
    leaves = list(_leaves(exception))
    errors = [error for leaf in leaves if isinstance(leaf, DomainErrors) for error in leaf.errors]
    others = [_traced(leaf, raised) for leaf in leaves if not isinstance(leaf, DomainErrors)]
    return Panic(others, errors)


def _leaves(exception: BaseException) -> Iterator[BaseException]:
    if isinstance(exception, PanicGroup | BasePanicGroup):
        for part in exception.exceptions:
            yield from _leaves(part)
    else:
        yield exception


def _traced(exception: BaseException, raised: Raised | None) -> TracedException:
    """The exception, with its way through the function, and what was known of it before."""
    here = TracedException.in_except_clause(exception)
    if isinstance(exception, _Stopped) and exception.__cause__ is not None:
        here = TracedException(exception.__cause__, here.stack_trace)
    if raised is None or isinstance(raised.failure, Errors):
        return here
    if exception is not raised.exception:  # of a group: it has no way of its own
        known = (traced for traced in raised.failure.exceptions if traced.exception is exception)
        return next(known, here)
    before = raised.failure.exceptions[0]
    if not raised.is_foreign:  # its traceback begins where it was raised first
        return TracedException(before.exception, here.stack_trace).with_where(before.where)
    trace = f"{before.stack_trace.rstrip()}\n\nIt was raised again by an await:\n\n"
    return TracedException(before.exception, trace + here.stack_trace, before.where)
