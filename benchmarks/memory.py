"""How much memory does a fiber take that sleeps, with the program that it runs?

Each library has a process of its own; it is asked for its resident memory before the fibers are
made, and while all of them sleep.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import psutil
import raffiot.io as raffiot

from benchmarks._timing import SPAWN, show
from distio import io

FIBERS = 100_000
SLEEP, LOOK_AFTER = 6.0, 4.0


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def sleepers_of(lib: Any) -> Callable[[Callable[[], None]], object]:
    def run(look: Callable[[], None]) -> object:
        sleepers = [lib.defer_io(lib.sleep, SLEEP) for _ in range(FIBERS)]
        return lib.parallel(sleepers).then(lib.sleep(LOOK_AFTER), lib.defer(look)).run(None)

    return run


def sleepers_of_asyncio(look: Callable[[], None]) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(SLEEP)) for _ in range(FIBERS)]
        await asyncio.sleep(LOOK_AFTER)
        look()
        await asyncio.gather(*tasks)

    asyncio.run(main())


SLEEPERS: dict[str, Callable[[Callable[[], None]], object]] = {
    "distio": sleepers_of(io),
    "raffiot": sleepers_of(raffiot),
    "asyncio": sleepers_of_asyncio,
}


def measure(name: str, answer: Connection) -> None:
    before = resident()
    SLEEPERS[name](lambda: answer.send((resident() - before) / FIBERS))


def bytes_each(name: str) -> float:
    here, there = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=measure, args=(name, there))
    process.start()
    there.close()  # so that the end of the process, should it fail, ends the wait for its answer
    found: float = here.recv()
    process.kill()
    process.join()
    return found


def main() -> None:
    rows = [[name, f"{bytes_each(name):,.0f}"] for name in SLEEPERS]
    show(f"{FIBERS:,} fibers that sleep", ["", "bytes each"], rows)


if __name__ == "__main__":
    main()
