"""The coordinator's record of one lock."""

from __future__ import annotations

from collections import deque
from typing import final

from distio.coordination.feature.coordinator import Key
from distio.coordination.locks.queue import LockQueue, Waiting
from distio.errors import DistioBug
from distio.protocol.pieces import Bytes

__all__ = ["LockRecord"]


@final
class LockRecord:
    """One lock: its tokens, the members that have them, and the fibers that wait for them."""

    __slots__ = (
        "awaited",
        "delegate",
        "free",
        "lent",
        "per_seconds",
        "queue",
        "run",
        "starts",
        "tokens",
        "turns",
        "value",
    )

    def __init__(self, tokens: int, per_seconds: float) -> None:
        self.tokens = tokens
        """The tokens as fibers ask for them: 0 is a reentrant lock."""
        self.per_seconds = per_seconds
        self.free = tokens or 1
        """How many tokens are here; of a limit, they never leave."""
        self.lent: dict[int, int] = {}
        """The number of tokens at each member."""
        self.delegate: int | None = None
        """The member to which they are delegated until they are recalled."""
        self.queue = LockQueue()
        self.turns: dict[int, list[Waiting]] = {}
        """By member that has tokens: the fibers that were given turns there, if not all are over.
        """
        self.awaited: dict[int, int] = {}
        """By fiber that is to ask again: its place."""
        self.starts: deque[float] = deque()
        """The times of the last starts that a limit has let through."""
        self.value: Bytes | None = None
        self.run = 0
        """The run to which a variable belongs."""

    def room(self, now: float) -> int:
        """How many turns can be given now."""
        if not self.per_seconds:
            return self.free
        while self.starts and self.starts[0] + self.per_seconds <= now:
            self.starts.popleft()
        return self.tokens - len(self.starts)

    def lend(self, member: int, count: int) -> None:
        """Lend so many tokens to a member; they come back if `count` is negative."""
        self.free -= count
        left = self.lent.get(member, 0) + count
        if left:
            self.lent[member] = left
        else:
            self.lent.pop(member, None)
            self.turns.pop(member, None)

    def note_turns(self, member: int, turns: list[Waiting]) -> None:
        """Turns are given there; of a semaphore, the oldest are over that have no token now."""
        earlier = self.turns.get(member)
        if earlier:
            turns = [*earlier, *turns]
        self.turns[member] = turns[-self.lent[member] :] if self.tokens else turns

    def loan_for(self, turns: list[Waiting]) -> tuple[int, bool]:
        """The tokens to lend so that these fibers, the first in the queue, have turns.

        Returns:
            How many tokens, and whether they are all that are here, delegated to the member of
            these fibers: no other member waits or has any.
        """
        is_delegated = len(turns) == len(self.queue) and self.lent.keys() <= {turns[0].member}
        if is_delegated:
            return self.free, True
        return len(turns) if self.tokens else 1, False

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it has to be remembered."""
        is_used = self.lent or self.queue or self.awaited or self.starts
        return not is_used and self.value is None

    def validate(self, key: Key) -> None:
        """Check that tokens add up, that nobody waits for what is free, and who has turns."""
        if self.free + sum(self.lent.values()) != (self.tokens or 1) or self.free < 0:
            raise DistioBug(
                f"lock {key!r} of {self.tokens} tokens has {self.free} and has lent {self.lent}"
            )
        if self.delegate is not None and (self.queue or self.delegate not in self.lent):
            raise DistioBug(f"lock {key!r} is {self.delegate}'s alone, but others wait")
        if self.queue and self.free and not self.per_seconds:
            raise DistioBug(f"lock {key!r} is free, but {len(self.queue)} wait for it")
        if self.is_idle:
            raise DistioBug(f"lock {key!r} is kept for nobody")
        places = [each.place for each in self.queue]
        if places != sorted(places):
            raise DistioBug(f"the queue of lock {key!r} is in disorder")
        if not self.turns.keys() <= self.lent.keys():
            raise DistioBug(f"fibers have turns at lock {key!r} where no token is")
