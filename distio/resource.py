"""Resources: values that are released whatever happens while they are used.

>>> from distio import io, resource
>>> log = []
>>> file = resource.from_open_close(
...     lambda: log.append("open"), lambda it, status: log.append("close")
... )
>>> file.with_(io.defer(log.append, "use")).then(io.defer(lambda: log)).run(None)
Ok(success=['open', 'use', 'close'])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, final

from distio import io
from distio.closing import Close, Unlock, all_of, closers, enter, give_up, is_created, release, wrap
from distio.core import expect, ops
from distio.core.ops.base import IO, failing, require_io, spread
from distio.core.where import zip_items
from distio.errors import MatchError
from distio.protocol.requests import Lock
from distio.protocol.text import sendable
from distio.result import ComputationStatus, Ok, Result
from distio.result import sequence as _sequence

__all__ = [
    "Resource",
    "async_",
    "defer",
    "defer_read",
    "defer_read_resource",
    "defer_resource",
    "error",
    "errors",
    "from_io_resource",
    "from_open_close",
    "from_open_close_io",
    "from_result",
    "from_with",
    "lift_io",
    "lock",
    "noop_close",
    "panic",
    "pure",
    "rate_limit",
    "read",
    "reentrant_lock",
    "semaphore",
    "sleep",
    "sleep_until",
    "traverse",
    "yield_",
    "zip",
    "zip_par",
]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)
R2 = TypeVar("R2")
E2 = TypeVar("E2")
A2 = TypeVar("A2")
X = TypeVar("X")


@final
class Resource(Generic[R, E, A]):
    """What can be opened, used and closed, as a value: nothing happens until it is used.

    Args:
        create: computes what is to be used, and the function that releases it.
    """

    __slots__ = ("_lock", "create")

    def __init__(self, create: IO[R, E, tuple[A, Close]]) -> None:
        self.create = require_io(create, "Resource")
        self._lock: Lock | None = None
        """The lock that it takes, if it is nothing but that."""

    def __repr__(self) -> str:
        return f"Resource({self.create!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Resource, (self.create,)) if self._lock is None else (of_lock, (self._lock,))

    # -- use ------------------------------------------------------------------------------

    def use(self, fun: Callable[[A], IO[R2, E2, X]]) -> IO[Any, Any, X]:
        """Open it, run `fun(it)`, and close it whatever came of that.

        Failures of the release are added to those of the use.
        """
        expect.function(fun, "Resource.use")
        return io.bracket(self.create, partial(_use, fun), release)

    def with_(self, the_io: IO[R2, E2, X]) -> IO[Any, Any, X]:
        """Open it, run `the_io`, and close it."""
        require_io(the_io, "Resource.with_")
        if self._lock is not None:  # by far the most frequent, and quick like this
            return ops.Locked(the_io, self._lock)
        return self.use(partial(_constant, the_io))

    async def __aenter__(self) -> A:
        """Open it, in a function of `io.do`: `async with resource as it`."""
        value: A = await ops.Enter(self.create, _value_of, release)
        return value

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:  # "bool" would tell type checkers that it often swallows exceptions
        """Close it, whatever came of its use."""
        if kind is GeneratorExit:  # the function goes on elsewhere, or not at all
            return False
        is_swallowed: bool = await ops.Leave(exception)
        return is_swallowed

    # -- transform ------------------------------------------------------------------------

    def map(self, f: Callable[[A], A2]) -> Resource[R, E, A2]:
        """Apply `f` to what is opened."""
        expect.function(f, "Resource.map")
        return Resource(self.create.flat_map(partial(_mapped, f)))

    def flat_map(self, f: Callable[[A], Resource[R2, E2, A2]]) -> Resource[Any, Any, A2]:
        """Open this, then the resource that `f` makes of it; close them in reverse order."""
        return self._chain(f, "Resource.flat_map")

    def flatten(self: Resource[Any, Any, Resource[R2, E2, A2]]) -> Resource[Any, Any, A2]:
        """Open the resource that this one opens."""
        where = "Resource.flatten"
        return self._chain(partial(require_resource, where=where), where)

    def then(self, rs: Resource[R2, E2, A2]) -> Resource[Any, Any, A2]:
        """Open this, then `rs`, which is what is used."""
        return self.flat_map(partial(_constant, require_resource(rs, "Resource.then")))

    def zip(self, *rs: Any) -> Resource[Any, Any, list[Any]]:
        """Open this and `rs`, one after another; use the list of them."""
        return _zipped((self, *spread(rs)), "Resource.zip")

    def zip_par(self, *rs: Any) -> Resource[Any, Any, list[Any]]:
        """Open this and `rs` at the same time; use the list of them."""
        return _zipped_par((self, *spread(rs)), "Resource.zip_par")

    def ap(self: Resource[Any, Any, Callable[..., X]], *arg: Any) -> Resource[Any, Any, X]:
        """Open this, a function, and its arguments; use what it returns."""
        return _zipped((self, *spread(arg)), "Resource.ap").map(_apply)

    def contra_map_read(self, f: Callable[[R2], Any]) -> Resource[R2, E, A]:
        """Open and close this with `f(context)` as the context."""
        expect.function(f, "Resource.contra_map_read")
        return self._around(lambda each: each.contra_map_read(f))

    # -- failures to open -----------------------------------------------------------------

    def catch(
        self, handler: Callable[[list[Any]], Resource[R2, E2, A2]]
    ) -> Resource[Any, E2, A | A2]:
        """If it fails to open on Errors, open `handler(errors)`."""
        expect.function(handler, "Resource.catch")
        return Resource(
            self.create.catch(lambda errs: _create(handler(errs), "Resource.catch", handler))
        )

    def recover(
        self, handler: Callable[[list[Any], list[Any]], Resource[R2, E2, A2]]
    ) -> Resource[Any, E | E2, A | A2]:
        """If it fails to open on a Panic, open `handler(exceptions, errors)`."""
        expect.function(handler, "Resource.recover")
        return Resource(
            self.create.recover(
                lambda exns, errs: _create(handler(exns, errs), "Resource.recover", handler)
            )
        )

    def on_failure(
        self, handler: Callable[[Result[Any, Any]], Resource[R2, E2, A2]]
    ) -> Resource[Any, E2, A | A2]:
        """If it fails to open, open `handler(result)`."""
        expect.function(handler, "Resource.on_failure")
        return Resource(
            self.create.on_failure(lambda r: _create(handler(r), "Resource.on_failure", handler))
        )

    def map_error(self, f: Callable[[Any], E2]) -> Resource[R, E2, A]:
        """Apply `f` to the errors of opening and closing."""
        expect.function(f, "Resource.map_error")
        return self._around(lambda each: each.map_error(f))

    def map_panic(self, f: Callable[[Any], Any]) -> Resource[R, E, A]:
        """Apply `f` to the exceptions of opening and closing."""
        expect.function(f, "Resource.map_panic")
        return self._around(lambda each: each.map_panic(f))

    def attempt(self) -> Resource[R, Any, Result[E, A]]:
        """Never fail to open: what is used is the Result."""
        return Resource(self.create.attempt().map(_attempted))

    def finally_(
        self, after: Callable[[Result[Any, Any]], Resource[Any, Any, Any]]
    ) -> Resource[R, E, A]:
        """Open `after(result)` too, whether this could be opened or not."""
        expect.function(after, "Resource.finally_")
        return self.attempt().flat_map(
            lambda first: (
                require_resource(after(first), "Resource.finally_", after)
                .attempt()
                .flat_map(lambda second: from_result(_sequence(second, first)))
            )
        )

    def _chain(self, f: Callable[[Any], Any], where: str) -> Resource[Any, Any, Any]:
        expect.function(f, where)
        return Resource(self.create.flat_map(partial(_chained, f, where)))

    def _around(
        self, wrap: Callable[[IO[Any, Any, Any]], IO[Any, Any, Any]]
    ) -> Resource[Any, Any, A]:
        """Apply `wrap` to what opens it and to what closes it."""
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
    return ops.ReleaseOnFailure(made, partial(give_up, closers(close)))


def _chained(f: Callable[[Any], Any], where: str, created: tuple[Any, Close]) -> IO[Any, Any, Any]:
    a, close = _pair(created)
    inner = io.defer_io(lambda: _create(f(a), where, f))
    both = inner.map(lambda it: (it[0], all_of([created, it])))
    return ops.ReleaseOnFailure(both, partial(give_up, closers(close)))


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


def _create(resource: Any, where: str, f: Any = None) -> IO[Any, Any, Any]:
    return require_resource(resource, where, f).create


def _without_close(a: Any) -> tuple[Any, Close]:
    return a, noop_close


def _constant(value: X, _: Any) -> X:
    return value


def _apply(values: list[Any]) -> Any:
    return expect.function(values[0], "Resource.ap")(*values[1:])


# -- making -----------------------------------------------------------------------------------


def noop_close(cs: ComputationStatus) -> IO[Any, Any, None]:
    """The release of what needs none."""
    return io.pure(None)


def lift_io(mio: IO[R2, E2, A2]) -> Resource[R2, E2, A2]:
    """Use what an IO computes; its release does nothing."""
    return Resource(require_io(mio, "resource.lift_io").map(_without_close))


def pure(a: A2) -> Resource[Any, Any, A2]:
    """Use this value."""
    return lift_io(io.pure(a))


def defer(deferred: Callable[..., A2], *args: Any, **kwargs: Any) -> Resource[Any, Any, A2]:
    """Use what `deferred(*args, **kwargs)` returns."""
    return lift_io(io.defer(deferred, *args, **kwargs))


def defer_resource(
    deferred: Callable[..., Resource[R2, E2, A2]], *args: Any, **kwargs: Any
) -> Resource[R2, E2, A2]:
    """The resource that `deferred(*args, **kwargs)` returns; called when it is opened."""
    where = "resource.defer_resource"
    expect.function(deferred, where)
    made = io.defer(deferred, *args, **kwargs)
    return Resource(made.flat_map(partial(_create, where=where, f=deferred)))


def defer_read(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> Resource[Any, Any, Any]:
    """Use what `deferred(context, *args, **kwargs)` returns."""
    return lift_io(io.defer_read(deferred, *args, **kwargs))


def defer_read_resource(
    deferred: Callable[..., Resource[R2, E2, A2]], *args: Any, **kwargs: Any
) -> Resource[R2, E2, A2]:
    """The resource that `deferred(context, *args, **kwargs)` returns."""
    where = "resource.defer_read_resource"
    expect.function(deferred, where)
    made = io.read.map(lambda context: deferred(context, *args, **kwargs))
    return Resource(made.flat_map(partial(_create, where=where, f=deferred)))


read: Final[Resource[Any, Any, Any]] = lift_io(io.read)
"""Use the context."""


def error(err: E2) -> Resource[Any, E2, Any]:
    """Fail to open, on one error."""
    return Resource(io.error(err))


def errors(*errs: Any) -> Resource[Any, Any, Any]:
    """Fail to open, on these errors, or on the items of one iterable."""
    return Resource(io.errors(*errs))


def panic(*exceptions: Any, errors: Iterable[E2] | None = None) -> Resource[Any, E2, Any]:
    """Fail to open, on these exceptions, or on those of one iterable."""
    return Resource(io.panic(*exceptions, errors=errors))


def from_result(r: Result[E2, A2]) -> Resource[Any, E2, A2]:
    """Use the success of `r`, or fail as it does."""
    return lift_io(io.from_result(r))


def from_io_resource(mio: IO[R2, E2, Resource[Any, Any, A2]]) -> Resource[R2, Any, A2]:
    """The resource that an IO computes."""
    where = "resource.from_io_resource"
    return Resource(require_io(mio, where).flat_map(partial(_create, where=where)))


def from_open_close_io(
    open: IO[R2, E2, A2], close: Callable[[A2, ComputationStatus], IO[Any, Any, Any]]
) -> Resource[R2, E2, A2]:
    """Open by an IO; close by the IO `close(it, status)`."""
    where = "resource.from_open_close_io"
    expect.function(close, where)
    opened = io.uncancelable(require_io(open, where))
    return Resource(opened.map(lambda a: (a, partial(close, a))))


def from_open_close(
    open: Callable[[], A2], close: Callable[[A2, ComputationStatus], Any]
) -> Resource[Any, Any, A2]:
    """Open by `open()`; close by `close(it, status)`."""
    where = "resource.from_open_close"
    expect.function(open, where)
    expect.function(close, where)
    return Resource(io.defer(open).map(lambda a: (a, partial(io.defer, close, a))))


def from_with(the_io: IO[R2, E2, Any]) -> Resource[R2, E2, Any]:
    """Use a context manager, as `with` does: `from_with(io.defer(open, path))`.

    What fails in the use reaches `__exit__` as its exception: that of the Panic (or all of them as
    a `MultipleExceptions`), or `DomainErrors`. If `__exit__` returns true, the failure is
    swallowed and the outcome of the use is `Ok(None)`.
    """
    return Resource(require_io(the_io, "resource.from_with").map(enter))


# -- several ----------------------------------------------------------------------------------


def zip(*rs: Any) -> Resource[Any, Any, list[Any]]:
    """Open these, or those of one iterable, one after another; close them in reverse order.

    If one fails to open, those that were opened before are closed.
    """
    return _zipped(spread(rs), "resource.zip")


def _zipped(rs: Sequence[Any], where: str) -> Resource[Any, Any, list[Any]]:
    return Resource(io.defer_io(_open_from, rs, where))


def _open_from(rs: Sequence[Any], where: str) -> IO[Any, Any, Any]:
    opened: list[tuple[Any, Close]] = []

    def open_next(index: int) -> IO[Any, Any, Any]:
        if index == len(rs):
            return io.pure(([a for a, _ in opened], all_of(opened)))
        create = io.defer_io(_create, rs[index], where)
        create = ops.ReleaseOnFailure(create, lambda r: give_up(all_of(opened), r))
        return create.flat_map(lambda it: then_next(index, it))

    def then_next(index: int, created: tuple[Any, Close]) -> IO[Any, Any, Any]:
        opened.append(_pair(created))
        return open_next(index + 1)

    return open_next(0)


def zip_par(*rs: Any) -> Resource[Any, Any, list[Any]]:
    """Open these, or those of one iterable, at the same time; close them in reverse order.

    Each is opened by a fiber of its own, and what it opens comes back as a value: so it must be
    able to travel when the run is on a cluster, and a lock, which belongs to the fiber that takes
    it, can't be taken like this.
    """
    return _zipped_par(spread(rs), "resource.zip_par")


def _zipped_par(rs: Sequence[Any], where: str) -> Resource[Any, Any, list[Any]]:
    creates = [_create(each, where) for each in rs]
    opened = io.parallel(creates).flat_map(io.wait).flat_map(partial(_gathered, where))
    return Resource(io.uncancelable(opened))


def _gathered(called: str, results: list[Result[Any, tuple[Any, Close]]]) -> IO[Any, Any, Any]:
    opened = [result.success for result in results if isinstance(result, Ok)]
    if len(opened) == len(results):
        return io.pure(([a for a, _ in opened], all_of(opened)))
    return give_up(all_of(opened), zip_items(results, called))


def traverse(
    l: Iterable[A2],  # noqa: E741 (raffiot's name)
    f: Callable[[A2], Resource[Any, Any, X]],
) -> Resource[Any, Any, list[X]]:
    """Open `f(item)` for each item, one after another."""
    where = "resource.traverse"
    expect.function(f, where)
    if wrong := expect.no_items(l, where):
        return Resource(failing(wrong))
    made = [io.defer(f, item).flat_map(partial(_create, where=where, f=f)) for item in l]
    return _zipped([Resource(each) for each in made], where)


# -- concurrency ------------------------------------------------------------------------------

yield_: Final[Resource[Any, Any, None]] = lift_io(io.yield_)
"""Give other fibers a turn while opening."""


def async_(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Resource[Any, Any, Any]:
    """Use what a callback is given: see `io.async_`."""
    return lift_io(io.async_(f, *args, **kwargs))


def sleep(seconds: float) -> Resource[Any, Any, None]:
    """Pause while opening: see `io.sleep`."""
    return lift_io(io.sleep(seconds))


def sleep_until(epoch_in_seconds: float) -> Resource[Any, Any, None]:
    """Pause while opening: see `io.sleep_until`."""
    return lift_io(io.sleep_until(epoch_in_seconds))


# -- controlling concurrency ------------------------------------------------------------------


def of_lock(of: Lock) -> Resource[Any, Any, None]:
    """A lock as a resource."""
    taken = Resource(ops.Acquire(of).map(partial(_taken, Unlock(of))))
    taken._lock = of
    return taken


def _taken(unlock: Unlock, _: Any) -> tuple[None, Close]:
    return None, unlock


reentrant_lock: Final[IO[Any, Any, Resource[Any, Any, None]]] = ops.MakeLock().map(of_lock)
"""The program that makes a lock: a resource that only one fiber has at a time.

It is good everywhere: fibers on other processes of the cluster wait for it too, first come first
served, and waiting holds no thread. The fiber that has it may take it again. It is given back
when its use is over, at the latest when the fiber ends or is lost.

>>> reentrant_lock.flat_map(lambda lock: lock.with_(lock.with_(io.pure("twice")))).run(None)
Ok(success='twice')
"""


def lock(name: str) -> Resource[Any, Any, None]:
    """The reentrant lock of this name, which all runs of a cluster share.

    >>> lock("the printer").with_(io.pure("printed")).run(None)
    Ok(success='printed')
    """
    if wrong := expect.no_name(name, "lock"):
        raise MatchError(wrong)
    return of_lock(Lock(sendable(name)))


def semaphore(tokens: int, *, name: str | None = None) -> IO[Any, Any, Resource[Any, Any, None]]:
    """The program that makes a resource that at most `tokens` fibers have at a time.

    Args:
        tokens: how many, from 1.
        name: if there is one, all runs of a cluster that name it share the same tokens.

    >>> semaphore(5).flat_map(lambda five: five.with_(io.pure("one of five"))).run(None)
    Ok(success='one of five')
    """
    if wrong := expect.no_size(tokens, "semaphore") or _no_name(name, "semaphore"):
        return failing(wrong)
    return io.defer_io(_counted, tokens, 0.0, name)


def rate_limit(
    n: int, per_seconds: float, *, name: str | None = None
) -> IO[Any, Any, Resource[Any, Any, None]]:
    """The program that makes a resource of which at most `n` uses start in any `per_seconds`.

    Whoever comes too early waits, first come first served.

    Args:
        n: how many, from 1.
        per_seconds: the length of the window in which they are counted, in seconds.
        name: if there is one, all runs of a cluster that name it are counted together.
    """
    wrong = expect.no_size(n, "rate_limit") or expect.no_window(per_seconds, "rate_limit")
    if wrong := wrong or _no_name(name, "rate_limit"):
        return failing(wrong)
    return io.defer_io(_counted, n, float(per_seconds), name)


def _no_name(name: Any, where: str) -> str | None:
    return None if name is None else expect.no_name(name, where)


def _counted(
    tokens: int, per_seconds: float, name: str | None
) -> IO[Any, Any, Resource[Any, Any, None]]:
    tokens = int.__index__(tokens)  # of a subclass, the number alone travels
    if name is not None:
        return io.pure(of_lock(Lock(sendable(name), tokens, per_seconds)))
    return ops.MakeLock().map(lambda made: of_lock(Lock(made.key, tokens, per_seconds)))
