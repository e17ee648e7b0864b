"""Programs that fail, and `bracket`, which releases whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Never, overload

from distio.core import expect, ops
from distio.core.ops.arguments import failing
from distio.core.ops.base import IO, require_io
from distio.core.ops.failures import from_result as _from_result
from distio.core.type_vars import A2, A3, E2, E3, E4, A, E, R
from distio.errors import TracedException
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


Exceptions = BaseException | TracedException | Iterable[BaseException | TracedException]


def error(err: E) -> IO[Any, E, Never]:
    """The program that fails on one expected error.

    Args:
        err: the error, a value of any type.

    Returns:
        A program that fails on Errors.

    >>> from distio import io
    >>> io.error("not found").run(None)
    Errors(errors=['not found'])
    """
    return ops.Fail([err])


@overload
def errors(errs: list[E] | tuple[E, ...], /) -> IO[Any, E, Never]: ...
@overload
def errors(*errs: E) -> IO[Any, E, Never]: ...
def errors(*errs: Any) -> IO[Any, Any, Never]:
    """The program that fails on several expected errors.

    Args:
        errs: the errors, or one iterable of them.

    Returns:
        A program that fails on Errors.

    >>> from distio import io
    >>> io.errors("too long", "not a number").run(None)
    Errors(errors=['too long', 'not a number'])
    """
    failure = _errors(*errs)
    assert isinstance(failure, Errors)
    return ops.Fail(failure.errors)


@overload
def panic(*exceptions: Exceptions, errors: None = None) -> IO[Any, Never, Never]: ...
@overload
def panic(*exceptions: Exceptions, errors: Iterable[E]) -> IO[Any, E, Never]: ...
def panic(*exceptions: Any, errors: Iterable[Any] | None = None) -> IO[Any, Any, Never]:
    """The program that fails on exceptions.

    Args:
        exceptions: the exceptions, or one iterable of them.
        errors: expected errors that came before the exceptions.

    Returns:
        A program that fails on a Panic.

    Raises:
        MatchError: one of them is no exception, or `errors` is no list.

    >>> from distio import io
    >>> io.panic(ValueError("impossible")).run(None).is_panic()
    True
    """
    failure = _panic(*exceptions, errors=errors)
    assert isinstance(failure, Panic)
    return ops.Fail(failure.errors, failure.exceptions)


def from_result(r: Result[E, A]) -> IO[Any, E, A]:
    """The program whose outcome is `r`.

    Args:
        r: a Result: Ok, Errors or Panic.

    Returns:
        A program that succeeds or fails as `r` does.

    >>> from distio import Ok, io
    >>> io.from_result(Ok(3)).run(None)
    Ok(success=3)
    """
    if isinstance(r, Ok | Errors | Panic):
        return _from_result(r)
    return failing(  # type: ignore[unreachable]  # the types of a program need not be checked
        f"from_result: expected a Result (Ok, Errors or Panic), but got {expect.shown(r)}"
    )


def bracket(
    create: IO[R, E2, A],
    use: Callable[[A], IO[R, E3, A2]],
    release: Callable[[A, Result[E3, A2]], IO[R, E4, A3]],
) -> IO[R, E2 | E3 | E4, A3]:
    """Compute a value, use the value, and release the value whatever came of the use.

    `distio.resource` is made of brackets, and is easier to use.

    Args:
        create: the program that computes the value.
        use: a function of the value that returns the program that uses the value.
        release: a function of the value and of the Result of the use. It returns the program that
            releases the value; a release with no outcome of its own ends in `from_result(result)`.

    Returns:
        A program with the outcome of the release.

    Raises:
        MatchError: `create` is no IO, or `use` or `release` is no function.

    >>> from distio import io
    >>> def release(name, result):
    ...     return io.from_result(result).map(lambda value: (name, value))
    >>> io.bracket(io.pure("a file"), lambda name: io.pure(len(name)), release).run(None)
    Ok(success=('a file', 6))
    """
    return ops.Bracket(
        require_io(create, "bracket"),
        expect.function(use, "bracket"),
        expect.function(release, "bracket"),
    )
