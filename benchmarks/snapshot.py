"""What does it cost to pickle a fiber that waits? Goal: 30 µs, a few lambdas on its stack.

A snapshot of a fiber is taken each time that the fiber does what others can see, so most of them
are snapshots of functions that were sent before. The fibers are pickled where fibers are stepped:
in the process of the script, and in a worker, to which they have moved.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks._timing import show
from distio import Queue, io
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.pickling.loading import Bundle
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.core.snapshot import dump_chunk, load_fibers
from distio.protocol.requests import PrimitiveRef

TIMES, ROUNDS = 200, 15
RUN = 5 << 40
WAITS = "CallPrimitive"


def serve(queue: Queue[int], served: int) -> Any:
    """A server in a loop of lambdas."""
    return queue.take().flat_map(
        lambda item: io.pure(item + served).flat_map(
            lambda total: io.pure(total % 7).flat_map(lambda _: serve(queue, served + 1))
        )
    )


def nested(queue: Queue[int], depth: int) -> Any:
    """Lambdas that wait for one another, each with what it has captured."""
    program: Any = queue.take()
    for level in range(depth):
        program = program.map(lambda value, level=level: value + level).flat_map(
            lambda value: queue.put(value + depth).then(io.pure(value))
        )
    return program.flat_map(lambda _: nested(queue, depth))


def plain(queue: Queue[int]) -> Any:
    """Lambdas that read no global variable."""
    return queue.take().map(lambda x: x + 1).map(lambda x: x * 2).map(lambda x: [x]).map(len)


@io.do
async def direct(queue: Queue[int]) -> int:
    total = 0
    while True:
        total += await queue.take()


def of_modules(queue: Queue[int]) -> Any:
    """Functions alone that are found by their names."""
    return queue.take().map(operator.neg).flat_map(io.pure).map(abs)


PROGRAMS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "loop of lambdas": (lambda queue: serve(queue, 0), 1),
    "the same after 100 rounds": (lambda queue: serve(queue, 0), 101),
    "4 lambdas on the stack": (lambda queue: nested(queue, 2), 1),
    "4 that read no globals": (plain, 1),
    "io.do after 3 awaits": (lambda queue: direct(queue), 4),
    "io.do after 100 awaits": (lambda queue: direct(queue), 101),
    "functions of modules": (of_modules, 1),
}


def waiting(program: Any, takes: int) -> Fiber:
    """A fiber that waits for its so-manyth item."""
    fiber = Fiber(RUN | 1, RUN, program, None)
    fiber.handle = Handle(fiber.id)
    while takes:
        request: Any = step(fiber)
        fiber.request = request
        assert type(request).__name__ == WAITS, fiber.failure
        is_take = request.method == "take"
        takes -= is_take
        if takes:
            fiber.value = takes if is_take else None
    return fiber


def snapshot(fiber: Fiber) -> Dumped:
    return dump_chunk([fiber], writer=Writer(attaches=True))


def repeated(fiber: Fiber) -> float:
    """How long one snapshot takes that isn't the first: the best of some rounds, each a median."""
    found = []
    for _ in range(ROUNDS):
        times = []
        for _ in range(TIMES // ROUNDS):
            start = time.perf_counter()
            snapshot(fiber)
            times.append(time.perf_counter() - start)
        found.append(median(times))
    return min(found)


def row(name: str, fiber: Fiber) -> list[str]:
    """The first snapshot with all that it refers to, and a later one with mere digests of that."""
    start = time.perf_counter()
    first = snapshot(fiber)
    seconds = time.perf_counter() - start
    attached = sum(map(len, first.attachments.values()))
    often, last = repeated(fiber), snapshot(fiber)
    named = sum(map(len, last.attachments))
    return [
        name,
        f"{seconds * 1e6:.0f}",
        f"{len(first.payload) + attached:,}",
        f"{often * 1e6:.1f}",
        f"{len(last.payload) + named:,}",
    ]


def main() -> None:
    rows = []
    for name, (program, takes) in PROGRAMS.items():
        queue: Queue[int] = Queue(PrimitiveRef(RUN | 9, "queue"))
        fiber = waiting(program(queue), takes)
        rows.append(row(name, fiber))
        dumped = snapshot(fiber)
        bundles: dict[bytes, Bundle] = {}
        with use_space(ObjectSpace()):
            shared = bundles, {**dumped.attachments}
            (there,) = load_fibers(RUN, [(RUN | 1, 1)], dumped.payload, *shared)
            there.request = fiber.request
            rows.append(row(f"{name}, on a worker", there))
    show(
        f"pickling a fiber that waits for an item of a queue, best of {ROUNDS}; goal: 30 µs",
        ["", "first, µs", "bytes", "again, µs", "bytes"],
        rows,
    )


if __name__ == "__main__":
    main()
