"""Delegations: members may put into a queue, and take what they were given ahead, without asking.

Rules
-----
- A member that puts into a queue without limit may go on to put without asking, for it never has to
  wait, until the queue is to be closed.
- In a queue with a limit, each item has a place from the moment at which it is put to that at which
  the coordinator hears that it was taken. A member that puts again and again is lent places, more
  each time, but never more than half of those that are free. It may put so many items without
  asking. If a fiber would have to wait for room, places that nobody uses are recalled first. A
  queue that keeps nothing has no places, and isn't delegated.
- A member that takes again and again is given items ahead, more each time, if there are any. A copy
  of them stays here. The member asks again when it has taken them all.
- An item with references isn't given ahead: it is counted where it is.
- Items go to one member at a time. If a fiber elsewhere wants some, or the queue is to be closed or
  counted, they are recalled: items that weren't taken go back to the front. Fibers that call the
  queue meanwhile wait, and are served in the order of their calls when all is back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final

from distio.coordination.primitives.queues import NO_LIMIT, Queue
from distio.protocol import messages as m
from distio.protocol.pieces import Bytes

__all__ = ["Delegations"]

_MOST_AHEAD: Final = 64
_TAKES: Final = ("take", "poll")
_PUTS: Final = ("put", "offer")


class _Streak:
    """How often the same member has called in a row."""

    def __init__(self) -> None:
        self._member: int | None = None
        self._length = 0

    def next(self, member: int) -> int:
        """Count a call of this member; return how much it may have without asking: 0 the first
        time."""
        self._length = self._length + 1 if member == self._member else 0
        self._member = member
        return min(2**self._length, _MOST_AHEAD) if self._length else 0


class Delegations:
    """The rights of members to use one queue without asking."""

    def __init__(self, run: int, queue: Queue) -> None:
        self.run = run
        """The run to which the queue belongs."""
        self._queue = queue
        self._reader: int | None = None
        """The member that was given items ahead."""
        self._ahead: deque[Bytes] = deque()
        """The items that it was given, as far as it isn't known that they were taken."""
        self._known = 0
        """How many of the items that were given ahead last are known to be taken."""
        self._serials: dict[int, int] = {}
        """How often each member was given items ahead."""
        self._writers: dict[int, int] = {}
        """The members that may put without asking, and how many items; NO_LIMIT: any number."""
        self._giving = _Streak()
        self._taking = _Streak()
        self.ever: dict[int, None] = {}
        """The members that know of a delegation, past or present."""
        self.recalled: set[int] = set()
        """The members that are still to give back what they have."""
        self.delayed: OrderedDict[int, tuple[int, m.PrimitiveCall]] = OrderedDict()
        """By fiber: the member from which it calls meanwhile, and the call."""

    def to_recall(self, member: int, call: m.PrimitiveCall) -> set[int]:
        """The members that have to give something back before this can be answered."""
        if call.method in _PUTS:
            return {*self._writers} if self._queue.would_wait else set()
        if self._reader is None and call.method != "close":
            return set()
        has_heard = call.number == self._serials.get(member, 0)  # of what it was given
        if call.method in _TAKES and member == self._reader and has_heard:
            self._queue.lend(-len(self._ahead))  # it asks because it has taken them all
            self._ahead.clear()
            self._reader = None
            return set()
        readers = set() if self._reader is None else {self._reader}
        return readers | self._writers.keys() if call.method == "close" else readers

    def take_back(self, member: int, taken: int) -> None:
        """Take back what this member has, which is lost or has given it back."""
        self.recalled.discard(member)
        self._queue.lend(-max(0, self._writers.pop(member, 0)))
        if member == self._reader:
            self._reader = None
            left = [*self._ahead][max(0, taken - self._known) :]
            self._queue.lend(len(left) - len(self._ahead))
            self._queue.put_back(left)
            self._ahead.clear()

    def note_taken(self, member: int, serial: int, taken: int) -> list[Bytes]:
        """Note that this member has taken so many of the items that it was given with this serial.

        Returns:
            Those that weren't known to be taken; none if it was given others since, or has none.
        """
        items: list[Bytes] = []
        if member == self._reader and serial == self._serials.get(member, 0):
            while self._known < taken and self._ahead:
                items.append(self._ahead.popleft())
                self._known += 1
        self._queue.lend(-len(items))
        return items

    def note_put(self, member: int) -> None:
        """Note that this member has put an item without asking, which takes one of its places."""
        places = self._writers.get(member, NO_LIMIT)
        if places == NO_LIMIT:
            return
        self._queue.lend(-1)
        if places > 1:
            self._writers[member] = places - 1
        else:
            del self._writers[member]

    def delegate(
        self, member: int, call: m.PrimitiveCall, *, got_item: bool
    ) -> tuple[int, list[Bytes]]:
        """A call of a fiber of this member was answered at once.

        Returns:
            How many more items that member may put without asking, NO_LIMIT: any number; and what
            it is given ahead.
        """
        if call.method in _PUTS:
            return self._lend_places(member), []
        if call.method not in _TAKES or not got_item:
            return 0, []
        most = self._taking.next(member)
        ahead = self._queue.give_ahead(most, of=bytes) if most else []
        if ahead:
            self._reader, self._known = member, 0
            self.ever[member] = None
            self._ahead.extend(ahead)
            self._serials[member] = self._serials.get(member, 0) + 1
        return 0, ahead

    def _lend_places(self, member: int) -> int:
        places = NO_LIMIT
        if self._queue.has_limit:
            half = int(self._queue.room + 1) // 2
            places = min(self._giving.next(member), half)
            if places <= 0:
                return 0
            self._queue.lend(places)
            self._writers[member] = self._writers.get(member, 0) + places
        else:
            self._writers[member] = NO_LIMIT
        self.ever[member] = None
        return places

    @property
    def has_limit(self) -> bool:
        """Whether a fiber that puts may have to wait for room."""
        return self._queue.has_limit

    def may_put(self, member: int) -> bool:
        """Whether this member may put without asking."""
        return member in self._writers

    def concerns(self, member: int) -> bool:
        """Whether this member has something, or is to give something back."""
        return member in self.holders or member in self.recalled

    @property
    def holders(self) -> Sequence[int]:
        """The members that have anything."""
        return [*self._writers, *([] if self._reader is None else [self._reader])]
