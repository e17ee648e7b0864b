"""How long do many fibers, and many yields, take on one thread?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import raffiot.io as raffiot

from benchmarks._timing import medians, seconds, show, take_turns
from distio import io

FIBERS = 100_000
YIELDERS, YIELDS = 100, 5_000
ROUNDS = 3


def fibers_of(lib: Any) -> object:
    children = [lib.defer(int) for _ in range(FIBERS)]
    results = lib.parallel(children).flat_map(lib.wait).run(None).success
    assert len(results) == FIBERS
    return results


def yields_of(lib: Any) -> object:
    def loop(left: int) -> Any:
        return lib.pure(0) if left == 0 else lib.yield_.flat_map(lambda _: loop(left - 1))

    children = [lib.defer_io(loop, YIELDS) for _ in range(YIELDERS)]
    results = lib.parallel(children).flat_map(lib.wait).run(None).success
    assert len(results) == YIELDERS
    return results


def fibers_of_asyncio() -> object:
    async def child() -> int:
        return 0

    async def root() -> list[int]:
        return await asyncio.gather(*[asyncio.create_task(child()) for _ in range(FIBERS)])

    return asyncio.run(root())


def yields_of_asyncio() -> object:
    async def child() -> None:
        for _ in range(YIELDS):
            await asyncio.sleep(0)

    async def root() -> object:
        return await asyncio.gather(*[asyncio.create_task(child()) for _ in range(YIELDERS)])

    return asyncio.run(root())


def compare(title: str, actions: dict[str, Callable[[], object]]) -> None:
    measures = {name: partial(seconds, action) for name, action in actions.items()}
    middle = medians(take_turns(measures, ROUNDS))
    show(
        f"{title}, median of {ROUNDS}",
        ["", "seconds", "of raffiot", "of asyncio"],
        [
            [name, f"{t:.3f}", f"{t / middle['raffiot']:.2f}", f"{t / middle['asyncio']:.2f}"]
            for name, t in middle.items()
        ],
    )


def main() -> None:
    compare(
        f"{FIBERS:,} fibers started and waited for",
        {
            "distio": lambda: fibers_of(io),
            "raffiot": lambda: fibers_of(raffiot),
            "asyncio": fibers_of_asyncio,
        },
    )
    compare(
        f"{YIELDERS * YIELDS:,} yields by {YIELDERS} fibers",
        {
            "distio": lambda: yields_of(io),
            "raffiot": lambda: yields_of(raffiot),
            "asyncio": yields_of_asyncio,
        },
    )


if __name__ == "__main__":
    main()
