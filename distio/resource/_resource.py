"""`Resource`: what can be opened, used and closed, as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, Never, TypeVar, final, overload

import distio.io as io
from distio.core import expect, ops
from distio.core.ops.arguments import Container, container_of, spread
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, A3, A4, E2, E3, E4, R2
from distio.core.where import zip_items
from distio.errors import MatchError, TracedException
from distio.protocol.requests import Lock
from distio.resource._finalizers import (
    Close,
    Unlock,
    all_of,
    close_after,
    finalizers_of,
    is_created,
    release,
    wrap,
)
from distio.result import ComputationStatus, Ok, Result
from distio.result import sequence as _sequence

__all__ = [
    "Resource",
    "create_of",
    "noop_close",
    "of_lock",
    "require_resource",
    "without_close",
    "zipped",
    "zipped_par",
]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)
X = TypeVar("X")
ES = TypeVar("ES")
"""The errors of the resource itself, in a method that needs a value of a certain type."""


@final
class Resource(Generic[R, E, A]):
    """Something that is opened, used and closed, as a value: nothing happens until its use.

    Args:
        create: a program that computes a pair: the opened value, and the function that releases
            the value. That function takes a `ComputationStatus` and returns a program.

    Raises:
        MatchError: `create` is no IO.

    >>> from distio import Resource, io, resource
    >>> Resource(io.pure((5, resource.noop_close))).use(io.pure).run(None)
    Ok(success=5)
    """

    __slots__ = ("_is_kept", "_lock", "create")

    def __init__(self, create: IO[R, E, tuple[A, Close]]) -> None:
        self.create = require_io(create, "Resource")
        self._lock: Lock | None = None
        """The lock, if the resource is nothing but a lock."""
        self._is_kept = False
        """Whether its fiber keeps the lock though the worker is lost."""

    def __repr__(self) -> str:
        return f"Resource({self.create!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._lock is None:
            return Resource, (self.create,)
        return kept_lock if self._is_kept else of_lock, (self._lock,)

    # -- use ------------------------------------------------------------------------------

    def use(self, fun: Callable[[A], IO[R, E2, X]]) -> IO[R, E | E2, X]:
        """Open the resource, run `fun(value)`, and close the resource whatever came of the use.

        Args:
            fun: a function of the opened value that returns the program that uses the value.

        Returns:
            A program with the outcome of the use. A failure of the release is added to it.

        Raises:
            MatchError: `fun` is no function.
        """
        expect.function(fun, "Resource.use")
        return io.bracket(self.create, partial(_use, fun), release)

    def with_(self, the_io: IO[R, E2, X]) -> IO[R, E | E2, X]:
        """Open the resource, run `the_io`, and close the resource.

        Args:
            the_io: the program that runs meanwhile.

        Returns:
            A program with the outcome of `the_io`. A failure of the release is added to it.

        Raises:
            MatchError: `the_io` is no IO.
        """
        require_io(the_io, "Resource.with_")
        if self._lock is not None:  # by far the most frequent, and quick like this
            section = io.checkpoint.then(the_io) if self._is_kept else the_io
            return ops.Locked(section, self._lock)
        return self.use(partial(_constant, the_io))

    def kept(self) -> Resource[R, E, A]:
        """The same lock or semaphore, which its fiber keeps though the worker is lost.

        A fiber that takes it waits until a snapshot of the fiber is stored that holds the lock, and
        only then begins with its section. If the worker is lost, the fiber goes on elsewhere, still
        holding the lock: no other fiber enters before the section is finished. Otherwise a lock
        that was taken since the last snapshot is free after a loss. A fiber that can't be pickled
        doesn't enter, and fails in a Panic on `NotPicklable`. Where nothing is kept of a fiber
        (threads, a client's own fibers, `snapshots="off"`), and with `snapshots="births"`, the lock
        is free if its fiber is lost.

        Returns:
            A resource that is taken as this one, and given back as this one.

        Raises:
            MatchError: the resource is neither a lock nor a semaphore.

        >>> from distio import io, resource
        >>> resource.lock("the printer").kept().with_(io.pure("printed")).run(None)
        Ok(success='printed')
        """
        if self._lock is None or self._lock.per_seconds:
            raise MatchError(
                "Resource.kept: expected a lock or a semaphore, but got another resource; "
                "call it on what resource.lock, resource.reentrant_lock, resource.semaphore or "
                "Var.lock makes"
            )
        return kept_lock(self._lock)

    async def __aenter__(self) -> A:
        """Open the resource, in a function of `io.do`: `async with resource as value`."""
        value: A = await ops.Enter(self.create, _value_of, release)
        return value

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:  # "bool" would tell type checkers that it often swallows exceptions
        """Close the resource, whatever came of the use."""
        if kind is GeneratorExit:  # the function goes on elsewhere, or not at all
            return False
        is_swallowed: bool = await ops.Leave(exception)
        return is_swallowed

    # -- transform ------------------------------------------------------------------------

    def map(self, f: Callable[[A], A2]) -> Resource[R, E, A2]:
        """Apply `f` to the opened value."""
        expect.function(f, "Resource.map")
        return Resource(self.create.flat_map(partial(_mapped, f)))

    def flat_map(self, f: Callable[[A], Resource[R, E2, A2]]) -> Resource[R, E | E2, A2]:
        """Open this, then the resource that `f` makes of the value; close them in reverse order."""
        return self._chain(f, "Resource.flat_map")

    def flatten(self: Resource[R2, E2, Resource[R2, E3, A2]]) -> Resource[R2, E2 | E3, A2]:
        """Open the resource that this one opens."""
        where = "Resource.flatten"
        return self._chain(partial(require_resource, where=where), where)

    def then(self, rs: Resource[R, E2, A2]) -> Resource[R, E | E2, A2]:
        """Open this, then `rs`; the value is that of `rs`."""
        return self.flat_map(partial(_constant, require_resource(rs, "Resource.then")))

    @overload
    def zip(self, rs: Iterable[Resource[R, E2, A2]], /) -> Resource[R, E | E2, list[A | A2]]: ...
    @overload
    def zip(self, b: Resource[R, E2, A2], /) -> Resource[R, E | E2, tuple[A, A2]]: ...
    @overload
    def zip(
        self, b: Resource[R, E2, A2], c: Resource[R, E3, A3], /
    ) -> Resource[R, E | E2 | E3, tuple[A, A2, A3]]: ...
    @overload
    def zip(
        self, b: Resource[R, E2, A2], c: Resource[R, E3, A3], d: Resource[R, E4, A4], /
    ) -> Resource[R, E | E2 | E3 | E4, tuple[A, A2, A3, A4]]: ...
    @overload
    def zip(
        self,
        b: Resource[R, E2, A2],
        c: Resource[R, E2, A2],
        d: Resource[R, E2, A2],
        e: Resource[R, E2, A2],
        /,
        *more: Resource[R, E2, A2],
    ) -> Resource[R, E | E2, tuple[A | A2, ...]]: ...
    def zip(self, *rs: Any) -> Resource[Any, Any, Any]:
        """Open this and `rs`, one after another; the value is the tuple of theirs.

        Of one iterable of resources, and this one, it is the list of theirs.
        """
        return zipped((self, *spread(rs)), "Resource.zip", container_of(rs))

    @overload
    def zip_par(
        self, rs: Iterable[Resource[R, E2, A2]], /
    ) -> Resource[R, E | E2, list[A | A2]]: ...
    @overload
    def zip_par(self, b: Resource[R, E2, A2], /) -> Resource[R, E | E2, tuple[A, A2]]: ...
    @overload
    def zip_par(
        self, b: Resource[R, E2, A2], c: Resource[R, E3, A3], /
    ) -> Resource[R, E | E2 | E3, tuple[A, A2, A3]]: ...
    @overload
    def zip_par(
        self, b: Resource[R, E2, A2], c: Resource[R, E3, A3], d: Resource[R, E4, A4], /
    ) -> Resource[R, E | E2 | E3 | E4, tuple[A, A2, A3, A4]]: ...
    @overload
    def zip_par(
        self,
        b: Resource[R, E2, A2],
        c: Resource[R, E2, A2],
        d: Resource[R, E2, A2],
        e: Resource[R, E2, A2],
        /,
        *more: Resource[R, E2, A2],
    ) -> Resource[R, E | E2, tuple[A | A2, ...]]: ...
    def zip_par(self, *rs: Any) -> Resource[Any, Any, Any]:
        """Open this and `rs` at the same time; the value is the tuple of theirs.

        Of one iterable of resources, and this one, it is the list of theirs.
        """
        return zipped_par((self, *spread(rs)), "Resource.zip_par", container_of(rs))

    def ap(
        self: Resource[R2, ES, Callable[..., X]],
        *arg: Resource[R2, E2, Any] | Iterable[Resource[R2, E2, Any]],
    ) -> Resource[R2, ES | E2, X]:
        """Open this, a function, and its arguments; the value is what the function returns."""
        return zipped((self, *spread(arg)), "Resource.ap").map(_apply)

    def contra_map_read(self, f: Callable[[R2], R]) -> Resource[R2, E, A]:
        """Open and close this with `f(context)` as the context."""
        expect.function(f, "Resource.contra_map_read")
        return self._around(lambda each: each.contra_map_read(f))

    # -- failures to open -----------------------------------------------------------------

    def catch(self, handler: Callable[[list[E]], Resource[R, E2, A2]]) -> Resource[R, E2, A | A2]:
        """If opening fails on Errors, open `handler(errors)` instead."""
        expect.function(handler, "Resource.catch")
        return Resource(
            self.create.catch(lambda errs: create_of(handler(errs), "Resource.catch", handler))
        )

    def recover(
        self, handler: Callable[[list[TracedException], list[E]], Resource[R, E2, A2]]
    ) -> Resource[R, E | E2, A | A2]:
        """If opening fails on a Panic, open `handler(exceptions, errors)` instead."""
        expect.function(handler, "Resource.recover")
        return Resource(
            self.create.recover(
                lambda exns, errs: create_of(handler(exns, errs), "Resource.recover", handler)
            )
        )

    def on_failure(
        self, handler: Callable[[Result[E, A]], Resource[R, E2, A2]]
    ) -> Resource[R, E2, A | A2]:
        """If opening fails, open `handler(result)` instead."""
        expect.function(handler, "Resource.on_failure")
        return Resource(
            self.create.on_failure(lambda r: create_of(handler(r), "Resource.on_failure", handler))
        )

    def map_error(self, f: Callable[[E], E2]) -> Resource[R, E2, A]:
        """Apply `f` to the errors of opening and closing."""
        expect.function(f, "Resource.map_error")
        return self._around(lambda each: each.map_error(f))

    def map_panic(
        self, f: Callable[[TracedException], BaseException | TracedException]
    ) -> Resource[R, E, A]:
        """Apply `f` to the exceptions of opening and closing."""
        expect.function(f, "Resource.map_panic")
        return self._around(lambda each: each.map_panic(f))

    def attempt(self) -> Resource[R, Never, Result[E, A]]:
        """Never fail to open: the value is the Result of opening."""
        return Resource(self.create.attempt().map(_attempted))

    def finally_(
        self, after: Callable[[Result[E, A]], Resource[R, E2, Any]]
    ) -> Resource[R, E | E2, A]:
        """Open `after(result)` too, with the Result of opening this one."""
        expect.function(after, "Resource.finally_")
        return self.attempt().flat_map(
            lambda first: (
                require_resource(after(first), "Resource.finally_", after)
                .attempt()
                .flat_map(
                    lambda second: Resource(
                        io.from_result(_sequence(second, first)).map(without_close)
                    )
                )
            )
        )

    def _chain(self, f: Callable[[Any], Any], where: str) -> Resource[Any, Any, Any]:
        expect.function(f, where)
        return Resource(self.create.flat_map(partial(_chained, f, where)))

    def _around(
        self, wrap: Callable[[IO[Any, Any, Any]], IO[Any, Any, Any]]
    ) -> Resource[Any, Any, A]:
        """Apply `wrap` to the program that opens the resource and to those that close it."""
        return Resource(wrap(self.create).map(partial(_wrapped, wrap)))


# -- opening ----------------------------------------------------------------------------------


def _pair(created: Any) -> tuple[Any, Close]:
    if is_created(created):
        return created[0], created[1]
    raise MatchError(
        f"Resource: expected that its program computes a value and the function that releases it, "
        f"but it computed {expect.shown(created)}; resource.lift_io takes any program"
    )


def _value_of(created: Any) -> Any:
    return _pair(created)[0]


def _use(fun: Callable[[Any], IO[Any, Any, Any]], created: tuple[Any, Close]) -> IO[Any, Any, Any]:
    a, _ = _pair(created)
    return require_io(fun(a), "Resource.use", fun)


def _mapped(f: Callable[[Any], Any], created: tuple[Any, Close]) -> IO[Any, Any, Any]:
    a, close = _pair(created)
    made = io.defer(f, a).map(lambda b: (b, close))
    return ops.ReleaseOnFailure(made, partial(close_after, finalizers_of(close)))


def _chained(f: Callable[[Any], Any], where: str, created: tuple[Any, Close]) -> IO[Any, Any, Any]:
    a, close = _pair(created)
    inner = io.defer_io(lambda: create_of(f(a), where, f))
    both = inner.map(lambda it: (it[0], all_of([created, it])))
    return ops.ReleaseOnFailure(both, partial(close_after, finalizers_of(close)))


def _wrapped(
    around: Callable[[IO[Any, Any, Any]], IO[Any, Any, Any]], created: tuple[Any, Close]
) -> tuple[Any, Close]:
    a, close = _pair(created)
    return a, wrap(around, close)


def _attempted(result: Result[Any, tuple[Any, Close]]) -> tuple[Result[Any, Any], Close]:
    if isinstance(result, Ok):
        a, close = _pair(result.success)
        return Ok(a), close
    return result, noop_close


# -- small functions, by name so that programs stay easy to pickle ----------------------------


def require_resource(resource: Any, where: str, f: Any = None) -> Resource[Any, Any, Any]:
    """Return the resource; if it is none, `f` is the function of the user that returned it."""
    if isinstance(resource, Resource):
        return resource
    maker = "resource.lift_io" if isinstance(resource, IO) else "resource.pure"
    advice = f"{maker} makes a Resource of it"
    if f is not None:
        raise expect.returned(where, f, "a Resource", resource, advice)
    raise MatchError(f"{where}: expected a Resource, but got {expect.shown(resource)}; {advice}")


def create_of(resource: Any, where: str, f: Any = None) -> IO[Any, Any, Any]:
    """The program that opens a resource; see `require_resource`."""
    return require_resource(resource, where, f).create


def without_close(a: Any) -> tuple[Any, Close]:
    """A value that needs no release, as what a resource is made of."""
    return a, noop_close


def _constant(value: X, _: Any) -> X:
    return value


def _apply(values: list[Any]) -> Any:
    return expect.function(values[0], "Resource.ap")(*values[1:])


def noop_close(cs: ComputationStatus) -> IO[Any, Never, None]:
    """The release of a value that needs none.

    Args:
        cs: whether the use succeeded.

    Returns:
        A program that computes None.

    >>> from distio import ComputationStatus, resource
    >>> resource.noop_close(ComputationStatus.SUCCEEDED).run(None)
    Ok(success=None)
    """
    return io.pure(None)


# -- several ----------------------------------------------------------------------------------


def zipped(rs: Sequence[Any], where: str, container: Container = list) -> Resource[Any, Any, Any]:
    """Resources that open one after another."""
    return Resource(io.defer_io(_open_from, rs, where, container))


def _open_from(rs: Sequence[Any], where: str, container: Container) -> IO[Any, Any, Any]:
    opened: list[tuple[Any, Close]] = []

    def open_next(index: int) -> IO[Any, Any, Any]:
        if index == len(rs):
            return io.pure((container([a for a, _ in opened]), all_of(opened)))
        create = io.defer_io(create_of, rs[index], where)
        create = ops.ReleaseOnFailure(create, lambda r: close_after(all_of(opened), r))
        return create.flat_map(lambda it: then_next(index, it))

    def then_next(index: int, created: tuple[Any, Close]) -> IO[Any, Any, Any]:
        opened.append(_pair(created))
        return open_next(index + 1)

    return open_next(0)


def zipped_par(
    rs: Sequence[Any], where: str, container: Container = list
) -> Resource[Any, Any, Any]:
    """Resources that open at the same time."""
    creates = tuple([create_of(each, where) for each in rs])
    started: IO[Any, Any, Any] = ops.Parallel(creates, are_owned=True)
    opened = started.flat_map(io.wait).flat_map(partial(_gathered, where, container))
    return Resource(io.uncancelable(opened))


def _gathered(
    called: str, container: Container, results: list[Result[Any, tuple[Any, Close]]]
) -> IO[Any, Any, Any]:
    opened = [result.success for result in results if isinstance(result, Ok)]
    if len(opened) == len(results):
        return io.pure((container([a for a, _ in opened]), all_of(opened)))
    return close_after(all_of(opened), zip_items(results, called))


# -- a lock -----------------------------------------------------------------------------------


def of_lock(of: Lock) -> Resource[Any, Never, None]:
    """A lock as a resource."""
    taken = Resource(ops.Acquire(of).map(partial(_taken, Unlock(of))))
    taken._lock = of
    return taken


def kept_lock(of: Lock) -> Resource[Any, Any, Any]:
    """A lock as a resource that its fiber keeps: the fiber is saved when it has the lock."""
    unlock = Unlock(of)
    saved = ops.ReleaseOnFailure(io.checkpoint, partial(close_after, finalizers_of(unlock)))
    taken = Resource(ops.Acquire(of).then(saved).map(partial(_taken, unlock)))
    taken._lock, taken._is_kept = of, True
    return taken


def _taken(unlock: Unlock, _: Any) -> tuple[None, Close]:
    return None, unlock
