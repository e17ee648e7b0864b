"""The threads that step the fibers of one member.

The machine decides under `mutex`; what a `Hand` performs, and so all user code, runs without it.
An idle thread blocks on `_work_ready` and is woken the moment there is work for it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import Any, Final, Protocol

from distio.coordination.member import Callback, Hand, Member, Shipping, describe_fibers
from distio.coordination.member.runs import LocalRun
from distio.core.fiber import Fiber
from distio.core.shipping import place_of
from distio.core.snapshot import why_it_cannot_ship
from distio.errors import TracedException
from distio.protocol import requests as rq
from distio.protocol.ids import label_of
from distio.protocol.messages import CancelRun
from distio.result import Panic, Result
from distio.runtime.blocking import call_elsewhere
from distio.runtime.forks import without_forks
from distio.runtime.interrupts import HEARING_SECONDS
from distio.runtime.tickets import Tickets

__all__ = ["Host", "Link", "log", "log_failures"]

log: Final = logging.getLogger("distio")

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


class Host:
    """A pool of threads for one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.mutex = threading.Lock()
        self.link: Link
        self.is_stopping = False
        self.tickets = Tickets()
        self._work_ready = threading.Condition(self.mutex)
        self._idle = 0
        self._random = random.Random().random
        self._dropped: deque[tuple[Fiber, rq.AwaitCallback | rq.AwaitBlocking]] = deque()
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
        hand = Hand(self.member, self)
        try:
            while self._next(hand):
                hand.perform()
        except Exception as bug:  # noqa: BLE001 (no run may hang on a mistake of ours)
            self.broke(bug)

    def _next(self, hand: Hand) -> bool:
        """Settle what is in this hand, and find it something to perform; False: the host stops."""
        done = hand.work
        with self.mutex:
            if done is not None:
                if hand.settle():
                    is_shipping = type(done) is Shipping
                    if is_shipping or self.member.outbox:
                        # others may wait for what a fiber has given back; but when all are
                        # shipped, their parent goes on and often waits for them
                        self.link.said(more_follows=is_shipping and hand.work is not done)
                    if self._idle:
                        self.wake()
                    return not self.is_stopping
                if self.member.ready:  # otherwise `idle` says it, with all the rest
                    self.link.said()
                    if self._idle:
                        self.wake(spare=1)
            del done  # an idle thread keeps nothing of the fiber that it has stepped last
            while not self.is_stopping:
                if self._dropped:
                    self._bury_dropped()
                if hand.take():
                    return True
                patience = self.link.idle()
                if not self.member.ready and not self.is_stopping:
                    self._idle += 1
                    self._work_ready.wait(_at_most(patience))
                    self._idle -= 1
                if patience is not None:
                    self.link.rested()  # whether or not it has: it doesn't wait any more
        return False

    # -- cancellation ---------------------------------------------------------------------

    def cancel_run(self, run: int) -> None:
        """Cancel all fibers of this run, here and elsewhere; returns at once."""
        with self.mutex:
            if self.member.is_running(run):
                self.member.outbox.append(CancelRun(run))
                self.link.said()
                self.wake()

    def describe_run(self, run: int) -> str:
        """Which fibers of this run go on; empty if it is over."""
        with self.mutex:
            return describe_fibers(self.member, run)

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

    def broke(self, bug: Exception) -> None:
        """Something here that isn't user code has failed: end what waits for us."""
        traced = TracedException.in_except_clause(bug)
        log.critical("a bug in distio, please report it: %s", traced.stack_trace)
        with self.mutex:
            self.is_stopping = True
            self.wake_all()
            self.tickets.fail(Panic([traced], []))

    # -- what work needs ------------------------------------------------------------------

    def wall_clock(self) -> float:
        """The system's."""
        return time.time()

    def random(self) -> float:
        """Drawn by a generator of this host's own: a program may have seeded Python's."""
        return self._random()

    def interrupted(self, interrupt: KeyboardInterrupt) -> bool:
        """User code raised KeyboardInterrupt: here, it becomes a panic."""
        return True

    def elsewhere(self, call: Callable[[], None]) -> None:
        """On a thread of its own."""
        call_elsewhere(call)

    def on_loop(self, run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """On that of all hosts in this process."""
        return _run_on_loop()(run)

    def stays(self, fiber: Fiber) -> None:
        """Warn, once for each place of a program."""
        place = place_of(fiber)
        with self.mutex:
            if place in self._warned:
                return
            self._warned.add(place)
        log.warning(
            "it stays in this process, because it can't be pickled: %s", why_it_cannot_ship(fiber)
        )

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called."""
        with self.mutex:
            self.member.called_back(callback.fiber, callback.request, result)
            self.link.said()
            self.wake()

    def let_go(self, callback: Callback) -> None:
        """A callback died; the mutex can't be waited for here."""
        if not self.is_stopping:
            self._dropped.append((callback.fiber, callback.request))
            threading.Thread(target=self._look_after_dropped, daemon=True).start()

    def _look_after_dropped(self) -> None:
        with self.mutex:
            self._bury_dropped()
            self.wake()

    def _bury_dropped(self) -> None:
        while self._dropped:
            self.member.let_go(*self._dropped.popleft())


@cache
def _run_on_loop() -> Callable[[Callable[[], Coroutine[Any, Any, None]]], Callable[[], None]]:
    with without_forks():  # in a child that another thread forks it would stay half imported
        from distio.runtime.event_loop import run_on_loop  # asyncio takes long to import
    return run_on_loop


def _at_most(patience: float | None) -> float | None:
    """For how long a thread may wait without looking around."""
    if threading.current_thread() is threading.main_thread():
        return HEARING_SECONDS if patience is None else min(patience, HEARING_SECONDS)
    return patience and min(patience, _LONGEST_WAIT_SECONDS)


def log_failures(runs: Sequence[LocalRun]) -> None:
    """Log each failure that nobody waited for, once, with its traceback."""
    for run in runs:
        for fiber, failure in run.unobserved.items():
            label = label_of(fiber, run.names.get(fiber))
            log.error("fiber %s failed, and nobody waited for it: %s", label, _story(failure))


def _story(failure: Result[Any, Any]) -> str:
    if isinstance(failure, Panic):
        traces = "\n".join(traced.stack_trace for traced in failure.exceptions)
        return f"{traces}\nerrors: {failure.errors!r}" if failure.errors else traces
    return repr(failure)
