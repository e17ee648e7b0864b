"""How long does it take to cancel: many fibers here, one that has lost a race, a run elsewhere?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._timing import medians, show, take_turns
from distio import IO, Cluster, io

FIBERS = 10_000
RACES = 5_000
ON_CLUSTER = 1_000
ROUNDS = 5

Program = IO[Any, Any, Any]


def timed(program: Program, found: list[float]) -> Program:
    """Run a program, and note how long it took, in its own process."""

    def note(start: float) -> Program:
        return program.then(io.defer(lambda: found.append(time.perf_counter() - start)))

    return io.defer(time.perf_counter).flat_map(note)


def cancel_parked() -> float:
    found: list[float] = []

    def cancel(fibers: list[Any]) -> Program:
        asked = io.sequence([fiber.cancel_soon() for fiber in fibers])
        return io.sleep(0.1).then(timed(asked.then(io.wait(fibers)), found))

    assert io.parallel([io.sleep(1000)] * FIBERS).flat_map(cancel).run(None).is_ok()
    return found[0]


async def _cancel_tasks() -> float:
    tasks = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(FIBERS)]
    await asyncio.sleep(0.1)
    start = time.perf_counter()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return time.perf_counter() - start


def race_often() -> float:
    def again(n: int) -> Program:
        if n == 0:
            return io.pure(None)
        return io.race(io.pure(1), io.pure(2)).flat_map(lambda _: again(n - 1))

    start = time.perf_counter()
    assert again(RACES).run(None).is_ok()
    return (time.perf_counter() - start) / RACES


async def _race_tasks() -> float:
    async def nothing() -> int:
        return 1

    start = time.perf_counter()
    for _ in range(RACES):
        tasks = [asyncio.create_task(nothing()) for _ in range(2)]
        _, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for loser in losers:
            loser.cancel()
    return (time.perf_counter() - start) / RACES


def cancel_run(cluster: Cluster, after_seconds: float) -> float:
    run = cluster.submit(io.zip_par([io.sleep(1000)] * ON_CLUSTER), None)
    time.sleep(after_seconds)
    start = time.perf_counter()
    run.cancel()
    assert run.result(timeout=10).is_panic()
    return time.perf_counter() - start


def rows(goal: str, found: dict[str, list[float]], unit: float, form: str) -> list[tuple[str, ...]]:
    return [
        (name, form.format(value / unit), "" if name == "asyncio" else goal)
        for name, value in medians(found).items()
    ]


def main() -> None:
    columns = ("", "median", "goal")
    parked: dict[str, Callable[[], float]] = {
        "distio": cancel_parked,
        "asyncio": lambda: asyncio.run(_cancel_tasks()),
    }
    found = take_turns(parked, ROUNDS)
    show(
        f"{FIBERS:,} fibers that sleep are cancelled", columns, rows("0.3 s", found, 1, "{:.3f} s")
    )
    races: dict[str, Callable[[], float]] = {
        "distio": race_often,
        "asyncio": lambda: asyncio.run(_race_tasks()),
    }
    found = take_turns(races, ROUNDS)
    show("race of two that do nothing", columns, rows("30 µs", found, 1e-6, "{:.1f} µs"))
    with Cluster.local(workers=2) as cluster:
        # a fiber that has slept for a second is put away
        after = {"on 2 workers": 0.5, "and were put away": 2.0}
        runs = {name: partial(cancel_run, cluster, seconds) for name, seconds in after.items()}
        found = take_turns(runs, ROUNDS)
    title = f"a run of {ON_CLUSTER:,} fibers that sleep is cancelled"
    show(title, columns, rows("0.2 s", found, 1, "{:.3f} s"))


if __name__ == "__main__":
    main()
