"""Primitives by which fibers talk to each other, wherever they run.

>>> from distio import Queue, io
>>> def hello(queue):
...     return io.zip_par(queue.put("hello"), queue.take())
>>> Queue.create().flat_map(hello).run(None)
Ok(success=(None, 'hello'))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ClassVar, Concatenate, Generic, Never, ParamSpec, TypeVar, final

import distio.io as io
from distio._hints import OF_CAPACITY, hint_at, says_instead
from distio._public import publish
from distio.core import expect, ops
from distio.core.ops.base import IO, require_io
from distio.core.references import HoldsReference
from distio.core.type_vars import E, Item, R
from distio.errors import Closed, DomainErrors, MatchError
from distio.protocol.domains import Method
from distio.protocol.requests import NOTHING, PrimitiveRef
from distio.resource import Resource

__all__ = ["Barrier", "CountDownLatch", "Deferred", "PubSub", "Queue", "Subscription"]

B = TypeVar("B")
P = ParamSpec("P")

_NO_LIMIT = -1


def _says_how_one_is_made(
    init: Callable[Concatenate[_Primitive, P], None],
) -> Callable[Concatenate[_Primitive, P], None]:
    """Decorate `__init__`: of a call as if it made one, like `Queue(3)`, say how one is made."""

    @wraps(init)
    def checked(self: _Primitive, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if [each.kind for each in args if isinstance(each, PrimitiveRef)] != [self._kind] or kwargs:
            given = [expect.shown(each) for each in args] + list(kwargs)
            name = type(self).__name__
            raise MatchError(
                f"{name}: expected what {name}.{self._made_by} makes, but got "
                f"{', '.join(given) or 'nothing'}; {name}.{self._made_by}(...) is the program that "
                f"makes one"
            )
        init(self, *args, **kwargs)

    return checked


class _Primitive(HoldsReference):
    """A small reference that travels, to a primitive that all fibers of its run can reach."""

    __slots__ = ("_primitive",)
    _kind: ClassVar[str]
    _made_by: ClassVar[str] = "create"

    @_says_how_one_is_made
    def __init__(self, primitive: Any) -> None:
        self._primitive: PrimitiveRef = primitive

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._primitive,)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._primitive == self._primitive

    def __hash__(self) -> int:
        return hash(self._primitive)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._primitive.key}>"


@final
@hint_at("Deferred")
class Deferred(_Primitive, Generic[Item]):
    """A value that is set once; any number of fibers wait for it.

    >>> from distio import Deferred, io
    >>> def meet(answer):
    ...     return io.zip_par(answer.get(), answer.get(), answer.set(42), answer.is_set())
    >>> Deferred.create().flat_map(meet).run(None)
    Ok(success=(42, 42, True, True))
    """

    __slots__ = ()
    _kind = "deferred"

    @classmethod
    def create(cls) -> IO[Any, Never, Deferred[Item]]:
        """The program that makes a `Deferred` without a value."""
        return ops.MakePrimitive("deferred").map(cls)

    def get(self) -> IO[Any, Never, Item]:
        """Wait until the value is set; compute the value."""
        return ops.CallPrimitive(self._primitive, "get")

    def set(self, value: Item) -> IO[Any, Never, bool]:
        """Set the value, unless there is one already; compute whether this call was the first."""
        return ops.CallPrimitive(self._primitive, "set", 0, value)

    def is_set(self) -> IO[Any, Never, bool]:
        """Compute whether there is a value; the program never waits."""
        return ops.CallPrimitive(self._primitive, "is_set")


class _Source(_Primitive, Generic[Item]):
    """A queue or a subscription: items can be taken from both."""

    __slots__ = ()

    def _ask(self, method: Method) -> IO[Any, Any, Any]:
        return ops.CallPrimitive(self._primitive, method)

    def take(self) -> IO[Any, Closed, Item]:
        """Wait for the next item; compute the item.

        Errors:
            Closed: the queue or subscription is closed, and no item is left.
        """
        return self._ask("take")

    def poll(self) -> IO[Any, Closed, list[Item]]:
        """Take the next item without waiting: compute a list with the item, or an empty list.

        Errors:
            Closed: the queue or subscription is closed, and no item is left.
        """
        return self._ask("poll").map(_listed)

    def each(self, f: Callable[[Item], IO[R, E, Any]]) -> IO[R, E, None]:
        """Run `f(item)` for one item after another, until all is closed and no item is left.

        The first failure of one of these programs is the outcome.

        Args:
            f: a function that makes the program of an item.

        Raises:
            MatchError: `f` is no function.
        """
        expect.function(f, f"{type(self).__name__}.each")
        return io.defer_io(self._next, f)

    def _next(self, f: Callable[[Item], IO[Any, Any, Any]]) -> IO[Any, Any, None]:
        return self.take().catch(_end_of_it).flat_map(partial(self._went_on, f))

    def _went_on(self, f: Callable[[Item], IO[Any, Any, Any]], item: Any) -> IO[Any, Any, None]:
        if item is NOTHING:
            return io.pure(None)
        done = require_io(f(item), f"{type(self).__name__}.each", f)
        return done.flat_map(lambda _: self._next(f))

    def __aiter__(self) -> _Source[Item]:
        """In a function of `io.do`: `async for item in queue`, until the queue is closed."""
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.take()
        except DomainErrors as failure:
            if any(isinstance(error, Closed) for error in failure.errors):
                raise StopAsyncIteration from None
            raise


def _listed(item: Any) -> list[Any]:
    return [] if item is NOTHING else [item]


def _end_of_it(errors: list[Any]) -> IO[Any, Any, Any]:
    return io.pure(NOTHING)


@final
@hint_at("Queue")
class Queue(_Source[Item]):
    """Items that go from fiber to fiber, each to one, in the order in which they were put.

    >>> from distio import Queue, io
    >>> def work(queue):
    ...     give = io.traverse([1, 2, 3], queue.put).then(queue.close())
    ...     seen = []
    ...     return io.zip_par(give, queue.each(lambda n: io.defer(seen.append, n))).then(
    ...         io.defer(lambda: seen)
    ...     )
    >>> Queue.create(1).flat_map(work).run(None)
    Ok(success=[1, 2, 3])
    """

    __slots__ = ()
    _kind = "queue"

    @classmethod
    @says_instead(**OF_CAPACITY)
    def create(cls, capacity: int | None = None) -> IO[Any, Never, Queue[Item]]:
        """The program that makes an empty queue.

        Args:
            capacity: the number of items that the queue keeps: further puts wait for room. 0: the
                queue keeps no item, and a put waits for a take. None: no limit.

        Raises:
            MatchError: `capacity` is no whole number up to 2**63 - 1.
            ValueError: `capacity` is negative.
        """
        return ops.MakePrimitive("queue", _size(capacity, "Queue.create")).map(cls)

    def put(self, item: Item) -> IO[Any, Closed, None]:
        """Put an item behind all others, as soon as there is room.

        Errors:
            Closed: the queue is closed.
        """
        return ops.CallPrimitive(self._primitive, "put", 0, item)

    def offer(self, item: Item) -> IO[Any, Closed, bool]:
        """Put an item if there is room now; compute whether there was room.

        Errors:
            Closed: the queue is closed.
        """
        return ops.CallPrimitive(self._primitive, "offer", 0, item)

    def size(self) -> IO[Any, Never, int]:
        """Compute the number of items in the queue."""
        return ops.CallPrimitive(self._primitive, "size")

    def close(self) -> IO[Any, Never, None]:
        """Refuse further items: those that were put, or wait for room, can still be taken."""
        return ops.CallPrimitive(self._primitive, "close")


@final
class PubSub(_Primitive, Generic[Item]):
    """A topic: each published item goes to everybody who is subscribed at that moment.

    >>> from distio import PubSub, io
    >>> def radio(news):
    ...     listen = news.subscribe().use(lambda feed: news.publish("hello").then(feed.take()))
    ...     return listen.then_keep(news.close())
    >>> PubSub.create().flat_map(radio).run(None)
    Ok(success='hello')
    """

    __slots__ = ()
    _kind = "topic"

    @classmethod
    @says_instead(**OF_CAPACITY)
    def create(cls, capacity: int | None = None) -> IO[Any, Never, PubSub[Item]]:
        """The program that makes a topic without subscribers.

        Args:
            capacity: the number of items that are kept for each subscriber: publishing waits until
                all of them have room. 0: no item is kept, and publishing waits until all of them
                take. None: no limit.

        Raises:
            MatchError: `capacity` is no whole number up to 2**63 - 1.
            ValueError: `capacity` is negative.
        """
        return ops.MakePrimitive("topic", _size(capacity, "PubSub.create")).map(cls)

    def publish(self, item: Item) -> IO[Any, Closed, None]:
        """Give an item to all subscribers, as soon as all have room.

        All subscribers get the items in the same order.

        Errors:
            Closed: the topic is closed.
        """
        return ops.CallPrimitive(self._primitive, "publish", 0, item)

    def subscribe(self) -> Resource[Any, Closed, Subscription[Item]]:
        """A resource: during its use one is subscribed; its release drops the items that are left.

        Errors:
            Closed: the topic is closed.
        """
        return Resource(
            ops.CallPrimitive(self._primitive, "subscribe").map(
                partial(_subscribed, self._primitive)
            )
        )

    def close(self) -> IO[Any, Never, None]:
        """Refuse further items: those that were published, or wait for room, can still be taken."""
        return ops.CallPrimitive(self._primitive, "close")


@final
class Subscription(_Source[Item]):
    """The items that a subscriber of a `PubSub` has not taken yet; it is read like a queue."""

    __slots__ = ("_number",)
    _kind = "topic"
    _made_by = "subscribe"

    def __init__(self, primitive: PrimitiveRef, number: int) -> None:
        super().__init__(primitive)
        self._number = number

    def _ask(self, method: Method) -> IO[Any, Any, Any]:
        return ops.CallPrimitive(self._primitive, method, self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return Subscription, (self._primitive, self._number)

    def __eq__(self, other: object) -> bool:
        return (
            super().__eq__(other)
            and isinstance(other, Subscription)
            and (other._number == self._number)
        )

    def __hash__(self) -> int:
        return hash((self._primitive, self._number))


def _subscribed(
    primitive: PrimitiveRef, number: int
) -> tuple[Subscription[Any], Callable[..., Any]]:
    return Subscription(primitive, number), partial(_unsubscribe, primitive, number)


def _unsubscribe(primitive: PrimitiveRef, number: int, status: Any) -> IO[Any, Any, Any]:
    return ops.CallPrimitive(primitive, "unsubscribe", number)


@final
class Barrier(_Primitive):
    """A place where a number of fibers wait for one another, again and again.

    >>> from distio import Barrier, io
    >>> def start(barrier):
    ...     return io.zip_par([barrier.wait() for _ in range(3)])
    >>> Barrier.create(3).flat_map(start).map(sorted).run(None)
    Ok(success=[0, 1, 2])
    """

    __slots__ = ()
    _kind = "barrier"

    @classmethod
    def create(cls, parties: int) -> IO[Any, Never, Barrier]:
        """The program that makes a barrier.

        Args:
            parties: the number of fibers that wait for one another.

        Raises:
            MatchError: `parties` is no whole number up to 2**63 - 1.
            ValueError: `parties` is less than 1.
        """
        size = expect.size(parties, "Barrier.create", "parties is a number from 1")
        return ops.MakePrimitive("barrier", size).map(cls)

    def wait(self) -> IO[Any, Never, int]:
        """Wait until all parties wait; compute the place in which this fiber came, from 0."""
        return ops.CallPrimitive(self._primitive, "wait")


@final
class CountDownLatch(_Primitive):
    """A number that is counted down to 0; fibers wait until it is there.

    >>> from distio import CountDownLatch, io
    >>> def race(latch):
    ...     return io.zip_par(latch.wait(), latch.count_down(), latch.count_down())
    >>> CountDownLatch.create(2).flat_map(race).run(None)
    Ok(success=(None, 1, 0))
    """

    __slots__ = ()
    _kind = "latch"

    @classmethod
    def create(cls, count: int) -> IO[Any, Never, CountDownLatch]:
        """The program that makes a latch.

        Args:
            count: the number at which the latch stands first.

        Raises:
            MatchError: `count` is no whole number up to 2**63 - 1.
            ValueError: `count` is less than 1.
        """
        size = expect.size(count, "CountDownLatch.create", "count is a number from 1")
        return ops.MakePrimitive("latch", size).map(cls)

    def count_down(self, n: int = 1) -> IO[Any, Never, int]:
        """Count down, but not below 0; compute the number that is left.

        Args:
            n: the number to count down by.

        Raises:
            MatchError: `n` is no whole number up to 2**63 - 1.
            ValueError: `n` is less than 1.
        """
        number = expect.size(n, "CountDownLatch.count_down", "n is a number from 1")
        return ops.CallPrimitive(self._primitive, "count_down", number)

    def wait(self) -> IO[Any, Never, None]:
        """Wait until the number is 0."""
        return ops.CallPrimitive(self._primitive, "wait")

    def count(self) -> IO[Any, Never, int]:
        """Compute the number that is left."""
        return ops.CallPrimitive(self._primitive, "count")


def _size(capacity: Any, where: str) -> int:
    if capacity is None:
        return _NO_LIMIT
    wanted = "capacity is a whole number from 0, or None for no limit"
    return expect.size(capacity, where, wanted, least=0)


publish(__name__, globals())
