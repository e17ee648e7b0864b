"""A member's part in locks and variables: which of its fibers hold which lock, and which wait.

Rules
-----
- A member gives its fibers the tokens that the coordinator has lent it. Fibers that wait here are
  served first-in first-out. To register and to grant is one step.
- While it keeps a lock, nobody elsewhere waits for it: its fibers hand it on among themselves,
  and no message is sent. Otherwise each fiber that waits is told to the coordinator, which gives
  turns in the order in which it hears of them; a token without a turn goes back.
- The locks that a fiber holds are in the fiber (`Fiber.holds`) and travel with it, tokens and all.
- The value of a variable comes with its token, as bytes, and goes back with it. A value that is set
  in between is told at once, so that it outlives this member.
- A lock that no fiber here uses is kept for a while, for the next that does; not more than
  `_MOST_IDLE` of them, and none longer than the runs that have used it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence, Sized
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from distio.coordination.dispatch import answers, handles
from distio.coordination.feature.member import Departure, MemberFeature, WaitsOfRun
from distio.coordination.locks.local_lock import LocalLock
from distio.coordination.references.member import References
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle, HeldLock
from distio.core.outcomes import PackedValue
from distio.errors import ClusterClosed, DistioBug, MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import name_of
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING, Acquire, Lock, conflict
from distio.result import Panic

__all__ = ["Locks"]

Key = int | str

_MOST_IDLE: Final = 1_000
_VALUE_GONE: Final = "this Var belongs to a run that is over, and its value is gone with it"


class Locks(MemberFeature):
    """The locks that the fibers of one member hold and wait for."""

    def __init__(self, state: MemberState, references: References) -> None:
        self._state = state
        self._references = references
        self._locks: dict[Key, LocalLock] = {}
        self._idle: dict[Key, None] = {}
        """Locks that are kept for the next fiber, in the order in which they became idle."""
        self._withdrawals = 0
        """How many `WithdrawAcquire` were sent."""
        self.values: dict[Key, Any] = {}
        """The values of variables, as they are, at a member that is alone."""

    # -- what fibers ask ------------------------------------------------------------------

    @answers
    def make(self, fiber: Fiber, request: rq.MakeLock) -> Fiber:
        """Answer with a new lock; with a value, a variable."""
        if fiber.failure is not None:  # the value can't leave the process
            return fiber
        state = self._state
        self._references.give_back()  # a run that is never idle must not keep what died
        key = state.new_key()
        if request.value is NOTHING:
            fiber.value = Lock(key)
            return fiber
        fiber.value = Lock(key, has_value=True, claim=self._references.made(key))
        if state.is_standalone:
            self.values[key] = request.value
            state.runs[fiber.run].values[key] = None
        self._references.export(request.handles, is_for_good=True)
        state.send(m.StoreValue(fiber.run, key, request.payload, is_new=True))
        return fiber

    @answers
    def acquire(self, fiber: Fiber, request: rq.Acquire) -> Fiber | None:
        """Answer when the lock is the fiber's; park it until then."""
        state, wanted = self._state, request.lock
        lock = self._find(wanted.key, wanted.tokens, wanted.per_seconds)
        if lock.tokens != wanted.tokens or lock.per_seconds != wanted.per_seconds:
            _fail(fiber, MatchError(conflict(wanted.key, lock, wanted)))
            return fiber
        self._used_by(fiber, lock)
        if lock.is_delegated:
            if lock.free and not lock.turns:
                self._idle.pop(lock.key, None)
                self._grant(fiber, lock)
                return fiber
            lock.turns[fiber.id] = fiber
            state.park(fiber)
            return None
        if state.orphaned_because:
            _fail(fiber, ClusterClosed(state.orphaned_because))
            self._tidy(lock)
            return fiber
        lock.asked[fiber.id] = fiber
        state.park(fiber, is_asked=True)
        self._ask(lock, [fiber])
        return None

    def withdraw(self, fiber: Fiber, request: rq.Acquire) -> bool:
        lock = self._locks[request.lock.key]
        if lock.turns.pop(fiber.id, None) is None:
            del lock.asked[fiber.id]
            self._send_withdrawal(lock, [fiber.id])
        self._serve(lock)
        return True

    @answers
    def give_back(self, fiber: Fiber, request: rq.Release) -> Fiber:
        """The fiber gives a token back, with its variable's value if that was changed."""
        self.release(fiber, request.lock.key, request.payload, request.handles)
        return fiber

    def release(
        self,
        fiber: Fiber,
        key: Key,
        payload: Bytes | None = None,
        handles: Sequence[Handle[Any, Any, Any]] = (),
    ) -> None:
        """The fiber holds a token of this lock no longer."""
        state, lock = self._state, self._locks[key]
        assert fiber.holds is not None
        held = fiber.holds[key]
        if lock.tokens:
            held.count -= 1
        if not lock.tokens or not held.count:
            del fiber.holds[key], lock.holders[fiber.id]
        if state.is_standalone and held.is_changed:
            if key in self.values:  # else nobody can read it any more
                self.values[key] = held.value
        elif payload is not None:
            self._references.export(handles, is_for_good=True)
            lock.value, lock.is_changed = payload, True
        lock.free += 1
        self._serve(lock)
        if lock.is_changed and not state.is_standalone:
            lock.is_changed = False
            state.send(m.StoreValue(fiber.run, key, lock.value))

    # -- what the coordinator says --------------------------------------------------------

    @handles
    def grant(self, message: m.TokensGranted) -> None:
        """Tokens have come, or turns of a limit."""
        lock = self._locks.get(message.lock)
        if lock is None:  # nobody here waits any more
            self._state.stale += 1
            if message.count:
                self._state.send(m.ReturnTokens(message.lock, message.count))
            return
        lock.value = message.value
        turns = [id for id in message.turns if _is_turn(lock.asked.get(id), message)]
        if lock.per_seconds:
            self._start(lock, turns)
            return
        self._have_turns(lock, turns)
        if message.is_delegated:
            lock.is_delegated = True
            if late := list(lock.asked):  # the question for them crossed this message
                self._send_withdrawal(lock, late)
                self._have_turns(lock, late)
        lock.free += message.count
        self._serve(lock)

    @handles
    def recall(self, message: m.RecallTokens) -> None:
        """Somebody elsewhere waits: those who wait here already have their turns, and no more."""
        lock = self._locks.get(message.lock)
        if lock is None or not lock.is_delegated:
            self._state.stale += 1
            return
        lock.is_delegated = False
        self._serve(lock)

    @handles
    def refuse(self, message: m.LockRefused) -> None:
        """Refuse the lock to all fibers here that wait for it."""
        lock = self._locks.get(message.lock)
        if lock is None:
            self._state.stale += 1
        else:
            self._refuse(lock, MatchError(message.reason))

    def _refuse(self, lock: LocalLock, why: Exception) -> None:
        while lock.asked:
            _, fiber = lock.asked.popitem(last=False)
            _fail(fiber, why)
            self._state.unpark(fiber)
        self._tidy(lock)

    # -- hooks ----------------------------------------------------------------------------

    def fiber_ended(self, fiber: Fiber) -> None:
        """Free the locks that the fiber holds."""
        while fiber.holds:
            self.release(fiber, next(reversed(fiber.holds)))

    def fibers_leave(self, departure: Departure) -> None:
        """Fibers take along what they hold."""
        counts: dict[Key, int] = {}
        for fiber in departure.fibers:
            for key, held in (fiber.holds or {}).items():
                lock = self._locks[key]
                del lock.holders[fiber.id]
                counts[key] = counts.get(key, 0) + (held.count if lock.tokens else 1)
        departure.held = [(key, self._locks[key].tokens, count) for key, count in counts.items()]

    def held_by(self, fiber: Fiber, released: Key | None) -> list[tuple[Key, int, int]]:
        """(lock, its tokens, how many of them) that a fiber holds.

        Args:
            fiber: the fiber.
            released: the key of a lock of which one token doesn't count.
        """
        held = []
        for key, mine in (fiber.holds or {}).items():
            tokens = self._locks[key].tokens
            count = (mine.count if tokens else 1) - (key == released)
            if count:
                held.append((key, tokens, count))
        return held

    def fibers_left(self, departure: Departure) -> None:
        """A lock that isn't all here can't be delegated, and fibers that had turns ask anew."""
        for key, _, _ in departure.held:
            lock = self._locks[key]
            served, lock.turns = lock.turns, OrderedDict()
            lock.is_delegated = False
            lock.asked = OrderedDict([*served.items(), *lock.asked.items()])
            for fiber in served.values():
                self._state.asks_now(fiber)
            self._ask(lock, list(served.values()), is_ahead=True)
            self._serve(lock)

    def fibers_arrived(self, chunk: m.Chunk, fibers: Sequence[Fiber]) -> None:
        """Fibers came with what they hold; what none of them has after all goes back."""
        held = chunk.held
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

    def chunk_dropped(self, chunk: m.Chunk) -> None:
        """Give back the tokens that its fibers hold."""
        for key, _, count in chunk.held:
            self._state.send(m.ReturnTokens(key, count))

    def free(self, keys: Sequence[int]) -> Sequence[Any]:
        if not (self._locks or self.values):
            return ()
        return [self._free(key) for key in keys if key in self._locks or key in self.values]

    def _free(self, key: int) -> Any:
        lock = self._locks.get(key)
        if lock is not None and lock.is_idle:
            lock.is_delegated = False
            self._serve(lock)
        for run in self._state.runs.values() if key in self.values else ():
            run.values.pop(key, None)
        return self.values.pop(key, None)

    def run_ended(self, run: LocalRun) -> None:
        """Take the run's fibers and values out of all locks."""
        for value in run.values:
            self.values.pop(value, None)
        for key in list(run.locks):
            lock = self._locks[key]
            lock.runs.discard(run.id)
            self._withdraw_acquire(lock, run.id)
            for fiber in [each for each in lock.holders.values() if each.run == run.id]:
                lock.free += lock.count(fiber)
                del lock.holders[fiber.id]
            if lock.is_idle and not lock.runs:
                lock.is_delegated = False
            self._serve(lock)

    def coordinator_lost(self, reason: str) -> None:
        """Refuse all locks that the coordinator was asked for."""
        for lock in [lock for lock in self._locks.values() if lock.asked]:
            self._refuse(lock, ClusterClosed(reason))

    def _withdraw_acquire(self, lock: LocalLock, run: int) -> None:
        """The fibers of this run wait no longer."""
        for id in [id for id, fiber in lock.turns.items() if fiber.run == run]:
            del lock.turns[id]
        forgone = [id for id, fiber in lock.asked.items() if fiber.run == run]
        for id in forgone:
            del lock.asked[id]
        if forgone:
            self._send_withdrawal(lock, forgone)

    # -- granting -------------------------------------------------------------------------

    def _find(self, key: Key, tokens: int, per_seconds: float) -> LocalLock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = LocalLock(key, tokens, per_seconds)
        return lock

    def _used_by(self, fiber: Fiber, lock: LocalLock) -> None:
        if fiber.run not in lock.runs:
            lock.runs.add(fiber.run)
            self._state.runs[fiber.run].locks[lock.key] = None

    def _ask(self, lock: LocalLock, fibers: Sequence[Fiber], *, is_ahead: bool = False) -> None:
        """Tell the coordinator that these wait, in this order."""
        for fiber in fibers:
            assert isinstance(fiber.request, Acquire)
            fiber.request.asked_after = self._withdrawals
        runs = [(run, [each.id for each in of]) for run, of in groupby(fibers, attrgetter("run"))]
        for run, ids in reversed(runs) if is_ahead else runs:
            self._state.send(
                m.AcquireTokens(lock.key, lock.tokens, lock.per_seconds, run, ids, is_ahead)
            )

    def _send_withdrawal(self, lock: LocalLock, fibers: list[int]) -> None:
        """Tell the coordinator that these no longer wait."""
        self._withdrawals += 1
        self._state.send(m.WithdrawAcquire(lock.key, fibers, self._withdrawals))

    def _have_turns(self, lock: LocalLock, ids: Sequence[int]) -> None:
        """Fibers have their turns: from now on they wait for others here."""
        for id in ids:
            fiber = lock.turns[id] = lock.asked.pop(id)
            self._state.asks_no_more(fiber)

    def _start(self, lock: LocalLock, ids: Sequence[int]) -> None:
        """Let those start whose turn it is: a limit is held by nobody."""
        for id in ids:
            fiber = lock.asked.pop(id)
            fiber.value = None
            self._state.unpark(fiber)
        self._tidy(lock)

    def _serve(self, lock: LocalLock) -> None:
        while lock.free and lock.turns:
            _, fiber = lock.turns.popitem(last=False)
            self._grant(fiber, lock)
            self._state.unpark(fiber)
        if lock.turns:
            return  # by far the most frequent: others still wait, and nothing is free
        if lock.free and not lock.is_delegated:
            value = lock.value if lock.is_changed else None
            self._state.send(m.ReturnTokens(lock.key, lock.free, value))
            lock.free, lock.is_changed = 0, False
        self._tidy(lock)

    def _grant(self, fiber: Fiber, lock: LocalLock) -> None:
        request = fiber.request
        assert isinstance(request, Acquire)
        key, value = lock.key, None
        if request.lock.has_value:
            if self._state.is_standalone:
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

    def _tidy(self, lock: LocalLock) -> None:
        """Forget the lock if nobody needs it; keep it for the next if it is kept, but not too
        many."""
        if not lock.is_idle:
            return
        if not lock.is_delegated:
            self._idle.pop(lock.key, None)
            del self._locks[lock.key]
            for run in lock.runs:
                self._state.runs[run].locks.pop(lock.key, None)
            return
        self._idle[lock.key] = None
        if len(self._idle) > _MOST_IDLE:
            oldest = self._locks[next(iter(self._idle))]
            oldest.is_delegated = False
            self._serve(oldest)

    # -- deadlocks and checks -------------------------------------------------------------

    def add_waits(self, waits: WaitsOfRun) -> None:
        """Which fibers wait for which locks and hold which; of a semaphore, each token counts."""
        run = waits.run
        for fiber in self._state.parked_on(Acquire, run.id):
            assert isinstance(fiber.request, Acquire)
            waits.for_locks.append((fiber.id, fiber.request.lock.key))
        for key in run.locks:
            lock = self._locks[key]
            holders = [
                fiber.id
                for fiber in lock.holders.values()
                if fiber.run == run.id
                for _ in range(lock.count(fiber))
            ]
            if holders:
                waits.held.append((key, holders))

    def leftovers(self) -> Mapping[str, Sized]:
        return {"locks": self._locks, "values of variables": self.values}

    def validate(self) -> None:
        for key, lock in self._locks.items():
            if lock.is_idle and not lock.is_delegated:
                raise DistioBug(f"lock {key!r} is remembered for nobody")
            if lock.free < 0 or (lock.free and (lock.turns or not lock.is_delegated)):
                raise DistioBug(f"lock {key!r} is free {lock.free} times, for nobody")
            if lock.is_delegated and lock.asked:
                raise DistioBug(f"lock {key!r} is kept, but {len(lock.asked)} fibers ask for it")
            held = sum(lock.count(fiber) for fiber in lock.holders.values())
            if held > max(1, lock.tokens):
                raise DistioBug(f"lock {key!r} of {lock.tokens} tokens is held {held} times")
            for fiber in [*lock.turns.values(), *lock.asked.values()]:
                if self._state.parked.get(fiber.id) is not fiber:
                    raise DistioBug(
                        f"fiber {name_of(fiber.id)} waits for {key!r}, and isn't parked"
                    )


def _fail(fiber: Fiber, why: Exception) -> None:
    fiber.failure = Panic([TracedException(why, str(why))], [])


def _is_turn(fiber: Fiber | None, granted: m.TokensGranted) -> bool:
    """Whether a fiber waits for this turn; it may have withdrawn from it, and have asked anew."""
    if fiber is None:
        return False
    assert isinstance(fiber.request, Acquire)
    return fiber.request.asked_after <= granted.withdrawals
