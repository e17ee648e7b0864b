"""Programs that run at the same time: all of them, so many at a time, or until one has won."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Never, TypedDict, Unpack, overload

from distio._display.progress import Progress
from distio._hints import OF_LIMIT, says_instead
from distio.core import expect, ops
from distio.core.ops.arguments import container_of, failing, programs
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, A3, A4, A5, A6, E2, E3, E4, E5, E6, E7, A, E, R
from distio.io._failures import from_result
from distio.io._fibers import current_fiber
from distio.io._progress import Bar
from distio.io._values import defer
from distio.result import Result

__all__ = [
    "Progress",
    "first_ok",
    "race",
    "traverse_par",
    "zip_par",
]


class _Options(TypedDict, total=False):
    """The options of `zip_par`."""

    at_most: int | None
    progress: Progress
    fail_fast: bool


@overload
def zip_par(**options: Unpack[_Options]) -> IO[Any, Never, tuple[()]]: ...
@overload
def zip_par(ios: Iterable[IO[R, E, A]], /, **options: Unpack[_Options]) -> IO[R, E, list[A]]: ...
@overload
def zip_par(a: IO[R, E2, A], /, **options: Unpack[_Options]) -> IO[R, E2, tuple[A]]: ...
@overload
def zip_par(
    a: IO[R, E2, A], b: IO[R, E3, A2], /, **options: Unpack[_Options]
) -> IO[R, E2 | E3, tuple[A, A2]]: ...
@overload
def zip_par(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], /, **options: Unpack[_Options]
) -> IO[R, E2 | E3 | E4, tuple[A, A2, A3]]: ...
@overload
def zip_par(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    /,
    **options: Unpack[_Options],
) -> IO[R, E2 | E3 | E4 | E5, tuple[A, A2, A3, A4]]: ...
@overload
def zip_par(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    e: IO[R, E6, A5],
    /,
    **options: Unpack[_Options],
) -> IO[R, E2 | E3 | E4 | E5 | E6, tuple[A, A2, A3, A4, A5]]: ...
@overload
def zip_par(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    e: IO[R, E6, A5],
    f: IO[R, E7, A6],
    /,
    **options: Unpack[_Options],
) -> IO[R, E2 | E3 | E4 | E5 | E6 | E7, tuple[A, A2, A3, A4, A5, A6]]: ...
@overload
def zip_par(
    a: IO[R, E, A],
    b: IO[R, E, A],
    c: IO[R, E, A],
    d: IO[R, E, A],
    e: IO[R, E, A],
    f: IO[R, E, A],
    g: IO[R, E, A],
    /,
    *more: IO[R, E, A],
    **options: Unpack[_Options],
) -> IO[R, E, tuple[A, ...]]: ...
@says_instead(**OF_LIMIT)
def zip_par(
    *others: Any, at_most: int | None = None, progress: Progress = None, fail_fast: bool = True
) -> IO[Any, Any, Any]:
    """Run programs at the same time; compute all their values.

    The first failure cancels the other programs, and their ends are waited for. If the program is
    cancelled, it cancels them as well.

    Args:
        others: the programs, or one iterable of them.
        at_most: the largest number of programs that run at a time; None: no limit. With a limit
            this is `traverse_par` of the programs: see there what an iterable may be.
        progress: see `traverse_par`.
        fail_fast: whether the first failure cancels the other programs. If not, all of them run to
            their end.

    Returns:
        A program that computes the tuple of the values, in the order of the programs; of one
        iterable, the list of them. If some of them fail, it fails with all that has failed, in that
        order. With `fail_fast` that is the first failure, and those that came in the same moment,
        or of a release.

    Raises:
        MatchError: one of them is no IO, `at_most` is no int, or `progress` is something else.
        ValueError: `at_most` is less than 1.

    >>> from distio import io
    >>> io.zip_par(io.pure(1), io.pure(2)).run(None)
    Ok(success=(1, 2))
    >>> io.zip_par((io.pure(n) for n in range(5)), at_most=2).run(None)
    Ok(success=[0, 1, 2, 3, 4])
    """
    is_one_iterable = container_of(others) is list
    if at_most is None and not progress:
        found = programs(others, "zip_par")
        merged = ops.zip_par(found, "zip_par", fail_fast)
    else:
        items = others[0] if is_one_iterable else others
        merged = _bounded(items, _itself, at_most, progress, fail_fast, "zip_par")
    return merged if is_one_iterable else ops.AsTuple(merged)


@says_instead(**OF_LIMIT)
def traverse_par(
    items: Iterable[A],
    f: Callable[[A], IO[R, E, A2]],
    *,
    at_most: int | None = None,
    progress: Progress = None,
    fail_fast: bool = True,
) -> IO[R, E, list[A2]]:
    """Run `f(item)` for many items at the same time; compute the list of all values.

    The first failure cancels the items that are under way, and no more items are run. If the
    iterable raises, no more items are run either.

    `f` is called for the first item alone, where this program runs, before it is called for any
    other item. If it returns no IO then, the program fails, and nothing else is computed.

    With `at_most`, the program takes an item when the turn of that item comes. So an iterable may
    have any length. A generator can be gone through only once, so a program over a generator can be
    run only once. Items that take microseconds share a fiber: a chunk has up to 4,096 items, which
    take about 15 ms together. An item of more than 10 ms has a fiber of its own. So the program
    takes no more items ahead of the work than `at_most` chunks hold. The items of one chunk run one
    after another: an item must not wait for a later one. A chunk of a lost worker goes on at
    another one; if it can't, it is one `WorkerLost` panic.

    Args:
        items: a list, a tuple or a range, which can travel with the program; or any iterable, with
            which the program stays in its process.
        f: a function that makes the program of an item. For all items but the first, it is called
            where that program runs.
        at_most: the largest number of items that are worked on at a time; None: no limit, and each
            item has a fiber of its own.
        progress: a function that is called as `progress(done, total)` whenever items are done, and
            last when all are. The fiber that waits for the items calls it. `total` is None as long
            as nobody knows how many items there are. If the function raises, no more items are run,
            and the outcome is a Panic. True, or a label: a bar of the process in which that fiber
            is, on its terminal or in its notebook; else a line now and then. See
            `distio.show_progress`. Without a label, the name of the fiber is shown.
        fail_fast: whether the first failure cancels the items that are under way and starts no
            more. If not, all items are run, even if some of them fail.

    Returns:
        A program that computes the values in the order of the items. If items fail, or the iterable
        raises, it fails with all these failures. With `fail_fast` they are the first one, and those
        that came in the same moment, or of a release.

    Raises:
        MatchError: `f` is no function, `at_most` is no int, or `progress` is something else.
        ValueError: `at_most` is less than 1.

    >>> from distio import io
    >>> io.traverse_par(range(5), lambda n: io.pure(n * n), at_most=2).run(None)
    Ok(success=[0, 1, 4, 9, 16])
    """
    expect.function(f, "traverse_par")
    if wrong := expect.no_items(items, "traverse_par"):
        return failing(wrong)
    if at_most is None and not progress:
        found = tuple([ops.TraversedPar(f, item, index) for index, item in enumerate(items)])
        return ops.TraverseAll(found, fail_fast)
    return _bounded(items, f, at_most, progress, fail_fast, "traverse_par")


def _bounded(
    items: Any, f: Callable[[Any], Any], at_most: Any, progress: Any, fail_fast: bool, where: str
) -> IO[Any, Any, Any]:
    if at_most is not None:
        expect.whole(at_most, where, "at_most is a whole number from 1, or None")
    expect.progress(progress, where)
    if isinstance(items, list | tuple):
        items = tuple(items)  # a list may be changed before the program has run
    traversal = partial(ops.TraversePar, items, f, at_most, fail_fast=fail_fast, called=where)
    if progress is True or isinstance(progress, str):
        label = progress if isinstance(progress, str) else ""
        total = len(items) if isinstance(items, tuple | range) else None
        bar = current_fiber.map(lambda fiber: Bar(label or fiber.name or "", total))
        return ops.Bracket(bar, traversal, _take_away)
    return traversal(progress or None)


def _take_away(bar: Bar, result: Result[E, A]) -> IO[Any, E, A]:
    return defer(bar.close).then(from_result(result))


def _itself(program: A) -> A:
    return require_io(program, "zip_par")  # type: ignore[return-value]  # the same object


@overload
def race(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, A]: ...
@overload
def race(a: IO[R, E2, A], /) -> IO[R, E2, A]: ...
@overload
def race(a: IO[R, E2, A], b: IO[R, E3, A2], /) -> IO[R, E2 | E3, A | A2]: ...
@overload
def race(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], /
) -> IO[R, E2 | E3 | E4, A | A2 | A3]: ...
@overload
def race(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], /
) -> IO[R, E2 | E3 | E4 | E5, A | A2 | A3 | A4]: ...
@overload
def race(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], e: IO[R, E6, A5], /
) -> IO[R, E2 | E3 | E4 | E5 | E6, A | A2 | A3 | A4 | A5]: ...
@overload
def race(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    e: IO[R, E6, A5],
    f: IO[R, E7, A6],
    /,
) -> IO[R, E2 | E3 | E4 | E5 | E6 | E7, A | A2 | A3 | A4 | A5 | A6]: ...
@overload
def race(
    a: IO[R, E, A],
    b: IO[R, E, A],
    c: IO[R, E, A],
    d: IO[R, E, A],
    e: IO[R, E, A],
    f: IO[R, E, A],
    g: IO[R, E, A],
    /,
    *more: IO[R, E, A],
) -> IO[R, E, A]: ...
def race(*ios: Any) -> IO[Any, Any, Any]:
    """Run programs at the same time; the first one that ends wins.

    The other programs are cancelled. They release what they hold before the race ends. A failure to
    release is added to the outcome.

    Args:
        ios: the programs, or one iterable of them.

    Returns:
        A program with the outcome of the winner, a value or a failure.

    Raises:
        MatchError: one of them is no IO.
        ValueError: there is no program.

    >>> from distio import io
    >>> io.race(io.sleep(1000).then(io.pure("slow")), io.pure("quick")).run(None)
    Ok(success='quick')
    """
    return ops.Race(_runners(ios, "race"), False)


@overload
def first_ok(ios: Iterable[IO[R, E, A]], /) -> IO[R, E, A]: ...
@overload
def first_ok(a: IO[R, E2, A], /) -> IO[R, E2, A]: ...
@overload
def first_ok(a: IO[R, E2, A], b: IO[R, E3, A2], /) -> IO[R, E2 | E3, A | A2]: ...
@overload
def first_ok(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], /
) -> IO[R, E2 | E3 | E4, A | A2 | A3]: ...
@overload
def first_ok(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], /
) -> IO[R, E2 | E3 | E4 | E5, A | A2 | A3 | A4]: ...
@overload
def first_ok(
    a: IO[R, E2, A], b: IO[R, E3, A2], c: IO[R, E4, A3], d: IO[R, E5, A4], e: IO[R, E6, A5], /
) -> IO[R, E2 | E3 | E4 | E5 | E6, A | A2 | A3 | A4 | A5]: ...
@overload
def first_ok(
    a: IO[R, E2, A],
    b: IO[R, E3, A2],
    c: IO[R, E4, A3],
    d: IO[R, E5, A4],
    e: IO[R, E6, A5],
    f: IO[R, E7, A6],
    /,
) -> IO[R, E2 | E3 | E4 | E5 | E6 | E7, A | A2 | A3 | A4 | A5 | A6]: ...
@overload
def first_ok(
    a: IO[R, E, A],
    b: IO[R, E, A],
    c: IO[R, E, A],
    d: IO[R, E, A],
    e: IO[R, E, A],
    f: IO[R, E, A],
    g: IO[R, E, A],
    /,
    *more: IO[R, E, A],
) -> IO[R, E, A]: ...
def first_ok(*ios: Any) -> IO[Any, Any, Any]:
    """Run programs at the same time; the first one that succeeds wins.

    The other programs are cancelled, as those of a `race` are.

    Args:
        ios: the programs, or one iterable of them.

    Returns:
        A program with the value of the winner. If no program succeeds, it fails with all failures.

    Raises:
        MatchError: one of them is no IO.
        ValueError: there is no program.

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
