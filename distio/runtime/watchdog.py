"""Pools of threads that user code holds while fibers wait for a thread: reported, with the stacks.

A pool is watched only while all its threads are busy and fibers wait, or may come to. One thread of
the process looks at the watched pools every `PERIOD_SECONDS`, and ends when there are none. To a
turn of a pool it costs an assignment and a comparison.

Code that computes holds a thread for a good reason, and isn't reported. What tells it from code
that blocks is how much of the time its thread has had the processor.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, final
from weakref import WeakSet

from distio.coordination.member import Hand, Member
from distio.core.fiber import Fiber
from distio.runtime.blocking import in_background
from distio.runtime.current import Hosting, Origin, call_on_behalf_of
from distio.runtime.forks import renew_in_children
from distio.runtime.logs import log
from distio.runtime.threads import start_thread
from distio.traces import trace_of_thread

__all__ = ["BLOCKED_SECONDS", "PERIOD_SECONDS", "Blocked", "Hold", "PoolWatch"]

BLOCKED_SECONDS: Final = 5.0
"""A pool whose threads have all been held for so long is reported."""
PERIOD_SECONDS: Final = BLOCKED_SECONDS / 4
_COMPUTES: Final = 0.1
"""A thread that has had the processor for such a part of the time computes."""


class Blocked(NamedTuple):
    """A thread of a pool that is held."""

    thread: str
    work: Any
    """What it has in hand."""
    stack: str
    """Where it is in user code."""


@final
class Hold:
    """Since when the threads of one pool have neither taken up nor finished anything."""

    def __init__(self) -> None:
        self._turns = -1
        self._since = 0.0
        self._processor_seconds: dict[int, float] = {}
        self._is_over = False

    def look(self, now: float, turns: int, threads: Collection[int]) -> bool:
        """Look whether the pool is held by code that blocks.

        Args:
            now: seconds on a clock that never goes back.
            turns: how often its threads have taken up or finished something.
            threads: those of the pool; the caller sees to it that they live.

        Returns:
            True once, when they have been held for long.
        """
        if turns != self._turns:
            self._turns, self._since, self._is_over = turns, now, False
            self._processor_seconds = {each: _processor_seconds(each) for each in threads}
            return False
        elapsed = now - self._since
        if self._is_over or elapsed < BLOCKED_SECONDS:
            return False
        self._is_over = True
        used = [_processor_seconds(each) - self._processor_seconds[each] for each in threads]
        return any(each < _COMPUTES * elapsed for each in used)


def _blocked(hands: Mapping[int, Hand]) -> list[Blocked]:
    frames = sys._current_frames() if hands else {}
    names = {thread.ident: thread.name for thread in threading.enumerate()} if hands else {}
    return [
        Blocked(names.get(thread, "a thread"), hand.work, trace_of_thread(frames[thread]))
        for thread, hand in hands.items()
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

    def next_deadline(self) -> float | None:
        """When a thread of the pool is needed at the latest."""


@final
class PoolWatch:
    """The pool of one host, as the watchdog sees it; guarded by the host's mutex."""

    def __init__(self, host: Watched) -> None:
        self._host = host
        self.has_turned = True
        """Whether a thread has finished something, or taken it up, since the last look."""
        self.hands: dict[int, Hand] = {}
        """By thread."""
        self.is_watched = False
        self._hold = Hold()
        self._turns = 0
        """How often the watchdog has found that a thread had done so."""
        self._warned_of: set[object] = set()
        """The stacks that held all threads, and a warning said so."""

    def watch(self) -> None:
        """If all threads are busy, and fibers may come to wait for one, look after it."""
        host = self._host
        if (host.member.ready or host.member.parked) and not host.has_idle_thread:
            self.is_watched = True
            _watchdog.watch(self)

    def look(self) -> bool:
        """Report it if user code holds all threads; return whether that is still to be seen."""
        host, now = self._host, time.monotonic()
        with host.mutex:
            ready, deadline = len(host.member.ready), host.next_deadline()
            is_held = not (host.has_idle_thread or host.is_stopping or host.is_inherited)
            self.is_watched = is_held and (ready > 0 or deadline is not None)
            is_missed = self.is_watched and (ready > 0 or (deadline or now) < now)
            self._turns += self.has_turned
            self.has_turned = False
            is_blocked = is_missed and self._hold.look(now, self._turns, self.hands)
            hands = dict(self.hands) if is_blocked else {}
        held = _blocked(hands)
        stacks = frozenset(each.stack for each in held)
        if held and stacks not in self._warned_of:
            self._warned_of.add(stacks)
            in_background(partial(_report, host, held, ready))  # it calls log handlers
        return self.is_watched


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
        self._guard = threading.RLock()
        self._pools: WeakSet[PoolWatch] = WeakSet()
        self._is_awake = False

    def watch(self, pool: PoolWatch) -> None:
        """Look at this pool, until it isn't to be watched any longer."""
        with self._guard:
            self._pools.add(pool)
            if not self._is_awake:
                with suppress(RuntimeError):  # no thread is to be had, so nothing is reported
                    start_thread("distio-watchdog", self._work)
                    self._is_awake = True

    def _work(self) -> None:
        while True:
            time.sleep(PERIOD_SECONDS)
            with self._guard:
                pools = list(self._pools)
                self._pools.clear()
                if not pools:
                    self._is_awake = False
                    return
            while pools:
                pool = pools.pop()
                if pool.look():
                    self.watch(pool)
                del pool  # it may end meanwhile


_watchdog: Final = _Watchdog()
renew_in_children(_watchdog.__init__)  # type: ignore[misc]  # anew, in place
