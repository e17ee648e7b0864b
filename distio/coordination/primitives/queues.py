"""Primitives through which items go from fiber to fiber: a queue, and a topic with subscribers.

Rules
-----
- An item is taken once, and items are taken in the order in which they were put. The items of
  fibers that wait for room come behind those that have it. Fibers take first come, first served.
- A capacity of 0 keeps nothing: an item goes from fiber to fiber, and the one that puts it waits.
- A place that a member has, for an item that it may put or was given ahead, is as one with an item.
- A closed primitive takes no more items. Those that were put before, and those that waited for room
  by then, can still be taken; a fiber that takes beyond that is told that it is closed.
- A published item goes to all subscriptions at once, when all of them have room.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from math import inf
from typing import Any, Final, final

from distio.coordination.primitives.primitive import Reply, Unknown, require
from distio.protocol.requests import NOTHING

__all__ = ["NO_LIMIT", "Queue", "Topic"]

NO_LIMIT: Final = -1


@final
class Queue:
    """Items, fibers that wait to take one, and fibers that wait for room to put one."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Any] = deque()
        self._takers: OrderedDict[int, None] = OrderedDict()
        self._putters: OrderedDict[int, Any] = OrderedDict()
        """The fibers that wait to put, each with its item."""
        self._lent = 0
        """How many places members have."""
        self._is_closed = False

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        if method == "put":
            return self._put(fiber, item, waits=True)
        if method == "take":
            return self._take(fiber, waits=True)
        if method == "offer":
            return self._put(fiber, item, waits=False)
        if method == "poll":
            return self._take(fiber, waits=False)
        if method == "size":
            return [Reply(fiber, len(self._items))]
        if method != "close":
            raise Unknown(method)
        self._is_closed = True
        # if fibers wait to take, there is nothing to be taken
        takers, self._takers = self._takers, OrderedDict()
        return [Reply(fiber), *[Reply(taker, is_closed=True) for taker in takers]]

    def _put(self, fiber: int, item: Any, *, waits: bool) -> Sequence[Reply]:
        done = Reply(fiber, None if waits else True)
        if self._is_closed:
            return [Reply(fiber, is_closed=True)]
        if self._takers:
            taker, _ = self._takers.popitem(last=False)
            return [done, Reply(taker, item=item)]
        if self.room > 0:
            self._items.append(item)
            return [done]
        if not waits:
            return [Reply(fiber, False)]
        self._putters[fiber] = item
        return ()

    def _take(self, fiber: int, *, waits: bool) -> Sequence[Reply]:
        if self._items:
            return [Reply(fiber, item=self._items.popleft()), *self.admit()]
        if self._putters:  # nothing is kept: it goes from hand to hand
            putter, item = self._putters.popitem(last=False)
            return [Reply(fiber, item=item), Reply(putter), *self.admit()]
        if self._is_closed:
            return [Reply(fiber, is_closed=True)]
        if waits:
            self._takers[fiber] = None
            return ()
        return [Reply(fiber)]

    def admit(self) -> Sequence[Reply]:
        """Let fibers put that have waited for room, as far as there is some."""
        replies = []
        while self._putters and self.room > 0:
            putter, item = self._putters.popitem(last=False)
            self._items.append(item)
            replies.append(Reply(putter))
        return replies

    # -- what members have of it ----------------------------------------------------------

    @property
    def has_limit(self) -> bool:
        """Whether a fiber that puts may have to wait for room."""
        return self._capacity != NO_LIMIT

    @property
    def room(self) -> float:
        """The number of items for which there is room."""
        return self._capacity - len(self._items) - self._lent if self.has_limit else inf

    @property
    def would_wait(self) -> bool:
        """Whether a fiber that puts now would have to wait."""
        return self.room <= 0 and not (self._takers or self._is_closed)

    def lend(self, places: int) -> None:
        """A member has so many more places, or fewer; see `admit`."""
        self._lent += places

    def give_ahead(self, most: int, *, of: type = object) -> list[Any]:
        """Take out up to so many of the items, all of this type, for fibers that take next.

        They keep their places.
        """
        given: list[Any] = []
        while self._items and len(given) < most and isinstance(self._items[0], of):
            given.append(self._items.popleft())
        self._lent += len(given)
        return given

    def put_back(self, items: Sequence[Any]) -> None:
        """Put items in front that were given ahead and weren't taken. No fiber waits to take."""
        self._items.extendleft(reversed(items))
        self._lent -= len(items)

    def withdraw(self, fiber: int) -> Sequence[Reply]:
        if self._putters.pop(fiber, NOTHING) is NOTHING:
            del self._takers[fiber]
        return ()

    def waiting(self) -> Sequence[int]:
        return [*self._takers, *self._putters]

    def validate(self) -> None:
        is_full = self.room == 0
        require(self._lent >= 0 and self.room >= 0, "it has more items than places")
        require(
            not (self._takers and (self._items or self._putters)), "some wait for what is there"
        )
        require(not self._putters or is_full, "some wait for room, and there is room")
        require(not (self._takers and self._is_closed), "some wait for what will never come")


@final
class _Subscription:
    """Items that a subscriber has not taken yet, and fibers that wait to take for it."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.takers: OrderedDict[int, None] = OrderedDict()


@final
class Topic:
    """An item that is published goes to all subscriptions of that moment."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._subscriptions: dict[int, _Subscription] = {}
        self._full: set[int] = set()
        """The subscriptions that have no room for another item."""
        self._taking: dict[int, int] = {}
        """By fiber that waits to take: for which subscription."""
        self._publishers: OrderedDict[int, Any] = OrderedDict()
        """By fiber that waits for room: the item that it publishes."""
        self._count = 0
        self._is_closed = False

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        if method == "publish":
            return self._publish(fiber, item)
        if method == "subscribe":
            return self._subscribe(fiber)
        if method == "take":
            return self._take(fiber, number, waits=True)
        if method == "poll":
            return self._take(fiber, number, waits=False)
        if method == "unsubscribe":
            return [Reply(fiber), *self._unsubscribe(number)]
        if method != "close":
            raise Unknown(method)
        self._is_closed = True
        return [Reply(fiber), *self._go_on()]

    def _publish(self, fiber: int, item: Any) -> Sequence[Reply]:
        if self._is_closed:
            return [Reply(fiber, is_closed=True)]
        self._publishers[fiber] = item
        return self._go_on()

    def _subscribe(self, fiber: int) -> Sequence[Reply]:
        if self._is_closed:
            return [Reply(fiber, is_closed=True)]
        self._count += 1
        self._subscriptions[self._count] = _Subscription()
        self._note_room(self._count)
        return [Reply(fiber, self._count)]

    def _unsubscribe(self, number: int) -> list[Reply]:
        subscription = self._subscriptions.pop(number, None)
        if subscription is None:
            return []
        self._full.discard(number)
        for taker in subscription.takers:
            del self._taking[taker]
        closed = [Reply(taker, is_closed=True) for taker in subscription.takers]
        return [*closed, *self._go_on()]

    def _take(self, fiber: int, number: int, *, waits: bool) -> Sequence[Reply]:
        subscription = self._subscriptions.get(number)
        if subscription is None:
            return [Reply(fiber, is_closed=True)]
        if subscription.items:
            answer = Reply(fiber, item=subscription.items.popleft())
            self._note_room(number)
            return [answer, *self._go_on()]
        if self._is_closed and not self._publishers:
            return [Reply(fiber, is_closed=True)]
        subscription.takers[fiber] = None
        self._taking[fiber] = number
        self._note_room(number)
        answers = self._go_on()
        if waits or fiber not in self._taking:
            return answers
        self.withdraw(fiber)
        return [*answers, Reply(fiber)]

    def _note_room(self, number: int) -> None:
        """Note whether this subscription, which has changed, has room."""
        subscription = self._subscriptions[number]
        has_room = self._capacity == NO_LIMIT or len(subscription.items) < self._capacity
        if has_room or subscription.takers:
            self._full.discard(number)
        else:
            self._full.add(number)

    def _go_on(self) -> list[Reply]:
        """Deliver what can be delivered; if nothing will ever come, tell the fibers that wait."""
        answers = []
        while self._publishers and not self._full:
            publisher, item = self._publishers.popitem(last=False)
            answers.append(Reply(publisher))
            for number, subscription in self._subscriptions.items():
                if subscription.takers:
                    taker, _ = subscription.takers.popitem(last=False)
                    del self._taking[taker]
                    answers.append(Reply(taker, item=item))
                else:
                    subscription.items.append(item)
                self._note_room(number)
        if self._is_closed and not self._publishers:
            answers += [Reply(fiber, is_closed=True) for fiber in self._taking]
            self._taking.clear()
            for subscription in self._subscriptions.values():
                subscription.takers.clear()
        return answers

    def withdraw(self, fiber: int) -> Sequence[Reply]:
        number = self._taking.pop(fiber, None)
        if number is None:
            del self._publishers[fiber]
            return self._go_on()
        del self._subscriptions[number].takers[fiber]
        self._note_room(number)
        return ()

    def waiting(self) -> Sequence[int]:
        return [*self._taking, *self._publishers]

    def validate(self) -> None:
        require(not self._publishers or bool(self._full), "some wait for room, and there is room")
        for number, subscription in self._subscriptions.items():
            require(not (subscription.takers and subscription.items), "some wait for what is there")
            mine = [fiber for fiber, of in self._taking.items() if of == number]
            require(mine == list(subscription.takers), "it is miscounted who waits for items")
        if self._is_closed:
            require(bool(self._publishers) or not self._taking, "some wait for ever")
