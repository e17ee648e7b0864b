"""Resources of one value: computed, opened and closed, or failing to open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

from distio import io
from distio.core import expect
from distio.core.ops.base import IO, require_io
from distio.resource._finalizers import enter
from distio.resource._resource import Resource, create_of, without_close
from distio.result import ComputationStatus, Result

__all__ = [
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
    "panic",
    "pure",
    "read",
    "sleep",
    "sleep_until",
    "yield_",
]

R2 = TypeVar("R2")
E2 = TypeVar("E2")
A2 = TypeVar("A2")


def lift_io(mio: IO[R2, E2, A2]) -> Resource[R2, E2, A2]:
    """Use what an IO computes; its release does nothing."""
    return Resource(require_io(mio, "resource.lift_io").map(without_close))


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
    return Resource(made.flat_map(partial(create_of, where=where, f=deferred)))


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
    return Resource(made.flat_map(partial(create_of, where=where, f=deferred)))


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
    return Resource(require_io(mio, where).flat_map(partial(create_of, where=where)))


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
