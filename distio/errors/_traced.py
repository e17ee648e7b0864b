"""Exceptions with their tracebacks as text."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import EllipsisType, TracebackType
from typing import Any, final

from distio._traces import NOWHERE, Where, trace_here, trace_of
from distio.errors._base import MatchError

__all__ = ["TracedException"]


@final
@dataclass(slots=True, eq=False)
class TracedException:
    """An exception with its traceback as text, which can travel.

    Two of them are equal if their exceptions and their tracebacks are equal, wherever they failed.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     traced = TracedException.in_except_clause(error)
    >>> traced.stack_trace.splitlines()[-1]
    'ZeroDivisionError: division by zero'
    """

    exception: BaseException
    stack_trace: str
    """The lines of `where`, and the traceback, which begins in user code."""
    where: Where = field(default=NOWHERE, repr=False)
    """The lines above the traceback: items of parallel work, the fiber, the worker."""
    raised_at: TracebackType | EllipsisType | None = field(default=..., init=False, repr=False)
    """The exception's own traceback, as `Result.get` found it; it stays in its process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return TracedException, (self.exception, self.stack_trace, self.where)

    def with_where(self, where: Where) -> TracedException:
        """The same exception, with other lines above its traceback."""
        return TracedException(self.exception, f"{where}{self._traceback()}", where)

    def replaced_by(self, other: BaseException | TracedException, how: str) -> TracedException:
        """Another exception in the place of this one; it keeps the way here.

        Args:
            other: with its own traceback, if it has been raised; else that of this one is kept.
            how: a line between both, like "It was raised again by an await:".
        """
        if isinstance(other, BaseException) and other.__traceback__ is None:
            text = "".join(traceback.format_exception_only(other))
            trace = f"{self.stack_trace.rstrip()}\n\n{how}\n\n{text}"
            return TracedException(other, trace, self.where)
        traced = TracedException.ensure_traced(other)
        return traced.with_where(self.where) if traced.where == NOWHERE else traced

    def _traceback(self) -> str:
        return self.stack_trace.removeprefix(str(self.where))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TracedException):
            return NotImplemented
        mine, others = self._traceback(), other._traceback()
        return self.exception == other.exception and mine == others

    @classmethod
    def in_except_clause(cls, exn: BaseException | TracedException) -> TracedException:
        """Keep an exception that was just caught, with its traceback.

        The frames of distio that interpret a program, above user code, are left out.
        """
        if isinstance(exn, TracedException):
            return exn
        # a mistake in a program has its place in its message, and none of ours helps
        return cls(exn, trace_of(exn, has_own_frames=not isinstance(exn, MatchError)))

    @classmethod
    def with_stack_trace(cls, exn: BaseException | TracedException) -> TracedException:
        """Keep an exception that was never raised, with the place in user code that we are at."""
        if isinstance(exn, TracedException):
            return exn
        if not isinstance(exn, BaseException):
            raise MatchError(
                f"expected an exception, but got {exn!r}; give one, like ValueError('why')"
            )
        return cls(exn, trace_here(exn))

    @classmethod
    def ensure_traced(cls, exception: BaseException | TracedException) -> TracedException:
        """Keep an exception with its traceback if it was raised, else with the place we are at."""
        if isinstance(exception, BaseException) and exception.__traceback__ is not None:
            return cls.in_except_clause(exception)
        return cls.with_stack_trace(exception)

    @classmethod
    def ensure_list_traced(
        cls, exceptions: Iterable[BaseException | TracedException]
    ) -> list[TracedException]:
        """Apply `ensure_traced` to each of them."""
        return [cls.ensure_traced(exn) for exn in exceptions]

    def __str__(self) -> str:
        # not str(exception): the text of a broken exception must not raise another one
        head = "".join(traceback.format_exception_only(self.exception))
        return head + self.stack_trace.rstrip("\n")
