"""Sequential models of primitives and locks, written for checks and for nothing else.

A model is a value. A call in it gives another model and the answers that are due then: to the
caller, or to those that have called before and waited. A fiber that gives up waiting has never
called, so the models know nothing of giving up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from distio.testing.oracles.call import (
    CLOSED,
    NOTHING_THERE,
    Answer,
    Call,
    is_item,
    is_plain,
)

__all__ = ["Barrier", "Deferred", "Latch", "Lock", "Model", "Queue", "Step", "Topic", "model_of"]

Answers = Sequence[tuple[int, Answer]]
"""By the index of a call: what it is told."""


class Step(NamedTuple):
    """The outcome of a call: the model after it, and the answers."""

    model: Model
    answers: Answers


class Model(Hashable, Protocol):
    """The model of a primitive at one moment."""

    def call(self, index: int, call: Call) -> Step | None:
        """Take up a call; None: it can't be taken up now.

        Args:
            index: stands for the call in answers.
            call: the call.
        """


_DONE: Final = is_plain(None)


class Queue(NamedTuple):
    """Items in order, those who wait for one, and those who wait for room for theirs."""

    capacity: int
    """-1: there is no limit."""
    items: tuple[object, ...] = ()
    takers: tuple[int, ...] = ()
    putters: tuple[tuple[int, object], ...] = ()
    is_closed: bool = False

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        method = call.method
        if method in ("put", "offer"):
            return self._put(index, call.item, waits=method == "put")
        if method in ("take", "poll"):
            return self._take(index, waits=method == "take")
        if method == "size":
            return Step(self, [(index, is_plain(len(self.items)))])
        closed = self._replace(is_closed=True, takers=())
        return Step(closed, [(index, _DONE), *[(taker, CLOSED) for taker in self.takers]])

    def _put(self, index: int, item: object, *, waits: bool) -> Step:
        done = index, _DONE if waits else is_plain(True)
        if self.is_closed:
            return Step(self, [(index, CLOSED)])
        if self.takers:
            taker, *others = self.takers
            return Step(self._replace(takers=tuple(others)), [done, (taker, is_item(item))])
        if self.capacity < 0 or len(self.items) < self.capacity:
            return Step(self._replace(items=(*self.items, item)), [done])
        if waits:
            return Step(self._replace(putters=(*self.putters, (index, item))), [])
        return Step(self, [(index, is_plain(False))])

    def _take(self, index: int, *, waits: bool) -> Step:
        line = [*self.items, *[item for _, item in self.putters]]
        if line:
            kept = len(self.items)
            freed, putters = self.putters[:1], self.putters[1:]
            items = tuple(line[1 : kept + 1]) if kept else ()
            rest = self._replace(items=items, putters=putters)
            told = [(putter, _DONE) for putter, _ in freed]
            return Step(rest, [(index, is_item(line[0])), *told])
        if self.is_closed:
            return Step(self, [(index, CLOSED)])
        if waits:
            return Step(self._replace(takers=(*self.takers, index)), [])
        return Step(self, [(index, NOTHING_THERE)])


class Deferred(NamedTuple):
    """A value that is set once, in a tuple, and those who wait for it."""

    value: tuple[object, ...] = ()
    waiting: tuple[int, ...] = ()

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        if call.method == "is_set":
            return Step(self, [(index, is_plain(bool(self.value)))])
        if call.method == "get":
            if self.value:
                return Step(self, [(index, is_item(self.value[0]))])
            return Step(self._replace(waiting=(*self.waiting, index)), [])
        if self.value:
            return Step(self, [(index, is_plain(False))])
        told = [(each, is_item(call.item)) for each in self.waiting]
        return Step(Deferred((call.item,)), [(index, is_plain(True)), *told])


class Barrier(NamedTuple):
    """A barrier: so many fibers go on together."""

    parties: int
    waiting: tuple[int, ...] = ()

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        waiting = (*self.waiting, index)
        if len(waiting) < self.parties:
            return Step(self._replace(waiting=waiting), [])
        return Step(Barrier(self.parties), [(each, is_plain(n)) for n, each in enumerate(waiting)])


class Latch(NamedTuple):
    """A latch: fibers that wait go on when it is 0."""

    left: int
    waiting: tuple[int, ...] = ()

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        if call.method == "count":
            return Step(self, [(index, is_plain(self.left))])
        if call.method == "wait":
            if not self.left:
                return Step(self, [(index, _DONE)])
            return Step(self._replace(waiting=(*self.waiting, index)), [])
        rest = max(0, self.left - call.parameter)
        told = index, is_plain(rest)
        if rest:
            return Step(self._replace(left=rest), [told])
        return Step(Latch(0), [told, *[(each, _DONE) for each in self.waiting]])


class _Feed(NamedTuple):
    """The items that a subscriber has not taken yet, or the fibers that wait to take for it."""

    items: tuple[object, ...] = ()
    takers: tuple[int, ...] = ()


class Topic(NamedTuple):
    """A topic: each item goes to all feeds at once, as soon as all have room."""

    capacity: int
    """-1: there is no limit."""
    feeds: tuple[tuple[int, _Feed], ...] = ()
    subscribed: int = 0
    """How many feeds there have ever been."""
    publishers: tuple[tuple[int, object], ...] = ()
    is_closed: bool = False

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        method = call.method
        if method == "publish":
            if self.is_closed:
                return Step(self, [(index, CLOSED)])
            return self._replace(publishers=(*self.publishers, (index, call.item)))._go_on()
        if method == "subscribe":
            if self.is_closed:
                return Step(self, [(index, CLOSED)])
            count = self.subscribed + 1
            feeds = (*self.feeds, (count, _Feed()))
            return Step(self._replace(subscribed=count, feeds=feeds), [(index, is_plain(count))])
        if method == "close":
            return self._replace(is_closed=True)._go_on((index, _DONE))
        if method == "unsubscribe":
            left = tuple(each for each in self.feeds if each[0] != call.parameter)
            closed = [(each, CLOSED) for each in self._feed(call.parameter).takers]
            return self._replace(feeds=left)._go_on((index, _DONE), *closed)
        return self._take(index, call.parameter, waits=method == "take")

    def _feed(self, number: int) -> _Feed:
        return dict(self.feeds).get(number, _Feed())

    def _with(self, number: int, feed: _Feed) -> Topic:
        feeds = tuple((n, feed if n == number else each) for n, each in self.feeds)
        return self._replace(feeds=feeds)

    def _take(self, index: int, number: int, *, waits: bool) -> Step:
        if number not in dict(self.feeds):
            return Step(self, [(index, CLOSED)])
        feed = self._feed(number)
        if feed.items:
            rest = self._with(number, feed._replace(items=feed.items[1:]))
            return rest._go_on((index, is_item(feed.items[0])))
        if self.is_closed and not self.publishers:
            return Step(self, [(index, CLOSED)])
        waiting = self._with(number, feed._replace(takers=(*feed.takers, index)))._go_on()
        if waits or any(each == index for each, _ in waiting.answers):
            return waiting
        return Step(self, [(index, NOTHING_THERE)])

    def _has_room(self) -> bool:
        feeds = [feed for _, feed in self.feeds]
        return self.capacity < 0 or all(
            feed.takers or len(feed.items) < self.capacity for feed in feeds
        )

    def _go_on(self, *said: tuple[int, Answer]) -> Step:
        """Deliver what can be delivered; if nothing will ever come, tell those who wait."""
        topic, told = self, [*said]
        while topic.publishers and topic._has_room():
            (publisher, item), *others = topic.publishers
            told.append((publisher, _DONE))
            feeds = []
            for number, (items, takers) in topic.feeds:
                if takers:
                    told.append((takers[0], is_item(item)))
                    feeds.append((number, _Feed(items, takers[1:])))
                else:
                    feeds.append((number, _Feed((*items, item))))
            topic = topic._replace(feeds=tuple(feeds), publishers=tuple(others))
        if topic.is_closed and not topic.publishers:
            told += [(taker, CLOSED) for _, feed in topic.feeds for taker in feed.takers]
            feeds = [(number, feed._replace(takers=())) for number, feed in topic.feeds]
            topic = topic._replace(feeds=tuple(feeds))
        return Step(topic, told)


class Lock(NamedTuple):
    """A lock, a semaphore or a variable: who holds a token of it.

    The fibers that wait aren't known: a call to acquire is taken up when there is a token for it.
    """

    tokens: int
    value: object = None
    """The bytes of a variable's value; None: it is no variable."""
    holders: tuple[int, ...] = ()
    """The fibers, in order of their ids, once for each token."""

    def call(self, index: int, call: Call) -> Step | None:
        """See `Model`."""
        holders = [*self.holders]
        if call.method == "acquire":
            if len(holders) >= self.tokens:
                return None
            holders = sorted([*holders, call.fiber])
            told = _DONE if self.value is None else is_item(self.value)
            return Step(self._replace(holders=tuple(holders)), [(index, told)])
        if call.method == "gone":
            left = tuple(fiber for fiber in holders if fiber != call.fiber)
            return Step(self._replace(holders=left), [(index, _DONE)])
        if call.fiber not in holders:
            return None
        holders.remove(call.fiber)
        value = self.value if call.item is None else call.item
        return Step(Lock(self.tokens, value, tuple(holders)), [(index, _DONE)])


_MODELS: Final[dict[str, Callable[[int], Any]]] = {
    "barrier": Barrier,
    "deferred": lambda size: Deferred(),
    "latch": Latch,
    "queue": Queue,
    "topic": Topic,
}


def model_of(kind: str, size: int) -> Model:
    """The model of a new primitive."""
    model: Model = _MODELS[kind](size)
    return model
