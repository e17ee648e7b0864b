"""Cancellation, time limits, and scopes, which bound the lives of fibers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never, final, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, E2, E3, A, E, R
from distio.errors import TimedOut

__all__ = [
    "Scope",
    "on_cancel",
    "scope",
    "timeout",
    "uncancelable",
]


def uncancelable(io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` so that it can't be cancelled: a cancellation of the fiber waits for its end.

    Cancelling a run skips fibers that `io` starts, so that releases can start fibers. Their handles
    can cancel them.

    Args:
        io: the program that isn't cut short.

    Returns:
        A program with the outcome of `io`.

    Raises:
        MatchError: `io` is no IO.

    >>> from distio import io
    >>> io.uncancelable(io.pure("whole")).run(None)
    Ok(success='whole')
    """
    return ops.Uncancelable(require_io(io, "uncancelable"))


def on_cancel(io: IO[R, E, A], after: IO[R, Any, Any]) -> IO[R, E, A]:
    """Run `io`; if the fiber is cancelled meanwhile, run `after`.

    Args:
        io: the program that may be cancelled.
        after: the program that runs then. It can't be cancelled itself.

    Returns:
        A program with the outcome of `io`. A failure of `after` is added to the cancellation.

    Raises:
        MatchError: `io` or `after` is no IO.

    >>> from distio import io
    >>> io.on_cancel(io.pure("done"), io.defer(print, "given up")).run(None)
    Ok(success='done')
    """
    return ops.on_cancel(require_io(io, "on_cancel"), after)


@overload
def timeout(io: IO[R, E, A], seconds: float, otherwise: None = None) -> IO[R, E | TimedOut, A]: ...
@overload
def timeout(
    io: IO[R, E2, A], seconds: float, otherwise: IO[R, E3, A2]
) -> IO[R, E2 | E3, A | A2]: ...
def timeout(
    io: IO[Any, Any, Any], seconds: float, otherwise: IO[Any, Any, Any] | None = None
) -> IO[Any, Any, Any]:
    """Run `io`; cancel it when the time is over.

    The program runs in this fiber, with the locks that the fiber holds. A program that is cancelled
    releases what it holds before anything else happens, which may take longer.

    Args:
        io: the program that is limited.
        seconds: the longest time that `io` may take, in seconds.
        otherwise: the program that runs if the time is over.

    Returns:
        A program with the outcome of `io`. If the time is over, the outcome is that of
        `otherwise`, or by default the error `TimedOut(seconds)`.

    Raises:
        MatchError: `seconds` is no finite number, or `io` or `otherwise` is no IO.

    >>> from distio import io
    >>> io.timeout(io.sleep(1000), 0.01).run(None)
    Errors(errors=[TimedOut(0.01)])
    >>> io.timeout(io.sleep(1000), 0.01, io.pure("enough")).run(None)
    Ok(success='enough')
    """
    return ops.timeout(require_io(io, "timeout"), seconds, otherwise)


@final
class Scope:
    """A scope of fibers, as `scope` gives one to its function: they end before the scope does."""

    __slots__ = ("_key",)

    def __init__(self, key: int) -> None:
        self._key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return Scope, (self._key,)

    def start(self, io: IO[R, E, A]) -> IO[R, Never, Handle[R, E, A]]:
        """Start a fiber in this scope.

        The program of the scope may start fibers, and so may these fibers. A fiber ends after those
        that it has started.

        Args:
            io: the program that the fiber runs.

        Returns:
            A program that computes the handle of the fiber.

        Raises:
            MatchError: `io` is no IO.

        >>> from distio import io
        >>> io.scope(lambda scope: scope.start(io.pure(1)).flat_map(io.wait)).run(None)
        Ok(success=[Ok(success=1)])
        """
        return ops.StartIn((require_io(io, "start"),), self._key).map(_first)

    def __repr__(self) -> str:
        return f"<Scope {self._key}>"


def scope(f: Callable[[Scope], IO[R, E, A]]) -> IO[R, Any, A]:
    """Run `f(scope)` until that program and all fibers started in the scope have ended.

    The first failure, of the program or of a fiber, cancels all others. If the scope is cancelled,
    it cancels its fibers. The handle of a fiber cancels just that one.

    Args:
        f: a function that makes a program. That starts fibers by `scope.start(program)`.

    Returns:
        A program with the value of the one that `f` makes. If something fails, it fails with all
        failures, as soon as all fibers have ended.

    Raises:
        MatchError: `f` is no function.

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
