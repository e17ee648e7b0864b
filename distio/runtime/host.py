"""The threads that step the fibers of one member.

The machine decides under `mutex`; user code (stepping, pickling, callbacks) always runs outside
it. An idle thread blocks on `_work_ready` and is woken the moment there is work for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol, final

from distio.coordination.member import Member, Offering, Parcel, Posting, Work
from distio.coordination.member.runs import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.ops.failures import Fail
from distio.core.shipping import place_of
from distio.core.snapshot import Packed, dump_fibers, dump_outcome, load_fibers
from distio.errors import CannotShip, Deadlock, TracedException
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import name_of
from distio.result import Panic, Result

__all__ = ["Host", "Link", "Ticket", "log"]

log: Final = logging.getLogger("distio")

_CHUNKS: Final = 64
"""Into how many pieces the children of one `parallel` are split, so that all cores get some."""
_MOST_IN_CHUNK: Final = 256
_LONGEST_WAIT_SECONDS: Final = 86_400.0
"""The system can't wait for centuries; whoever has to looks again once a day."""


class Link(Protocol):
    """What carries a member's messages. Its methods are called with the host's mutex held."""

    def said(self, *, more_follows: bool = False) -> None:
        """There may be something to carry.

        Args:
            more_follows: what is being said isn't complete: hold it back, but only for a moment.
        """

    def idle(self) -> float | None:
        """A thread found nothing to do: carry everything now.

        Returns:
            For how many seconds that thread may wait for work; None: until it is woken.
        """

    def rested(self) -> None:
        """The thread that `idle` gave a number of seconds no longer waits."""


class Ticket:
    """One run that somebody in this process waits for."""

    def __init__(self, root: Fiber) -> None:
        self.run = root.run
        self._handle = root.handle
        self._ended = threading.Event()
        self._failure: Result[Any, Any] | None = None

    def end(self, failure: Result[Any, Any] | None = None) -> None:
        """The run is over; with `failure`, whatever its root computed."""
        self._failure = failure
        self._ended.set()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the run is over; False if that took longer than `timeout` seconds."""
        return self._ended.wait(timeout)

    def result(self) -> Result[Any, Any]:
        """The Result of a run that is over."""
        if self._failure is not None:
            return self._failure
        assert self._handle is not None
        result: Result[Any, Any] = _opened(self._handle.outcome)
        return result


class Host:
    """A pool of threads for one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.mutex = threading.Lock()
        self.link: Link
        self.is_stopping = False
        self.tickets: dict[int, Ticket] = {}
        self._work_ready = threading.Condition(self.mutex)
        self._idle = 0
        self._dropped: deque[tuple[Fiber, rq.AwaitCallback]] = deque()
        self._warned: set[object] = set()
        """The places from which a fiber could not be shipped, and a warning said so."""

    # -- threads --------------------------------------------------------------------------

    def start(self, threads: int, name: str) -> None:
        """Start so many pool threads."""
        for index in range(threads):
            threading.Thread(target=self.work, name=f"{name}-{index}", daemon=True).start()

    def stop(self) -> None:
        """Let each thread return when it has done what it is doing."""
        with self.mutex:
            self.is_stopping = True
            self._work_ready.notify_all()

    def work(self) -> None:
        """What a pool thread does until the host stops."""
        work = self._take(is_first=True)
        while work is not None:
            try:
                self._do(work)
            except Exception as bug:  # noqa: BLE001 (no run may hang on a mistake of ours)
                self.broke(bug)
            work = self._take()

    def _take(self, *, is_first: bool = False) -> Work | None:
        """Finish what was taken before, and take the next; None: the host stops."""
        member = self.member
        with self.mutex:
            if not is_first:
                member.stepping -= 1
                self.link.said()
                self.wake(spare=1)
            while not self.is_stopping:
                self._bury_dropped()
                if not member.ready:
                    patience = self.link.idle()
                    if not member.ready and not self.is_stopping:
                        self._idle += 1
                        self._work_ready.wait(patience and min(patience, _LONGEST_WAIT_SECONDS))
                        self._idle -= 1
                        if patience is not None:
                            self.link.rested()
                    continue
                member.stepping += 1
                return member.ready.popleft()
        return None

    def wake(self, spare: int = 0) -> None:
        """Wake threads for what is ready (mutex held); the caller takes `spare` of it itself."""
        count = len(self.member.ready) - spare
        if self._idle and count > 0:
            self._work_ready.notify(min(count, self._idle))

    def wake_one(self) -> None:
        """Let one idle thread look again (mutex held)."""
        self._work_ready.notify()

    def wake_all(self) -> None:
        """Let all idle threads look again (mutex held)."""
        self._work_ready.notify_all()

    def _do(self, work: Work) -> None:
        if isinstance(work, Fiber):
            self._advance(work)
        elif isinstance(work, Parcel):
            self._open(work.chunk)
        elif isinstance(work, Posting):
            self._post(work)
        else:
            self._offer(work)

    # -- stepping -------------------------------------------------------------------------

    def _advance(self, fiber: Fiber) -> None:
        """Step a fiber until it has to wait, yields, or ends."""
        if isinstance(fiber.request, rq.AwaitFibers):
            fiber.value = [_opened(outcome) for outcome in fiber.value]
        while True:
            try:
                request = step(fiber)
            except KeyboardInterrupt as interrupt:
                if self.interrupted(fiber, interrupt):
                    continue
                return
            answer = _ANSWERS[type(request)]
            if not answer(self, fiber, request):
                return

    def interrupted(self, fiber: Fiber, interrupt: KeyboardInterrupt) -> bool:
        """User code raised KeyboardInterrupt (Ctrl-C reaches the main thread alone).

        Returns:
            Whether the fiber is to go on, with this as its panic.
        """
        fiber.crash(interrupt)
        return True

    def broke(self, bug: Exception) -> None:
        """Something here that isn't user code has failed: end what waits for us."""
        traced = TracedException.in_except_clause(bug)
        log.critical("a bug in distio, please report it: %s", traced.stack_trace)
        with self.mutex:
            tickets, self.tickets = list(self.tickets.values()), {}
            self.is_stopping = True
            self.wake_all()
        for ticket in tickets:
            ticket.end(Panic([traced], []))

    def _finish(self, fiber: Fiber, request: rq.Request) -> bool:
        member = self.member
        with self.mutex:
            if not member.is_running(fiber.run):
                return False
            if not member.is_asked_for(fiber):
                member.finish(fiber, is_observed=fiber.id in self.tickets)
                return False
        payload, handles = dump_outcome(fiber.outcome())
        with self.mutex:
            if member.is_running(fiber.run):
                member.posted(fiber.run, fiber.id, payload, handles)
                member.finish(fiber, is_observed=True)
        return False

    def _yield(self, fiber: Fiber, request: rq.Request) -> bool:
        with self.mutex:
            if not self.member.is_running(fiber.run):
                return False
            self.link.said()
            if not self.member.ready:
                return True
            self.member.queue(fiber)
        return False

    def _spawn(self, fiber: Fiber, request: rq.Spawn) -> bool:
        with self.mutex:
            if not self.member.is_running(fiber.run):
                return False
            travellers = self.member.spawn(fiber, request.ios)
            self.wake()
        if travellers:
            self._ship(travellers)
        return True

    def _await_fibers(self, fiber: Fiber, request: rq.AwaitFibers) -> bool:
        with self.mutex:
            if not self.member.is_running(fiber.run):
                return False
            if not self.member.await_fibers(fiber, request.handles):
                return False
        fiber.value = [_opened(outcome) for outcome in fiber.value]
        return True

    def _sleep(self, fiber: Fiber, request: rq.Sleep) -> bool:
        with self.mutex:
            if self.member.is_running(fiber.run):
                self.member.sleep(fiber, request.seconds)
        return False

    def _sleep_until(self, fiber: Fiber, request: rq.SleepUntil) -> bool:
        seconds = request.epoch_in_seconds - time.time()
        if seconds <= 0:
            fiber.value = True
            return True
        with self.mutex:
            if self.member.is_running(fiber.run):
                self.member.sleep(fiber, seconds)
        return False

    def _await_callback(self, fiber: Fiber, request: rq.AwaitCallback) -> bool:
        with self.mutex:
            if not self.member.is_running(fiber.run):
                return False
            # parked first: the callback may be called before `f` returns, from any thread
            self.member.park(fiber)
        callback = Callback(self, fiber, request)
        try:
            request.f(fiber.context, callback, *request.args, **request.kwargs)
        except KeyboardInterrupt as interrupt:
            if self.interrupted(fiber, interrupt):
                callback(Panic([TracedException.in_except_clause(interrupt)], []))
        except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
            callback(Panic([TracedException.in_except_clause(exception)], []))
        return False

    # -- callbacks ------------------------------------------------------------------------

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called."""
        with self.mutex:
            self.member.called_back(callback.fiber, callback.request, result)
            self.link.said()
            self.wake()

    def drop(self, fiber: Fiber, request: rq.AwaitCallback) -> None:
        """The callback of this request has died without being called.

        This may be said by the garbage collector in a thread that holds the mutex: then the
        mutex can't be waited for here.
        """
        self._dropped.append((fiber, request))
        threading.Thread(target=self._look_after_dropped, daemon=True).start()

    def _look_after_dropped(self) -> None:
        with self.mutex:
            self._bury_dropped()
            self.wake()

    def _bury_dropped(self) -> None:
        while self._dropped:
            fiber, request = self._dropped.popleft()
            name = getattr(request.f, "__qualname__", repr(request.f))
            deadlock = Deadlock(
                f"fiber {name_of(fiber.id)} waits for a callback that nobody can call "
                f"any more: {name} has let go of it"
            )
            panic = Panic[Any, Any]([TracedException(deadlock, str(deadlock))], [])
            self.member.called_back(fiber, request, panic)

    # -- shipping -------------------------------------------------------------------------

    def _ship(self, fibers: Sequence[Fiber]) -> None:
        """Offer fibers of one run to the cluster, many in one pickle."""
        size = max(1, min(len(fibers) // _CHUNKS, _MOST_IN_CHUNK))
        for start in range(0, len(fibers), size):
            self._ship_chunk(fibers[start : start + size])
            with self.mutex:
                # their parent goes on, and often waits for them at once
                self.link.said(more_follows=start + size >= len(fibers))

    def _ship_chunk(self, fibers: Sequence[Fiber]) -> None:
        place = place_of(fibers[0]) if len(fibers) == 1 else None
        is_news = place is not None and place not in self._warned
        try:
            payload, handles = dump_fibers(fibers, explain=is_news)
        except CannotShip as reason:
            if len(fibers) > 1:
                middle = len(fibers) // 2
                self._ship_chunk(fibers[:middle])
                self._ship_chunk(fibers[middle:])
                return
            if is_news:
                self._warned.add(place)
                log.warning("it stays in this process, because it can't be pickled: %s", reason)
            with self.mutex:
                self.member.keep(fibers)
                self.wake()
            return
        with self.mutex:
            if self.member.is_running(fibers[0].run):
                self.member.shipped(fibers, payload, handles)

    def _offer(self, offering: Offering) -> None:
        with self.mutex:
            fibers = self.member.take_offer(offering.count)
            if not fibers:
                self.member.offered_nothing()
        by_run: dict[int, list[Fiber]] = {}
        for fiber in fibers:
            by_run.setdefault(fiber.run, []).append(fiber)
        for group in by_run.values():
            self._ship(group)

    def _open(self, chunk: m.Chunk) -> None:
        try:
            fibers = load_fibers(chunk.run, chunk.fibers, chunk.payload)
        except BaseException as exception:  # noqa: BLE001 (each of them ends in this panic)
            traced = TracedException.in_except_clause(exception)
            fibers = [Fiber(id, chunk.run, Fail([], [traced]), None) for id, _ in chunk.fibers]
            for fiber, (_, epoch) in zip(fibers, chunk.fibers):
                fiber.epoch = epoch
        with self.mutex:
            self.member.opened(chunk, fibers)
            self.wake(spare=1)

    def _post(self, posting: Posting) -> None:
        outcome = posting.handle.outcome
        if isinstance(outcome, Packed):
            payload, handles = outcome.payload, list[Handle[Any, Any, Any]]()
        else:
            payload, handles = dump_outcome(outcome)
        with self.mutex:
            if self.member.is_running(posting.run):
                self.member.runs[posting.run].posting -= 1
                self.member.posted(posting.run, posting.handle.id, payload, handles)

    # -- runs -----------------------------------------------------------------------------

    def close_ended_runs(self) -> list[LocalRun]:
        """Tell those who wait for runs that have ended (mutex held).

        Returns:
            The runs, for `log_failures`, which must not be called with the mutex held.
        """
        ended = self.member.ended_runs
        self.member.ended_runs = []
        for run, message in ended:
            ticket = self.tickets.pop(run.id, None)
            if ticket is not None:
                ticket.end(_deadlocked(message.deadlock) if message.deadlock else None)
        return [run for run, _ in ended]


def log_failures(runs: Sequence[LocalRun]) -> None:
    """Log each failure that nobody waited for, once, with its traceback."""
    for run in runs:
        for fiber, failure in run.unobserved.items():
            log.error(
                "fiber %s failed, and nobody waited for it: %s", name_of(fiber), _story(failure)
            )


def _story(failure: Result[Any, Any]) -> str:
    if isinstance(failure, Panic):
        traces = "\n".join(traced.stack_trace for traced in failure.exceptions)
        return f"{traces}\nerrors: {failure.errors!r}" if failure.errors else traces
    return repr(failure)


def _deadlocked(reason: str) -> Panic[Any, Any]:
    deadlock = Deadlock(reason)
    return Panic([TracedException(deadlock, str(deadlock))], [])


def _opened(outcome: Any) -> Any:
    return outcome.open() if isinstance(outcome, Packed) else outcome


@final
class Callback:
    """What `async_` gives to its function; the first call counts."""

    __slots__ = ("_is_called", "fiber", "host", "request")

    def __init__(self, host: Host, fiber: Fiber, request: rq.AwaitCallback) -> None:
        self.host = host
        self.fiber = fiber
        self.request = request
        self._is_called = False

    def __call__(self, result: Result[Any, Any]) -> None:
        self._is_called = True
        self.host.called_back(self, result)

    def __del__(self) -> None:
        if not self._is_called and not self.host.is_stopping:
            self.host.drop(self.fiber, self.request)


_ANSWERS: Final[dict[type[rq.Request], Any]] = {
    rq.AwaitCallback: Host._await_callback,
    rq.AwaitFibers: Host._await_fibers,
    rq.Finished: Host._finish,
    rq.Sleep: Host._sleep,
    rq.SleepUntil: Host._sleep_until,
    rq.Spawn: Host._spawn,
    rq.Yielded: Host._yield,
}
