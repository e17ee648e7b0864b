"""Everything that distio raises, or puts into a panic.

::

    Exception
    ├── MatchError              a value isn't of the kind that was expected there
    ├── MultipleExceptions      raised for a Panic: all its exceptions and errors
    ├── DomainErrors            raised for Errors: expected failures that nobody handled
    └── DistioError
        ├── Deadlock            nothing can ever wake a run again
        ├── WorkerLost          a fiber ended with the process that hosted it
        ├── UnknownFiber        a handle was waited for whose outcome is nowhere
        ├── CannotShip          something that has to travel can't be pickled
        ├── ForeignException    stands for an exception that didn't survive its journey
        ├── ClusterError        a cluster can't be started, reached or used
        │   ├── HandshakeRefused    the coordinator doesn't accept this process
        │   └── ClusterClosed       the cluster ended while it was in use
        └── DistioBug           a mistake in distio itself
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, final

__all__ = [
    "CannotShip",
    "ClusterClosed",
    "ClusterError",
    "Deadlock",
    "DistioBug",
    "DistioError",
    "DomainErrors",
    "ForeignException",
    "HandshakeRefused",
    "MatchError",
    "MultipleExceptions",
    "TracedException",
    "UnknownFiber",
    "WorkerLost",
]

E = TypeVar("E")

_OWN_DIRECTORY: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


@final
@dataclass(slots=True)
class TracedException:
    """An exception, and where it came from, as text that can travel.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     traced = TracedException.in_except_clause(error)
    >>> traced.stack_trace.splitlines()[-1]
    'ZeroDivisionError: division by zero'
    """

    exception: BaseException
    stack_trace: str

    @classmethod
    def in_except_clause(cls, exn: Any) -> TracedException:
        """Keep an exception that was just caught, with its traceback.

        The frames of distio above the first frame of user code are left out.
        """
        if isinstance(exn, TracedException):
            return exn
        own = exn.with_traceback(_from_user_code(exn.__traceback__))
        return cls(own, "".join(traceback.format_exception(own)))

    @classmethod
    def with_stack_trace(cls, exn: Any) -> TracedException:
        """Keep an exception that was never raised, with the place of this call."""
        if isinstance(exn, TracedException):
            return exn
        stack = traceback.extract_stack()
        while len(stack) > 1 and stack[-1].filename.startswith(_OWN_DIRECTORY):
            stack.pop()
        lines = traceback.format_list(stack) + traceback.format_exception_only(exn)
        return cls(exn, "".join(lines))

    @classmethod
    def ensure_traced(cls, exception: Any) -> TracedException:
        """The exception itself if it is traced already."""
        return cls.with_stack_trace(exception)

    @classmethod
    def ensure_list_traced(cls, exceptions: Iterable[Any]) -> list[TracedException]:
        """Each of them, traced."""
        return [cls.ensure_traced(exn) for exn in exceptions]

    def __str__(self) -> str:
        return f"{self.exception}\n{self.stack_trace}"


def _from_user_code(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that isn't ours; all of it if all are ours."""
    start = trace
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_OWN_DIRECTORY):
        start = start.tb_next
    return start or trace


class MatchError(Exception):
    """A value isn't of the kind that was expected there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@final
class MultipleExceptions(Exception, Generic[E]):
    """Raised for a Panic: all its exceptions, and the errors that came with them."""

    def __init__(self, exceptions: list[TracedException], errors: list[E]) -> None:
        super().__init__(exceptions, errors)
        self.exceptions = exceptions
        self.errors = errors

    @classmethod
    def merge(cls, *exceptions: Any, errors: Iterable[E] | None = None) -> MultipleExceptions[E]:
        """Gather exceptions, lists of them, and what other MultipleExceptions hold, in order."""
        traced: list[TracedException] = []
        all_errors: list[E] = list(errors) if errors else []
        pending = list(reversed(exceptions))
        while pending:
            item = pending.pop()
            inner = item.exception if isinstance(item, TracedException) else item
            if isinstance(inner, MultipleExceptions):
                all_errors += inner.errors
                pending += reversed(inner.exceptions)
            elif isinstance(item, Iterable) and not isinstance(item, str):
                pending += reversed(list(item))
            else:
                traced.append(TracedException.ensure_traced(item))
        return cls(traced, all_errors)

    def __str__(self) -> str:
        parts = [f"\nException: {traced}" for traced in self.exceptions]
        parts += [f"\nError: {error}" for error in self.errors]
        return "".join(parts)


@final
class DomainErrors(Exception, Generic[E]):
    """Raised for Errors: expected failures that nobody handled."""

    def __init__(self, errors: list[E]) -> None:
        super().__init__(errors)
        self.errors = errors


class DistioError(Exception):
    """Base of what distio itself raises, or puts into a panic."""


@final
class Deadlock(DistioError):
    """Nothing can ever wake a run again; the message names who waits for whom."""


@final
class WorkerLost(DistioError):
    """A fiber ended with the process that hosted it."""

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(worker, reason)
        self.worker = worker
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.worker} was lost, and this fiber with it: {self.reason}"


@final
class UnknownFiber(DistioError):
    """A handle was waited for whose outcome is nowhere to be had."""


@final
class CannotShip(DistioError):
    """Something that has to travel can't be pickled; the message leads to it."""


@final
class ForeignException(DistioError):
    """Stands for an exception that could not be made again in this process."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class ClusterError(DistioError):
    """A cluster can't be started, reached or used."""


@final
class HandshakeRefused(ClusterError):
    """The coordinator doesn't accept this process."""


@final
class ClusterClosed(ClusterError):
    """The cluster ended while it was in use."""


@final
class DistioBug(DistioError):
    """A mistake in distio itself: please report it."""
