"""The services of a process that work needs: time, chance, other threads, code, and warnings.

Rules
-----
- All of this is called without the mutex: it may call code of the user, or block. A change of the
  machine goes through the inbox.
- A warning about a fiber comes once for each place of a program, and one about other code once for
  each difference: a million fibers of one place would say the same.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from distio.coordination.calls.callbacks import Callback
from distio.coordination.executor.hands import Hand
from distio.coordination.executor.services import OnLoop
from distio.coordination.member import Member
from distio.core.explain import place_of
from distio.core.fiber import Fiber
from distio.core.interpreter import Tank
from distio.core.pickling.captures import large_capture, why_it_is_large
from distio.core.pickling.code_records import Comparison, Difference, Records, compare
from distio.core.pickling.copies import shared_by_fibers, why_numbers_repeat
from distio.core.pickling.generators import Departures
from distio.core.pickling.spaces import current_space
from distio.core.snapshot import why_it_cannot_ship
from distio.protocol import requests as rq
from distio.protocol.messages.logs import LogLevels
from distio.protocol.pieces import Bytes
from distio.result import Result
from distio.runtime.blocking import blocking_threads
from distio.runtime.current import Origin, begin_task, call_on_behalf_of
from distio.runtime.failures import FailureLog
from distio.runtime.forks import end_child, without_forks
from distio.runtime.inbox import Inbox
from distio.runtime.interrupts import noted
from distio.runtime.logs import log
from distio.runtime.loops import EventLoop
from distio.runtime.main_thread import call_on_main_thread
from distio.runtime.unpacking import unpacked

__all__ = ["WorkServices"]


class WorkServices:
    """The part of a `Host` that is the `HostServices` of its executors."""

    member: Member
    mutex: threading.Lock
    inbox: Inbox
    failures: FailureLog
    within: Origin | None
    is_stopping: bool
    is_inherited: bool

    def __init__(self) -> None:
        self._random: Callable[[], float] | None = None
        """The generator, made for the first number: to seed one takes as long as a tenth of a
        run."""
        self._warned: set[object] = set()
        """The places from which a fiber could not be shipped, and a warning said so."""
        self._weighed: set[object] = set()
        """The places whose fibers had a large payload, and the functions of which the program was
        told."""
        self._departures = Departures()
        self._warned_of_copies: set[object] = set()
        """The places at which several fibers took along one generator, and a warning said so."""
        self.accepts_other_code = False
        """Whether fibers are taken that were saved with other code than that of this process."""
        self._warned_of_code: set[Difference] = set()
        self.loops: dict[int, EventLoop] = {}
        """By run, the loop whose task awaits it."""

    # -- for an executor ------------------------------------------------------------------

    def hand(self) -> Hand | None:
        """None: the process isn't watched."""
        return None

    loop_hand = hand

    def tank(self) -> Tank | None:
        """None: each step gets all its fuel at once, as fibers here go on nowhere else."""
        return None

    def may_call(self, fiber: Fiber) -> bool:
        """True: functions of fibers may be called at any time."""
        return True

    def wall_clock(self) -> float:
        """The system's."""
        return time.time()

    def random(self) -> float:
        """Drawn by a generator of this host's own: a program may have seeded Python's."""
        if self._random is None:
            self._random = random.Random().random
        return self._random()

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        """Let the interrupt become a panic; the run of the main thread ends if it was there."""
        noted(interrupt)
        return True

    def report_failures(self) -> None:
        """Log the failures."""
        try:
            self.failures.report()
        except KeyboardInterrupt as interrupt:
            self.interrupted(interrupt, None)

    # -- other threads --------------------------------------------------------------------

    def run_in_thread(
        self, call: Callable[[], None], withdrawn: Callable[[], None], fiber: Fiber
    ) -> Callable[[], None]:
        """Make a call on one of the threads for blocking calls."""
        return blocking_threads.call(partial(call_on_behalf_of, fiber, self, call), withdrawn)

    def on_main_thread(
        self, call: Callable[[], None], refuse: Callable[[], None], fiber: Fiber
    ) -> Callable[[], bool]:
        """Hand a call to the main thread of the process, if that takes calls."""
        return call_on_main_thread(partial(call_on_behalf_of, fiber, self, call), refuse)

    def on_loop(self, fiber: Fiber, call: OnLoop) -> Callable[[], None]:
        """Run a coroutine on the loop that awaits the run, or on one that all hosts share."""
        loop = self.loops.get(fiber.run)
        return _run_on_loop()(call) if loop is None else loop.start(call)

    def begin_task(self, fiber: Fiber) -> Callable[[Result[Any, Any]], None]:
        """Tag the logs of the task with the fiber; a child that the task forks ends with it."""
        end = begin_task(fiber, self)

        def ended(result: Result[Any, Any]) -> None:
            end()
            if self.is_inherited:
                end_child(result)

        return ended

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called."""
        if self.is_inherited:
            if isinstance(callback.request, rq.AwaitBlocking):
                end_child(result)
            return
        self.inbox.put(self.member.called_back, callback.fiber, callback.request, result)

    def on_callback_dropped(self, callback: Callback) -> None:
        """A callback died."""
        if not self.is_stopping:
            self.inbox.put(self.member.callback_dropped, callback.fiber, callback.request)

    # -- fibers that travel ---------------------------------------------------------------

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Fibers here log as this process does."""

    def use_archives(self, archives: Sequence[bytes], attachments: dict[bytes, Bytes]) -> None:
        """A worker unpacks what is new; the program that has sent it has the code."""
        if current_space().is_worker:
            unpacked.use(archives, attachments)

    def compare_code(self, records: Records) -> Comparison:
        """Compare with what this process imports, and warn once of each difference."""
        compared = compare(records)
        if not compared.differences:
            return compared
        with self.mutex:
            fresh = [each for each in compared.differences if each not in self._warned_of_code]
            self._warned_of_code.update(fresh)
        # the coordinator tells a refusal to all whom it concerns
        level = logging.WARNING if self.accepts_other_code else logging.INFO
        what = "goes on with other code" if self.accepts_other_code else "leaves for its own code"
        for each in fresh:
            log.log(level, "a fiber has come that %s: here %s", what, each)
        return compared._replace(differences=()) if self.accepts_other_code else compared

    def on_unpicklable(self, fiber: Fiber) -> None:
        """Warn, once for each place of a program."""
        if self._is_first(place_of(fiber), self._warned):
            log.warning(
                "fiber %s stays in this process, because it can't be pickled: %s",
                fiber.label,
                why_it_cannot_ship(fiber),
            )

    def on_large_payload(self, fibers: Sequence[Fiber]) -> None:
        """Warn of a large value that a function takes along, once for each such function."""
        if current_space().is_worker:
            return  # what is captured there has come from a program, which was told
        for fiber in fibers:
            if self._is_first(place_of(fiber), self._weighed):
                capture = large_capture(fiber)
                if capture is not None and self._is_first(capture.name, self._weighed):
                    log.warning("%s", why_it_is_large(capture))

    def copied(self, fibers: Sequence[Fiber], generators: Sequence[Any]) -> None:
        """Warn of those that several fibers take along, once for each place of a program."""
        with self.mutex:
            again = self._departures.note(generators)
        shared = shared_by_fibers(fibers, again)
        if shared is not None and self._is_first(place_of(shared[0]), self._warned_of_copies):
            log.warning("%s", why_numbers_repeat(*shared))

    def _is_first(self, place: object, seen: set[object]) -> bool:
        """Whether a place of the program wasn't seen before; now it is."""
        with self.mutex:
            if place in seen:
                return False
            seen.add(place)
        return True


@cache
def _run_on_loop() -> Callable[[OnLoop], Callable[[], None]]:
    with without_forks():  # in a child that another thread forks it would stay half imported
        from distio.runtime.event_loop import run_on_loop  # asyncio takes long to import
    return run_on_loop
