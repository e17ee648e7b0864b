"""How fast do items go through a queue, in one process and between processes?

In one process the queue keeps one item, so giver and taker have to take turns; the peer is
asyncio's queue. Between processes it keeps one item, a few, or any number; the peers are that of
multiprocessing's manager and, if it is installed (`pip install distributed`), that of dask. There,
giver and taker are on different workers.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from importlib.util import find_spec
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks._timing import SPAWN, START_SECONDS, medians, seconds, show, take_turns
from distio import IO, Cluster, Queue, io

ITEMS, ITEMS_OF_CLUSTER, ITEMS_OF_DASK = 50_000, 2_000, 200
FEW = 8, 64
ROUNDS = 3


def give(queue: Queue[int], left: int) -> IO[Any, Any, int]:
    if left == 0:
        return io.defer(os.getpid)
    return queue.put(left).flat_map(lambda _: give(queue, left - 1))


def take(queue: Queue[int], left: int) -> IO[Any, Any, int]:
    if left == 0:
        return io.defer(os.getpid)
    return queue.take().flat_map(lambda _: take(queue, left - 1))


def hand_offs(items: int, capacity: int | None = 1) -> IO[Any, Any, Any]:
    return Queue.create(capacity).flat_map(
        lambda queue: io.zip_par(io.defer_io(give, queue, items), io.defer_io(take, queue, items))
    )


@io.do
async def direct_give(queue: Queue[int], items: int) -> None:
    for n in range(items):
        await queue.put(n)


@io.do
async def direct_take(queue: Queue[int], items: int) -> None:
    for _ in range(items):
        await queue.take()


@io.do
async def direct_hand_offs(items: int) -> None:
    queue = await Queue.create(1)
    await io.zip_par(direct_give(queue, items), direct_take(queue, items))


async def hand_offs_of_asyncio() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def give() -> None:
        for n in range(ITEMS):
            await queue.put(n)

    async def take() -> None:
        for _ in range(ITEMS):
            await queue.get()

    await asyncio.gather(give(), take())


def give_to_manager(queue: Any, ready: Barrier) -> None:
    ready.wait()
    for n in range(ITEMS_OF_CLUSTER):
        queue.put(n)


def take_of_manager(queue: Any, ready: Barrier) -> None:
    ready.wait()
    for _ in range(ITEMS_OF_CLUSTER):
        queue.get()


def hand_offs_of_manager(capacity: int) -> float:
    with SPAWN.Manager() as manager:
        queue, ready = manager.Queue(capacity), SPAWN.Barrier(3, timeout=START_SECONDS)
        both = [
            SPAWN.Process(target=target, args=(queue, ready), daemon=True)
            for target in (give_to_manager, take_of_manager)
        ]
        for process in both:
            process.start()

        def all_of_them() -> None:
            ready.wait()
            for process in both:
                process.join()

        return seconds(all_of_them)


def give_to_dask(items: int, capacity: int) -> None:
    from distributed import Queue as DaskQueue

    queue = DaskQueue(f"items {capacity}", maxsize=capacity)
    for n in range(items):
        queue.put(n)


def take_of_dask(items: int, capacity: int) -> None:
    from distributed import Queue as DaskQueue

    queue = DaskQueue(f"items {capacity}", maxsize=capacity)
    for _ in range(items):
        queue.get()


def hand_offs_of_dask(capacity: int) -> float:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        giver, taker = client.scheduler_info()["workers"]

        def all_of_them(items: int) -> None:
            given = client.submit(give_to_dask, items, capacity, workers=[giver], pure=False)
            taken = client.submit(take_of_dask, items, capacity, workers=[taker], pure=False)
            client.gather([given, taken])

        all_of_them(10)
        return seconds(lambda: all_of_them(ITEMS_OF_DASK))


def hand_offs_of_cluster(cluster: Cluster, capacity: int | None) -> float:
    """Only a round in which they were on different workers counts."""
    places: list[int] = []

    def run() -> None:
        places[:] = hand_offs(ITEMS_OF_CLUSTER, capacity).run(None, on=cluster).unsafe_get()

    while True:
        took = seconds(run)
        if places[0] != places[1]:
            return took


def main() -> None:
    in_process = {
        "distio": lambda: seconds(lambda: hand_offs(ITEMS).run(None)),
        "distio, io.do": lambda: seconds(lambda: direct_hand_offs(ITEMS).run(None)),
        "asyncio": lambda: seconds(lambda: asyncio.run(hand_offs_of_asyncio())),
    }
    with Cluster.local(workers=2) as cluster:
        hand_offs(100).run(None, on=cluster)
        of_one = {
            "distio, 2 workers": lambda: hand_offs_of_cluster(cluster, 1),
            "manager, 2 processes": lambda: hand_offs_of_manager(1),
        }
        of_few = {
            f"distio, 2 workers, {few}": partial(hand_offs_of_cluster, cluster, few) for few in FEW
        }
        of_any = {
            "distio, 2 workers, no limit": lambda: hand_offs_of_cluster(cluster, None),
            "manager, 2 processes, no limit": lambda: hand_offs_of_manager(0),
        }
        dask = {}
        if find_spec("distributed"):
            dask["dask, 2 workers"] = lambda: hand_offs_of_dask(1)
            dask["dask, 2 workers, no limit"] = lambda: hand_offs_of_dask(0)
        found = medians(take_turns({**in_process, **of_one, **of_few, **of_any, **dask}, ROUNDS))
    counts = dict.fromkeys(in_process, ITEMS)
    counts |= dict.fromkeys([*of_one, *of_few, *of_any], ITEMS_OF_CLUSTER)
    counts |= dict.fromkeys(dask, ITEMS_OF_DASK)
    rows = [
        [name, f"{counts[name] / took:,.0f}", f"{took / counts[name] * 1e6:.0f}"]
        for name, took in found.items()
    ]
    title = f"items through a queue of one, of some, or without limit, median of {ROUNDS}"
    show(title, ["", "items/s", "µs each"], rows)


if __name__ == "__main__":
    main()
