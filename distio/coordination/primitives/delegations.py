"""Delegations: members may put into a queue, and take what they were given ahead, without asking.

Rules
-----
- Only a queue without limit is delegated: in one with a limit, there is room from the moment at
  which an item is taken, and the coordinator must know of that moment.
- A member that puts may go on to put without asking, for it never has to wait, until the queue
  is to be closed.
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

from distio.coordination.primitives.queues import Queue
from distio.protocol import messages as m
from distio.protocol.pieces import Bytes

__all__ = ["Delegations"]

_MOST_AHEAD: Final = 64
_TAKES: Final = ("take", "poll")
_PUTS: Final = ("put", "offer")


class Delegations:
    """Those of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._reader: int | None = None
        """The member that was given items ahead."""
        self._ahead: deque[Bytes] = deque()
        """Those items, as far as it isn't known that they were taken."""
        self._known = 0
        """How many of the items that were given ahead last are known to be taken."""
        self._serials: dict[int, int] = {}
        """How often each member was given items ahead."""
        self._writers: dict[int, None] = {}
        """The members that may put without asking."""
        self._taker: int | None = None
        """Which member has taken last."""
        self._streak = 0
        """How often that member has taken in a row."""
        self.ever: dict[int, None] = {}
        """The members that know of a delegation, past or present."""
        self.recalled: set[int] = set()
        """The members that are still to give back what they have."""
        self.delayed: OrderedDict[int, tuple[int, m.PrimitiveCall]] = OrderedDict()
        """By fiber: the member from which it calls meanwhile, and the call."""

    def to_recall(self, member: int, call: m.PrimitiveCall) -> set[int]:
        """The members that have to give something back before this can be answered."""
        if call.method in _PUTS or (self._reader is None and call.method != "close"):
            return set()
        has_heard = call.number == self._serials.get(member, 0)  # of what it was given
        if call.method in _TAKES and member == self._reader and has_heard:
            self._ahead.clear()  # it asks because it has taken them all
            self._reader = None
            return set()
        readers = set() if self._reader is None else {self._reader}
        return readers | self._writers.keys() if call.method == "close" else readers

    def take_back(self, member: int, taken: int) -> None:
        """This member, which is lost or was asked to, has given back what it has."""
        self.recalled.discard(member)
        self._writers.pop(member, None)
        if member == self._reader:
            self._reader = None
            self._queue.put_back([*self._ahead][max(0, taken - self._known) :])
            self._ahead.clear()

    def note_taken(self, member: int, serial: int, taken: int) -> list[Bytes]:
        """This member has taken so many of the items that it was given ahead with this serial.

        Returns:
            Those that weren't known to be taken; none if it was given others since, or has none.
        """
        items: list[Bytes] = []
        if member == self._reader and serial == self._serials.get(member, 0):
            while self._known < taken and self._ahead:
                items.append(self._ahead.popleft())
                self._known += 1
        return items

    def delegate(
        self, member: int, call: m.PrimitiveCall, *, got_item: bool
    ) -> tuple[bool, list[Bytes]]:
        """A call of a fiber of this member was answered at once.

        Returns:
            Whether that member may put without asking from now on, and what it is given ahead.
        """
        if call.method in _PUTS:
            self._writers[member] = None
            self.ever[member] = None
            return True, []
        if call.method not in _TAKES or not got_item:
            return False, []
        self._streak = self._streak + 1 if member == self._taker else 0
        self._taker = member
        if not self._streak:
            return False, []
        ahead = self._queue.give_ahead(min(2**self._streak, _MOST_AHEAD), of=bytes)
        if ahead:
            self._reader, self._known = member, 0
            self.ever[member] = None
            self._ahead.extend(ahead)
            self._serials[member] = self._serials.get(member, 0) + 1
        return False, ahead

    def may_put(self, member: int) -> bool:
        """Whether this member may put without asking."""
        return member in self._writers

    @property
    def holders(self) -> Sequence[int]:
        """The members that have anything."""
        return [*self._writers, *([] if self._reader is None else [self._reader])]
