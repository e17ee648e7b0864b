"""Cancellation, time limits, and scopes, which bound the lives of fibers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, final, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.base import IO, require_io
from distio.errors import TimedOut

__all__ = [
    "Scope",
    "on_cancel",
    "scope",
    "timeout",
    "uncancelable",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
R2 = TypeVar("R2")
E2 = TypeVar("E2")
A2 = TypeVar("A2")


def uncancelable(io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` so that it can't be cancelled: whoever cancels the fiber waits for its end.

    Fibers that are started in there are spared when the run is cancelled; by their handles they
    can be cancelled.

    >>> from distio import io
    >>> io.uncancelable(io.pure("whole")).run(None)
    Ok(success='whole')
    """
    return ops.Uncancelable(require_io(io, "uncancelable"))


def on_cancel(io: IO[R, E, A], after: IO[Any, Any, Any]) -> IO[R, E, A]:
    """If the fiber is cancelled in `io`, run `after`, which can't be cancelled itself.

    >>> from distio import io
    >>> io.on_cancel(io.pure("done"), io.defer(print, "given up")).run(None)
    Ok(success='done')
    """
    return ops.on_cancel(require_io(io, "on_cancel"), after)


@overload
def timeout(io: IO[R, E, A], seconds: float, otherwise: None = None) -> IO[R, E | TimedOut, A]: ...
@overload
def timeout(
    io: IO[R, E, A], seconds: float, otherwise: IO[R2, E2, A2]
) -> IO[Any, E | E2, A | A2]: ...
def timeout(
    io: IO[Any, Any, Any], seconds: float, otherwise: IO[Any, Any, Any] | None = None
) -> IO[Any, Any, Any]:
    """Run `io`; if that takes longer than `seconds`, cancel it.

    It runs in this fiber, with the locks that it holds. It has released what it held before
    anything else happens; that may take longer.

    Args:
        io: what is limited.
        seconds: how long it may take.
        otherwise: what is run then; by default the outcome is the error `TimedOut(seconds)`.

    Raises:
        MatchError: `seconds` is no finite number.

    >>> from distio import io
    >>> io.timeout(io.sleep(1000), 0.01).run(None)
    Errors(errors=[TimedOut(0.01)])
    >>> io.timeout(io.sleep(1000), 0.01, io.pure("enough")).run(None)
    Ok(success='enough')
    """
    return ops.timeout(require_io(io, "timeout"), seconds, otherwise)


@final
class Scope:
    """What `scope` gives to its function: fibers that are started in it end before it does."""

    __slots__ = ("_key",)

    def __init__(self, key: int) -> None:
        self._key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return Scope, (self._key,)

    def start(self, io: IO[R, E, A]) -> IO[R, Any, Handle[R, E, A]]:
        """Start a fiber in this scope; compute its handle.

        It may be called in the scope's own program, and in the fibers that were started in it:
        these then end before the fiber does that has started them.
        """
        return ops.StartIn((require_io(io, "start"),), self._key).map(_first)

    def __repr__(self) -> str:
        return f"<Scope {self._key}>"


def scope(f: Callable[[Scope], IO[R, E, A]]) -> IO[R, Any, A]:
    """Run `f(scope)` until it and all fibers that were started in the scope have ended.

    The first of them that fails cancels the others. When these have ended, too, the scope fails
    with all that has failed. If the scope is cancelled, so are its fibers. Whoever cancels one of
    them by its handle cancels just that one.

    Args:
        f: makes the program that starts fibers, by `scope.start(program)`.

    Returns:
        A program with the value of the one that `f` has made.

    >>> from distio import io
    >>> def both(scope):
    ...     return io.sequence(scope.start(io.sleep(1000)), scope.start(io.error("no")))
    >>> io.scope(both).run(None)
    Errors(errors=['no'])
    """
    return ops.scope(_OfKey(expect.function(f, "scope")))


@final
class _OfKey:
    """A function of a scope as one of its key."""

    __slots__ = ("f",)

    def __init__(self, f: Callable[[Scope], IO[Any, Any, Any]]) -> None:
        self.f = f

    def __call__(self, key: int) -> IO[Any, Any, Any]:
        return ops.Substream(require_io(self.f(Scope(key)), "scope", self.f))

    def __reduce__(self) -> tuple[Any, ...]:
        return _OfKey, (self.f,)


def _first(handles: list[Any]) -> Any:
    return handles[0]
