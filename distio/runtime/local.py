"""A run in this process: threads, and the coordinator's machine beside them.

The machine that decides for a cluster decides here too; its messages just don't leave the
process. Newcomers read this file first: it is the whole of a runtime without any network.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member
from distio.coordination.settings import GRACE_SECONDS
from distio.coordination.state.events import Event, Joined, Received, Tick
from distio.coordination.state.local_run import LocalRun
from distio.core.context_vars import copied, of_the_caller
from distio.core.fiber import WHOLE, Fiber
from distio.core.ops.base import IO
from distio.errors import DistioError, TracedException
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id, name_of
from distio.protocol.messages import Hello
from distio.protocol.messages.placement import Needs
from distio.protocol.version import PROTOCOL, PYTHON
from distio.result import Panic, Result
from distio.runtime.current import executors_here
from distio.runtime.failures import log_unreleased
from distio.runtime.forked import LeavesChild
from distio.runtime.forks import spare_in_children
from distio.runtime.host import Host
from distio.runtime.interrupts import interruptible
from distio.runtime.logs import log
from distio.runtime.main_thread import serving_on_main
from distio.runtime.messenger import hand_over
from distio.runtime.nesting import here, stopped_with_its_fiber
from distio.runtime.pending_runs import PendingRun
from distio.runtime.records import tagging
from distio.runtime.threads import CannotStartThread, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from distio._display.meter import Counts
    from distio.runtime.progress import CountsHere

__all__ = ["LocalHost"]


_KEYS: Final = count(fiber_id(0, 1))
"""The keys of runs in this process: each run is a cluster of its own, but an object kept from one
must mean nothing in another. Their ids are of an incarnation that no member has."""


_OVER: Final = Coordinator()
"""Takes the place of one whose run is over: what is told late means nothing to it."""


class LocalHost(Host):
    """Hosts one run: the thread that calls `run` is the first of the pool."""

    def __init__(
        self, pool_size: int, grace: float = GRACE_SECONDS, has: Needs | None = None
    ) -> None:
        """
        Args:
            pool_size: how many threads step fibers.
            grace: how many seconds the run may take to release what it holds when it is ended.
            has: what this process has for placed fibers; None: whatever they need.
        """
        hello = Hello(PROTOCOL, PYTHON, "client", pool_size, "", os.getpid(), b"")
        self._coordinator = Coordinator(grace)
        self._coordinator.handle(time.monotonic(), Joined(hello))
        super().__init__(Member(1, is_standalone=True, new_key=_KEYS.__next__))
        if has is not None:
            self.member.equip(has)
        self.link = self
        self._pool_size = pool_size
        self._ended: list[LocalRun] = []
        self._run = 0
        self._is_cancelled = False
        self._counts: CountsHere | None = None
        self._interruptible = interruptible(self.cancel, self._describe)
        self._watched_until = inf
        """The time until which an idle thread waits for the next timer; infinite if none does."""

    def run(self, io: IO[Any, Any, Any], context: Any) -> Result[Any, Any]:
        with (
            self._interruptible,
            stopped_with_its_fiber(partial(hand_over, self.cancel)),
            serving_on_main(self.wake_main),
            tagging,
        ):
            pending = self._start(io, context)
            threads = self._start_others()
            try:
                self.work()
            finally:
                self.stop()
                self.counted()
                log_unreleased(self._ended)
                if here.seat is not None:
                    here.seat.take_back()
            if not self._is_given_up:
                for thread in threads:
                    thread.join()
            self._finish()
            pending.wait()  # another thread may still be telling what has failed
        return pending.result()

    @property
    def _is_given_up(self) -> bool:
        """Whether a thread may be in the midst of what takes long, and nobody waits for that."""
        return self.failure is not None or any(run.unreleased for run in self._ended)

    def _finish(self) -> None:
        """The run is over, and so is the host."""
        self.member.drop_chores()
        if self.failures.has_to_tell_of([self._run]):
            self.failures.runs_ended([self._run])
        spare_in_children(self)

    def take_apart(self) -> None:
        """The run is over: let the coordinator's parts die now, and not as garbage.

        A program may make thousands of short runs, and the parts are a hundred objects in circles.
        """
        if not self._is_given_up:
            self._coordinator.take_apart()
            self._coordinator = _OVER

    def _start_others(self) -> list[threading.Thread]:
        """The other threads of the pool, or as many of them as the system allows."""
        threads: list[threading.Thread] = []
        try:
            for index in range(1, self._pool_size):
                threads.append(start_thread(f"distio-{index}", self.work, self.fail))
        except CannotStartThread as error:
            log.warning("a run has a pool of %d threads only: %s", 1 + len(threads), error)
        return threads

    def _start(self, io: IO[Any, Any, Any], context: Any) -> PendingRun:
        variables = of_the_caller()
        with self.fail_stop:
            root = self.member.start_root(io, context)
            root.variables = variables
            self._run = root.run
            if self._counts is not None:
                self._counts.begin(root.run)
            if self._is_cancelled:
                self.member.cancel_run(root.run)
            self.member.queue(root)
            return self.pending_runs.issue(root)
        pending = PendingRun(0, name_of(0), None)
        assert self.failure is not None
        pending.end(Panic([self.failure], []))
        return pending

    def cancel(self) -> None:
        """Cancel the run, also if it is still to begin; returns at once."""
        self._is_cancelled = True  # first: what starts meanwhile looks after it has set its number
        self.cancel_run(self._run)

    def counting(self) -> Callable[[], Counts | None]:
        """Count the fibers of the run from its beginning.

        Returns:
            A function that any thread may ask how many of them have ended.
        """
        from distio.runtime.progress import CountsHere  # few need it

        self._counts = CountsHere(self, self._coordinator)
        return self._counts.counts

    def counted(self) -> None:
        """Count no longer; a second call does nothing."""
        if self._counts is not None:
            self._counts.end()

    def _describe(self) -> str:
        return self.describe_run(self._run)

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        self._interruptible.noted(interrupt)
        if fiber is not None:
            fiber.cancel(WHOLE.key)
            if fiber.can_be_cancelled_now(waits=True):
                fiber.unwind(waits=True)  # at once: it must not handle this as its own failure
        return True

    def next_deadline(self) -> float | None:
        return self._coordinator.next_deadline()

    def validate_rest(self) -> None:
        """Check, when all runs have ended, that nothing of them is left.

        Raises:
            DistioBug: something is.
        """
        self.member.validate_rest()
        self._coordinator.validate_rest()

    def drop_in_child(self) -> None:
        """In a forked child: let the run go on, if its only thread is the one there.

        The thread has called `run`, which so returns in both processes. A child of a pool with more
        threads lacks the others, and the fibers that they stepped.
        """
        executor = next((executor for host, executor in executors_here() if host is self), None)
        if self._pool_size > 1 or executor is None:
            super().drop_in_child()
            return
        self.renew_mutex()
        self.pool.is_watched = self.pool.sees_ready = False  # nobody is there who would look
        if isinstance(executor.work, Fiber):
            executor.work.stack.append(LeavesChild())
        for fiber in self.member.state.parked_on(rq.AwaitBlocking):
            fiber.variables = copied(fiber.variables)  # the call has entered them for good
            assert fiber.request is not None
            self.member.called_back(fiber, fiber.request, _left_behind())

    # -- the link -------------------------------------------------------------------------

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        alarm = self._coordinator.state.alarm
        if alarm != inf and alarm <= time.monotonic():
            self._happened(Tick())
        if self.member.state.outbox:
            self._exchange()
            self._see_to_deadline()

    def _see_to_deadline(self) -> None:
        """Let a thread wait for a new, earlier deadline (mutex held)."""
        if self.has_idle_thread:  # one that will be idle looks itself
            deadline = self.next_deadline()
            if deadline is not None and deadline < self._watched_until:
                self.wake_one()

    def idle(self) -> float | None:
        if here.seat is not None:
            here.seat.give_up()  # a fiber for which this run waits may need that thread
        self.member.flush()
        self._exchange()
        deadline = self.next_deadline()
        if deadline is None:
            return None
        now = time.monotonic()
        if deadline <= now:
            self._happened(Tick())
            return 0.0
        if self._watched_until <= deadline and self._watched_until > now:
            return None  # another thread waits for it
        self._watched_until = deadline
        return deadline - now

    def timer_wait_ended(self) -> None:
        self._watched_until = inf
        self.wake_one()  # to wait for the next deadline while this thread works

    def _exchange(self) -> None:
        """Carry messages both ways until no machine has any."""
        while batch := self.member.state.take_outbox():
            for message in batch:
                self._happened(Received(1, message))

    def _happened(self, event: Event) -> None:
        for command in self._coordinator.handle(time.monotonic(), event):
            self.member.receive(command.message)
        if self.member.state.ended_runs:
            self.is_stopping = True
            self._ended = self.pending_runs.close_ended(self.member)
            self.wake_all()


def _left_behind() -> Panic[Any, Any]:
    error = DistioError(
        "this call goes on in the parent process, and a forked child has none of its threads; "
        "fork before the program runs, or let the child end with the function that forks it"
    )
    return Panic([TracedException(error, str(error))], [])
