"""The items of one `map`: pieces of them go to a session, and their results come back.

Rules
-----
- The thread that iterates takes the items, and nothing is computed unless it asks for a value.
- So many pieces are under way as keep all workers busy, and no more than `_AHEAD` for each worker
  are finished or under way before the caller has taken their values.
- A piece has as many items as take about 15 ms, and those that travel up to 150 ms: see
  `ChunkSizes`. One that takes twice as long as it was to is cut: the items that are left are new
  pieces, in its place.
- No piece starts after a failure, or after the iterable has raised. Values that come before are
  handed out first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from itertools import islice
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, final

from distio._plain._calls import Calls, exception_in
from distio._plain._session import Errand, Session, waiting_for_errands
from distio.core.chunks import SHORT_SECONDS, ChunkSizes
from distio.core.ops.bounded import ChunkResult
from distio.core.where import item_among, item_at
from distio.result import Ok, Panic, Result

__all__ = ["Feed", "Piece", "Work"]

_UNDER_WAY: Final = 2
_AHEAD: Final = 8
"""How many pieces there are at most for each worker, and how many of these it is given."""
_LONGEST_SECONDS: Final = 0.15
"""A piece that travels costs all processes some milliseconds together, as each has done other
things in between; a caller hardly notices that values come ten times a second."""
_TIMES_THE_AIM: Final = 2
"""How much longer than it was to a piece may take."""
_LEAST_BYTES: Final = 64 * 1024 * 1024
_TIMES_THE_FIRST: Final = 4
"""A session that has sent more than this, and so many times what the first piece in it needed, is
left for another one: then what the function takes along goes once more, and old items are freed."""
_TAKING_SECONDS: Final = 0.015
"""The time for which items are taken before those that are there go."""


@final
class Work(NamedTuple):
    """The function and the items of one `map`."""

    f: Callable[..., Any]
    items: Iterator[Any]
    total: int | None
    """The number of items; None: it is unknown."""
    is_spread: bool
    called: str
    keeps_failures: bool
    """Whether an exception stands for the value of its item."""
    variables: Context | None
    """The context of the caller."""


@final
class Piece(Errand):
    """Some items that follow each other."""

    __slots__ = ("_tell", "failure", "is_over", "result", "values")

    def __init__(self, calls: Calls, tell: Callable[[Piece], None]) -> None:
        super().__init__(calls)
        self._tell = tell
        self.result: Result[Any, ChunkResult] | None = None
        self.is_over = False
        """Whether the caller's thread knows the values."""
        self.values: list[Any] = []
        self.failure: BaseException | None = None
        """The failure that comes after the values."""

    def ended(self, result: Result[Any, ChunkResult]) -> None:
        self.result = result
        self._tell(self)


@final
class Feed:
    """Feeds a session with the items of one `map`."""

    def __init__(
        self, work: Work, session: Session, progress: Callable[[int, int | None], object] | None
    ) -> None:
        self._work = work._replace(f=session.prepared(work.f))
        self._session = session
        self._shared = session
        """The session that was there before, and ends after this map."""
        self._most_bytes: int | None = None
        """The most bytes that this session may send; None: unknown before its first piece is
        over."""
        self._progress = progress
        longest = _LONGEST_SECONDS if session.sends_ahead else SHORT_SECONDS
        self._sizes = ChunkSizes(_UNDER_WAY * session.slots, longest)
        self._taken = self._done = 0
        self._has_more = True
        self._source_failure: Exception | None = None
        self._ended: SimpleQueue[Piece] = SimpleQueue()
        self._under_way: dict[Piece, Session] = {}
        """The pieces that are, and where."""
        self._order: deque[Piece] = deque()
        """The pieces whose values weren't handed out, as their items come."""
        self._finished: deque[Piece] | None = None
        """The pieces that are over, as they were; None: nobody wants to know."""

    # -- for the caller -------------------------------------------------------------------

    def in_order(self) -> Iterator[Piece]:
        """The pieces as their items come; each is over."""
        while True:
            self._fill()
            if not self._order:
                break
            first = self._order[0]
            while not first.is_over:
                self._next_ended()
                self._fill()
            self._order.popleft()
            self._fill()
            yield first
        self._raise_of_source()

    def as_completed(self) -> Iterator[Piece]:
        """The pieces as they are over."""
        self._finished = finished = deque[Piece]()
        while True:
            self._fill()
            if not (self._order or finished):
                break
            while not finished:
                self._next_ended()
                self._fill()
            piece = finished.popleft()
            self._order.remove(piece)
            self._fill()
            yield piece
        self._raise_of_source()

    def close(self) -> None:
        """Cancel what is under way; close the iterable, if that is a generator."""
        self._has_more = False
        for session in {*self._under_way.values()}:
            session.cancel(*[each for each, at in self._under_way.items() if at is session])
        self._under_way.clear()
        self._leave_session()
        close = getattr(self._work.items, "close", None)
        if close is not None:
            close()

    # -- items that go --------------------------------------------------------------------

    def _fill(self) -> None:
        """Take items while there is room for a piece, and nothing has come for the caller."""
        while self._has_more and self._has_room():
            self._session.refresh()
            items = self._take()
            if items:
                self._start(self._piece(items, self._taken))
                self._taken += len(items)
            while not self._ended.empty():
                self._take_up(self._ended.get())
            if self._finished or (self._order and self._order[0].is_over):
                return

    def _has_room(self) -> bool:
        slots = self._session.slots
        return len(self._under_way) < _UNDER_WAY * slots and len(self._order) < _AHEAD * slots

    def _take(self) -> list[Any]:
        total = self._work.total
        size = self._sizes.next(None if total is None else max(1, total - self._taken))
        items: list[Any] = []
        start = time.perf_counter()
        try:
            for item in islice(self._work.items, size):
                items.append(item)
                if time.perf_counter() - start > _TAKING_SECONDS:
                    return items
        except Exception as exception:  # noqa: BLE001 (it is raised when its turn comes)
            self._source_failure, self._has_more = exception, False
        else:
            self._has_more = len(items) == size
        return items

    def _piece(self, items: list[Any], first: int) -> Piece:
        work = self._work
        longest = _TIMES_THE_AIM * self._sizes.aim
        options = work.is_spread, work.called, first, work.keeps_failures, longest
        calls = Calls(work.f, items, *options, variables=work.variables)
        return Piece(calls, self._ended.put)

    def _start(self, piece: Piece) -> None:
        if self._most_bytes is not None and self._session.sent_bytes > self._most_bytes:
            self._leave_session()
            self._session, self._most_bytes = self._shared.beside(), None
        self._order.append(piece)
        self._under_way[piece] = self._session
        self._session.start(piece)

    def _leave_session(self) -> None:
        """Start nothing more in the session; unless others use it as well, it ends with its
        pieces."""
        if self._session is not self._shared:
            self._session.retire()

    # -- results that come ----------------------------------------------------------------

    def _next_ended(self) -> None:
        if self._ended.empty():
            with waiting_for_errands():
                piece = self._ended.get()
        else:
            piece = self._ended.get()
        self._take_up(piece)

    def _take_up(self, piece: Piece) -> None:
        where = self._under_way.pop(piece, None)
        if where is self._session and self._most_bytes is None:
            self._most_bytes = max(_LEAST_BYTES, _TIMES_THE_FIRST * where.sent_bytes)
        piece.is_over = True
        if self._finished is not None:
            self._finished.append(piece)
        result = piece.result
        if isinstance(result, Ok):
            self._learn(piece, result.success)
        else:
            assert result is not None
            calls = piece.calls
            lost = item_among(result, calls.called, calls.first, len(calls.items))
            piece.failure = exception_in(lost)
        if piece.failure is not None:
            self._has_more = False
        self._done += len(piece.values)
        if self._progress is not None:
            self._progress(self._done, self._work.total)

    def _learn(self, piece: Piece, made: ChunkResult) -> None:
        items, values = piece.calls.items, made.values
        self._sizes.learn(len(values), made.seconds)
        for place, failure in made.failures:
            exception = exception_in(_placed(failure, piece.calls, place))
            if self._work.keeps_failures:
                values[place] = exception
            else:
                piece.failure = exception
                values.pop()
        piece.values = values
        if len(values) < len(items) and piece.failure is None:
            self._cut(piece, list(items[len(values) :]))

    def _cut(self, piece: Piece, rest: list[Any]) -> None:
        """Spread the rest of a piece over all workers."""
        size = -(-len(rest) // (_UNDER_WAY * self._session.slots))
        first = piece.calls.first + len(piece.values)
        place = self._order.index(piece) + 1
        starts = range(0, len(rest), size)
        pieces = [self._piece(rest[start : start + size], first + start) for start in starts]
        for offset, each in enumerate(pieces):
            self._order.insert(place + offset, each)
            self._under_way[each] = self._session
        self._session.start(*pieces)

    def _raise_of_source(self) -> None:
        if self._source_failure is not None:
            raise self._source_failure


def _placed(failure: Result[Any, Any], calls: Calls, place: int) -> Result[Any, Any]:
    """A failure with its item; a value that couldn't travel hasn't told it."""
    has_told = isinstance(failure, Panic) and any(each.where.items for each in failure.exceptions)
    return failure if has_told else item_at(failure, calls.called, calls.first + place)
