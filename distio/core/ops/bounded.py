"""Many items, some of them at a time: what `traverse_par` and `zip_par` do with `at_most`.

The parent gives out chunks of items, each to a fiber of its own, never more than `at_most` at a
time, and waits until one of them has ended. A chunk works on its items one after another, and tells
what came of each, and how long all took.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, Final, final

from distio.core.chunks import ChunkSizes
from distio.core.context_vars import Carried, carried_in, context_of, copied, is_as_copied
from distio.core.fiber import Fiber, Handle
from distio.core.interrupts import runs_user_code
from distio.core.ops.arguments import no_io, require_io
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.cancellation import Cancel
from distio.core.ops.failures import RestoreResult, from_result
from distio.core.ops.fibers import Parallel, Wait, WaitSome
from distio.core.ops.first import begin
from distio.core.ops.item_sources import NO_MORE, IteratorSource, SequenceSource
from distio.core.ops.parallel import besides_cancellation, cancel_all
from distio.core.ops.random_streams import enter_group
from distio.core.random_stream import Group
from distio.core.where import TRAVERSE_PAR, in_fiber, in_item, item_at
from distio.protocol import requests
from distio.result import Errors, Ok, Panic, Result
from distio.result import zip as zip_results

__all__ = ["Chunk", "ChunkResult", "TraversePar"]

Failure = Errors[Any, Any] | Panic[Any, Any]
Progress = Callable[[int, int | None], object]

_STEPS_OF_PROGRESS: Final = 64
"""About how many times progress is reported when no item is left to give out."""


# -- what a child does ------------------------------------------------------------------------


@final
class ChunkResult:
    """The outcome of a chunk."""

    __slots__ = ("failures", "seconds", "values")

    def __init__(
        self, values: list[Any], failures: list[tuple[int, Failure]], seconds: float
    ) -> None:
        self.values = values
        """The value of each item; None for one that has failed."""
        self.failures = failures
        """(place of the item in the chunk, failure) of each failed item."""
        self.seconds = seconds
        """How long the chunk took; nan if that is unknown."""

    def locate(self, fiber: str, worker: str | None) -> None:
        """Tell what has failed in which fiber that was."""
        self.failures = [(place, in_fiber(each, fiber, worker)) for place, each in self.failures]

    def map(self, f: Callable[[Result[Any, Any]], Result[Any, Any]]) -> ChunkResult:
        """A `ChunkResult` with another Result for each item."""
        results: list[Result[Any, Any]] = [Ok(value) for value in self.values]
        for place, failure in self.failures:
            results[place] = failure
        results = [f(result) for result in results]
        values = [result.success if isinstance(result, Ok) else None for result in results]
        failures = [
            (place, result)
            for place, result in enumerate(results)
            if isinstance(result, Errors | Panic)
        ]
        return ChunkResult(values, failures, self.seconds)


@final
class Chunk(IO[Any, Any, Any], Frame):
    """Run some items in turn, even if some of them fail; the value is a `ChunkResult`."""

    __slots__ = _names = ("items", "f", "fail_fast", "called", "first", "group", "begun")

    def __init__(
        self,
        items: list[Any],
        f: Callable[[Any], Any],
        fail_fast: bool = False,
        called: str = TRAVERSE_PAR,
        first: int = 0,
        group: Group | None = None,
        begun: IO[Any, Any, Any] | None = None,
    ) -> None:
        self.items = items
        self.f = f
        self.fail_fast = fail_fast
        """Whether no item is run after one that has failed."""
        self.called = called
        self.first = first
        """The index of its first item."""
        self.group = group
        """The group in which each item has a stream, if there is a seed."""
        self.begun = begun
        """The program of the first item, if `f` was called for that already."""

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        fiber.request = requests.NOW
        return None

    def _succeeded(self, fiber: Fiber) -> Next:
        place = self.called, self.first, self.group, self.begun
        chunk = self.items, self.f, self.fail_fast, *place
        begin = fiber.locals, copied(fiber.variables)
        return _ChunkFrame(chunk, [], [], fiber.value, *begin)._go_on(fiber, is_fresh=True)


_Items = tuple[Any, ...]
"""The fields of a chunk."""


@final
class _ChunkFrame(Frame):
    """The frame of a chunk: how far it has got."""

    __slots__ = (
        "begun",
        "called",
        "f",
        "fail_fast",
        "failures",
        "first",
        "group",
        "index",
        "items",
        "locals",
        "start",
        "values",
        "variables",
    )

    def __init__(
        self,
        chunk: _Items,
        values: list[Any],
        failures: list[tuple[int, Failure]],
        start: float,
        locals: dict[str, Any] | None,
        variables: Context | None,
    ) -> None:
        self.items, self.f, self.fail_fast, *place = chunk
        self.called, self.first, self.group, self.begun = place
        self.index = 0
        self.values = values
        self.failures = failures
        self.start = start
        self.locals = locals
        """The locals with which each item begins."""
        self.variables = variables
        """The context variables with which each item begins."""

    def __reduce__(self) -> tuple[Any, ...]:
        # another process has another clock, which must not be compared with this one's
        left = self.items[self.index :]
        place = self.called, self.first, self.group, self.begun
        chunk = left, self.f, self.fail_fast, *place
        progress = self.values, self.failures, math.nan
        return _chunk_frame, (chunk, *progress, self.locals, carried_in(self.variables))

    def _succeeded(self, fiber: Fiber) -> Next:
        self.values.append(fiber.value)
        return self._go_on(fiber)

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        if fiber.is_unwinding_cancel:
            return None
        place = len(self.values)
        # the value of an item of zip_par is a program, and says nothing
        has_value = self.called == TRAVERSE_PAR
        item = self.items[self.index - 1 : self.index] if has_value else []
        failure = in_item(fiber.failure, self.called, self.first + place, *item)
        self.failures.append((place, failure))
        self.values.append(None)
        fiber.failure = None
        return self._go_on(fiber)

    @runs_user_code
    def _go_on(self, fiber: Fiber, *, is_fresh: bool = False) -> Next:
        """Begin the next item, or end.

        Args:
            fiber: the fiber that works on the chunk.
            is_fresh: whether its context is as it was at the beginning of the chunk.
        """
        if self.index == len(self.items) or (self.fail_fast and self.failures):
            fiber.stack.append(_ChunkEnd(self.values, self.failures, self.start))
            fiber.request = requests.NOW
            return None
        # pushed first: what `f` raises is this item's panic
        fiber.stack.append(self)
        # the next item doesn't see what this one sets
        fiber.locals = self.locals
        has_any = not is_fresh and (fiber.variables or self.variables)  # most have none
        if has_any and not is_as_copied(fiber.variables, self.variables):
            fiber.stack.append(_NextItem())
            fiber.switch(copied(self.variables))
            return None
        fiber.stream = None
        if self.group is not None:
            fiber.stream = self.group.stream_of(self.first + len(self.values))
        item = self.items[self.index]
        self.index += 1
        if self.begun is not None:
            begun, self.begun = self.begun, None
            return begun  # type: ignore[no-any-return]  # an IO
        return require_io(self.f(item), self.called, self.f)


def _chunk_frame(
    chunk: _Items,
    values: list[Any],
    failures: list[tuple[int, Failure]],
    start: float,
    locals: dict[str, Any] | None,
    carried: Carried | None,
) -> _ChunkFrame:
    return _ChunkFrame(chunk, values, failures, start, locals, context_of(carried))


@final
class _NextItem(Frame):
    """Lies on the frame of a chunk while the fiber gets the context of the next item."""

    __slots__ = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        chunk = fiber.stack.pop()
        assert isinstance(chunk, _ChunkFrame)
        return chunk._go_on(fiber, is_fresh=True)


@final
class _ChunkEnd(Frame):
    """The frame after the last item of a chunk: it measures how long the chunk took."""

    __slots__ = ("failures", "start", "values")

    def __init__(
        self, values: list[Any], failures: list[tuple[int, Failure]], start: float
    ) -> None:
        self.values = values
        self.failures = failures
        self.start = start

    def __reduce__(self) -> tuple[Any, ...]:
        return _ChunkEnd, (self.values, self.failures, math.nan)

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.value = ChunkResult(self.values, self.failures, fiber.value - self.start)
        return None


# -- what the parent does ---------------------------------------------------------------------


@final
class TraversePar(IO[Any, Any, Any]):
    """Run `f(item)` for each item, at most so many at a time; the value is the list of values."""

    __slots__ = _names = ("items", "f", "at_most", "progress", "fail_fast", "called")

    def __init__(
        self,
        items: Iterable[Any],
        f: Callable[[Any], Any],
        at_most: int | None,
        progress: Progress | None,
        fail_fast: bool = False,
        called: str = TRAVERSE_PAR,
    ) -> None:
        self.items = items
        self.f = f
        self.at_most = at_most
        """None: all at the same time."""
        self.fail_fast = fail_fast
        """Whether the first failure is the end of it."""
        self.called = called
        self.progress = progress

    def _evaluate(self, fiber: Fiber) -> Next:
        loop = _Loop(self, enter_group(fiber))
        fiber.stack.append(loop)
        return loop._go_on(fiber)


@final
class _Loop(Frame):
    """The progress of a traversal: plain data, but for an iterator.

    The frame lies on the stack whenever user code runs, so an exception of the iterator or the
    callback comes back to it as a failure. Then the frame gives out no more items, and waits for
    those that are under way.
    """

    __slots__ = (
        "at_most",
        "begun",
        "called",
        "done",
        "f",
        "fail_fast",
        "failures",
        "group",
        "progress",
        "sizes",
        "source",
        "taken",
        "total",
        "under_way",
        "values",
    )

    def __init__(self, traversal: TraversePar, group: Group | None) -> None:
        self.group = group
        """The group in which each item has a stream, if there is a seed."""
        items = traversal.items
        self.source: SequenceSource | IteratorSource
        self.total: int | None
        if isinstance(items, tuple | range):
            self.source, self.total = SequenceSource(items), len(items)
        else:
            self.source, self.total = IteratorSource(items), None
        self.f = traversal.f
        self.called = traversal.called
        self.progress = traversal.progress
        self.fail_fast = traversal.fail_fast
        self.at_most = traversal.at_most or sys.maxsize
        self.sizes = ChunkSizes(self.at_most)
        self.taken: list[Any] = []
        """Items of a chunk whose fiber is not there yet."""
        self.under_way: list[tuple[Handle[Any, Any, Any], int, int]] = []
        """Fibers, and for each the place of its first item, and how many items it has."""
        self.values: list[Any] = []
        """The values, by place."""
        self.failures: list[tuple[int, Failure]] = []
        """The failures, by place; -1 for what the iterator or the callback has raised."""
        self.done = 0
        """The number of items that are done."""
        self.begun: IO[Any, Any, Any] | None = None
        """The program of the first item, until its fiber is there."""

    @runs_user_code
    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        if self.taken:
            self._has_started(fiber.value[0])
        else:
            self._have_ended(fiber.value)
        return self._go_on(fiber)

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        if fiber.is_unwinding_cancel:
            return self._cancel(fiber, fiber.failure)
        self.failures.append((-1, fiber.failure))
        fiber.failure = None
        self.source, self.progress = SequenceSource(NO_MORE), None
        fiber.stack.append(self)
        return self._go_on(fiber)

    def _cancel(self, fiber: Fiber, failure: Failure) -> Next:
        """The fiber is cancelled: so are those under way, whose ends are waited for."""
        fiber.stack.append(RestoreResult.shielded(fiber, failure))
        fiber.failure = None
        return cancel_all(tuple([handle for handle, _, _ in self.under_way]))

    @runs_user_code
    def _go_on(self, fiber: Fiber) -> Next:
        if self.fail_fast and self.failures:
            return self._give_up()
        if not self.taken and self.source.left != 0 and len(self.under_way) < self.at_most:
            self.source.take(self.sizes.next(self.source.left), self.taken)
        if self.taken:
            if not self.values and self.begun is None and self.called == TRAVERSE_PAR:
                self._begin(fiber)
            place = self.called, len(self.values), self.group, self.begun
            return Parallel((Chunk(self.taken, self.f, self.fail_fast, *place),), are_owned=True)
        if self.under_way:
            return WaitSome(tuple([handle for handle, _, _ in self.under_way]), self._enough())
        fiber.stack.pop()
        self._finish(fiber)
        return None

    @runs_user_code
    def _begin(self, fiber: Fiber) -> None:
        """Call `f` for the first item, before it is called for any other."""
        fiber.stack.append(_FIRST)
        io = begin(self.f, self.taken[0])
        fiber.stack.pop()
        if not isinstance(io, IO):
            self.taken = []
            raise no_io(io, self.called, self.f)
        self.begun = io

    def _give_up(self) -> Next:
        """Something has failed: cancel what is under way, and wait for its end."""
        self.source, self.taken, self.fail_fast = SequenceSource(NO_MORE), [], False
        handles = tuple([handle for handle, _, _ in self.under_way])
        return Cancel(handles).then(Wait(handles))

    def _enough(self) -> int:
        """How many of those under way must have ended before there is something to do."""
        count = len(self.under_way)
        if self.source.left != 0 or self.fail_fast:
            return 1
        return count if self.progress is None else max(1, count // _STEPS_OF_PROGRESS)

    def _has_started(self, handle: Handle[Any, Any, Any]) -> None:
        count = len(self.taken)
        self.under_way.append((handle, len(self.values), count))
        self.values += [None] * count
        self.taken = []
        self.begun = None

    def _have_ended(self, results: list[Result[Any, Any] | None]) -> None:
        ended: list[int] = []
        going_on = []
        for chunk, result in zip(self.under_way, results):
            if result is None:
                going_on.append(chunk)
                continue
            handle, first, count = chunk
            self._take_up(handle, first, count, result)
            ended.append(count)
        self.under_way = going_on
        for count in ended:
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.total)

    def _take_up(
        self, handle: Handle[Any, Any, Any], first: int, count: int, result: Result[Any, Any]
    ) -> None:
        """Take in the outcome of one chunk."""
        if isinstance(result, Ok):
            worked: ChunkResult = result.success
            self.values[first : first + count] = worked.values
            self.failures += [(first + place, failure) for place, failure in worked.failures]
            self.sizes.learn(count, worked.seconds)
        elif failure := besides_cancellation(handle, result):
            # the fiber was lost, and all its items with it, or it was cancelled and could not
            # release something
            self.failures.append((first, item_at(failure, self.called, first)))

    def _finish(self, fiber: Fiber) -> None:
        if not self.failures:
            fiber.value = self.values
            return
        self.failures.sort(key=_place_of)
        failure = zip_results([failure for _, failure in self.failures])
        assert isinstance(failure, Errors | Panic)
        fiber.failure = failure


@final
class _First(Frame):
    """Lies on the loop while that calls `f`: what `f` raises is a failure of the first item."""

    __slots__ = ()

    def _failed(self, fiber: Fiber) -> Next:
        if fiber.is_unwinding_cancel:
            return None
        loop, failure = fiber.stack[-1], fiber.failure
        assert isinstance(loop, _Loop)
        assert failure is not None
        fiber.failure = None
        if loop.fail_fast:
            loop.failures.append((0, in_item(failure, loop.called, 0, *loop.taken[:1])))
        else:
            loop.begun = from_result(failure)
        return loop._go_on(fiber)


_FIRST: Final = _First()


def _place_of(failure: tuple[int, Failure]) -> int:
    return failure[0]
