"""`map`, `starmap` and `as_completed`: a function and many items.

This module imports little: see `begin`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from distio._display.progress import Progress
from distio._hints import says_instead
from distio._plain._begin import begin

if TYPE_CHECKING:
    from distio.runtime.cluster import Cluster

__all__ = ["as_completed", "map", "starmap"]

A = TypeVar("A")
X = TypeVar("X")
Y = TypeVar("Y")
Ts = TypeVarTuple("Ts")

_WORKERS: Final = "use workers=4, or leave it out for all cores"
_CHUNKS: Final = "leave it out: how many calls travel together is found out by how long they take"
_TIMEOUT: Final = "use io.traverse_par(items, lambda item: io.defer(f, item)).timeout(seconds)"

_of_other_libraries = says_instead(
    n_jobs=_WORKERS,
    max_workers=_WORKERS,
    num_workers=_WORKERS,
    processes=_WORKERS,
    chunksize=_CHUNKS,
    chunk_size=_CHUNKS,
    batch_size=_CHUNKS,
    pre_dispatch="leave it out: items are taken as you take values",
    prefer='use threads=8 in place of prefer="threads"',
    backend="use threads=8 for threads, or on=cluster",
    verbose="use progress=True",
    timeout=_TIMEOUT,
)


class Options(TypedDict, total=False):
    """The arguments that don't change the types, in the signatures that type checkers read."""

    on: Cluster | None
    threads: int | None
    workers: int | None
    progress: Progress


@overload
def map(
    f: Callable[[X], A],
    a: Iterable[X],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[A, None, None]: ...
@overload
def map(
    f: Callable[[X], A], a: Iterable[X], /, *, return_exceptions: bool, **where: Unpack[Options]
) -> Generator[A | BaseException, None, None]: ...
@overload
def map(
    f: Callable[[X, Y], A],
    a: Iterable[X],
    b: Iterable[Y],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[A, None, None]: ...
@overload
def map(
    f: Callable[[X, Y], A],
    a: Iterable[X],
    b: Iterable[Y],
    /,
    *,
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[A | BaseException, None, None]: ...
@overload
def map(
    f: Callable[..., A],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    /,
    *more: Iterable[Any],
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[A, None, None]: ...
@overload
def map(
    f: Callable[..., A],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    /,
    *more: Iterable[Any],
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[A | BaseException, None, None]: ...
@_of_other_libraries
def map(
    f: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on: Cluster | None = None,
    threads: int | None = None,
    workers: int | None = None,
    progress: Progress = None,
    return_exceptions: bool = False,
) -> Generator[Any, None, None]:
    """Call a function for each item, on all cores; yield what it returns, in the order of items.

    The items are taken, and calls are made, while somebody iterates: at most 8 packets of calls for
    each worker are finished ahead of that. So the iterables may be infinite. A packet has one call,
    or as many short ones as take up to 0.15 s together. The calls are made by worker processes of
    this program, which start with the first call, and serve later ones, too.

    Args:
        f: any function. It travels, as the items do, and what it returns.
        iterables: the items; with several iterables, `f` takes an item of each. The shortest one
            ends it.
        on: the cluster whose workers make the calls.
        threads: how many threads of this process make the calls instead: for functions that wait,
            or that can't travel.
        workers: the number of worker processes; None: one for each core. In a worker, `map` calls
            the function in this worker.
        progress: a function that is called as `progress(done, total)` when items are done; `total`
            is None if an iterable has no length. True, or a label: a bar, where there is one to be
            seen; see `distio.show_progress`.
        return_exceptions: whether an exception that `f` raises stands in place of its value, and
            all other items are computed.

    Returns:
        A generator. To close it, or to interrupt who waits for it, cancels what is under way: no
        item is begun, a function that runs is left to itself.

    Raises:
        MatchError: an argument is of another kind.
        ClusterError: the workers can't be started, or the cluster is closed.
        BaseException: the first exception, in the order of items, that `f` has raised. Its notes
            tell the item, the worker, and the traceback there.

    >>> import distio
    >>> list(distio.map(pow, [2, 3, 4], [5, 2, 1], workers=2))
    [32, 9, 4]
    """
    begin(may_need_workers=on is None and threads is None)
    from distio._plain._items import Asked, values

    place = on, threads, workers
    return values(Asked("map", f, iterables, place, progress, return_exceptions))


@overload
def starmap(
    f: Callable[[Unpack[Ts]], A],
    items: Iterable[tuple[*Ts]],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[A, None, None]: ...
@overload
def starmap(
    f: Callable[[Unpack[Ts]], A],
    items: Iterable[tuple[*Ts]],
    /,
    *,
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[A | BaseException, None, None]: ...
@overload
def starmap(
    f: Callable[..., A],
    items: Iterable[list[Any]],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[A, None, None]: ...
@overload
def starmap(
    f: Callable[..., A],
    items: Iterable[list[Any]],
    /,
    *,
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[A | BaseException, None, None]: ...
@_of_other_libraries
def starmap(
    f: Callable[..., Any],
    items: Iterable[Iterable[Any]],
    /,
    *,
    on: Cluster | None = None,
    threads: int | None = None,
    workers: int | None = None,
    progress: Progress = None,
    return_exceptions: bool = False,
) -> Generator[Any, None, None]:
    """Do as `map` does, with tuples of arguments as items.

    Args:
        f: any function.
        items: for each call, its arguments.
        on: see `map`, as for all that follow.
        threads: how many threads of this process.
        workers: how many worker processes.
        progress: a function, True, or a label.
        return_exceptions: whether exceptions stand in place of values.

    Returns:
        A generator of what `f` returns, in the order of items.

    Raises:
        MatchError: an argument is of another kind.
        ClusterError: the workers can't be started, or the cluster is closed.
        BaseException: what `f` has raised.

    >>> import distio
    >>> list(distio.starmap(pow, [(2, 5), (3, 2)], threads=2))
    [32, 9]
    """
    begin(may_need_workers=on is None and threads is None)
    from distio._plain._items import Asked, values

    place, keeps = (on, threads, workers), return_exceptions
    return values(Asked("starmap", f, (items,), place, progress, keeps, is_spread=True))


@overload
def as_completed(
    f: Callable[[X], A],
    a: Iterable[X],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[tuple[int, A], None, None]: ...
@overload
def as_completed(
    f: Callable[[X], A], a: Iterable[X], /, *, return_exceptions: bool, **where: Unpack[Options]
) -> Generator[tuple[int, A | BaseException], None, None]: ...
@overload
def as_completed(
    f: Callable[[X, Y], A],
    a: Iterable[X],
    b: Iterable[Y],
    /,
    *,
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[tuple[int, A], None, None]: ...
@overload
def as_completed(
    f: Callable[[X, Y], A],
    a: Iterable[X],
    b: Iterable[Y],
    /,
    *,
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[tuple[int, A | BaseException], None, None]: ...
@overload
def as_completed(
    f: Callable[..., A],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    /,
    *more: Iterable[Any],
    return_exceptions: Literal[False] = ...,
    **where: Unpack[Options],
) -> Generator[tuple[int, A], None, None]: ...
@overload
def as_completed(
    f: Callable[..., A],
    a: Iterable[Any],
    b: Iterable[Any],
    c: Iterable[Any],
    /,
    *more: Iterable[Any],
    return_exceptions: bool,
    **where: Unpack[Options],
) -> Generator[tuple[int, A | BaseException], None, None]: ...
@_of_other_libraries
def as_completed(
    f: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on: Cluster | None = None,
    threads: int | None = None,
    workers: int | None = None,
    progress: Progress = None,
    return_exceptions: bool = False,
) -> Generator[tuple[int, Any], None, None]:
    """Do as `map` does; yield what is finished first, with the index of its item.

    Args:
        f: any function.
        iterables: the items.
        on: see `map`, as for all that follow.
        threads: how many threads of this process.
        workers: how many worker processes.
        progress: a function, True, or a label.
        return_exceptions: whether exceptions stand in place of values.

    Returns:
        A generator of pairs: the index of an item, and what `f` returns for it.

    Raises:
        MatchError: an argument is of another kind.
        ClusterError: the workers can't be started, or the cluster is closed.
        BaseException: the first exception that `f` has raised.

    >>> import distio
    >>> sorted(distio.as_completed(str.upper, "abc", threads=2))
    [(0, 'A'), (1, 'B'), (2, 'C')]
    """
    begin(may_need_workers=on is None and threads is None)
    from distio._plain._items import Asked, pairs

    place = on, threads, workers
    return pairs(Asked("as_completed", f, iterables, place, progress, return_exceptions))
