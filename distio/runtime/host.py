"""The threads that step the fibers of one member.

The machine decides under `mutex`; what an `Executor` performs, and so all user code, runs without
it, by way of `WorkServices`.
An idle thread blocks on `_work_ready` and is woken the moment there is work for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.placement.tasks import PickleFibers
from distio.core.fiber import Fiber
from distio.core.interrupts import is_interrupt
from distio.errors import TracedException
from distio.protocol.text import readable_exception
from distio.result import Panic, Result
from distio.runtime.current import executors_here, on_behalf_of, origin
from distio.runtime.fail_stop import FailStop, what_failed
from distio.runtime.failures import FailureLog
from distio.runtime.forked import EndsChild
from distio.runtime.forks import drop_in_children, end_child
from distio.runtime.inbox import Inbox
from distio.runtime.logs import log
from distio.runtime.main_thread import HEARING_SECONDS, has_calls, is_main_thread, serve
from distio.runtime.nesting import Seat, here
from distio.runtime.pending_runs import PendingRuns
from distio.runtime.telling import hosts
from distio.runtime.threads import CannotStartThread, start_thread
from distio.runtime.timeouts import MAX_WAIT_SECONDS
from distio.runtime.watchdog import PoolWatch
from distio.runtime.work_services import WorkServices

__all__ = ["Host", "Link"]


class Link(Protocol):
    """Carries a member's messages. All methods are called with the host's mutex held."""

    def outbox_changed(self, *, more_follows: bool = False) -> None:
        """The outbox may have messages to carry.

        Args:
            more_follows: whether more messages follow at once: hold these back for a moment.
        """

    def idle(self) -> float | None:
        """A thread found nothing to do: carry everything now.

        Returns:
            For how many seconds that thread may wait for work; None: until it is woken.
        """

    def timer_wait_ended(self) -> None:
        """The thread that `idle` gave a number of seconds no longer waits."""


class Host(WorkServices):
    """A pool of threads for one member."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member
        self.within = origin()
        """The fiber whose code has made the host, if there is one."""
        self.link: Link
        self.is_stopping = False
        self.is_inherited = False
        """Whether this is the copy, in a forked child, of a host that belongs to the parent."""
        self.pending_runs = PendingRuns()
        self.failure: TracedException | None = None
        """The reason why this host can't go on."""
        self.fail_stop = FailStop(self)
        """Holds the mutex for calls from outside of the pool."""
        self.renew_mutex()
        self._idle = 0
        self._surplus = 0
        """How many threads are to end: others whose places they have taken are back."""
        self._has_errands = True
        """Whether a thread may have to do what isn't work: to end, or to make calls."""
        self._has_advised = False
        self._pool_name = ""
        self._main_executor: Executor | None = None
        """The executor of the main thread, if the main thread belongs to the pool."""
        self._main_thread = 0
        """The main thread in that case."""
        self.failures = FailureLog(self)
        self.pool = PoolWatch(self)
        member.watch_handles(lambda: self._handle_died)
        member.features.overview.in_hand = self.pool.in_hand
        drop_in_children(self)
        hosts.add(self)

    def renew_mutex(self) -> None:
        """Begin with a new mutex; in a forked child, another thread may have held the old one."""
        self.mutex = threading.Lock()
        self._work_ready = threading.Condition(self.mutex)
        self.inbox = Inbox(self.mutex, self._see_to_news, self.fail)
        """Calls from anywhere."""
        self._from_anywhere = self.inbox.waiting

    # -- threads --------------------------------------------------------------------------

    def start(self, threads: int, name: str) -> None:
        """Start so many pool threads, to work for all runs of this host."""
        self._pool_name = name
        self.member.add_threads(threads)
        for index in range(threads):
            self._start_thread(index)

    def _start_thread(self, index: int | str) -> None:
        name = f"{self._pool_name}-{index}"
        start_thread(name, self._work_in_pool, self.fail)

    def _work_in_pool(self) -> None:
        here.seat = Seat(self)
        try:
            self.work()
        finally:
            with self.mutex:
                self.member.remove_thread()

    def stop(self) -> None:
        """Let each thread return when it has done what it is doing."""
        with self.mutex:
            self.is_stopping = True
            self._work_ready.notify_all()

    def work(self) -> None:
        """Take and run work until the host stops; the main function of a pool thread."""
        executor = Executor(self.member, self)
        with self.mutex:
            self.pool.executors[threading.get_ident()] = executor
        try:
            if is_main_thread():
                self._main_executor, self._main_thread = executor, threading.get_ident()
            with on_behalf_of(executor, self):
                while self._next(executor):
                    if executor.work is None:
                        serve()
                    else:
                        executor.run()
                    if self.is_inherited:
                        end_child(_outcome_in(executor))
        except Exception as error:
            if is_interrupt(error):
                raise  # of a signal handler without a guard: the machine may be half changed
            self.fail(error)  # no run may hang on a mistake of ours
        finally:
            executor.retire()
            with self.mutex:
                del self.pool.executors[threading.get_ident()]

    def _next(self, executor: Executor) -> bool:
        """Commit what this executor has run, and find it more to run; False: the host stops.

        An executor without work is that of the main thread, which has calls to make.
        """
        done, state = executor.work, self.member.state
        with self.mutex:
            self.pool.has_turned = True
            if self._from_anywhere:
                self.inbox.empty()
            if done is not None:
                goes_on = executor.commit()
                if goes_on:
                    is_shipping = type(done) is PickleFibers
                    if is_shipping or state.outbox:
                        # others may wait for what a fiber has given back; but when all are
                        # shipped, their parent goes on and often waits for them
                        self.link.outbox_changed(
                            more_follows=is_shipping and executor.work is not done
                        )
                    if self._idle:
                        self.wake()
                    elif not self.pool.is_watched:
                        self.pool.watch()
                    return not self.is_stopping
                if state.ready:  # otherwise `idle` says it, with all the rest
                    self.link.outbox_changed()
                    if self._idle:
                        self.wake(spare=1)
            del done  # an idle thread keeps nothing of the fiber that it has stepped last
            while not self.is_stopping:
                if self._has_errands:
                    if self._surplus:
                        self._surplus -= 1
                        self.link.idle()
                        return False
                    self._has_errands = has_calls()
                    if self._has_errands and executor is self._main_executor:
                        return True
                if executor.next_task():
                    if not (self.pool.is_watched or self._idle):
                        self.pool.watch()
                    return True
                patience = self.link.idle()
                if not self._looks_again(patience):
                    return False
                if patience is not None:
                    self.link.timer_wait_ended()  # whether or not it has: it doesn't wait any more
                if self._from_anywhere:
                    self.inbox.empty()
        return False

    def _looks_again(self, patience: float | None) -> bool:
        """Whether a thread that has found no work looks again, perhaps after a wait (mutex held).

        Args:
            patience: for how many seconds it may wait; None: until there is work.
        """
        return bool(self.member.state.ready) or self.is_stopping or self._waits_for_work(patience)

    def _waits_for_work(self, patience: float | None) -> bool:
        """Wait for work; return whether the thread is still needed then."""
        self._idle += 1
        try:
            self._work_ready.wait(_at_most(patience))
        except BaseException as exception:  # of a signal handler without a guard
            if not is_interrupt(exception):
                raise
            self.interrupted(exception, None)
        finally:
            self._idle -= 1
        return True

    def _summon(self, threads: int) -> None:
        """Let so many of the idle threads look again (mutex held)."""
        self._work_ready.notify(threads)

    @property
    def has_idle_thread(self) -> bool:
        """Whether a thread of the pool waits for work (mutex held)."""
        return self._idle > 0

    @property
    def rests(self) -> bool:
        """Whether no thread of the pool may step fibers now."""
        return False

    def next_deadline(self) -> float | None:
        """When a thread of the pool is needed at the latest, as `time.monotonic` counts."""
        return None

    # -- nested runs ----------------------------------------------------------------------

    def replace_thread(self) -> None:
        """A thread of the pool is about to wait for a nested run: start one that stands in for it.

        Raises:
            CannotStartThread: the system allows no more threads.
        """
        with self.mutex:
            self.member.thread_left()
            if self.is_stopping:
                return
            self.member.add_threads(1)
        try:
            self._start_thread("stand-in")
        except CannotStartThread:
            with self.mutex:
                self.member.remove_thread()
                self.member.thread_came_back()
            raise

    def advise(self) -> None:
        """Warn once that a nested run holds a thread."""
        with self.mutex:
            was_said, self._has_advised = self._has_advised, True
        if not was_said:
            log.warning(
                "a function of a fiber runs a program on a cluster, or waits for one that it has "
                "submitted, and holds its thread meanwhile; another thread stands in for it, but "
                "it costs less to return the program, to flat_map or defer_io, or to await it"
            )

    def retire_thread(self) -> None:
        """The nested run is over: one thread of the pool ends when its executor has no work."""
        self.inbox.put(self._retire_thread)

    def _retire_thread(self) -> None:
        self.member.thread_came_back()
        self._surplus += 1
        self._has_errands = True
        self.wake_one()

    def watch(self, fiber: Fiber, stop: Callable[[], None]) -> None:
        """A function of this fiber has begun that `stop` ends: it is called if the fiber is
        cancelled, and returns at once."""
        self.inbox.put(self.member.features.cancellation.watch, fiber, stop)

    def unwatch(self, fiber: Fiber) -> None:
        """The function of the fiber is over."""
        self.inbox.put(self.member.features.cancellation.unwatch, fiber)

    # -- calls for the main thread --------------------------------------------------------

    def wake_main(self) -> None:
        """Wake the main thread for a call, if it belongs to the pool and is idle."""
        self.inbox.put(self._wake_main)

    def _wake_main(self) -> None:
        self._has_errands = True
        self.wake_all()

    # -- forked children ------------------------------------------------------------------

    def drop_in_child(self) -> None:
        """In a forked child: nothing here goes on; a function that has forked ends its process."""
        self.renew_mutex()
        self.is_stopping = self.is_inherited = True
        for host, executor in executors_here():
            if host is self and isinstance(executor.work, Fiber):
                executor.work.stack[:] = [EndsChild(list(executor.work.stack))]

    # -- cancellation ---------------------------------------------------------------------

    def cancel_run(self, run: int) -> None:
        """Cancel all fibers of this run, here and elsewhere; returns at once."""
        self.inbox.put(self.member.cancel_run, run)

    def describe_run(self, run: int) -> str:
        """The fibers of this run that go on, in words; empty if the run is over."""
        with self.mutex:
            return self.member.describe_fibers(run)

    def wake(self, spare: int = 0) -> None:
        """Wake threads for what is ready (mutex held); the caller takes `spare` of it itself."""
        count = len(self.member.state.ready) - spare
        if self._idle and count > 0:
            self._summon(min(count, self._idle))
        elif count > 0 and not self.pool.sees_ready:
            self.pool.watch()

    def wake_one(self) -> None:
        """Let one idle thread look again (mutex held)."""
        self._work_ready.notify()

    def wake_all(self) -> None:
        """Let all idle threads look again (mutex held)."""
        self._work_ready.notify_all()

    # -- the end of a host that can't go on -----------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the host because code of distio has failed: the member can't go on, and leaves.

        The threads that wait for runs of this host hear of it, and so does the coordinator. Any
        thread that doesn't hold the mutex may call this, in an `except` clause; the first call
        counts.
        """
        failure = TracedException.in_except_clause(error)
        reason = f"the process can't go on: {readable_exception(error)}"
        with self.mutex:
            if self.failure is not None:
                return
            self.failure = failure
            self.say_farewell(reason)
        try:
            log.critical("%s: %s", what_failed(error), failure.stack_trace)
        finally:
            with self.mutex:
                self.is_stopping = True
                self.wake_all()
                self.end_runs(reason, failure)

    def say_farewell(self, reason: str) -> None:
        """Tell the coordinator that the host can't go on (mutex held)."""

    def end_runs(self, reason: str, failure: TracedException) -> None:
        """Wake the threads that wait for runs of this host (mutex held)."""
        self.pending_runs.fail(Panic([failure], []))

    # -- news for the machine -------------------------------------------------------------

    def _see_to_news(self) -> None:
        """Calls from anywhere have changed the machine (mutex held)."""
        self.link.outbox_changed()
        if self._idle:
            self.wake()

    def _handle_died(self) -> None:
        """The handle of a fiber that has failed died: in any thread, with any lock held."""
        if not self.is_stopping:
            self.inbox.put(self.member.report_failures_later)


def _outcome_in(executor: Executor) -> Result[Any, Any] | None:
    return executor.work.outcome() if isinstance(executor.work, Fiber) else None


def _at_most(patience: float | None) -> float | None:
    """The time for which a thread may wait without looking around."""
    if is_main_thread():
        return HEARING_SECONDS if patience is None else min(patience, HEARING_SECONDS)
    return patience and min(patience, MAX_WAIT_SECONDS)
