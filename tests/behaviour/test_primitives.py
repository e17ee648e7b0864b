"""Queues and other primitives in every place, and cancellation of fibers that wait at them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import (
    IO,
    Barrier,
    Closed,
    CountDownLatch,
    Deferred,
    Errors,
    MatchError,
    Ok,
    Panic,
    PubSub,
    Queue,
    Result,
    Subscription,
    Var,
    io,
)
from distio.errors import Cancelled, Deadlock, NotPicklable
from distio.testing import MOVE_ON_WAKE, Fault, Interrupt, simulate
from tests.conftest import Run, shared_cluster
from tests.harness.generated import HARMFUL, HARMLESS, SEEDS, SHAPES

Program = IO[Any, Any, Any]


def exception_in(result: Result[Any, Any]) -> BaseException:
    assert isinstance(result, Panic)
    return result.exceptions[0].exception


# -- each of them -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [None, 0, 1, 5])
def test_queue_returns_items_in_the_order_in_which_they_were_put(
    run: Run, capacity: int | None
) -> None:
    @io.do
    async def gives(queue: Queue[int]) -> None:
        for n in range(20):
            await queue.put(n)
        await queue.close()

    @io.do
    async def takes(queue: Queue[int]) -> list[int]:
        return [n async for n in queue]

    @io.do
    async def main() -> Any:
        queue = await Queue.create(capacity)
        return await io.zip_par(gives(queue), takes(queue))

    assert run(main()) == Ok((None, [*range(20)]))


@pytest.mark.slow
def test_queue_gives_each_item_to_one_of_many_takers(run: Run) -> None:
    def work(queue: Queue[int]) -> Program:
        take = io.zip_par([queue.take() for _ in range(50)])
        return io.zip_par(take, io.zip_par([queue.put(n) for n in range(50)]))

    (taken, _) = run(Queue.create(3).flat_map(work)).unsafe_get()
    assert sorted(taken) == [*range(50)]


def test_deferred_value_reaches_all_fibers_that_wait(run: Run) -> None:
    def meet(answer: Deferred[str]) -> Program:
        others = [answer.get() for _ in range(5)]
        sets = answer.set("a").zip(answer.set("b"))
        return io.zip_par(*others, sets).then(answer.get().zip(answer.is_set()))

    assert run(Deferred.create().flat_map(meet)) == Ok(("a", True))


@pytest.mark.slow
def test_barrier_gathers_again_and_again(run: Run) -> None:
    def added(n: int, seen: list[int]) -> tuple[list[int], None]:
        return [*seen, n], None

    @io.do
    async def comes(barrier: Barrier, var: Var[list[int]], turn: int) -> None:
        for n in range(3):
            await var.update(partial(added, n))
            await barrier.wait()

    @io.do
    async def main() -> list[int]:
        barrier: Barrier = await Barrier.create(4)
        var: Var[list[int]] = await Var.create([])
        await io.zip_par([comes(barrier, var, turn) for turn in range(4)])
        return await var.get()

    assert run(main()) == Ok([0] * 4 + [1] * 4 + [2] * 4)


def test_latch_opens_when_it_was_counted_down(run: Run) -> None:
    @io.do
    async def main() -> Any:
        latch = await CountDownLatch.create(3)
        (waits,) = await io.parallel(latch.wait())
        await io.zip_par(latch.count_down(), latch.count_down(2))
        return await io.wait(waits), await latch.count()

    assert run(main()) == Ok(([Ok(None)], 0))


@pytest.mark.slow
def test_subscribers_of_a_topic_see_the_same_order(run: Run) -> None:
    @io.do
    async def listens(news: PubSub[Any], ready: CountDownLatch) -> list[Any]:
        async with news.subscribe() as feed:
            await ready.count_down()
            return [item async for item in feed]

    @io.do
    async def says(news: PubSub[Any], name: str) -> None:
        for n in range(5):
            await news.publish((name, n))

    @io.do
    async def main() -> Any:
        news = await PubSub.create(2)
        ready = await CountDownLatch.create(3)
        fibers = await io.parallel([listens(news, ready) for _ in range(3)])
        await ready.wait()
        await io.zip_par([says(news, name) for name in "ab"])
        await news.close()
        return [result.unsafe_get() for result in await io.wait(fibers)]

    first, *others = run(main()).unsafe_get()
    assert others == [first, first]
    assert [n for name, n in first if name == "a"] == [*range(5)]
    assert len(first) == 10


def test_queue_each_ends_when_the_queue_is_closed_and_fails_with_the_first_failure(
    run: Run,
) -> None:
    def full(queue: Queue[int]) -> Program:
        return io.traverse(range(3), queue.put).then(queue.close())

    def check(n: int) -> Program:
        return io.error(n) if n == 2 else io.pure(n)

    all_of_it = Queue.create().flat_map(lambda queue: full(queue).then(queue.each(io.pure)))
    some_of_it = Queue.create().flat_map(lambda queue: full(queue).then(queue.each(check)))
    assert run(all_of_it) == Ok(None)
    assert run(some_of_it) == Errors([2])


@pytest.mark.slow
def test_queue_each_goes_on_for_long() -> None:
    def work(queue: Queue[int]) -> Program:
        many = io.traverse(range(20_000), queue.put).then(queue.close())
        return io.zip_par(many, queue.each(io.pure))

    assert Queue.create(10).flat_map(work).run(None) == Ok((None, None))


def test_queue_that_is_closed_is_an_expected_error(run: Run) -> None:
    def work(queue: Queue[int]) -> Program:
        tries: list[Program] = [queue.put(1), queue.offer(1), queue.take(), queue.poll()]
        return queue.close().then(io.traverse(tries, lambda each: each.attempt()))

    results = run(Queue.create().flat_map(work)).unsafe_get()
    assert [result.errors for result in results] == [[Closed("queue")]] * 4


def test_poll_and_offer_do_not_wait(run: Run) -> None:
    def work(queue: Queue[Any]) -> Program:
        return io.zip(queue.poll(), queue.offer(None), queue.offer(2), queue.size(), queue.poll())

    assert run(Queue.create(1).flat_map(work)) == Ok(([], True, False, 1, [None]))


def test_primitives_are_equal_after_a_journey_and_travel_in_one_another(run: Run) -> None:
    @io.do
    async def answers(asked: Queue[tuple[int, Deferred[int]]]) -> None:
        async for n, answer in asked:
            await answer.set(2 * n)

    @io.do
    async def asks(asked: Queue[tuple[int, Deferred[int]]], n: int) -> int:
        answer: Deferred[int] = await Deferred.create()
        await asked.put((n, answer))
        return await answer.get()

    @io.do
    async def main() -> Any:
        asked = await Queue.create(0)
        (server,) = await io.parallel(answers(asked))
        found = await io.zip_par([asks(asked, n) for n in range(5)])
        await asked.close()
        await io.wait(server)
        var = await Var.create(asked)
        same = await var.get()
        return found, same == asked, hash(same) == hash(asked), asked != await Queue.create()

    assert run(main()) == Ok(([0, 2, 4, 6, 8], True, True, True))


def test_handle_in_an_item_of_a_queue_can_be_waited_for(run: Run) -> None:
    @io.do
    async def main() -> Any:
        queue = await Queue.create()
        await queue.put((await io.parallel(io.sleep(0.001).then(io.pure(5))))[0])
        (waits,) = await io.parallel(queue.take().flat_map(io.wait))
        (result,) = await io.wait(waits)
        return result

    assert run(main()) == Ok(Ok([Ok(5)]))


@pytest.mark.slow
def test_items_that_are_large_travel(run: Run) -> None:
    def work(queue: Queue[bytes]) -> Program:
        size = 3_000_000
        return io.zip_par(queue.put(bytes(size)), queue.take().map(len))

    assert run(Queue.create(0).flat_map(work)) == Ok((None, 3_000_000))


# -- between workers --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [None, 0, 1])
def test_queue_connects_fibers_of_different_processes(capacity: int | None) -> None:
    """The root stays at home, and its children run on workers."""

    @io.do
    async def doubles(queue: Queue[int], answers: Queue[int]) -> int:
        async for n in queue:
            await answers.put(2 * n)
        await answers.close()
        return await io.defer(os.getpid)

    @io.do
    async def gives(queue: Queue[int]) -> None:
        for n in range(200):
            await queue.put(n)
        await queue.close()

    @io.do
    async def main() -> Any:
        queue, answers = await Queue.create(capacity), await Queue.create(capacity)
        fibers = await io.parallel(doubles(queue, answers), gives(queue))
        found = [n async for n in answers]
        return found, (await io.wait(fibers))[0]

    found, place = main().run(None, on=shared_cluster()).unsafe_get()
    assert found == [2 * n for n in range(200)]
    assert place.unsafe_get() != os.getpid()


class Stubborn:
    def __reduce__(self) -> Any:
        raise TypeError("it stays")


def test_item_that_cannot_be_pickled_is_a_panic_of_its_put() -> None:
    def work(queue: Queue[Any]) -> Program:
        failing = queue.put([Stubborn()]).attempt()
        return io.zip(failing, queue.size(), queue.put(1), queue.take())

    program = Queue.create().flat_map(work)
    failed, size, _, taken = simulate(program).result.unsafe_get()  # type: ignore[union-attr]  # the client isn't lost
    wrong = exception_in(failed)
    assert isinstance(wrong, NotPicklable)
    assert "an item can't leave its process" in str(wrong)
    assert "Stubborn" in str(wrong)
    assert (size, taken) == (0, 1)
    assert isinstance(program.run(None), Ok)


def broken() -> Any:
    raise ValueError("never again")


class Fragile:
    def __reduce__(self) -> Any:
        return broken, ()


def test_item_that_cannot_be_unpickled_is_a_panic_of_its_take() -> None:
    def work(queue: Queue[Any]) -> Program:
        return queue.put(Fragile()).then(queue.put(1), queue.take().attempt().zip(queue.take()))

    failed, taken = simulate(Queue.create().flat_map(work)).result.unsafe_get()  # type: ignore[union-attr]  # the client isn't lost
    assert isinstance(exception_in(failed), ValueError)
    assert taken == 1


# -- deadlocks and mistakes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (Queue.create().flat_map(lambda queue: queue.take()), "waits to take from a queue"),
        (Queue.create(0).flat_map(lambda queue: queue.put(1)), "waits for room in a queue"),
        (Deferred.create().flat_map(lambda answer: answer.get()), "waits for a deferred value"),
        (Barrier.create(2).flat_map(lambda barrier: barrier.wait()), "waits for a barrier"),
        (CountDownLatch.create(1).flat_map(lambda latch: latch.wait()), "waits for a latch"),
        (
            PubSub.create().flat_map(lambda news: news.subscribe().use(lambda feed: feed.take())),
            "waits to take from a topic",
        ),
        (
            PubSub.create(0).flat_map(lambda news: news.subscribe().with_(news.publish(1))),
            "waits for room in a topic",
        ),
    ],
    ids=["take", "put", "get", "barrier", "latch", "subscription", "publish"],
)
def test_wait_that_nothing_can_end_is_a_deadlock_that_says_so(
    run: Run, program: Program, words: str
) -> None:
    found = exception_in(run(io.zip_par(io.sleep(0.001), program)))
    assert isinstance(found, Deadlock)
    assert words in str(found)


def test_primitive_of_another_run_is_refused(run: Run) -> None:
    queue = run(Queue.create()).unsafe_get()
    found = exception_in(run(queue.put(1)))
    assert isinstance(found, MatchError)
    assert "lives as long as the run that made it" in str(found)


def test_subscription_that_is_over_is_closed(run: Run) -> None:
    def late(news: PubSub[int]) -> Program:
        kept: IO[Any, Any, Subscription[int]] = news.subscribe().use(io.pure)
        return kept.flat_map(lambda feed: feed.take())

    assert run(PubSub.create().flat_map(late)) == Errors([Closed("subscription")])


def test_publish_to_a_closed_topic_says_that_the_topic_was_closed(run: Run) -> None:
    result = run(PubSub.create().flat_map(lambda news: news.close().then(news.publish(1))))
    assert result == Errors([Closed("topic")])
    assert str(result.errors[0]) == "the topic was closed"


def test_status_tells_at_which_primitive_a_fiber_waits(run: Run) -> None:
    @io.do
    async def main() -> Any:
        queue = await Queue.create()
        (fiber,) = await io.parallel(queue.take())
        status = await fiber.status()
        while status.state != "waits to take from a queue":
            await io.sleep(0.001)
            status = await fiber.status()
        await queue.put(1)
        return await io.wait(fiber)

    assert run(main()) == Ok([Ok(1)])


def unchecked(found: Any) -> Any:
    """A value of a type that checkers must not see."""
    return found


@pytest.mark.parametrize(
    ("make", "kind", "wrong"),
    [
        (lambda: Queue.create(-1), ValueError, "Queue.create: capacity is a whole number from 0"),
        (
            lambda: Queue.create(unchecked(1.5)),
            MatchError,
            "or None for no limit, but got 1.5 of type float",
        ),
        (
            lambda: PubSub.create(unchecked("9")),
            MatchError,
            "PubSub.create: capacity is a whole number",
        ),
        (lambda: Barrier.create(0), ValueError, "Barrier.create: parties is a number from 1"),
        (
            lambda: CountDownLatch.create(unchecked(None)),
            MatchError,
            "CountDownLatch.create: count is a ",
        ),
        (lambda: Queue(5), MatchError, "Queue.create(...) is the program that makes one"),
        (
            lambda: Subscription(unchecked("no"), 1),
            MatchError,
            "expected what Subscription.subscribe makes",
        ),
    ],
)
def test_primitive_with_bad_input_is_refused_at_once(
    make: Callable[[], Any], kind: type, wrong: str
) -> None:
    with pytest.raises(kind) as raised:
        make()
    assert wrong in str(raised.value)


# -- cancellation -----------------------------------------------------------------------------


def test_take_that_is_cancelled_takes_nothing(run: Run) -> None:
    @io.do
    async def main() -> Any:
        queue = await Queue.create()
        (taker,) = await io.parallel(queue.take())
        result = await taker.cancel()
        await queue.put(1)
        return isinstance(exception_in(result), Cancelled), await queue.take()

    assert run(main()) == Ok((True, 1))


def test_put_that_is_cancelled_while_it_waits_for_room_puts_nothing(run: Run) -> None:
    @io.do
    async def main() -> Any:
        queue = await Queue.create(1)
        await queue.put("first")
        late = await queue.put("never").timeout(0.002, io.pure("late"))
        return late, await queue.take(), await queue.poll()

    assert run(main()) == Ok(("late", "first", []))


SEEN: Counter[str] = Counter()
"""A simulated cluster is one process: fibers count here wherever they are."""


@io.do
async def gives(queue: Queue[int], first: int, count: int) -> None:
    for n in range(first, first + count):
        try:
            await io.defer(note, f"put {n}")
            await queue.put(n)
        except BaseException:
            await io.uncancelable(io.defer(note, f"not put {n}"))
            raise


@io.do
async def takes(queue: Queue[int]) -> None:
    async for n in queue:
        await io.uncancelable(io.defer(note, f"taken {n}"))


def note(what: str) -> None:
    SEEN[what] += 1


@io.do
async def trade(
    capacity: int | None, givers: int, takers: int, cancelled: list[tuple[int, float]]
) -> list[int]:
    """Some givers and takers are cancelled; then the remaining items are taken."""
    queue = await Queue.create(capacity)
    fibers = await io.parallel(
        *[gives(queue, 100 * n, 6) for n in range(givers)], *[takes(queue) for _ in range(takers)]
    )
    for which, seconds in cancelled:
        await io.sleep(seconds)
        await fibers[which % len(fibers)].cancel_soon()
    for fiber in fibers[:givers]:
        await fiber.cancel() if takers < 2 else await io.wait(fiber).timeout(0.02, fiber.cancel())
    await queue.close()
    left = [n async for n in queue]
    await io.wait(fibers)
    return left


TRADES = st.tuples(
    st.sampled_from([None, 0, 1, 3]),
    st.integers(1, 3),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.0005, 0.002])), max_size=5),
)


@pytest.mark.slow
@pytest.mark.seeds(200)
def test_queue_loses_and_doubles_no_item_whichever_fiber_is_cancelled(examples: int) -> None:
    @settings(max_examples=examples)
    @given(TRADES, SEEDS, SHAPES)
    def check(trades: Any, seed: int, shape: tuple[int, int]) -> None:
        SEEN.clear()
        simulation = simulate(trade(*trades), members=shape[0], threads=shape[1], seed=seed)
        assert simulation.result is not None
        left = simulation.result.unsafe_get()
        begun = {int(each[4:]) for each in SEEN if each.startswith("put")}
        not_put = {int(each[8:]) for each in SEEN if each.startswith("not put")}
        taken = [int(each[6:]) for each in SEEN.elements() if each.startswith("taken")]
        assert sorted([*taken, *left]) == sorted(begun - not_put)

    check()


@io.do
async def talks(capacity: int | None) -> list[int]:
    """All primitives at once; nothing is cancelled."""
    queue, news = await Queue.create(capacity), await PubSub.create(capacity)
    ready, meet, answer = await CountDownLatch.create(2), await Barrier.create(3), Deferred.create()
    told: Deferred[int] = await answer

    async def listens() -> int:
        async with news.subscribe() as feed:
            await ready.count_down()
            return sum([n async for n in feed])

    @io.do
    async def listener() -> int:
        total = await listens()
        await meet.wait()
        return total + await told.get()

    @io.do
    async def speaker() -> int:
        await ready.wait()
        async for n in queue:
            await news.publish(n)
        await news.close()
        await meet.wait()
        await told.set(1000)
        return 0

    @io.do
    async def victim() -> int:
        for n in range(1, 5):
            await queue.put(n)
        await queue.close()
        return 0

    return [*await io.zip_par(listener(), listener(), speaker(), victim())]


@pytest.mark.slow
@pytest.mark.seeds(60)
def test_primitives_give_the_same_to_fibers_that_move(examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.sampled_from([None, 0, 1, 3]), SEEDS, SHAPES, st.lists(HARMLESS, max_size=2))
    def check(capacity: Any, seed: int, shape: tuple[int, int], faults: list[Fault]) -> None:
        simulation = simulate(
            talks(capacity),
            members=shape[0],
            threads=shape[1],
            seed=seed,
            faults=faults,
            components=MOVE_ON_WAKE,
        )
        assert simulation.result == Ok([1010, 1010, 0, 0])

    check()


@pytest.mark.slow
def test_primitives_leave_nothing_hanging_whatever_is_lost(examples: int) -> None:
    @settings(max_examples=examples)
    @given(TRADES, SEEDS, SHAPES, st.lists(HARMFUL | HARMLESS, min_size=1, max_size=3))
    def check(trades: Any, seed: int, shape: tuple[int, int], faults: list[Fault]) -> None:
        program = io.zip_par(trade(*trades), talks(trades[0]))
        simulation = simulate(
            program,
            members=shape[0],
            threads=shape[1],
            seed=seed,
            faults=[*faults, Interrupt(at=0.01)],
        )
        assert simulation.virtual_seconds < 100

    check()
