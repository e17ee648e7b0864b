"""Pools of threads that user code holds while fibers wait for a thread: reported, with the stacks.

A pool is watched only while all its threads are busy and fibers wait, or may come to wait. The
watching thread of the process sleeps until a watched pool will have been held for long enough, and
ends when no pool is watched. If the pool has made a turn by then, the time begins anew: a hold is
reported after one to two times `BLOCKED_SECONDS`. A turn of a pool costs an assignment and a check.

Code that computes holds a thread for a good reason, and isn't reported. The processor time of the
thread tells computing from blocking.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Final, NamedTuple, Protocol, final
from weakref import WeakSet

from distio._traces import trace_of_thread
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.overview.member import InHandNow
from distio.core.fiber import Fiber
from distio.core.standing import thread_stands_at
from distio.runtime.blocking import in_background
from distio.runtime.current import Hosting, Origin, call_on_behalf_of
from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import start_thread
from distio.runtime.timeouts import MAX_WAIT_SECONDS

__all__ = ["BLOCKED_SECONDS", "Blocked", "Hold", "PoolWatch"]

BLOCKED_SECONDS: Final = 5.0
"""A pool whose threads have all been held for so long is reported."""
_COMPUTES: Final = 0.1
"""A thread that has had the processor for such a part of the time computes."""


class Blocked(NamedTuple):
    """A thread of a pool that is held."""

    thread: str
    work: Any
    """The work of the thread's executor."""
    stack: str
    """The place of the thread in user code."""


@final
class Hold:
    """The time since which the threads of one pool have neither taken up nor finished anything."""

    def __init__(self) -> None:
        self._since = 0.0
        self._processor_seconds: dict[int, float] = {}
        self._is_over = False

    @property
    def moment(self) -> float:
        """The time at which it will have lasted for long, if no turn is made."""
        return self._since + BLOCKED_SECONDS

    @property
    def was_told(self) -> bool:
        """Whether the hold was told: there is nothing more to tell until a turn is made."""
        return self._is_over

    def begin(self, now: float, threads: Collection[int]) -> None:
        """The pool may be held from now on; the arguments are those of `look`."""
        self._since, self._is_over = now, False
        self._processor_seconds = {each: _processor_seconds(each) for each in threads}

    def look(self, now: float, has_turned: bool, threads: Collection[int]) -> bool:
        """Look whether the pool is held by code that blocks.

        Args:
            now: seconds on a clock that never goes back.
            has_turned: whether a thread has taken up or finished something since the last look.
            threads: those of the pool; the caller sees to it that they live.

        Returns:
            True once, when they have been held for long.
        """
        if has_turned:
            self.begin(now, threads)
            return False
        elapsed = now - self._since
        if self._is_over or elapsed < BLOCKED_SECONDS:
            return False
        self._is_over = True
        known = self._processor_seconds
        used = [_processor_seconds(each) - known[each] for each in threads if each in known]
        return any(each < _COMPUTES * elapsed for each in used)


def _blocked(executors: Mapping[int, Executor]) -> list[Blocked]:
    frames = sys._current_frames() if executors else {}
    names = {thread.ident: thread.name for thread in threading.enumerate()} if executors else {}
    return [
        Blocked(names.get(thread, "a thread"), executor.work, trace_of_thread(frames[thread]))
        for thread, executor in executors.items()
        if thread in frames
    ]


def _processor_seconds(thread: int) -> float:
    if not hasattr(time, "pthread_getcpuclockid"):
        return 0.0  # this system doesn't tell: each thread counts as blocked
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def _described(work: Any) -> str:
    if isinstance(work, Fiber):
        return f"fiber {work.label}"
    return "idle" if work is None else type(work).__name__.lower()


class Watched(Protocol):
    """A host, as far as its pool goes."""

    is_stopping: bool
    is_inherited: bool
    mutex: threading.Lock

    @property
    def member(self) -> Member: ...
    @property
    def within(self) -> Origin | None: ...
    @property
    def has_idle_thread(self) -> bool:
        """Whether a thread of the pool waits for work."""

    @property
    def rests(self) -> bool:
        """Whether no thread of the pool may step fibers now."""

    def next_deadline(self) -> float | None:
        """When a thread of the pool is needed at the latest."""


@final
class PoolWatch:
    """The pool of one host, as the watchdog sees it; guarded by the host's mutex."""

    def __init__(self, host: Watched) -> None:
        self._host = host
        self.has_turned = True
        """Whether a thread has finished something, or taken it up, since the last look."""
        self.executors: dict[int, Executor] = {}
        """The executors, by thread."""
        self.is_watched = False
        self.sees_ready = False
        """Whether fibers that become ready change nothing: it is looked after, or reported."""
        self.moment = inf
        """The time at which the watchdog is to look at it."""
        self._hold = Hold()
        self._warned_of: set[object] = set()
        """The stacks that held all threads, and a warning said so."""

    def in_hand(self) -> list[InHandNow]:
        """The work that its threads have now, and where they stand in it (mutex held)."""
        frames = sys._current_frames() if self.executors else {}
        return [
            InHandNow(executor.work, thread_stands_at(frames.get(thread)))
            for thread, executor in self.executors.items()
            if executor.work is not None
        ]

    def watch(self) -> None:
        """Watch a pool whose threads are all busy, if fibers may come to wait for one (mutex
        held)."""
        state = self._host.member.state
        if state.ready or state.parked:
            self.is_watched, self.sees_ready = True, bool(state.ready)
            self.has_turned = False
            self._hold.begin(time.monotonic(), self.executors)
            _watchdog.watch(self, self._hold.moment)

    def look(self) -> float | None:
        """Report that user code holds all threads, if it does; return when to look again, if at
        all."""
        host, now = self._host, time.monotonic()
        is_blocked, moment = False, None
        with host.mutex:
            ready, deadline = len(host.member.state.ready), host.next_deadline()
            if not (host.has_idle_thread or host.is_stopping or host.is_inherited):
                moment = now if ready else deadline and deadline + BLOCKED_SECONDS
            self.sees_ready = moment is not None and moment <= now
            if self.sees_ready:
                has_turned = self.has_turned or host.rests
                is_blocked = self._hold.look(now, has_turned, self.executors)
                self.has_turned = False
                moment = None if self._hold.was_told else self._hold.moment
            self.is_watched = moment is not None
            executors = dict(self.executors) if is_blocked else {}
        held = _blocked(executors)
        stacks = frozenset(each.stack for each in held)
        if held and stacks not in self._warned_of:
            self._warned_of.add(stacks)
            in_background(partial(_report, host, held, ready))  # it calls log handlers
        return moment


def _report(host: Hosting, held: Sequence[Blocked], waiting: int) -> None:
    """Warn that these threads, all of a pool, are held."""
    stacks = "".join(f"\n{each.thread}, {_described(each.work)}:\n{each.stack}" for each in held)
    who = "its only thread" if len(held) == 1 else f"all its {len(held)} threads"
    pool = f"the pool of {host.member.worker}" if host.member.worker else "the pool"
    fibers = [each.work for each in held if isinstance(each.work, Fiber)]
    warn = partial(
        log.warning,
        "user code has held %s, %s, for %d s while other fibers wait for a thread (%d ready); call "
        "what may block with io.blocking, which has threads of its own:%s",
        *(pool, who, BLOCKED_SECONDS, waiting, stacks),
    )
    if fibers:  # the record is for the program whose fiber that is
        call_on_behalf_of(fibers[0], host, warn)
    else:
        warn()


class _Watchdog:
    """The thread that looks, and what it looks at."""

    def __init__(self) -> None:
        # reentrant: a collector of garbage may run a program in the midst of it
        self._has_changed = threading.Condition(threading.RLock())
        self._pools: WeakSet[PoolWatch] = WeakSet()
        self._sleeps_until = 0.0
        self._is_awake = False

    def watch(self, pool: PoolWatch, moment: float) -> None:
        """Look at this pool at that moment."""
        with self._has_changed:
            pool.moment = min(moment, pool.moment)
            self._pools.add(pool)
            if self._is_awake and moment < self._sleeps_until:
                self._has_changed.notify()
            elif not self._is_awake:
                with suppress(RuntimeError):  # no thread is to be had, so nothing is reported
                    start_thread("distio-watchdog", self._work)
                    self._is_awake = True

    def _work(self) -> None:
        while (pools := self._await_some()) is not None:
            while pools:
                pool = pools.pop()
                moment = pool.look()
                if moment is not None:
                    self.watch(pool, moment)
                del pool  # it may end meanwhile

    def _await_some(self) -> list[PoolWatch] | None:
        """Sleep until it is time to look at some of them; None: there are none any more."""
        with self._has_changed:
            while pools := list(self._pools):
                now = time.monotonic()
                if due := [pool for pool in pools if pool.moment <= now]:
                    for pool in due:
                        pool.moment = inf
                    self._pools.difference_update(due)
                    return due
                self._sleeps_until = min(now + MAX_WAIT_SECONDS, *[p.moment for p in pools])
                pools.clear()  # nothing here keeps a pool
                self._has_changed.wait(self._sleeps_until - now)
            self._is_awake = False
        return None


_watchdog: Final = _Watchdog()
renew_in_children(_watchdog.__init__)  # type: ignore[misc]  # anew, in place
