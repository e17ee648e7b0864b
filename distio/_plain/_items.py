"""A function and many items: what `map`, `starmap` and `as_completed` do."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sized
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, TypeVar, final

from distio._plain._feed import Feed, Work
from distio._plain._places import Where, place_asked_for, session_for
from distio.core import expect
from distio.core.context_vars import of_the_caller
from distio.errors import MatchError
from distio.io._progress import Bar

__all__ = ["Asked", "function_for", "pairs", "values"]

A = TypeVar("A")


@final
class Asked(NamedTuple):
    """The arguments of a call of `map`, or of one of its siblings, as they were given."""

    name: str
    """The function of distio that was called."""
    f: Any
    iterables: tuple[Any, ...]
    place: tuple[Any, Any, Any]
    """The arguments by which a place is asked for; see `place_asked_for`."""
    progress: Any
    keeps_failures: bool
    """Whether exceptions stand in place of values."""
    is_spread: bool = False
    """Whether an item is a tuple of arguments."""


def function_for(f: Any, where: str) -> None:
    """Check that it is a function whose call does the work.

    Raises:
        MatchError: it isn't.
    """
    expect.function(f, where)
    if iscoroutinefunction(f):
        raise MatchError(
            f"{where}: expected a function, but {expect.named(f)} is a coroutine's, which nobody "
            "would await; give one that calls asyncio.run, or see io.from_coroutine"
        )


def _require_order(f: Any, iterables: tuple[Any, ...], where: str) -> None:
    """Check that the function isn't where the items belong.

    Raises:
        MatchError: it is.
    """
    if not callable(f) and len(iterables) == 1 and callable(iterables[0]):
        raise MatchError(
            f"{where}: expected a function and its items, but got {expect.shown(f)} first; "
            f"the function comes first: distio.{where}(f, items)"
        )


def _work(asked: Asked) -> Work:
    where, f, iterables = asked.name, asked.f, asked.iterables
    _require_order(f, iterables, where)
    function_for(f, where)
    if not iterables:
        raise MatchError(f"{where}: expected a function and its items, but got no items")
    for each in iterables:
        if not isinstance(each, Iterable):
            raise MatchError(f"{where}: expected an iterable, but got {expect.shown(each)}")
    sizes = [len(each) for each in iterables if isinstance(each, Sized)]
    total = min(sizes) if len(sizes) == len(iterables) else None
    is_spread = asked.is_spread or len(iterables) > 1
    items = zip(*iterables) if len(iterables) > 1 else iter(iterables[0])
    variables = of_the_caller()
    return Work(f, items, total, is_spread, where, bool(asked.keeps_failures), variables)


def values(asked: Asked) -> Generator[Any, None, None]:
    """A generator of what a function returns for each item, in the order of items.

    Raises:
        MatchError: an argument is of another kind.
    """
    return _named(asked.name, _values(*_checked(asked)))


def pairs(asked: Asked) -> Generator[tuple[int, Any], None, None]:
    """A generator of what is finished first, with the index of its item; see `values`."""
    if not callable(asked.f) and isinstance(asked.f, Iterable):
        raise MatchError(
            f"{asked.name}: expected a function and its items, but got {expect.shown(asked.f)}; "
            f"for futures there is concurrent.futures.as_completed"
        )
    return _named(asked.name, _pairs(*_checked(asked)))


def _checked(asked: Asked) -> tuple[Work, Where, Any]:
    """The work, its place, and who is told of progress."""
    work = _work(asked)
    where = place_asked_for(*asked.place, asked.name)
    return work, where, expect.progress(asked.progress, asked.name)


def _named(name: str, made: Generator[A, None, None]) -> Generator[A, None, None]:
    """The generator, whose repr says what has made it."""
    shown: Any = made
    shown.__name__, shown.__qualname__ = name, f"distio.{name}"
    return made


def _values(work: Work, where: Where, progress: Any) -> Generator[Any, None, None]:
    with _feed(work, where, progress) as feed:
        for piece in feed.in_order():
            values = piece.values
            values.reverse()
            while values:
                yield values.pop()  # so that nothing here keeps it
            if piece.failure is not None:
                raise piece.failure


def _pairs(work: Work, where: Where, progress: Any) -> Generator[Any, None, None]:
    with _feed(work, where, progress) as feed:
        for piece in feed.as_completed():
            values, index = piece.values, piece.calls.first
            values.reverse()
            while values:
                yield index, values.pop()
                index += 1
            if piece.failure is not None:
                raise piece.failure


@contextmanager
def _feed(work: Work, where: Where, progress: Any) -> Generator[Feed, None, None]:
    if progress is True or isinstance(progress, str):
        label = progress if isinstance(progress, str) else getattr(work.f, "__name__", "")
        progress = Bar(label, work.total)
    try:
        with session_for(where) as session:
            feed = Feed(work, session, progress or None)
            try:
                yield feed
            finally:
                feed.close()
    finally:
        if isinstance(progress, Bar):
            progress.close()
