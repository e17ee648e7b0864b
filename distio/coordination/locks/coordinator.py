"""Whose turn it is, among members: locks, semaphores, limits of starts, values of variables.

Rules
-----
- The tokens of a lock (one, or those of a semaphore) are here or lent to members; a member gives
  them to its fibers (`coordination/locks/member.py`). To register and to lend is one step.
- Members say which of their fibers wait. They are served first-in first-out: a token is lent
  for so many turns as fibers of that member wait in a row at the head of the queue (of a
  semaphore, for one turn, so that no later waiter overtakes another's turn).
- If nobody else waits for them or has any, all tokens are lent to be kept: the member serves its
  own fibers, and asks no more, until they are recalled, which is when somebody else waits.
- A token belongs to a member and its fibers, never to a clock: it comes back when they return it,
  or when the member is lost. When a fiber moves, the tokens that it holds move with it.
- A lock is remembered while tokens of it are lent or waited for, a variable until its run ends, a
  limit until its window is over.
- A name means one thing at a time: whoever asks for it with other tokens is refused.
- A limit never lets more than `tokens` start in any window of `per_seconds`: the next start is
  granted when the window that began with the oldest of the last `tokens` starts is over.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence, Set
from heapq import heappop, heappush
from math import inf
from typing import Final, NamedTuple, final

from distio.coordination.state.registry import NOWHERE
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.requests import conflict

__all__ = ["Locks"]

Key = int | str
Say = Callable[[int, m.TokensGranted | m.RecallTokens | m.LockRefused], None]
"""Tells a member."""

_NO_VALUE: Final = b""


class _Waiting(NamedTuple):
    """Where a fiber is that waits."""

    member: int
    run: int


@final
class _Lock:
    """One lock."""

    __slots__ = ("free", "keeper", "lent", "per_seconds", "queue", "starts", "tokens", "value")

    def __init__(self, tokens: int, per_seconds: float) -> None:
        self.tokens = tokens
        """As fibers ask for it: 0 is a reentrant lock."""
        self.per_seconds = per_seconds
        self.free = tokens or 1
        """How many tokens are here; of a limit, they never leave."""
        self.lent: dict[int, int] = {}
        """How many are at each member."""
        self.keeper: int | None = None
        """The member that keeps them until they are recalled."""
        self.queue: OrderedDict[int, _Waiting] = OrderedDict()
        """By fiber, in the order in which they are served."""
        self.starts: deque[float] = deque()
        """Of a limit: when the last ones started."""
        self.value: bytes | None = None

    def room(self, now: float) -> int:
        """How many turns can be given now."""
        if not self.per_seconds:
            return self.free
        while self.starts and self.starts[0] + self.per_seconds <= now:
            self.starts.popleft()
        return self.tokens - len(self.starts)

    def lend(self, member: int, count: int) -> None:
        """So many tokens go there; they come back if `count` is negative."""
        self.free -= count
        left = self.lent.get(member, 0) + count
        if left:
            self.lent[member] = left
        else:
            self.lent.pop(member, None)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it has to be remembered."""
        return not (self.lent or self.queue or self.starts) and self.value is None


class Locks:
    """All locks of a cluster."""

    def __init__(self, say: Say, moved: Callable[[Key], None]) -> None:
        self._say = say
        self._moved = moved
        """Called with a lock of which tokens are lent or returned."""
        self._locks: dict[Key, _Lock] = {}
        self._waiting: dict[int, dict[int, int]] = {}
        """By member and run: how many fibers wait in queues of locks."""
        self._values_of_run: dict[int, dict[Key, None]] = {}
        self.windows: list[tuple[float, int, Key]] = []
        """When the windows of limits end, in which order they began, and whose they are.

        Keys are numbers and names, which can't be compared; the order decides before they would be.
        """
        self._order = itertools.count()

    # -- what members say -----------------------------------------------------------------

    def wait(self, now: float, member: int, message: m.AcquireTokens) -> None:
        """Fibers of this member wait for a lock; if it is free, it is theirs at once."""
        key = message.lock
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(message.tokens, message.per_seconds)
        elif (lock.tokens, lock.per_seconds) != (message.tokens, message.per_seconds):
            self._say(member, m.LockRefused(key, conflict(key, lock, message)))
            return
        elif lock.keeper == member:
            return  # said before it heard that it has them all
        waiting = _Waiting(member, message.run)
        lock.queue.update(dict.fromkeys(message.fibers, waiting))
        if message.is_ahead:
            for fiber in reversed(message.fibers):
                lock.queue.move_to_end(fiber, last=False)
        self._count(lock, waiting, len(message.fibers))
        self._serve(now, key, lock)
        if lock.keeper is not None and lock.queue:
            self._say(lock.keeper, m.RecallTokens(key))
            lock.keeper = None

    def forgo(self, member: int, key: Key, fibers: Sequence[int]) -> None:
        """These fibers of a member wait no longer, unless they had their turns meanwhile."""
        lock = self._locks.get(key)
        if lock is None:
            return
        for fiber in fibers:
            waiting = lock.queue.get(fiber)
            if waiting is not None and waiting.member == member:
                del lock.queue[fiber]
                self._count(lock, waiting, -1)
        self._tidy(key, lock)

    def take_back(
        self, now: float, member: int, key: Key, count: int, value: bytes | None = None
    ) -> bool:
        """This member returns tokens; False if it had none."""
        lock = self._locks.get(key)
        if lock is None or lock.lent.get(member, 0) < count:
            return False
        if value is not None and lock.value is not None:  # else its run is over
            lock.value = value
        if lock.keeper == member:
            lock.keeper = None
        lock.lend(member, -count)
        self._moved(key)
        self._serve(now, key, lock)
        return True

    def free(self, run: int, key: int) -> None:
        """No fiber can reach this variable any more."""
        lock = self._locks.get(key)
        if lock is not None and lock.value is not None:
            self._values_of_run[run].pop(key)
            if not self._values_of_run[run]:
                del self._values_of_run[run]
            lock.value = None
            self._tidy(key, lock)

    def store(self, run: int, key: Key, value: bytes) -> None:
        """A variable of this run was made, or set."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(0, 0.0)
        if lock.value is None:
            self._values_of_run.setdefault(run, {})[key] = None
        lock.value = value

    # -- what becomes of fibers -----------------------------------------------------------

    def move(self, held: Sequence[tuple[Key, int, int]], origin: int, target: int) -> None:
        """Fibers go from one member to another (or NOWHERE) with what they hold."""
        for key, _, count in held:
            lock = self._locks.get(key)
            if lock is not None and lock.lent.get(origin, 0) >= count:
                if lock.keeper == origin:
                    lock.keeper = None
                lock.lend(origin, -count)
                lock.lend(target, count)

    def drop(self, now: float, held: Sequence[tuple[Key, int, int]], origin: int) -> None:
        """Fibers that were on their way are gone: what they held is free."""
        for key, _, count in held:
            self.take_back(now, origin, key, count)

    def member_gone(self, now: float, member: int) -> None:
        """A member is lost, and its fibers with it: what they held is free."""
        for key, lock in list(self._locks.items()):
            waiting = [fiber for fiber, at in lock.queue.items() if at.member == member]
            self.forgo(member, key, waiting)
            self.take_back(now, member, key, lock.lent.get(member, 0))

    def run_gone(self, run: int) -> None:
        """A run has ended, and with it its variables."""
        for key in self._values_of_run.pop(run, ()):
            if (lock := self._locks.get(key)) is not None:
                lock.value = None
                self._tidy(key, lock)

    # -- lending --------------------------------------------------------------------------

    def _serve(self, now: float, key: Key, lock: _Lock) -> None:
        while lock.queue and (room := lock.room(now)) > 0:
            member = next(iter(lock.queue.values())).member
            turns = self._turns(lock, member, room if lock.tokens else inf)
            if lock.per_seconds:
                lock.starts.extend([now] * len(turns))
                heappush(self.windows, (now + lock.per_seconds, next(self._order), key))
                self._say(member, m.TokensGranted(key, 0, turns, False, _NO_VALUE))
            else:
                self._lend(member, turns, key, lock)
        self._tidy(key, lock)

    def _turns(self, lock: _Lock, member: int, most: float) -> list[int]:
        """Take out of the queue who waits at this member in a row, but not more than `most`."""
        turns: list[int] = []
        while lock.queue and len(turns) < most:
            fiber, waiting = next(iter(lock.queue.items()))
            if waiting.member != member:
                break
            del lock.queue[fiber]
            self._count(lock, waiting, -1)
            turns.append(fiber)
        return turns

    def _count(self, lock: _Lock, waiting: _Waiting, change: int) -> None:
        if lock.per_seconds:
            return  # who waits for time to pass is no reason to suspect a deadlock
        member, run = waiting
        runs = self._waiting.setdefault(member, {})
        runs[run] = runs.get(run, 0) + change
        if not runs[run]:
            del runs[run]
        if not runs:
            del self._waiting[member]

    def _lend(self, member: int, turns: list[int], key: Key, lock: _Lock) -> None:
        is_delegated = not lock.queue and lock.lent.keys() <= {member}
        count = lock.free if is_delegated else 1 if lock.tokens == 0 else len(turns)
        lock.lend(member, count)
        self._moved(key)
        lock.keeper = member if is_delegated else None
        value = _NO_VALUE if lock.value is None else lock.value
        self._say(member, m.TokensGranted(key, count, turns, is_delegated, value))

    def _tidy(self, key: Key, lock: _Lock) -> None:
        if lock.is_idle:
            self._locks.pop(key, None)

    # -- time -----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When a window ends; None: nothing depends on time."""
        return self.windows[0][0] if self.windows else None

    def is_due(self, now: float) -> bool:
        """Whether a window ends."""
        return bool(self.windows) and self.windows[0][0] <= now

    def tick(self, now: float) -> None:
        """Time has passed."""
        while self.is_due(now):
            _, _, key = heappop(self.windows)
            lock = self._locks.get(key)
            if lock is not None:
                lock.room(now)  # forgets the starts that are too old
                self._serve(now, key, lock)

    # -- what members may say -------------------------------------------------------------

    def has_lent(self, member: int, held: Sequence[tuple[Key, int, int]]) -> bool:
        """Whether this member has these tokens, each lock once, to give to others."""
        for key, tokens, count in held:
            lock = self._locks.get(key)
            if lock is None or lock.tokens != tokens or lock.lent.get(member, 0) < count:
                return False
        return len({key for key, _, _ in held}) == len(held)

    def is_waiting(self, key: Key, fibers: Sequence[int]) -> bool:
        """Whether one of these waits for this lock."""
        lock = self._locks.get(key)
        return lock is not None and any(fiber in lock.queue for fiber in fibers)

    def is_variable(self, run: int, key: Key) -> bool:
        """Whether this is a variable of this run."""
        return key in self._values_of_run.get(run, ())

    # -- deadlocks ------------------------------------------------------------------------

    def waiting(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait here for locks."""
        return self._waiting.get(member, {})

    def all_held(self, held: Mapping[Key, Sequence[int]]) -> bool:
        """Whether no token of these locks is anywhere but in the hands of these fibers."""
        for key, fibers in held.items():
            lock = self._locks.get(key)
            if lock is None or len(fibers) < (lock.tokens or 1):
                return False
        return True

    # -- checks ---------------------------------------------------------------------------

    @property
    def members(self) -> set[int]:
        """Those that have tokens, or wait for some; NOWHERE if some are on their way."""
        found: set[int] = set()
        for lock in self._locks.values():
            found |= lock.lent.keys()
            found.update(waiting.member for waiting in lock.queue.values())
        return found

    def __len__(self) -> int:
        """How many of them somebody has or waits for, and how many runs have variables."""
        used = sum(1 for lock in self._locks.values() if lock.lent or lock.queue)
        return used + len(self._values_of_run) + len(self._waiting)

    def count_anew(self, now: float, members: Set[int]) -> None:
        """After a failure: nothing is at members that are none, and the rest adds up."""
        self._waiting.clear()
        for key, lock in list(self._locks.items()):
            lock.lent = {at: count for at, count in lock.lent.items() if at in members}
            lock.free = (lock.tokens or 1) - sum(lock.lent.values())
            if lock.keeper not in lock.lent or lock.queue:
                lock.keeper = None
            queue, lock.queue = lock.queue, OrderedDict()
            for fiber, waiting in queue.items():
                if waiting.member in members:
                    lock.queue[fiber] = waiting
                    self._count(lock, waiting, 1)
            self._serve(now, key, lock)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        in_queues = sum(len(lock.queue) for lock in self._locks.values() if not lock.per_seconds)
        if in_queues != sum(sum(runs.values()) for runs in self._waiting.values()):
            raise DistioBug(f"{in_queues} fibers wait for locks, but {self._waiting} are counted")
        for key, lock in self._locks.items():
            if lock.free + sum(lock.lent.values()) != (lock.tokens or 1) or lock.free < 0:
                raise DistioBug(
                    f"lock {key!r} of {lock.tokens} tokens has {lock.free} and has lent {lock.lent}"
                )
            if lock.keeper is not None and (lock.queue or lock.keeper not in lock.lent):
                raise DistioBug(f"lock {key!r} is kept by {lock.keeper}, but others wait")
            if lock.queue and lock.free and not lock.per_seconds:
                raise DistioBug(f"lock {key!r} is free, but {len(lock.queue)} wait for it")
            if lock.is_idle:
                raise DistioBug(f"lock {key!r} is kept for nobody")
            if NOWHERE in {waiting.member for waiting in lock.queue.values()}:
                raise DistioBug(f"lock {key!r} is waited for from nowhere")
