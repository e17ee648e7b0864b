"""Exceptions that are raised for a Result that is no Ok."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from distio._equality import ComparedByValue
from distio.errors._traced import TracedException

__all__ = ["BasePanicGroup", "DomainErrors", "MultipleExceptions", "PanicGroup", "WrongOutcome"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    E = TypeVarWithDefault("E", covariant=True, default=Any)
else:
    E = TypeVar("E", covariant=True)
"""The type of the errors; Any where it is unknown, as in an `except` clause."""
E2 = TypeVar("E2")


@final
@dataclass(eq=False)
class MultipleExceptions(ComparedByValue, Exception, Generic[E]):
    """Raised for a Panic: all its exceptions, and the errors that came with them."""

    exceptions: list[TracedException]
    errors: list[E]

    def __post_init__(self) -> None:
        super().__init__(self.exceptions, self.errors)

    @classmethod
    def merge(
        cls,
        *exceptions: BaseException | TracedException | Iterable[Any],
        errors: Iterable[E2] | None = None,
    ) -> MultipleExceptions[E2]:
        """Gather exceptions, lists of them, and what other MultipleExceptions hold.

        Args:
            exceptions: from left to right, which is the order that they keep.
            errors: come before the errors that are found in `exceptions`.
        """
        found: list[TracedException] = []
        all_errors: list[Any] = [] if errors is None else list(errors)
        pending: list[Any] = [*reversed(exceptions)]
        while pending:
            item = pending.pop()
            inner = item.exception if isinstance(item, TracedException) else item
            if isinstance(inner, MultipleExceptions):
                all_errors += inner.errors
                pending += reversed(inner.exceptions)
            elif isinstance(inner, Iterable) and not isinstance(inner, str | BaseException):
                pending += reversed([*inner])
            else:
                found.append(TracedException.ensure_traced(item))
        return MultipleExceptions(found, all_errors)

    def __str__(self) -> str:
        parts = [str(traced) for traced in self.exceptions]
        parts += [f"Error: {error}" for error in self.errors]
        return "\n".join(["", *parts]) if parts else "no exceptions, no errors"


@final
@dataclass(eq=False)
class DomainErrors(ComparedByValue, Exception, Generic[E]):
    """Raised for Errors: expected failures that nobody handled."""

    errors: list[E]

    def __post_init__(self) -> None:
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "; ".join(map(str, self.errors)) or "no errors"


@final
@dataclass(eq=False)
class WrongOutcome(ComparedByValue, AttributeError):
    """A field was read that this kind of Result hasn't, as `success` of a Panic.

    Its cause is the exception that `get` raises for that Result.
    """

    message: str

    def __post_init__(self) -> None:
        super().__init__(self.message)


@final
class PanicGroup(ComparedByValue, ExceptionGroup[Exception]):
    """Raised for several failures at once, by an await or by `Result.get`.

    Expected errors that are no exceptions are in a `DomainErrors`.
    """

    def _data(self) -> object:
        return self.message, self.exceptions

    def derive(self, excs: Sequence[Any]) -> Any:
        """Make a group of the exceptions that `except*` has selected."""
        return PanicGroup(self.message, excs)


@final
class BasePanicGroup(ComparedByValue, BaseExceptionGroup[BaseException]):
    """The same if one of them is no Exception: a cancellation."""

    def _data(self) -> object:
        return self.message, self.exceptions

    def derive(self, excs: Sequence[Any]) -> Any:
        """Make a group of the exceptions that `except*` has selected."""
        is_group = all(isinstance(exception, Exception) for exception in excs)
        return PanicGroup(self.message, excs) if is_group else BasePanicGroup(self.message, excs)
