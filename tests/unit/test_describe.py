"""Fibers at rest in words: where they stand, what they have captured, wait for and hold."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from distio import IO, io
from distio.core.describe import describe_holds, describe_places, describe_wait, text_of
from distio.core.fiber import Fiber, HeldLock
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, load_fibers
from distio.protocol import requests as rq

FUEL = 1_000


def parked(program: IO[Any, Any, Any], answers: Any = ()) -> Fiber:
    """A fiber that was stepped until it waits, was saved then, and opened again."""
    fiber = Fiber(1, 1, program, None)
    fiber.request = step(fiber, FUEL, None)
    for answer in answers:
        fiber.value = answer
        fiber.request = step(fiber, FUEL, None)
    payload, _ = dump_fibers([fiber])
    (opened,) = load_fibers(1, [(1, 1)], payload)
    return opened


class Order:
    def __init__(self, price: int) -> None:
        self.price = price

    def __repr__(self) -> str:
        return f"Order({self.price})"

    def bill(self, by: str) -> IO[Any, Any, Any]:
        return io.pure((self.price, by))


def approve(order: Order, by: str) -> IO[Any, Any, Any]:
    return io.pure((order, by))


def test_places_are_those_of_the_stack_from_the_top() -> None:
    order = Order(3)
    program = io.sleep(5).map(lambda _: "me").flat_map(partial(approve, order)).catch(io.error)
    places = describe_places(parked(program))
    assert [place.operation for place in places] == ["map", "flat_map", "catch"]
    assert places[1].function == "approve"
    assert places[1].values == {"argument 1": "Order(3)"}


def test_places_show_what_closures_and_methods_have_captured() -> None:
    order, name = Order(3), "me"
    program = io.sleep(5).flat_map(lambda _: approve(order, name)).flat_map(order.bill)
    closure, method = describe_places(parked(program))
    assert closure.values == {"name": "'me'", "order": "Order(3)"}
    assert closure.where.partition(":")[0] == __file__
    assert (method.function, method.values) == ("Order.bill", {"self": "Order(3)"})


def test_place_of_a_sequence_shows_what_comes_next() -> None:
    (place,) = describe_places(parked(io.sleep(5).then(io.sleep(7), io.pure(1))))
    assert place.values == {"next": "IO(Sleep(7))"}


def test_fiber_that_has_not_begun_shows_its_program() -> None:
    (place,) = describe_places(Fiber(1, 1, io.pure(5), None))
    assert (place.operation, place.values) == ("begins", {"program": "IO(Pure(5))"})


@io.do
async def inner(base: int) -> int:
    doubled = 2 * base
    await io.sleep(5)
    return doubled


@io.do
async def outer(order: Order) -> int:
    first = await io.pure(order.price)
    return await inner(first)


def test_places_of_a_function_of_do_are_the_lines_at_which_it_awaits() -> None:
    places = describe_places(parked(outer(Order(4))))
    assert [place.function for place in places] == ["inner", "outer"]
    assert places[0].values == {"base": "4", "doubled": "8"}
    assert places[1].values == {"first": "4", "order": "Order(4)"}
    assert all(place.where.startswith(f"{__file__}:") for place in places)


def test_function_that_cannot_be_repeated_shows_its_lines_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fiber = parked(outer(Order(4)))

    async def other(order: Order) -> int:
        return 5

    (awaiting,) = fiber.stack
    monkeypatch.setattr(awaiting.io.f, "__wrapped__", other)  # type: ignore[attr-defined]  # an Awaiting
    places = describe_places(fiber)
    assert [place.function for place in places] == ["inner", "outer"]
    assert "did something else" in next(iter(places[0].values.values()))


class Broken:
    def __repr__(self) -> str:
        raise ValueError("no text")


def test_text_of_any_value_is_one_short_line() -> None:
    assert text_of(Broken()) == "<a Broken>"
    assert len(text_of("x" * 10_000)) == 200
    assert "\n" not in text_of("a\nb")
    assert text_of(approve).startswith("approve (")
    assert text_of(Order) == f"the class {Order.__module__}.Order"


def test_wait_says_for_how_long_and_for_what() -> None:
    assert describe_wait(parked(io.sleep(5))) == "sleeps for 5 s"
    fiber = Fiber(1, 1, io.pure(1), None)
    fiber.request = rq.Acquire(rq.Lock("stock", 0, 0.0, False, None))
    assert describe_wait(fiber) == "waits for a lock: lock 'stock'"


def test_holds_name_each_lock_and_how_often() -> None:
    fiber = Fiber(1, 1, io.pure(1), None)
    fiber.holds = {"stock": HeldLock(None), (3 << 40) + 7: HeldLock(None)}
    fiber.holds["stock"].count = 2
    assert describe_holds(fiber) == ["lock 'stock' (2 times)", "lock 3.7"]
