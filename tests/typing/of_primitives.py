"""The types that checkers infer of queues and other primitives: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import (
    IO,
    Barrier,
    Closed,
    CountDownLatch,
    Deferred,
    PubSub,
    Queue,
    Resource,
    Subscription,
    io,
)

assert_type(Queue.create(), IO[Any, Never, Queue[Any]])
assert_type(PubSub.create(1), IO[Any, Never, PubSub[Any]])
assert_type(Deferred.create(), IO[Any, Never, Deferred[Any]])
assert_type(Queue[int].create(3), IO[Any, Never, Queue[int]])
assert_type(PubSub[str].create(), IO[Any, Never, PubSub[str]])
assert_type(Deferred[int].create(), IO[Any, Never, Deferred[int]])
assert_type(io.traverse("ab", lambda _: Queue.create()), IO[Any, Never, list[Queue[Any]]])
declared: IO[Any, Never, Queue[int]] = Queue.create()
assert_type(Barrier.create(2), IO[Any, Never, Barrier])
assert_type(CountDownLatch.create(2), IO[Any, Never, CountDownLatch])


def of_queue(queue: Queue[int]) -> None:
    assert_type(queue.put(1), IO[Any, Closed, None])
    assert_type(queue.offer(1), IO[Any, Closed, bool])
    assert_type(queue.take(), IO[Any, Closed, int])
    assert_type(queue.poll(), IO[Any, Closed, list[int]])
    assert_type(queue.size(), IO[Any, Never, int])
    assert_type(queue.close(), IO[Any, Never, None])
    assert_type(queue.each(io.pure), IO[Any, Never, None])


def of_news(news: PubSub[str]) -> None:
    assert_type(news.publish(""), IO[Any, Closed, None])
    assert_type(news.subscribe(), Resource[Any, Closed, Subscription[str]])
    assert_type(news.close(), IO[Any, Never, None])


def of_others(answer: Deferred[float], barrier: Barrier, latch: CountDownLatch) -> None:
    assert_type(answer.get(), IO[Any, Never, float])
    assert_type(answer.set(1.5), IO[Any, Never, bool])
    assert_type(answer.is_set(), IO[Any, Never, bool])
    assert_type(barrier.wait(), IO[Any, Never, int])
    assert_type(latch.wait(), IO[Any, Never, None])
    assert_type(latch.count_down(2), IO[Any, Never, int])
    assert_type(latch.count(), IO[Any, Never, int])


@io.do
async def taking(queue: Queue[int], news: PubSub[str]) -> int:
    assert_type(await Queue[str].create(), Queue[str])
    of_queue(await Queue.create(3))
    async for number in queue:
        assert_type(number, int)
    async with news.subscribe() as feed:
        assert_type(feed, Subscription[str])
        assert_type(await feed.take(), str)
    return 1
