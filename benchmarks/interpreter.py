"""How long do programs of many small steps take on one thread, and many fibers?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._timing import seconds
from benchmarks.harness import Candidate, Question, main
from benchmarks.harness.question import each_time
from distio import io

YIELDERS = 100

Action = Callable[[int], object]


# -- Fibonacci numbers ------------------------------------------------------------------------


def fibo(lib: Any, n: int) -> Any:
    if n < 2:
        return lib.pure(n)
    return lib.defer_io(fibo, lib, n - 1).flat_map(
        lambda a: lib.defer_io(fibo, lib, n - 2).map(lambda b: a + b)
    )


@io.do
async def fibo_direct(n: int) -> int:
    if n < 2:
        return n
    return await fibo_direct(n - 1) + await fibo_direct(n - 2)


async def fibo_of_asyncio(n: int) -> int:
    if n < 2:
        return n
    return await fibo_of_asyncio(n - 1) + await fibo_of_asyncio(n - 2)


# -- fibers, and yields -----------------------------------------------------------------------


def fibers_of(lib: Any, count: int) -> None:
    children = [lib.defer(int) for _ in range(count)]
    results = lib.parallel(children).flat_map(lib.wait).run(None).success
    assert len(results) == count


def yields_of(lib: Any, count: int) -> None:
    def loop(left: int) -> Any:
        return lib.pure(0) if left == 0 else lib.yield_.flat_map(lambda _: loop(left - 1))

    children = [lib.defer_io(loop, count // YIELDERS) for _ in range(YIELDERS)]
    results = lib.parallel(children).flat_map(lib.wait).run(None).success
    assert len(results) == YIELDERS


async def fibers_of_asyncio(count: int) -> None:
    async def child() -> int:
        return 0

    await asyncio.gather(*[asyncio.create_task(child()) for _ in range(count)])


async def yields_of_asyncio(count: int) -> None:
    async def child() -> None:
        for _ in range(count // YIELDERS):
            await asyncio.sleep(0)

    await asyncio.gather(*[asyncio.create_task(child()) for _ in range(YIELDERS)])


# -- who is asked -----------------------------------------------------------------------------


def in_ms(action: Action) -> Callable[[int], float]:
    return lambda count: seconds(lambda: action(count)) * 1e3


def of_raffiot(action: Callable[[Any, int], object], count: int) -> object:
    import raffiot.io as raffiot

    return action(raffiot, count)


def of_uvloop(action: Callable[[int], Any], count: int) -> object:
    import uvloop

    return uvloop.run(action(count))


def candidates(
    of_library: Callable[[Any, int], object],
    of_loop: Callable[[int], Any],
    more: dict[str, Action] | None = None,
) -> list[Candidate]:
    ours: dict[str, Action] = {"distio": partial(of_library, io), **(more or {})}
    peers: dict[str, tuple[Action, str]] = {
        "raffiot": (partial(of_raffiot, of_library), "raffiot"),
        "asyncio": (lambda count: asyncio.run(of_loop(count)), "Python"),
        "uvloop": (partial(of_uvloop, of_loop), "uvloop"),
    }
    return [
        *[Candidate(name, each_time(in_ms(action))) for name, action in ours.items()],
        *[Candidate(name, each_time(in_ms(act)), of) for name, (act, of) in peers.items()],
    ]


def run_fibo(lib: Any, n: int) -> object:
    return fibo(lib, n).run(None).success


QUESTIONS = [
    Question(
        __file__,
        "fibonacci",
        "How long does fibo_io(22) take, 57,313 calls of pure steps?",
        "ms",
        candidates(
            run_fibo,
            fibo_of_asyncio,
            {"distio, io.do": lambda n: fibo_direct(n).run(None).unsafe_get()},
        ),
        (22, 18, 5),
        goal="half of raffiot, with io.do a quarter",
        says="A coroutine that awaits another one calls it: no loop has a part in it.",
    ),
    Question(
        __file__,
        "yields",
        f"How long do 500,000 yields of {YIELDERS} fibers take on one thread?",
        "ms",
        candidates(yields_of, yields_of_asyncio),
        (500_000, 50_000, 200),
        rounds=3,
    ),
    Question(
        __file__,
        "fibers",
        "How long does it take to start 100,000 fibers and wait for them, on one thread?",
        "ms",
        candidates(fibers_of, fibers_of_asyncio),
        (100_000, 10_000, 20),
        rounds=3,
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
