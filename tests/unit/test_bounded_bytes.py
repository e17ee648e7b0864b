"""A bounded traversal can be pickled at each of its requests."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from distio import IO, io
from distio.core import ops
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, load_fibers
from distio.protocol import requests as rq
from tests.harness.items import exceptions_of, square, squares

Program = IO[Any, Any, Any]


class Drive:
    """Run a fiber and its children alone, and pickle the fiber at requests of these kinds."""

    def __init__(self, *pickled: str) -> None:
        self.pickled = pickled
        self.results: dict[int, Any] = {}
        self.clock = 0.0
        self.asked: set[str] = set()

    def run(self, program: Program) -> Any:
        fiber = Fiber(0, 0, program, None)
        while True:
            request: Any = step(fiber, fuel=3)
            if request is rq.FINISHED:
                return fiber.outcome()
            fiber.request = request
            kind = type(request).__name__
            if kind in self.pickled:
                (fiber,) = load_fibers(0, [(0, 0)], dump_fibers([fiber])[0])
                self.asked.add(kind)
            self.answer(fiber, request)

    def answer(self, fiber: Fiber, request: Any) -> None:
        if isinstance(request, rq.Spawn):
            fiber.value = [self.start(child) for child in request.ios]
        elif isinstance(request, rq.AwaitFibers):
            left = len(request.handles) - request.enough  # the last ones end first
            results = [self.results[handle.id] for handle in request.handles]
            fiber.value = [None] * left + results[left:]
        elif request is rq.NOW:
            self.clock += 1e-4
            fiber.value = self.clock

    def start(self, program: Program) -> Handle[Any, Any, Any]:
        handle = Handle[Any, Any, Any](len(self.results) + 1)
        self.results[handle.id] = None  # its place is taken
        self.results[handle.id] = self.run(program)
        return handle


# a fiber that moved has another clock, and learns nothing of durations: then no chunks grow
@pytest.mark.parametrize("pickled", [("Spawn", "AwaitFibers", "Yielded"), ("AwaitFibers", "Now")])
@pytest.mark.parametrize("items", [tuple(range(40)), range(40)])
def test_traverse_par_can_be_pickled_at_each_request_and_goes_on_the_same(
    items: Any, pickled: tuple[str, ...]
) -> None:
    drive = Drive(*pickled)
    assert drive.run(ops.TraversePar(items, square, 3, None)) == squares(40)
    assert drive.asked == {*pickled}
    failed = Drive(*pickled).run(ops.TraversePar(items, troubled_at_once, 3, None))
    assert failed.errors == [n for n in range(40) if n % 10 not in (5, 7)]
    assert exceptions_of(failed) == ["7", "17", "27", "37"]


def troubled_at_once(n: int) -> Program:
    if n % 10 == 7:
        raise ValueError(n)
    return io.yield_ if n % 10 == 5 else io.error(n)


@pytest.mark.parametrize("pickled", ["Now", "Yielded"])
def test_chunk_that_moves_does_not_compare_the_clocks_of_two_processes(pickled: str) -> None:
    chunk = ops.Chunk([1, 2, 3], square)
    stayed = Drive().run(chunk).success
    assert (stayed.values, stayed.failures) == ([1, 4, 9], [])
    assert stayed.seconds > 0
    assert math.isnan(Drive(pickled).run(chunk).success.seconds)


def test_traverse_par_over_an_iterator_cannot_be_pickled() -> None:
    program = io.traverse_par((n for n in range(3)), square, at_most=1)
    with pytest.raises(TypeError, match="generator"):
        pickle.dumps(program)
