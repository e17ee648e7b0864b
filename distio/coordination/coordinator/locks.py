"""Locks, semaphores, limits of starts, and the values of variables.

Rules
-----
- To register and to grant is one step. Whoever waits is served first-in first-out.
- A lock belongs to a fiber, never to a clock: it is free again when its fiber gives it back, ends
  or is lost. When a fiber moves, what it holds moves with it.
- A lock is remembered while somebody holds it or waits for it, a variable until its run ends, a
  limit until its window is over.
- A name means one thing at a time: whoever asks for it with other tokens is refused.
- A limit never lets more than `tokens` start in any window of `per_seconds`: the next start is
  granted when the window that began with the oldest of the last `tokens` starts is over.

The coordinator checks epochs before anything gets here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Final, final

from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of

__all__ = ["Locks"]

Key = int | str
Say = Callable[[int, m.LockGranted | m.LockRefused], None]
"""Tells a member."""

_NO_VALUE: Final = b""


@final
class _Claim:
    """What one fiber holds and waits for, and where it is."""

    __slots__ = ("epoch", "holds", "member", "run", "waits")

    def __init__(self, run: int) -> None:
        self.run = run
        self.member = 0
        self.epoch = 0
        self.holds: dict[Key, None] = {}
        """In the order in which they were granted."""
        self.waits: Key | None = None


@final
class _Lock:
    """One lock."""

    __slots__ = ("holders", "per_seconds", "queue", "starts", "tokens", "value")

    def __init__(self, tokens: int, per_seconds: float) -> None:
        self.tokens = tokens
        self.per_seconds = per_seconds
        self.holders: dict[int, int] = {}
        """By fiber: how many tokens it holds."""
        self.queue: deque[int] = deque()
        """The fibers that wait; one that waits no more is passed over."""
        self.starts: deque[float] = deque()
        """Of a limit: when the last ones started."""
        self.value: bytes | None = None

    def has_room(self, now: float) -> bool:
        """Whether one more may have it now."""
        if self.per_seconds:
            while self.starts and self.starts[0] + self.per_seconds <= now:
                self.starts.popleft()
            return len(self.starts) < self.tokens
        if self.tokens:
            return sum(self.holders.values()) < self.tokens
        return not self.holders

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it has to be remembered."""
        return not (self.holders or self.queue or self.starts) and self.value is None


class Locks:
    """All locks of a cluster."""

    def __init__(self, say: Say, moved: Callable[[int], None]) -> None:
        self._say = say
        self._moved = moved
        """Called with a run when one of its fibers was given what it waited for."""
        self._locks: dict[Key, _Lock] = {}
        self._claims: dict[int, _Claim] = {}
        """By fiber, for those that hold or wait for something."""
        self._of_run: dict[int, set[int]] = {}
        """The fibers with a claim."""
        self._values_of_run: dict[int, list[Key]] = {}
        self._windows: list[tuple[float, Key]] = []
        """When the windows of limits end."""

    # -- what fibers ask ------------------------------------------------------------------

    def acquire(self, now: float, member: int, message: m.AcquireLock) -> None:
        """This fiber waits for a lock; it is granted at once if it is free."""
        key, fiber = message.lock, message.fiber
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(message.tokens, message.per_seconds)
        elif (lock.tokens, lock.per_seconds) != (message.tokens, message.per_seconds):
            reason = (
                f"{key!r} is in use as {_kind(lock.tokens, lock.per_seconds)}, "
                f"and can't be {_kind(message.tokens, message.per_seconds)} as well"
            )
            self._say(member, m.LockRefused(fiber, message.epoch, key, reason))
            return
        claim = self._claims.get(fiber)
        if claim is None:
            claim = self._claims[fiber] = _Claim(message.run)
            self._of_run.setdefault(message.run, set()).add(fiber)
        claim.member, claim.epoch, claim.waits = member, message.epoch, key
        lock.queue.append(fiber)
        self._serve(now, key, lock)

    def release(self, now: float, fiber: int, key: Key, value: bytes | None) -> bool:
        """This fiber gives a lock back; False if it didn't hold it."""
        lock = self._locks.get(key)
        if lock is None or fiber not in lock.holders:
            return False
        if value is not None:
            lock.value = value
        lock.holders[fiber] -= 1
        if not lock.holders[fiber]:
            del lock.holders[fiber]
            self._claims[fiber].holds.pop(key)
            self._tidy_claim(fiber)
        self._serve(now, key, lock)
        return True

    def store(self, run: int, key: Key, value: bytes) -> None:
        """A variable was made."""
        lock = self._locks[key] = _Lock(0, 0.0)
        lock.value = value
        self._values_of_run.setdefault(run, []).append(key)

    # -- what becomes of fibers -----------------------------------------------------------

    def moved(self, fiber: int, member: int, epoch: int) -> None:
        """A fiber goes to another member."""
        claim = self._claims.get(fiber)
        if claim is not None:
            claim.member, claim.epoch = member, epoch

    def fiber_gone(self, now: float, fiber: int) -> None:
        """A fiber has ended or is lost: what it holds is free."""
        claim = self._claims.pop(fiber, None)
        if claim is None:
            return
        fibers = self._of_run[claim.run]
        fibers.discard(fiber)
        if not fibers:
            del self._of_run[claim.run]
        for key in claim.holds:
            lock = self._locks[key]
            del lock.holders[fiber]
            self._serve(now, key, lock)
        if claim.waits is not None and claim.waits in self._locks:
            self._serve(now, claim.waits, self._locks[claim.waits])

    def member_gone(self, now: float, member: int) -> None:
        """A member is lost, and its fibers with it."""
        for fiber in [each for each, claim in self._claims.items() if claim.member == member]:
            self.fiber_gone(now, fiber)

    def run_gone(self, now: float, run: int) -> None:
        """A run has ended."""
        for fiber in list(self._of_run.get(run, ())):
            self.fiber_gone(now, fiber)
        for key in self._values_of_run.pop(run, ()):
            self._locks[key].value = None
            self._tidy_lock(key, self._locks[key])

    # -- granting -------------------------------------------------------------------------

    def _serve(self, now: float, key: Key, lock: _Lock) -> None:
        queue = lock.queue
        while queue:
            claim = self._claims.get(queue[0])
            if claim is None or claim.waits != key:
                queue.popleft()
            elif lock.has_room(now):
                self._grant(now, queue.popleft(), claim, key, lock)
            else:
                break
        self._tidy_lock(key, lock)

    def _grant(self, now: float, fiber: int, claim: _Claim, key: Key, lock: _Lock) -> None:
        claim.waits = None
        if lock.per_seconds:
            lock.starts.append(now)
            heappush(self._windows, (now + lock.per_seconds, key))
        else:
            lock.holders[fiber] = lock.holders.get(fiber, 0) + 1
            claim.holds[key] = None
        value = _NO_VALUE if lock.value is None else lock.value
        self._say(claim.member, m.LockGranted(fiber, claim.epoch, key, value))
        self._moved(claim.run)
        self._tidy_claim(fiber)

    def _tidy_claim(self, fiber: int) -> None:
        claim = self._claims[fiber]
        if claim.waits is None and not claim.holds:
            del self._claims[fiber]
            fibers = self._of_run[claim.run]
            fibers.discard(fiber)
            if not fibers:
                del self._of_run[claim.run]

    def _tidy_lock(self, key: Key, lock: _Lock) -> None:
        if lock.is_idle:
            self._locks.pop(key, None)

    # -- time -----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When a window ends; None: nothing depends on time."""
        return self._windows[0][0] if self._windows else None

    def tick(self, now: float) -> None:
        """Time has passed."""
        while self._windows and self._windows[0][0] <= now:
            _, key = heappop(self._windows)
            lock = self._locks.get(key)
            if lock is not None:
                lock.has_room(now)  # forgets the starts that are too old
                self._serve(now, key, lock)

    # -- deadlocks ------------------------------------------------------------------------

    def may_wake(self, run: int) -> bool:
        """Whether a fiber of this run waits for time to pass, or for another run."""
        return any(
            lock.per_seconds or any(self._claims[each].run != run for each in lock.holders)
            for _, lock in self._waits_of(run)
        )

    def edges(self, run: int) -> list[tuple[int, list[int]]]:
        """Which fibers of this run wait for which, because of locks."""
        return [(fiber, list(lock.holders)) for fiber, lock in self._waits_of(run)]

    def _waits_of(self, run: int) -> Iterator[tuple[int, _Lock]]:
        for fiber in sorted(self._of_run.get(run, ())):
            waits = self._claims[fiber].waits
            if waits is not None:
                yield fiber, self._locks[waits]

    # -- checks ---------------------------------------------------------------------------

    @property
    def fibers(self) -> Iterator[tuple[int, int, int]]:
        """Each fiber that holds or waits for something, its member and its run."""
        return ((fiber, claim.member, claim.run) for fiber, claim in self._claims.items())

    def __len__(self) -> int:
        return len(self._claims) + len(self._values_of_run)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        for key, lock in self._locks.items():
            held = sum(lock.holders.values())
            if held > max(1, lock.tokens):
                raise DistioBug(f"lock {key!r} of {lock.tokens} tokens is held {held} times")
            for fiber in lock.holders:
                if fiber not in self._claims or key not in self._claims[fiber].holds:
                    raise DistioBug(
                        f"lock {key!r} is held by fiber {name_of(fiber)}, which is gone"
                    )
            if lock.is_idle:
                raise DistioBug(f"lock {key!r} is kept for nobody")


def _kind(tokens: int, per_seconds: float) -> str:
    if per_seconds:
        return f"a limit of {tokens} starts in {per_seconds:g} s"
    return f"a semaphore of {tokens} tokens" if tokens else "a reentrant lock"
