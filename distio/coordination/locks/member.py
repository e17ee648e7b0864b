"""A member's part in locks and variables: which of its fibers has which lock, and who waits.

Rules
-----
- A member gives its fibers the tokens that the coordinator has lent it. Those who wait here are
  served first-in first-out. To register and to grant is one step.
- While it keeps a lock, nobody elsewhere waits for it: its fibers hand it on among themselves,
  and no message is sent. Otherwise each fiber that waits is told to the coordinator, which gives
  turns in the order in which it hears of them; a token without a turn goes back.
- What a fiber holds is in the fiber (`Fiber.holds`) and travels with it, and so do the tokens.
- The value of a variable comes with its token, as bytes, and goes back with it. What is set in
  between is told at once, so that it outlives this member.
- A lock that nobody here uses is kept for a while, for the next who does; not more than
  `_MOST_IDLE` of them, and none longer than the runs that have used it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.fiber import Fiber, Handle, HeldLock
from distio.core.snapshot import PackedValue
from distio.errors import ClusterClosed, DistioBug, MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import NOTHING, Acquire, Lock, MakeLock, conflict
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["Locks"]

Key = int | str

_MOST_IDLE: Final = 1_000
_VALUE_GONE: Final = "this Var belongs to a run that is over, and its value is gone with it"


@final
class _Lock:
    """One lock, as far as it is here."""

    __slots__ = (
        "asked",
        "free",
        "holders",
        "is_changed",
        "is_delegated",
        "key",
        "per_seconds",
        "runs",
        "tokens",
        "turns",
        "value",
    )

    def __init__(self, key: Key, tokens: int, per_seconds: float) -> None:
        self.key = key
        self.tokens = tokens
        """As in `requests.Lock`: 0 if it is reentrant."""
        self.per_seconds = per_seconds
        self.free = 0
        """How many tokens are here and in nobody's hands."""
        self.holders: dict[int, Fiber] = {}
        self.turns: OrderedDict[int, Fiber] = OrderedDict()
        """Those that wait, parked, and are to be served with the tokens that are here, in this
        order."""
        self.asked: OrderedDict[int, Fiber] = OrderedDict()
        """Those that wait for turns, for which the coordinator was asked, in this order."""
        self.is_delegated = False
        """Whether there is no need to ask it: all of them are."""
        self.value = b""
        """Of a variable; empty while there is no token here."""
        self.is_changed = False
        """Whether the coordinator doesn't know the value yet."""
        self.runs: set[int] = set()
        """Those whose fibers have used it here."""

    @property
    def is_idle(self) -> bool:
        """Whether no fiber here has anything to do with it."""
        return not (self.holders or self.turns or self.asked)


class Locks:
    """The locks that the fibers of one member hold and wait for."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._locks: dict[Key, _Lock] = {}
        self._idle: dict[Key, None] = {}
        """Those that are kept for nobody, in the order in which they became so."""
        self.values: dict[Key, Any] = {}
        """Of a member that is alone: the values of variables, as they are."""

    # -- what fibers ask ------------------------------------------------------------------

    def make(self, fiber: Fiber, request: MakeLock) -> None:
        """Answer with a new lock; with a value, a variable."""
        member = self._member
        member.references.give_back()  # a run that is never idle must not keep what died
        key = member.new_key()
        if request.value is NOTHING:
            fiber.value = Lock(key)
            return
        fiber.value = Lock(key, has_value=True, claim=member.references.made(key))
        run = member.runs[fiber.run]
        if member.is_standalone:
            self.values[key] = request.value
            run.values[key] = None
        member.export(request.handles, is_for_good=True)
        member.outbox.append(m.StoreValue(fiber.run, key, request.payload, is_new=True))

    def acquire(self, fiber: Fiber, request: Lock) -> bool:
        """Answer when the lock is the fiber's; park it until then.

        Returns:
            Whether it was answered at once.
        """
        lock = self._find(request.key, request.tokens, request.per_seconds)
        if lock.tokens != request.tokens or lock.per_seconds != request.per_seconds:
            _fail(fiber, MatchError(conflict(request.key, lock, request)))
            return True
        self._used_by(fiber, lock)
        if lock.is_delegated and lock.free and not lock.turns:
            self._idle.pop(lock.key, None)
            self._grant(fiber, lock)
            return True
        if self._member.orphaned_because and not lock.is_delegated:
            _fail(fiber, ClusterClosed(self._member.orphaned_because))
            self._tidy(lock)
            return True
        self._member.park(fiber)
        if lock.is_delegated:
            lock.turns[fiber.id] = fiber
            self._member.runs[fiber.run].block(1)
        else:
            lock.asked[fiber.id] = fiber
            self._ask(lock, [fiber])
        return False

    def give_up(self, fiber: Fiber, request: Lock) -> None:
        """The fiber, which is parked on it, waits no longer."""
        lock, run = self._locks[request.key], self._member.runs[fiber.run]
        if lock.turns.pop(fiber.id, None) is not None:
            run.block(-1)
        else:
            del lock.asked[fiber.id]
            self._member.outbox.append(m.WithdrawAcquire(lock.key, [fiber.id]))
            if not lock.per_seconds:
                run.ask(-1)
        self._serve(lock)

    def release(
        self,
        fiber: Fiber,
        key: Key,
        payload: bytes | None = None,
        handles: Sequence[Handle[Any, Any, Any]] = (),
    ) -> None:
        """The fiber, which holds it, gives a token back, with its variable's value if changed."""
        member, lock = self._member, self._locks[key]
        assert fiber.holds is not None
        held = fiber.holds[key]
        if lock.tokens:
            held.count -= 1
        if not lock.tokens or not held.count:
            del fiber.holds[key], lock.holders[fiber.id]
        if member.is_standalone and held.is_changed:
            if key in self.values:  # else nobody can read it any more
                self.values[key] = held.value
        elif payload is not None:
            member.export(handles, is_for_good=True)
            lock.value, lock.is_changed = payload, True
        lock.free += 1
        self._serve(lock)
        if lock.is_changed and not member.is_standalone:
            lock.is_changed = False
            member.outbox.append(m.StoreValue(fiber.run, key, lock.value))

    def release_all(self, fiber: Fiber) -> None:
        """The fiber has ended: what it holds is free."""
        while fiber.holds:
            self.release(fiber, next(reversed(fiber.holds)))

    # -- what the coordinator says --------------------------------------------------------

    def lent(self, message: m.TokensGranted) -> None:
        """Tokens have come, or turns of a limit."""
        lock = self._locks.get(message.lock)
        if lock is None:  # nobody here waits any more
            self._member.stale += 1
            if message.count:
                self._member.outbox.append(m.ReturnTokens(message.lock, message.count))
            return
        lock.value = message.value
        turns = [id for id in message.turns if id in lock.asked]  # the others have given up
        if lock.per_seconds:
            self._start(lock, turns)
            return
        self._have_turns(lock, turns)
        if message.is_delegated:
            lock.is_delegated = True
            if late := list(lock.asked):  # what it asked for them crossed this message
                self._member.outbox.append(m.WithdrawAcquire(lock.key, late))
                self._have_turns(lock, late)
        lock.free += message.count
        self._serve(lock)

    def recalled(self, message: m.RecallTokens) -> None:
        """Somebody elsewhere waits: those who wait here already have their turns, and no more."""
        lock = self._locks.get(message.lock)
        if lock is None or not lock.is_delegated:
            self._member.stale += 1
            return
        lock.is_delegated = False
        self._serve(lock)

    def refused(self, message: m.LockRefused) -> None:
        """Nobody here can have this lock."""
        lock = self._locks.get(message.lock)
        if lock is None:
            self._member.stale += 1
        else:
            self._refuse(lock, MatchError(message.reason))

    def refuse_asked(self, reason: str) -> None:
        """No lock that the coordinator was asked for is to be had."""
        for lock in [lock for lock in self._locks.values() if lock.asked]:
            self._refuse(lock, ClusterClosed(reason))

    def _refuse(self, lock: _Lock, why: Exception) -> None:
        while lock.asked:
            _, fiber = lock.asked.popitem(last=False)
            if not lock.per_seconds:
                self._member.runs[fiber.run].ask(-1)
            _fail(fiber, why)
            self._member.unpark(fiber)
        self._tidy(lock)

    # -- fibers that move -----------------------------------------------------------------

    def leave(self, fibers: Sequence[Fiber]) -> list[tuple[Key, int, int]]:
        """These fibers leave with what they hold; `left` is to be called when that was said."""
        counts: dict[Key, int] = {}
        for fiber in fibers:
            for key, held in (fiber.holds or {}).items():
                lock = self._locks[key]
                del lock.holders[fiber.id]
                counts[key] = counts.get(key, 0) + (held.count if lock.tokens else 1)
        return [(key, self._locks[key].tokens, count) for key, count in counts.items()]

    def left(self, held: Sequence[tuple[Key, int, int]]) -> None:
        """It was said: what isn't all here can't be kept, and those who had turns ask anew."""
        for key, _, _ in held:
            lock = self._locks[key]
            served, lock.turns = lock.turns, OrderedDict()
            lock.is_delegated = False
            lock.asked = OrderedDict([*served.items(), *lock.asked.items()])
            for fiber in served.values():
                self._member.runs[fiber.run].block(-1)
            self._ask(lock, list(served.values()), is_ahead=True)
            self._serve(lock)

    def arrived(self, held: Sequence[tuple[Key, int, int]], fibers: Sequence[Fiber]) -> None:
        """Fibers came with what they hold; what none of them has after all goes back."""
        for key, tokens, count in held:
            self._find(key, tokens, 0.0).free += count
        for fiber in fibers:
            for key, mine in (fiber.holds or {}).items():
                lock = self._locks[key]
                lock.free -= mine.count if lock.tokens else 1
                lock.holders[fiber.id] = fiber
                self._used_by(fiber, lock)
        for key, _, _ in held:
            self._serve(self._locks[key])

    def lost(self, held: Sequence[tuple[Key, int, int]]) -> None:
        """Fibers came, but nobody wants them any more: what they hold is free."""
        for key, _, count in held:
            self._member.outbox.append(m.ReturnTokens(key, count))

    def knows(self, key: int) -> bool:
        """Whether there is anything here of this lock."""
        return key in self._locks

    def let_go(self, key: int) -> Any:
        """No fiber here can reach this variable any more; return what is dropped of it."""
        lock = self._locks.get(key)
        if lock is not None and lock.is_idle:
            lock.is_delegated = False
            self._serve(lock)
        for run in self._member.runs.values() if key in self.values else ():
            run.values.pop(key, None)
        return self.values.pop(key, None)

    # -- the end of a run -----------------------------------------------------------------

    def run_gone(self, run: int, keys: Sequence[Key]) -> None:
        """Nothing of this run has anything to do with these locks any more."""
        for key in keys:
            lock = self._locks[key]
            lock.runs.discard(run)
            self._forgo(lock, run)
            for fiber in [each for each in lock.holders.values() if each.run == run]:
                assert fiber.holds is not None
                lock.free += fiber.holds[key].count if lock.tokens else 1
                del lock.holders[fiber.id]
            if lock.is_idle and not lock.runs:
                lock.is_delegated = False
            self._serve(lock)

    def _forgo(self, lock: _Lock, run: int) -> None:
        """The fibers of this run wait no longer."""
        for id in [id for id, fiber in lock.turns.items() if fiber.run == run]:
            del lock.turns[id]
        forgone = [id for id, fiber in lock.asked.items() if fiber.run == run]
        for id in forgone:
            del lock.asked[id]
        if forgone:
            self._member.outbox.append(m.WithdrawAcquire(lock.key, forgone))

    # -- granting -------------------------------------------------------------------------

    def _find(self, key: Key, tokens: int, per_seconds: float) -> _Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(key, tokens, per_seconds)
        return lock

    def _used_by(self, fiber: Fiber, lock: _Lock) -> None:
        if fiber.run not in lock.runs:
            lock.runs.add(fiber.run)
            self._member.runs[fiber.run].locks[lock.key] = None

    def _ask(self, lock: _Lock, fibers: Sequence[Fiber], *, is_ahead: bool = False) -> None:
        """Tell the coordinator that these wait, in this order."""
        runs = [(run, [each.id for each in of]) for run, of in groupby(fibers, attrgetter("run"))]
        for run, ids in reversed(runs) if is_ahead else runs:
            if not lock.per_seconds:
                self._member.runs[run].ask(len(ids))
            self._member.outbox.append(
                m.AcquireTokens(lock.key, lock.tokens, lock.per_seconds, run, ids, is_ahead)
            )

    def _have_turns(self, lock: _Lock, ids: Sequence[int]) -> None:
        """It is their turn: from now on they wait for others here."""
        for id in ids:
            fiber = lock.turns[id] = lock.asked.pop(id)
            run = self._member.runs[fiber.run]
            run.ask(-1)
            run.block(1)

    def _start(self, lock: _Lock, ids: Sequence[int]) -> None:
        """Let those start whose turn it is: a limit is held by nobody."""
        for id in ids:
            fiber = lock.asked.pop(id)
            fiber.value = None
            self._member.unpark(fiber)
        self._tidy(lock)

    def _serve(self, lock: _Lock) -> None:
        while lock.free and lock.turns:
            _, fiber = lock.turns.popitem(last=False)
            self._member.runs[fiber.run].block(-1)
            self._grant(fiber, lock)
            self._member.unpark(fiber)
        if lock.turns:
            return  # by far the most frequent: others still wait, and nothing is free
        if lock.free and not lock.is_delegated:
            value = lock.value if lock.is_changed else None
            self._member.outbox.append(m.ReturnTokens(lock.key, lock.free, value))
            lock.free, lock.is_changed = 0, False
        self._tidy(lock)

    def _grant(self, fiber: Fiber, lock: _Lock) -> None:
        request = fiber.request
        assert isinstance(request, Acquire)
        key, value = lock.key, None
        if request.lock.has_value:
            if self._member.is_standalone:
                is_there = key in self.values
                value = self.values.get(key)
            else:
                is_there = bool(lock.value)
                value = PackedValue(lock.value)
            if not is_there:
                _fail(fiber, MatchError(_VALUE_GONE))
                return
        lock.free -= 1
        lock.holders[fiber.id] = fiber
        if fiber.holds is None:
            fiber.holds = {key: HeldLock(value)}
        elif key in fiber.holds:
            fiber.holds[key].count += 1
        else:
            fiber.holds[key] = HeldLock(value)
        fiber.value = value

    def _tidy(self, lock: _Lock) -> None:
        """Forget it if nobody needs it; keep it for the next if it is kept, but not too many."""
        if not lock.is_idle:
            return
        if not lock.is_delegated:
            self._idle.pop(lock.key, None)
            del self._locks[lock.key]
            for run in lock.runs:
                self._member.runs[run].locks.pop(lock.key, None)
            return
        self._idle[lock.key] = None
        if len(self._idle) > _MOST_IDLE:
            oldest = self._locks[next(iter(self._idle))]
            oldest.is_delegated = False
            self._serve(oldest)

    # -- deadlocks and checks -------------------------------------------------------------

    def held_by(self, run: int) -> list[tuple[Key, list[int]]]:
        """Which fibers of this run hold which locks; of a semaphore, once for each token."""
        held = []
        for key in self._member.runs[run].locks:
            lock = self._locks[key]
            fibers = [
                fiber.id
                for fiber in lock.holders.values()
                if fiber.run == run
                for _ in range(_count(fiber, lock))
            ]
            if fibers:
                held.append((key, fibers))
        return held

    def __len__(self) -> int:
        return len(self._locks) + len(self.values)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        for key, lock in self._locks.items():
            if lock.is_idle and not lock.is_delegated:
                raise DistioBug(f"lock {key!r} is remembered for nobody")
            if lock.free < 0 or (lock.free and (lock.turns or not lock.is_delegated)):
                raise DistioBug(f"lock {key!r} is free {lock.free} times, for nobody")
            if lock.is_delegated and lock.asked:
                raise DistioBug(f"lock {key!r} is kept, but {len(lock.asked)} fibers ask for it")
            held = sum(_count(fiber, lock) for fiber in lock.holders.values())
            if held > max(1, lock.tokens):
                raise DistioBug(f"lock {key!r} of {lock.tokens} tokens is held {held} times")
            for fiber in [*lock.turns.values(), *lock.asked.values()]:
                if self._member.parked.get(fiber.id) is not fiber:
                    raise DistioBug(
                        f"fiber {name_of(fiber.id)} waits for {key!r}, and isn't parked"
                    )


def _count(fiber: Fiber, lock: _Lock) -> int:
    assert fiber.holds is not None
    return fiber.holds[lock.key].count if lock.tokens else 1


def _fail(fiber: Fiber, why: Exception) -> None:
    fiber.failure = Panic([TracedException(why, str(why))], [])
