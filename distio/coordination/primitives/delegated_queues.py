"""The delegations of all queues of a cluster: to which members, and what is on its way back.

Rules
-----
- The rules for one queue, what can be delegated and has to come back before a call is answered, are
  in `delegations`. Here is the recall itself: each member that holds something is told once, and
  the calls that come meanwhile are kept, until the last of the members has given it back or is
  lost.
- A run of which something is on its way back is not deadlocked: its fibers may wait for that alone.
- The queues of a member are those that were ever delegated to it: it is told when one is freed.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import final

from distio.coordination.primitives.delegations import Delegations
from distio.coordination.primitives.queues import Queue
from distio.coordination.state.coordinator import CoordinatorState
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.pieces import Bytes

__all__ = ["DelegatedQueues"]


@final
class DelegatedQueues(Mapping[int, Delegations]):
    """By key of a queue: what members may do with it without asking."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._of: dict[int, Delegations] = {}
        self._at: dict[int, dict[int, None]] = {}
        """By member: the queues that were ever delegated to it."""
        self._recalls: dict[int, int] = {}
        """By run: from how many of its queues something is still to come back."""

    def make(self, run: int, key: int, queue: Queue) -> None:
        """A queue of this run can be delegated."""
        self._of[key] = Delegations(run, queue)

    def free(self, key: int) -> list[int]:
        """A queue is gone; return the members that know of a delegation of it."""
        delegations = self._of.pop(key, None)
        if delegations is None:
            return []
        if delegations.recalled:
            self._recall_is_over(delegations.run)
        for member in delegations.ever:
            queues = self._at.get(member, {})
            queues.pop(key, None)
            if not queues:
                self._at.pop(member, None)
        return [*delegations.ever]

    # -- lending --------------------------------------------------------------------------

    def delegate(
        self, member: int, call: m.PrimitiveCall, *, got_item: bool
    ) -> tuple[int, list[Bytes]]:
        """A call of a fiber of this member was answered at once; see `Delegations.delegate`."""
        delegations = self._of[call.key]
        delegated = delegations.delegate(member, call, got_item=got_item)
        if member in delegations.ever:
            self._at.setdefault(member, {})[call.key] = None
        return delegated

    def take_queues_of(self, member: int) -> list[int]:
        """Take out the queues of a member, which is lost; return those of which it has something,
        or is to give something back."""
        queues = self._at.pop(member, ())
        return [key for key in queues if self._of[key].concerns(member)]

    # -- recalls --------------------------------------------------------------------------

    def delays(self, member: int, call: m.PrimitiveCall) -> bool:
        """Whether members have to give something back before this call can be answered.

        If so, they are told to, and the call is kept until `take_back` returns it.
        """
        delegations = self._of.get(call.key)
        if delegations is None:
            return False
        if not delegations.recalled:
            self._recall(call.key, delegations.to_recall(member, call))
        if delegations.recalled:
            delegations.delayed[call.fiber] = member, call
        return bool(delegations.recalled)

    def recall_from(self, member: int) -> None:
        """A member leaves: recall all that it has."""
        for key in self._at.get(member, ()):
            if member in self._of[key].holders:
                self._recall(key, {member})

    def recall_all(self, keys: Iterable[int]) -> None:
        """Recall all that is delegated of these, as far as they are queues."""
        for key in keys:
            if key in self._of:
                self._recall(key, {*self._of[key].holders})

    def _recall(self, key: int, holders: Set[int]) -> None:
        delegations = self._of[key]
        fresh = holders - delegations.recalled
        for holder in sorted(fresh):
            self._state.send_if_member(holder, m.RecallDelegation(key))
        if fresh and not delegations.recalled:
            run = delegations.run
            self._recalls[run] = self._recalls.get(run, 0) + 1
        delegations.recalled |= fresh

    def take_back(self, key: int, member: int, taken: int) -> list[tuple[int, m.PrimitiveCall]]:
        """A member has given back what it had of a queue, or is lost.

        Args:
            key: that of the queue.
            member: the member.
            taken: how many of the items that it was given ahead it has taken.

        Returns:
            The calls that have waited for this, and the members from which they came; none if
            others are still to give something back.
        """
        delegations = self._of[key]
        was_recalled = bool(delegations.recalled)
        delegations.take_back(member, taken)
        if not was_recalled or delegations.recalled:
            return []
        self._recall_is_over(delegations.run)
        delayed, delegations.delayed = delegations.delayed, OrderedDict()
        return [*delayed.values()]

    def _recall_is_over(self, run: int) -> None:
        self._recalls[run] -= 1
        if not self._recalls[run]:
            del self._recalls[run]

    def is_recalling(self, run: int) -> bool:
        """Whether something is still to come back of queues of this run."""
        return run in self._recalls

    # -- books ----------------------------------------------------------------------------

    def count_anew(self, members: Collection[int]) -> None:
        """Forget members other than these, and count the recalls."""
        self._at.clear()
        self._recalls.clear()
        for key, delegations in self._of.items():
            for member in delegations.ever:
                if member in members:
                    self._at.setdefault(member, {})[key] = None
            if delegations.recalled:
                run = delegations.run
                self._recalls[run] = self._recalls.get(run, 0) + 1

    def validate(self) -> None:
        """Check that what is counted by run and by member is so."""
        recalls = Counter(each.run for each in self._of.values() if each.recalled)
        if recalls != self._recalls:
            raise DistioBug(f"queues are recalled in {recalls}, but {self._recalls} are counted")
        for member, queues in self._at.items():
            if not all(key in self._of and member in self._of[key].ever for key in queues):
                raise DistioBug(f"member {member} is said to know of other queues than it does")

    @property
    def is_used(self) -> bool:
        """Whether a member knows of a delegation, or a recall goes on."""
        return bool(self._at or self._recalls)

    def __getitem__(self, key: int) -> Delegations:
        return self._of[key]

    def __contains__(self, key: object) -> bool:
        return key in self._of

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
