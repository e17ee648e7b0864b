"""Programs that fail, and `bracket`, which releases whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from distio.core import expect, ops
from distio.core.ops.base import IO, failing, require_io
from distio.core.ops.failures import from_result as _from_result
from distio.result import Errors, Ok, Panic, Result
from distio.result import errors as _errors
from distio.result import panic as _panic

__all__ = [
    "bracket",
    "error",
    "errors",
    "from_result",
    "panic",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
A2 = TypeVar("A2")


def error(err: E) -> IO[Any, E, Any]:
    """The program that fails on one expected error.

    >>> error("not found").run(None)
    Errors(errors=['not found'])
    """
    return ops.Fail([err])


def errors(*errs: Any) -> IO[Any, Any, Any]:
    """The program that fails on these errors, or on the items of one iterable of them.

    >>> errors("too long", "not a number").run(None)
    Errors(errors=['too long', 'not a number'])
    """
    failure = _errors(*errs)
    assert isinstance(failure, Errors)
    return ops.Fail(failure.errors)


def panic(*exceptions: Any, errors: Iterable[E] | None = None) -> IO[Any, E, Any]:
    """The program that fails on these exceptions, or on those of one iterable.

    >>> panic(ValueError("impossible")).run(None).is_panic()
    True
    """
    failure = _panic(*exceptions, errors=errors)
    assert isinstance(failure, Panic)
    return ops.Fail(failure.errors, failure.exceptions)


def from_result(r: Result[E, A]) -> IO[Any, E, A]:
    """The program whose outcome is `r`.

    >>> from distio import Ok, io
    >>> io.from_result(Ok(3)).run(None)
    Ok(success=3)
    """
    if isinstance(r, Ok | Errors | Panic):
        return _from_result(r)
    return failing(
        f"from_result: expected a Result (Ok, Errors or Panic), but got {expect.shown(r)}"
    )


def bracket(
    create: IO[R, E, A],
    use: Callable[[A], IO[Any, Any, A2]],
    release: Callable[[A, Result[Any, A2]], IO[Any, Any, Any]],
) -> IO[Any, Any, Any]:
    """Compute a value, use it, release it: what `distio.resource` is made of.

    Args:
        create: computes the value.
        use: makes the program that uses it.
        release: makes the program that is run then, whatever the Result of the use was. Its
            outcome is the outcome of all: a release that has nothing to say ends in
            `from_result(result)`.

    >>> def release(name, result):
    ...     return from_result(result).map(lambda value: (name, value))
    >>> bracket(pure("a file"), lambda name: pure(len(name)), release).run(None)
    Ok(success=('a file', 6))
    """
    return ops.Bracket(
        require_io(create, "bracket"),
        expect.function(use, "bracket"),
        expect.function(release, "bracket"),
    )
