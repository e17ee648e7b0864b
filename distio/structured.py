"""Structured concurrency: cancellation, scopes, races, time limits. `distio.io` has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, final, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.ops.base import IO, programs, require_io
from distio.errors import TimedOut

__all__ = [
    "Scope",
    "current_fiber",
    "first_ok",
    "named",
    "on_cancel",
    "race",
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

current_fiber: Final[IO[Any, Any, Handle[Any, Any, Any]]] = ops.CurrentFiber()
"""The handle of the fiber that runs this.

>>> from distio import io
>>> io.current_fiber.run(None)
Ok(success=<Fiber 1.0>)
"""


def named(name: str, io: IO[R, E, A]) -> IO[R, E, A]:
    """Run `io` in a fiber that has a name meanwhile: for people, wherever fibers are named to them.

    Fibers that are started in there have names of their own, or none. A fiber that fails in there
    still has the name when that is logged, if nothing else was left for it to do.

    Args:
        name: a str that isn't empty; many fibers may have the same.
        io: what runs.

    Raises:
        MatchError: `name` is something else.

    >>> from distio import io
    >>> io.named("fetch", io.current_fiber.flat_map(lambda fiber: fiber.status())).map(
    ...     lambda status: status.name).run(None)
    Ok(success='fetch')
    """
    return ops.named(require_io(io, "named"), name)


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


# -- scopes -----------------------------------------------------------------------------------


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


# -- races ------------------------------------------------------------------------------------


@overload
def race(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, A]: ...
@overload
def race(a: IO[R, E, A], b: IO[R2, E2, A2], /) -> IO[Any, E | E2, A | A2]: ...
@overload
def race(*ios: Any) -> IO[Any, Any, Any]: ...
def race(*ios: Any) -> IO[Any, Any, Any]:
    """Run these programs, or those of one iterable, at the same time: the first to end wins.

    The outcome is the winner's, a value or a failure. The others are cancelled, and have released
    what they held before this ends. What they could not release is added to the outcome.

    >>> from distio import io
    >>> io.race(io.sleep(1000).then(io.pure("slow")), io.pure("quick")).run(None)
    Ok(success='quick')
    """
    return ops.Race(_runners(ios, "race"), False)


@overload
def first_ok(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, A]: ...
@overload
def first_ok(a: IO[R, E, A], b: IO[R2, E2, A2], /) -> IO[Any, E | E2, A | A2]: ...
@overload
def first_ok(*ios: Any) -> IO[Any, Any, Any]: ...
def first_ok(*ios: Any) -> IO[Any, Any, Any]:
    """The same, but the first to succeed wins. If none does, the outcome is all their failures.

    >>> from distio import io
    >>> io.first_ok(io.error("down"), io.pure("up")).run(None)
    Ok(success='up')
    >>> io.first_ok(io.error("down"), io.error("down, too")).run(None)
    Errors(errors=['down', 'down, too'])
    """
    return ops.Race(_runners(ios, "first_ok"), True)


def _runners(ios: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    runners = programs(ios, where)
    if not runners:
        raise ValueError(f"{where}: expected at least one program, but got none")
    return runners


# -- time limits ------------------------------------------------------------------------------


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


def fail_fast(ios: Iterable[Any], called: str = "zip_par") -> IO[Any, Any, list[Any]]:
    """What `zip_par`, or what else it is called, does with `fail_fast`."""
    return ops.zip_par_fast(tuple(ios), called)
