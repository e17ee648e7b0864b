"""Results made of what a program has: a value, errors, or exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Never, TypeVar, overload

from distio.errors import MatchError, TracedException
from distio.result._arguments import spread
from distio.result._result import Errors, Ok, Panic, Result

__all__ = ["error", "errors", "ok", "panic", "pure"]

E2 = TypeVar("E2")
A2 = TypeVar("A2")


def ok(a: A2) -> Result[Never, A2]:
    """An Ok with this value.

    >>> ok(1)
    Ok(success=1)
    """
    return Ok(a)


def pure(a: A2) -> Result[Never, A2]:
    """An Ok with this value: `ok`, as it is called for an IO.

    >>> pure(1)
    Ok(success=1)
    """
    return Ok(a)


def error(err: E2) -> Result[E2, Never]:
    """Errors with one error.

    >>> error("too long")
    Errors(errors=['too long'])
    """
    return Errors([err])


@overload
def errors(errs: Iterable[E2], /) -> Result[E2, Never]: ...
@overload
def errors(*errs: E2) -> Result[E2, Never]: ...
def errors(*errs: Any) -> Result[Any, Any]:
    """Errors with these errors, or with the items of one iterable that is no string or bytes.

    >>> errors("too long", "too late"), errors([404, 410])
    (Errors(errors=['too long', 'too late']), Errors(errors=[404, 410]))
    """
    return Errors([*spread(errs)])


@overload
def panic(
    *exceptions: BaseException | TracedException | Iterable[BaseException | TracedException],
    errors: None = None,
) -> Result[Never, Never]: ...
@overload
def panic(
    *exceptions: BaseException | TracedException | Iterable[BaseException | TracedException],
    errors: Iterable[E2],
) -> Result[E2, Never]: ...
def panic(
    *exceptions: BaseException | TracedException | Iterable[BaseException | TracedException],
    errors: Iterable[Any] | None = None,
) -> Result[Any, Never]:
    """A Panic with these exceptions, or with those of one iterable.

    Args:
        exceptions: the exceptions, or one iterable of them. Their tracebacks are kept as text.
        errors: errors that came before the exceptions.

    >>> panic(ValueError("impossible"), errors=["too long"]).errors
    ['too long']
    """
    if isinstance(errors, str) or not isinstance(errors, Iterable | None):
        raise MatchError(f"panic: errors is a list of them, but got {errors!r}; give [{errors!r}]")
    traced = TracedException.ensure_list_traced(spread(exceptions))
    return Panic(traced, [] if errors is None else [*errors])
