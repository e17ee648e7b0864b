"""Locks, semaphores, limits of starts and values of variables: which member's turn it is.

Rules
-----
- The tokens of a lock (one, or those of a semaphore) are here or lent to members; a member gives
  them to its fibers (`coordination/locks/member.py`). To register and to lend is one step.
- Members say which of their fibers wait. They are served first-in first-out: a token is lent
  for so many turns as fibers of that member wait in a row at the head of the queue (of a
  semaphore, for one turn, so that no later waiter overtakes another's turn).
- If no other member waits for them or has any, all tokens are delegated: the member serves its
  own fibers, and asks no more, until they are recalled, which is when another member waits.
- A token belongs to a member and its fibers, never to a clock: it comes back when they return it,
  or when the member is lost. When a fiber moves, the tokens that it holds move with it.
- A fiber that goes on elsewhere, since its member is lost, asks again, and gets its old place then.
  So does one that had been given a turn. The lock doesn't wait for them: who is there comes first.
  A place is given up when its fiber is saved before it asks (so it has gone on without), and when
  it ends.
- A lock is remembered while tokens of it are lent, waited for, or about to be asked for again, a
  variable until its run ends, a limit until its window is over.
- A name means one thing at a time: a fiber that asks for it with other tokens is refused.
- A limit never lets more than `tokens` start in any window of `per_seconds`: the next start is
  granted when the window that began with the oldest of the last `tokens` starts is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from itertools import islice
from math import inf
from typing import Final

from distio.coordination.admission import Inadmissible, Late, part_of, require, require_host
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature, Key
from distio.coordination.locks.books import LockBooks
from distio.coordination.locks.places import Places
from distio.coordination.locks.queue import Waiting
from distio.coordination.locks.record import LockRecord
from distio.coordination.locks.windows import Windows
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of, name_of
from distio.protocol.pieces import Bytes
from distio.protocol.requests import conflict

__all__ = ["Locks"]

_NO_VALUE: Final = b""
_FOREIGN: Final = (
    "the lock or variable belongs to a run of another client: only those that have a name are "
    "shared by the runs of several clients"
)
_MOST_LOOKED_AT: Final = 20_000
"""Among how many locks those in use are looked for: each variable is one."""


class Locks(CoordinatorFeature):
    """All locks of a cluster."""

    def __init__(self, state: CoordinatorState, references: References) -> None:
        self._state = state
        self._references = references
        self._locks: dict[Key, LockRecord] = {}
        self._books = LockBooks()
        self._places = Places()
        self._values_of_run: dict[int, dict[Key, None]] = {}
        self._windows = Windows()

    # -- what members say -----------------------------------------------------------------

    @admits
    def admit_acquire(self, sender: MemberRecord, message: m.AcquireTokens) -> None:
        """The fibers are there, and wait for the lock once."""
        if message.run not in self._state.runs:
            raise Late
        if part_of(self._state, sender, message.run) is None:
            return
        require(bool(message.tokens) or not message.per_seconds, "a limit lets nobody start")
        for fiber in message.fibers:
            require_host(self._state, sender, message.run, fiber)
        is_repeated = len(set(message.fibers)) < len(message.fibers)
        if is_repeated or self._is_waiting(message.lock, message.fibers):
            raise Inadmissible(f"a fiber waits twice for lock {message.lock!r:.100}")

    @handles
    def acquire(self, sender: MemberRecord, message: m.AcquireTokens) -> None:
        """Fibers of this member wait for a lock; if it is free, it is theirs at once."""
        state = self._state
        run = state.runs.get(message.run)
        if run is not None and self._is_foreign(run, message):
            state.send(sender.id, m.LockRefused(message.lock, _FOREIGN))
            return
        self.wait(sender.id, message)
        if run is not None:
            run.note_progress()
            state.probe(message.run, run)

    def _is_foreign(self, run: Run, message: m.AcquireTokens) -> bool:
        """Whether a lock or variable without a name is one of another client.

        The numbers of such locks can be guessed; whoever has one was to be told it by a fiber.
        """
        key, client = message.lock, run.owner
        if isinstance(key, str) or client == NOBODY:
            return False
        maker = home_of(key)  # nobody's are those that were made in a run on threads
        if maker != NOBODY and not self._state.has_served(maker, client):
            return True
        lock = self._locks.get(key)
        if lock is None or lock.run in (0, message.run):
            return False
        return self._state.runs[lock.run].owner != client

    def wait(self, member: int, message: m.AcquireTokens) -> None:
        """Enter fibers of this member into the queue of a lock, and serve those that can go on."""
        key = message.lock
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = LockRecord(message.tokens, message.per_seconds)
        elif (lock.tokens, lock.per_seconds) != (message.tokens, message.per_seconds):
            self._state.send(member, m.LockRefused(key, conflict(key, lock, message)))
            return
        waiting = self._places.take(lock, member, message)
        if lock.delegate == member:  # said before it heard that it has them all
            lock.note_turns(member, waiting)
            return
        self._books.enter(key, lock, waiting)
        self._serve(key, lock)
        if lock.delegate is not None and lock.queue:
            self._state.send_if_member(lock.delegate, m.RecallTokens(key))
            lock.delegate = None

    @handles
    @unchecked
    def withdraw_acquire(self, sender: MemberRecord, message: m.WithdrawAcquire) -> None:
        """Fibers wait no longer, unless they had their turns meanwhile."""
        sender.withdrawals = message.number
        self._withdraw(sender.id, message.lock, message.fibers)

    def _withdraw(self, member: int, key: Key, fibers: Sequence[int]) -> None:
        lock = self._locks.get(key)
        if lock is None:
            return
        for fiber in fibers:
            waiting = lock.queue.get(fiber)
            if waiting is not None and waiting.member == member:
                self._books.leave(key, lock, waiting)
        self._tidy(key, lock)

    @handles
    @unchecked
    def return_tokens(self, sender: MemberRecord, message: m.ReturnTokens) -> None:
        """A member returns tokens, and perhaps the new value of a variable."""
        if not self.take_back(sender.id, message.lock, message.count, message.value):
            self._state.stale += 1

    def take_back(self, member: int, key: Key, count: int, value: Bytes | None = None) -> bool:
        """Take back tokens that this member returns; False if it had none."""
        lock = self._locks.get(key)
        if lock is None or lock.lent.get(member, 0) < count:
            return False
        if value is not None and lock.value is not None:  # else its run is over
            lock.value = value
        if lock.delegate == member:
            lock.delegate = None
        self._books.lend(key, lock, member, -count)
        self._moved(key)
        self._serve(key, lock)
        return True

    # -- variables ------------------------------------------------------------------------

    @admits
    def admit_store(self, sender: MemberRecord, message: m.StoreValue) -> None:
        """The variable is one of the run, or its key was made by the member."""
        run = part_of(self._state, sender, message.run)
        if run is not None and message.lock not in self._values_of_run.get(message.run, ()):
            is_its_own = isinstance(message.lock, int) and home_of(message.lock) == sender.id
            require(is_its_own, f"{message.lock!r:.100} is no variable of the run")
            lock = self._locks.get(message.lock)
            is_free = lock is None or lock.value is None
            require(is_free, f"{message.lock!r:.100} is a variable of another run")
        if run is not None and message.is_new:
            is_new = isinstance(message.lock, int) and message.lock not in self._references
            require(is_new, f"{message.lock!r:.100} is made twice")

    @handles
    def store_value(self, sender: MemberRecord, message: m.StoreValue) -> None:
        """A variable was made, or set."""
        if message.run not in self._state.runs:
            self._state.stale += 1
            return
        if message.is_new and isinstance(message.lock, int):
            self._references.made(message.run, message.lock, sender.id)
        self._store(message.run, message.lock, message.value)

    def key_unreachable(self, run: int, key: int) -> None:
        """The key may be that of a variable: its value is of no use any more."""
        lock = self._locks.get(key)
        if lock is not None and lock.value is not None:
            self._values_of_run[run].pop(key)
            if not self._values_of_run[run]:
                del self._values_of_run[run]
            lock.value, lock.run = None, 0
            self._tidy(key, lock)

    def _store(self, run: int, key: Key, value: Bytes) -> None:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = LockRecord(0, 0.0)
        if lock.value is None:
            self._values_of_run.setdefault(run, {})[key] = None
            lock.run = run
        lock.value = value

    # -- what becomes of fibers, members and runs -----------------------------------------

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The locks that the fibers hold are on their way with them."""
        if chunk.held:
            self.move(chunk.held, member.id, NOWHERE)

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """The locks that the fibers hold arrive with them."""
        if chunk.held:
            self.move(chunk.held, NOWHERE, member.id)

    def fibers_dropped(self, host: int, chunk: m.Chunk) -> None:
        """The locks that the fibers held are free."""
        for key, _, count in chunk.held:
            self.take_back(host, key, count)

    def move(self, held: Sequence[tuple[Key, int, int]], origin: int, target: int) -> None:
        """Fibers go from one member to another (or NOWHERE) with what they hold."""
        for key, _, count in held:
            lock = self._locks.get(key)
            if lock is not None and lock.lent.get(origin, 0) >= count:
                if lock.delegate == origin:
                    lock.delegate = None
                self._books.lend(key, lock, origin, -count)
                self._books.lend(key, lock, target, count)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The fibers of the member are lost with it: what they held is free."""
        for key in self._books.locks_of(lost.id):
            lock = self._locks[key]
            waiting = [each for each in lock.queue if each.member == lost.id]
            self._keep_places(key, lock, [*lock.turns.get(lost.id, ()), *waiting])
            self._withdraw(lost.id, key, [each.fiber for each in waiting])
            self.take_back(lost.id, key, lock.lent.get(lost.id, 0))

    def run_ended(self, id: int, run: Run) -> None:
        """The variables of the run end with it."""
        for key in self._values_of_run.pop(id, ()):
            if (lock := self._locks.get(key)) is not None:
                lock.value, lock.run = None, 0
                self._tidy(key, lock)
        for fiber in run.fibers if self._places else ():
            self.give_up_places(fiber)

    # -- places ---------------------------------------------------------------------------

    def _keep_places(self, key: Key, lock: LockRecord, waiting: Sequence[Waiting]) -> None:
        """The member of these fibers is lost: those that go on elsewhere keep their places."""
        for fiber, _, _, place in waiting:
            record = self._state.fibers.get(fiber)
            if record is not None and record.host == NOWHERE and not record.ended:
                self._places.keep(key, lock, fiber, place)

    def give_up_places(self, fiber: int) -> None:
        """A fiber that was to ask again for locks doesn't need its places any more."""
        for key, lock in self._places.give_up(fiber):
            self._tidy(key, lock)

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """The fiber asks for nothing any more."""
        self.give_up_places(fiber)

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """A lost fiber asks for nothing, either."""
        self.give_up_places(fiber)

    # -- lending --------------------------------------------------------------------------

    def _serve(self, key: Key, lock: LockRecord) -> None:
        now = self._state.now
        while lock.queue and (room := lock.room(now)) > 0:
            turns = lock.queue.row(room if lock.tokens else inf)
            if lock.per_seconds:
                self._start(turns, key, lock)
            else:
                self._lend(turns, key, lock)
        self._tidy(key, lock)

    def _start(self, turns: list[Waiting], key: Key, lock: LockRecord) -> None:
        """Let these fibers of one member start: a limit lends nothing."""
        now = self._state.now
        self._grant(key, lock, turns, 0, _NO_VALUE)
        lock.starts.extend([now] * len(turns))
        self._windows.begin(key, now + lock.per_seconds)
        self._state.wake_at(now + lock.per_seconds)

    def _lend(self, turns: list[Waiting], key: Key, lock: LockRecord) -> None:
        member = turns[0].member
        count, is_delegated = lock.loan_for(turns)
        value = _NO_VALUE if lock.value is None else lock.value
        self._grant(key, lock, turns, count, value, is_delegated=is_delegated)
        self._books.lend(key, lock, member, count)
        lock.note_turns(member, turns)
        lock.delegate = member if is_delegated else None
        self._moved(key)

    def _moved(self, key: Key) -> None:
        for tokens_moved in self._state.hooks.tokens_moved:
            self._state.survive(tokens_moved, key)

    def _heard(self, member: int) -> int:
        """How many withdrawals of this member were heard."""
        record = self._state.members.get(member)
        return 0 if record is None else record.withdrawals

    def _grant(
        self,
        key: Key,
        lock: LockRecord,
        turns: Sequence[Waiting],
        count: int,
        value: Bytes,
        *,
        is_delegated: bool = False,
    ) -> None:
        """Send a grant, and only then strike its fibers out: if that fails, they wait still."""
        member, fibers = turns[0].member, [each.fiber for each in turns]
        heard = self._heard(member)
        granted = m.TokensGranted(key, count, fibers, is_delegated, value, heard)
        self._state.send_if_member(member, granted)
        for each in turns:
            self._books.leave(key, lock, each)

    def _tidy(self, key: Key, lock: LockRecord) -> None:
        if lock.is_idle:
            self._locks.pop(key, None)

    # -- time -----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When a window ends; None: nothing depends on time."""
        return self._windows.next_end

    def tick(self, now: float) -> None:
        """Let fibers start for which a window is over."""
        while (key := self._windows.take_ended(now)) is not None:
            lock = self._locks.get(key)
            if lock is not None:
                lock.room(now)  # forgets the starts that are too old
                self._serve(key, lock)

    # -- what members may say -------------------------------------------------------------

    def has_lent(self, member: int, held: Sequence[tuple[Key, int, int]]) -> bool:
        """Whether this member has these tokens, each lock once, to give to others."""
        for key, tokens, count in held:
            lock = self._locks.get(key)
            if lock is None or lock.tokens != tokens or lock.lent.get(member, 0) < count:
                return False
        return len({key for key, _, _ in held}) == len(held)

    def has_tokens(self, member: int, key: Key, fibers: Sequence[int]) -> bool:
        """Whether so many tokens as these fibers of a member hold were lent to the member."""
        lock = self._locks.get(key)
        return lock is not None and lock.lent.get(member, 0) >= (len(fibers) if lock.tokens else 1)

    def _is_waiting(self, key: Key, fibers: Sequence[int]) -> bool:
        lock = self._locks.get(key)
        return lock is not None and any(map(lock.queue.get, fibers))

    # -- deadlocks ------------------------------------------------------------------------

    def waiting_at(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait for locks."""
        return self._books.waiting_at(member)

    def all_held(self, held: Mapping[Key, Sequence[int]]) -> bool:
        """Whether no token of these locks is anywhere but in the hands of these fibers."""
        for key, fibers in held.items():
            lock = self._locks.get(key)
            if lock is None or len(fibers) < (lock.tokens or 1):
                return False
        return True

    # -- what observers are told ----------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many fibers wait for locks, as far as members have said so."""
        return self._books.waiting

    def in_use(self) -> Iterator[tuple[Key, int, int, int]]:
        """The first locks that have tokens out or fibers waiting: key, tokens, lent, waiting."""
        for key, lock in islice(self._locks.items(), _MOST_LOOKED_AT):
            if lock.lent or lock.queue:
                yield key, lock.tokens, sum(lock.lent.values()), len(lock.queue)

    # -- checks ---------------------------------------------------------------------------

    def leftovers(self) -> Mapping[str, Sized]:
        return {"locks and variables": self}

    def __len__(self) -> int:
        """How many of them somebody has or waits for, and how many runs have variables."""
        used = sum(1 for lock in self._locks.values() if lock.lent or lock.queue or lock.awaited)
        books: list[Sized] = [self._values_of_run, self._books, self._places]
        return used + sum(len(book) for book in books)

    def count_anew(self) -> None:
        """Forget what is at members that are none, and serve what is free then."""
        self._books.count_anew(self._locks, self._state.members.keys() | {NOWHERE})
        for key, lock in list(self._locks.items()):
            self._serve(key, lock)

    def validate(self) -> None:
        """Check each lock and the books, and that the members and fibers are there."""
        for key, lock in self._locks.items():
            lock.validate(key)
            self._validate_members(key, lock)
        self._books.validate(self._locks)

    def _validate_members(self, key: Key, lock: LockRecord) -> None:
        at = {each.member for each in lock.queue}
        if NOWHERE in at:
            raise DistioBug(f"lock {key!r} is waited for from nowhere")
        for member in (*lock.lent, *at):
            if not self._state.is_somewhere(member):
                raise DistioBug(f"member {member} is gone, but has or waits for a lock")
        for fiber in lock.awaited:
            record = self._state.fibers.get(fiber)
            if record is None or record.ended or lock.queue.get(fiber) is not None:
                raise DistioBug(f"fiber {name_of(fiber)} won't ask for lock {key!r} again")
