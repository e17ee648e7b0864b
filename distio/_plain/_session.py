"""A session: one program that takes calls from threads, and starts a fiber for each of them.

Rules
-----
- The program waits for what is handed in by `start` and `cancel`, without a thread. It starts a
  fiber for each errand, and goes on until it was told the end of each.
- So many errands are under way as the place has room for, and some more where they travel: then the
  next one is there when one has ended. The shorter they are, the more are sent ahead.
- A thread that waits for errands within an errand of the same session has its place taken by
  another one meanwhile. So errands may wait for others, however few run at a time.
- An errand that is under way is told its end, also when the session is lost.
- Large arrays that have come with errands stay with the workers until the session ends. So whoever
  sends many goes on in a session beside it, and lets the former one end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol, final

from distio._plain._calls import Calls
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Handle
from distio.core.ops import Async, Cancel, FlatMap, Pure, Sequence
from distio.core.ops.base import IO
from distio.core.ops.bounded import ChunkResult
from distio.core.ops.elsewhere import StartElsewhere, TellEnds
from distio.result import Ok, Panic, Result
from distio.runtime.current import origin
from distio.runtime.nesting import waiting
from distio.runtime.pending_runs import closed
from distio.runtime.threads import start_thread

__all__ = ["Errand", "Place", "Session", "pieces_of", "waiting_for_errands"]

_AHEAD_SECONDS: Final = 0.06
"""How much work each worker is given at a time: many times what a message needs, and not so much
that another worker could miss it."""
_MOST_AHEAD: Final = 512
_LONG_SECONDS: Final = 0.3
"""From here on, an errand waits at no worker for the one before: the worker loses a hundredth of
its time until it gets the next, and no other worker misses one that waits behind a long one."""
_SHARES: Final = 4
"""Short errands are sent in shares of what there is room for: so many together cost less."""
_PIECES: Final = 8
"""The number of pieces, for each worker, in which a share travels: so none waits while another has
many."""
_PIECE_SECONDS: Final = 0.015
"""How much work a piece has at least, if there is so much for each worker: what the workers say of
several errands at a time costs less."""
_WEIGHT: Final = 0.1
"""The weight of an errand in the mean of how long they take."""

_CLOSED: Final = closed("the calls were cancelled before they began")

Program = IO[Any, Any, Any]
Ends = list[tuple[Handle[Any, Any, Any], Result[Any, Any]]]


class Place(Protocol):
    """The place at which the errands of a session run."""

    sends_ahead: bool
    """Whether errands may wait there for their turn."""

    def slots(self) -> int:
        """How many errands run at a time; never blocks."""

    def refresh(self) -> None:
        """Look how many that are now; may block."""

    def run(self, program: Program) -> Result[Any, Any]:
        """Run the program of a session, until that ends."""

    def programs_of(self, all_calls: list[Calls], session: Session) -> list[Program]:
        """For each of some calls that begin now, the program that makes them there."""

    def prepared(self, f: Callable[..., Any]) -> Any:
        """The function's form in `Calls` at this place, for a function of many calls."""


class Errand:
    """Some calls, and the function that hears how they have ended."""

    __slots__ = ("calls", "handle", "is_cancelled")

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.handle: Handle[Any, Any, Any] | None = None
        self.is_cancelled = False

    def starts(self) -> bool:
        """The errand is about to start; return whether anybody still wants it."""
        return True

    def ended(self, result: Result[Any, ChunkResult]) -> None:
        """The errand has ended; called by some thread, which must not be held up."""
        raise NotImplementedError


class _Here(threading.local):
    session: Session | None = None
    """The session for whose errand this thread makes a call."""


_here: Final = _Here()


@contextmanager
def waiting_for_errands() -> Iterator[None]:
    """A context in which this thread waits for errands: another thread takes its place
    meanwhile."""
    with waiting(advises=False):  # plain functions have no other way
        if _here.session is None:
            yield
        else:
            with _here.session.with_one_more():
                yield


@final
class Session:
    """Runs errands at a place, until it is closed or lost."""

    def __init__(self, place: Place) -> None:
        """
        Args:
            place: where its errands run.

        Raises:
            CannotStartThread: the system allows this process no more threads.
        """
        self._place = place
        self._mutex = threading.Lock()
        self._waiting: deque[Errand] = deque()
        """The errands that are still to start."""
        self._under_way: dict[Errand, None] = {}
        self._starting: list[Errand] = []
        self._cancelling: list[Errand] = []
        self._is_closing = False
        self._hears: Callable[[Result[Any, Any]], None] | None = None
        """Wakes the program, if it waits."""
        self._blocked = 0
        """How many errands wait for others."""
        self._mean_seconds: float | None = None
        """How long an errand takes; None: nobody knows yet."""
        self._orphans = 0
        self._run_here: LocalRun | None = None
        """The part of its run in this process, once that is known."""
        self._besides: list[Session] = []
        """The sessions beside this one that aren't known to be over."""
        self._is_retiring = False
        self._end: Panic[Any, Any] | None = None
        """The reason why the session takes no errands any more."""
        self._thread = start_thread("distio-session", self._run)

    # -- for any thread -------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the session starts no errand any more."""
        return self._end is not None or self._is_closing

    @property
    def orphans(self) -> int:
        """How many errands still run though they were cancelled, here or in one beside it."""
        return self._orphans + sum(each.orphans for each in self._others())

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left."""
        return self._end is not None

    @property
    def sent_bytes(self) -> int:
        """How large the parts of errands were that stay with the workers until it ends."""
        return 0 if self._run_here is None else self._run_here.attached_bytes

    def beside(self) -> Session:
        """Begin another one at the same place, which ends before this one does.

        Raises:
            CannotStartThread: the system allows this process no more threads.
        """
        other = Session(self._place)
        with self._mutex:
            self._besides.append(other)
        return other

    def _others(self) -> list[Session]:
        with self._mutex:
            self._besides = [each for each in self._besides if not each.has_ended]
            return self._besides.copy()

    @property
    def slots(self) -> int:
        """How many errands run at a time."""
        return self._place.slots()

    @property
    def sends_ahead(self) -> bool:
        """Whether errands travel, and may wait for their turn where they run."""
        return self._place.sends_ahead

    def prepared(self, f: Callable[..., Any]) -> Any:
        """The function's form in `Calls`, for a function of many calls; takes time."""
        return self._place.prepared(f)

    def refresh(self) -> None:
        """Look whether there is room for more errands; may block."""
        self._place.refresh()

    def start(self, *errands: Errand) -> None:
        """Run errands, in this order; each is told its end by a call of `ended`."""
        with self._mutex:
            end = self._end
            if end is None:
                self._waiting.extend(errands)
        if end is None:
            self._go_on()
        else:
            for errand in errands:
                errand.ended(end)

    def cancel(self, *errands: Errand) -> None:
        """Start these no more, or cancel their fibers; a function that runs goes on to its end."""
        with self._mutex:
            waiting = {*errands}.intersection(self._waiting)
            if waiting:
                self._waiting = deque(each for each in self._waiting if each not in waiting)
            for errand in errands:
                if errand in self._under_way and not errand.is_cancelled:
                    errand.is_cancelled = True
                    self._orphans += 1
                    self._cancelling.append(errand)
        for errand in waiting:
            errand.ended(_CLOSED)
        self._go_on()

    def take_waiting(self) -> list[Errand]:
        """Take out the errands that are still to start, which aren't told of any end."""
        with self._mutex:
            taken, self._waiting = self._waiting, deque()
        return list(taken)

    def retire(self) -> None:
        """End when all errands have ended that were handed in."""
        with self._mutex:
            self._is_retiring = True
        self._go_on()

    def close(self) -> None:
        """Start no more errands; the session ends when those under way have ended."""
        for other in self._others():
            other.close()
        with self._mutex:
            self._is_closing = True
        for errand in self.take_waiting():
            errand.ended(_CLOSED)
        self._go_on()

    def join(self, seconds: float) -> None:
        """Wait for the end of a closed session; for so long at most while a call is under way."""
        for other in self._others():
            other.join(seconds)
        self._thread.join(seconds if self._under_way else None)

    def make(self, calls: Calls) -> ChunkResult:
        """Make calls on this thread, on behalf of the session."""
        before, _here.session = _here.session, self
        try:
            return calls.make()
        finally:
            _here.session = before

    @contextmanager
    def with_one_more(self) -> Iterator[None]:
        """An errand waits for others: one more may run meanwhile."""
        with self._mutex:
            self._blocked += 1
        self._go_on()
        try:
            yield
        finally:
            with self._mutex:
                self._blocked -= 1

    # -- what is to start, and when -------------------------------------------------------

    def _go_on(self) -> None:
        """Start what there is room for; wake the program if there is something for it."""
        hears = None
        with self._mutex:
            room = self._room()
            share = room // _SHARES if self._place.sends_ahead else 0
            has_room = len(self._under_way) <= room - max(1, share)
            while has_room and self._waiting and len(self._under_way) < room:
                errand = self._waiting.popleft()
                if errand.starts():
                    self._under_way[errand] = None
                    self._starting.append(errand)
            if self._is_retiring and not (self._waiting or self._under_way):
                self._is_closing = True
            if self._has_any():
                hears, self._hears = self._hears, None
        if hears is not None:
            hears(Ok(None))

    def _has_any(self) -> bool:
        """Whether there is something for the program."""
        return bool(self._starting or self._cancelling) or self._is_done()

    def _is_done(self) -> bool:
        return self._is_closing and not self._under_way

    def _room(self) -> int:
        slots = self._place.slots() + self._blocked
        if not self._place.sends_ahead or self._mean_seconds is None:
            return slots
        least = 2 if self._mean_seconds < _LONG_SECONDS else 1
        ahead = _AHEAD_SECONDS / max(self._mean_seconds, 1e-9)
        return slots * int(min(max(ahead, least), _MOST_AHEAD))

    def _ended(self, errands: dict[int, Errand], ends: Ends) -> None:
        """Fibers of errands have ended.

        Args:
            errands: by fiber, the errands that were started together and haven't ended yet.
            ends: the handles and outcomes of fibers.
        """
        told = [(errands.pop(handle.id), result) for handle, result in ends]
        with self._mutex:
            for errand, result in told:
                self._under_way.pop(errand, None)
                self._orphans -= errand.is_cancelled
                if isinstance(result, Ok):
                    seconds, mean = result.success.seconds, self._mean_seconds
                    self._mean_seconds = (
                        seconds if mean is None else mean + _WEIGHT * (seconds - mean)
                    )
        self._go_on()
        for errand, result in told:
            errand.ended(result)

    # -- the program ----------------------------------------------------------------------

    def _run(self) -> None:
        result = self._place.run(self._serve())
        end = result if isinstance(result, Panic) else _CLOSED
        with self._mutex:
            self._end = end
            left = [*self._under_way, *self._waiting]
            self._under_way, self._waiting = {}, deque()
            self._orphans = 0
        for errand in left:
            errand.ended(end)

    def _serve(self) -> Program:
        return FlatMap(Async(self._listen, (), {}), self._obey)

    def _listen(self, context: Any, hears: Callable[[Result[Any, Any]], None]) -> None:
        if self._run_here is None and (here := origin()) is not None:
            self._run_here = here.host.member.state.runs.get(here.run)
            if self._run_here is not None:
                self._run_here.makes_calls = True
        with self._mutex:
            has_any = self._has_any()
            self._hears = None if has_any else hears
        if has_any:
            hears(Ok(None))

    def _obey(self, _: Any) -> Program:
        with self._mutex:
            starting, self._starting = self._starting, []
            cancelling, self._cancelling = self._cancelling, []
            is_done = not starting and self._is_done()
        steps: list[Program] = []
        if starting:
            programs = self._place.programs_of([each.calls for each in starting], self)
            pieces = pieces_of(len(programs), self._mean_seconds, self._place.slots())
            start = StartElsewhere(tuple(programs), pieces)
            steps.append(FlatMap(start, partial(self._watch, starting)))
        if cancelling:
            steps.append(FlatMap(Pure(None), partial(_cancel, cancelling)))
        if not is_done:
            steps.append(self._serve())
        return Sequence(tuple(steps)) if steps else Pure(None)

    def _watch(self, errands: list[Errand], handles: list[Handle[Any, Any, Any]]) -> Program:
        """The fibers have started: their ends are to be told."""
        for errand, handle in zip(errands, handles):
            errand.handle = handle
        by_fiber = {handle.id: errand for errand, handle in zip(errands, handles)}
        return TellEnds(handles, partial(self._ended, by_fiber))


def pieces_of(errands: int, seconds: float | None, slots: int) -> int:
    """The number of pieces in which errands travel that start together.

    Args:
        errands: how many there are.
        seconds: how long each takes; None: nobody knows yet.
        slots: how many run at a time.

    >>> pieces_of(30, 0.002, 2)
    4
    """
    if seconds is None:
        return _PIECES * slots
    return min(max(slots, int(errands * seconds / _PIECE_SECONDS)), _PIECES * slots)


def _cancel(errands: list[Errand], _: Any) -> Program:
    return Cancel(tuple([each.handle for each in errands if each.handle is not None]))
