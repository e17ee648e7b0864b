"""Programs as values: everything that makes an `IO`.

>>> from distio import io
>>> def double(x):
...     return io.defer(lambda: 2 * x)
>>> io.traverse([1, 2, 3], double).run(None)
Ok(success=[2, 4, 6])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, Final, TypeVar, overload

from distio.core import expect, ops
from distio.core.fiber import Handle
from distio.core.located import Located
from distio.core.ops.base import IO, failing, programs, require_io, spread
from distio.core.ops.concurrency import from_result as _from_result
from distio.core.ops.together import zip_par as _zip_par
from distio.core.status import Status
from distio.direct import do, restart_from
from distio.errors import MatchError
from distio.local import Local
from distio.outside import (
    async_,
    at,
    blocking,
    from_coroutine,
    from_future,
    located,
    on_main_thread,
)
from distio.progress import Bar
from distio.result import Errors, Ok, Panic, Result
from distio.result import errors as _errors
from distio.result import panic as _panic
from distio.seeding import random_generator, random_seed, seeded
from distio.structured import (
    Scope,
    current_fiber,
    first_ok,
    named,
    on_cancel,
    race,
    scope,
    timeout,
    uncancelable,
)
from distio.structured import fail_fast as _fail_fast

__all__ = [
    "IO",
    "Fiber",
    "Local",
    "Located",
    "Scope",
    "Status",
    "async_",
    "at",
    "blocking",
    "bracket",
    "current_fiber",
    "defer",
    "defer_io",
    "defer_read",
    "defer_read_io",
    "do",
    "error",
    "errors",
    "first_ok",
    "from_coroutine",
    "from_future",
    "from_result",
    "located",
    "named",
    "now",
    "on_cancel",
    "on_main_thread",
    "panic",
    "parallel",
    "pure",
    "race",
    "random",
    "random_generator",
    "random_seed",
    "read",
    "rec",
    "restart_from",
    "safe",
    "scope",
    "seeded",
    "sequence",
    "sleep",
    "sleep_until",
    "timeout",
    "traverse",
    "traverse_par",
    "uncancelable",
    "wait",
    "yield_",
    "zip",
    "zip_par",
]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
A2 = TypeVar("A2")
A_co = TypeVar("A_co", covariant=True)

Fiber = Handle
"""What `parallel` returns for each program it started."""


# -- values -----------------------------------------------------------------------------------


def pure(a: A) -> IO[Any, Any, A]:
    """The program that computes `a`.

    >>> pure(5).run(None)
    Ok(success=5)
    """
    return ops.Pure(a)


def defer(deferred: Callable[..., A], *args: Any, **kwargs: Any) -> IO[Any, Any, A]:
    """The program that calls `deferred(*args, **kwargs)` when it runs, each time it runs.

    This is where side effects belong. What the call raises is a Panic.

    >>> defer(max, 3, 8).run(None)
    Ok(success=8)
    """
    return ops.Defer(deferred, args, kwargs)


def defer_io(deferred: Callable[..., IO[R, E, A]], *args: Any, **kwargs: Any) -> IO[R, E, A]:
    """The program that `deferred(*args, **kwargs)` returns; called when it runs.

    It makes recursion safe, of any depth:

    >>> def count_down(n):
    ...     return pure("done") if n == 0 else defer_io(count_down, n - 1)
    >>> count_down(50_000).run(None)
    Ok(success='done')
    """
    return ops.DeferIO(deferred, args, kwargs)


def rec(f: Callable[[IO[R, E, A]], IO[R, E, A]]) -> IO[R, E, A]:
    """The program `f(itself)`: a loop ties its knot with it.

    >>> left = [3, 2, 1]
    >>> rec(lambda again: defer(left.pop).flat_map(lambda _: again if left else pure("empty"))
    ...     ).run(None)
    Ok(success='empty')
    """
    return ops.Rec(f)


def safe(f: Callable[..., IO[R, E, A]]) -> Callable[..., IO[R, E, A]]:
    """Decorate a function that returns an IO, so that what it raises is a Panic of that IO.

    >>> @safe
    ... def divide(a, b):
    ...     return pure(a / b)
    >>> divide(1, 0).run(None).is_panic()
    True
    """

    expect.function(f, "safe")

    @wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> IO[R, E, A]:
        return ops.DeferIO(f, args, kwargs)

    return wrapper


# -- context ----------------------------------------------------------------------------------

read: Final[IO[Any, Any, Any]] = ops.Read()
"""The program that computes its context, the value given to `run`."""


def defer_read(deferred: Callable[..., Any], *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
    """The program that calls `deferred(context, *args, **kwargs)`.

    If the call returns a Result, that is the outcome; any other value is a success.

    >>> defer_read(lambda context, x: context + x, 1).run(41)
    Ok(success=42)
    """
    return ops.DeferRead(deferred, args, kwargs)


def defer_read_io(deferred: Callable[..., IO[R, E, A]], *args: Any, **kwargs: Any) -> IO[R, E, A]:
    """The program that `deferred(context, *args, **kwargs)` returns.

    >>> defer_read_io(lambda context: pure(context * 2)).run(21)
    Ok(success=42)
    """
    return ops.DeferReadIO(deferred, args, kwargs)


# -- failures ---------------------------------------------------------------------------------


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

    >>> from_result(Ok(3)).run(None)
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


# -- lists ------------------------------------------------------------------------------------


def sequence(*l: Any) -> IO[Any, Any, Any]:  # noqa: E741 (raffiot's name)
    """Run these programs, or those of one iterable, in turn; compute the last value.

    >>> sequence(pure(1), pure(2)).run(None)
    Ok(success=2)
    """
    return ops.Sequence(programs(l, "sequence"))


@overload
def zip(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, list[A]]: ...
@overload
def zip(*ios: Any) -> IO[Any, Any, list[Any]]: ...
def zip(*l: Any) -> IO[Any, Any, list[Any]]:  # noqa: E741 (raffiot's name)
    """Run these programs, or those of one iterable, in turn; compute the list of values.

    >>> zip(pure(1), pure(2)).run(None)
    Ok(success=[1, 2])
    """
    return ops.Zip(programs(l, "zip"))


def traverse(l: Iterable[A], f: Callable[[A], IO[R, E, A2]]) -> IO[R, E, list[A2]]:  # noqa: E741
    """Run `f(item)` for each item in turn; compute the list of values.

    >>> traverse(["a", "b"], lambda s: pure(s.upper())).run(None)
    Ok(success=['A', 'B'])
    """
    expect.function(f, "traverse")
    if wrong := expect.no_items(l, "traverse"):
        return failing(wrong)
    return ops.Zip(tuple([ops.Traversed(f, (a,), {}) for a in l]))


# -- concurrency ------------------------------------------------------------------------------


@overload
def parallel(ios: Iterable[IO[R, E, A]], /) -> IO[R, Any, list[Handle[R, E, A]]]: ...
@overload
def parallel(*ios: Any) -> IO[Any, Any, list[Handle[Any, Any, Any]]]: ...
def parallel(*l: Any) -> IO[Any, Any, list[Handle[Any, Any, Any]]]:  # noqa: E741
    """Start a fiber for each program, or for each of one iterable; don't wait for them.

    The value is the list of fibers, in the same order; `wait` takes them. On a cluster the
    fibers go where there is room.

    >>> parallel(pure(1), pure(2)).flat_map(wait).run(None)
    Ok(success=[Ok(success=1), Ok(success=2)])
    """
    return ops.Parallel(programs(l, "parallel"))


@overload
def wait(fibers: Iterable[Handle[Any, E, A]], /) -> IO[Any, Any, list[Result[E, A]]]: ...
@overload
def wait(*fibers: Handle[Any, E, A]) -> IO[Any, Any, list[Result[E, A]]]: ...
def wait(*l: Any) -> IO[Any, Any, list[Result[Any, Any]]]:  # noqa: E741
    """Wait until these fibers, or those of one iterable, have ended; compute their Results.

    Waiting holds no thread, and a fiber can be waited for any number of times.
    """
    fibers = spread(l)
    for fiber in fibers:
        if not isinstance(fiber, Handle):
            return failing(expect.no_fiber(fiber, "wait"))
    return ops.Wait(fibers)


Progress = Callable[[int, int | None], object] | bool | None
"""What `progress` may be: a function of how many items are done, and of how many; or True."""


@overload
def zip_par(
    ios: Iterable[IO[R, E, A]],
    /,
    *,
    at_most: int | None = None,
    progress: Progress = None,
    fail_fast: bool = False,
) -> IO[R, E, list[A]]: ...
@overload
def zip_par(
    *others: Any, at_most: int | None = None, progress: Progress = None, fail_fast: bool = False
) -> IO[Any, Any, list[Any]]: ...
def zip_par(
    *others: Any, at_most: int | None = None, progress: Progress = None, fail_fast: bool = False
) -> IO[Any, Any, list[Any]]:
    """Run these programs, or those of one iterable, at the same time; compute all values.

    All of them are waited for; if some fail, all failures are kept. If this is cancelled, so are
    they.

    Args:
        others: the programs.
        at_most: how many of them may run at a time; None: all. With a number it is
            `traverse_par` of the programs: see there, also for what an iterable may be.
        progress: see `traverse_par`.

    Raises:
        TypeError: `at_most` is no int, or `progress` is something else.
        ValueError: `at_most` is less than 1.

    >>> zip_par(pure(1), pure(2)).run(None)
    Ok(success=[1, 2])
    >>> zip_par((pure(n) for n in range(5)), at_most=2).run(None)
    Ok(success=[0, 1, 2, 3, 4])
    """
    if at_most is None and not progress:
        found = programs(others, "zip_par")
        return _fail_fast(found) if fail_fast else _zip_par(found)
    items = others[0] if len(others) == 1 and isinstance(others[0], Iterable) else others
    return _bounded(items, _itself, at_most, progress, fail_fast, "zip_par")


def traverse_par(
    items: Iterable[A],
    f: Callable[[A], IO[R, E, A2]],
    *,
    at_most: int | None = None,
    progress: Progress = None,
    fail_fast: bool = False,
) -> IO[R, E, list[A2]]:
    """Run `f(item)` for each item, at most so many at the same time; compute the list of values.

    The values are in the order of the items. All items are run, whichever of them fail; then all
    failures are kept. If the iterable raises, no more items are run; that is a panic, together with
    the failures of those that were.

    With `at_most`, items are taken when their turn comes: an iterable may be of any length, also
    one that is made on the way, like a generator (which can be gone through only once, so such a
    program can be run only once). Items that take microseconds share a fiber, in chunks of up to
    4,096 that take about 15 ms together; items that take longer than half of that have a fiber
    each. So no more is taken ahead of the work than `at_most` chunks hold. Items of one chunk run
    one after another: an item must not wait for what a later one does. A lost worker costs the
    items of the chunks that it had, and each of these chunks is one `WorkerLost` panic.

    Args:
        items: a list, a tuple or a range, which can travel with the program; or any iterable, with
            which the program stays in its process.
        f: makes the program of an item; called where that runs.
        at_most: how many items are worked on at a time; None: all, each in a fiber of its own.
        progress: called as `progress(done, total)` whenever some items are done, last with all of
            them, in the fiber that waits for them; `total` is None if only the end will tell. If it
            raises, no more items are run, and that is a panic. True: a bar on standard error, if
            that is a terminal.
        fail_fast: whether the first failure cancels the items that are under way, and no more are
            run.

    Raises:
        TypeError: `at_most` is no int, or `progress` is something else.
        ValueError: `at_most` is less than 1.

    >>> traverse_par(range(5), lambda n: pure(n * n), at_most=2).run(None)
    Ok(success=[0, 1, 4, 9, 16])
    """
    expect.function(f, "traverse_par")
    if wrong := expect.no_items(items, "traverse_par"):
        return failing(wrong)
    if at_most is None and not progress:
        found = tuple([ops.TraversedPar(f, item, index) for index, item in enumerate(items)])
        return _fail_fast(found, "traverse_par") if fail_fast else _zip_par(found, "traverse_par")
    return _bounded(items, f, at_most, progress, fail_fast, "traverse_par")


def _bounded(
    items: Any, f: Callable[[Any], Any], at_most: Any, progress: Any, fail_fast: bool, where: str
) -> IO[Any, Any, Any]:
    if at_most is not None:
        expect.whole(at_most, where, "at_most is a whole number from 1, or None")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise MatchError(
            f"{where}: progress is a function, True or None, but got {expect.shown(progress)}"
        )
    if isinstance(items, list | tuple):
        items = tuple(items)  # a list may be changed before the program has run
    traversal = partial(ops.TraversePar, items, f, at_most, fail_fast=fail_fast, called=where)
    if progress is True:
        return ops.Bracket(defer(Bar), traversal, _take_away)
    return traversal(progress or None)


def _take_away(bar: Bar, result: Result[Any, Any]) -> IO[Any, Any, Any]:
    return defer(bar.close).then(from_result(result))


def _itself(program: A) -> A:
    return require_io(program, "zip_par")  # type: ignore[return-value]  # what came in


yield_: Final[IO[Any, Any, None]] = ops.Yield()
"""The program that gives other fibers a turn."""


def sleep(seconds: float) -> IO[Any, Any, None]:
    """Pause for at least this many seconds; for none if `seconds` is 0 or less."""
    if wrong := expect.no_time(seconds, "sleep", "a number of seconds"):
        return failing(wrong)
    return ops.Sleep(seconds)


now: Final[IO[Any, Any, float]] = ops.Now()
"""The program that reads the clock: what `time.time()` shows, or in a simulation the virtual time.

>>> now.map(lambda seconds: seconds > 0).run(None)
Ok(success=True)
"""

random: Final[IO[Any, Any, float]] = ops.Random()
"""The program that draws a random number, from 0 up to, but not, 1; each time another one.

It is not for secrets. In a simulation the seed says which numbers come.

>>> random.map(lambda drawn: 0 <= drawn < 1).run(None)
Ok(success=True)
"""


def sleep_until(epoch_in_seconds: float) -> IO[Any, Any, None]:
    """Pause at least until `now` is this number of seconds."""
    if wrong := expect.no_time(epoch_in_seconds, "sleep_until", "a moment like time.time()"):
        return failing(wrong)
    return ops.SleepUntil(epoch_in_seconds)
