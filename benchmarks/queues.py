"""How long does an item take through a queue?

In one process the queue keeps one item, so giver and taker have to take turns. Between processes it
keeps one item, or any number; giver and taker are on different workers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks._timing import SPAWN, START_SECONDS, seconds
from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.peers import WORKERS
from benchmarks.harness.question import each_time
from distio import IO, Cluster, Queue, io


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
    queue: Queue[int] = await Queue.create(1)
    await io.zip_par(direct_give(queue, items), direct_take(queue, items))


def in_process(program: IO[Any, Any, Any], items: int) -> float:
    return seconds(lambda: program.run(None).unsafe_get()) / items * 1e6


def of_asyncio(items: int) -> float:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)

        async def give() -> None:
            for n in range(items):
                await queue.put(n)

        async def take() -> None:
            for _ in range(items):
                await queue.get()

        await asyncio.gather(give(), take())

    return seconds(lambda: asyncio.run(main())) / items * 1e6


# -- between processes ------------------------------------------------------------------------


def of_cluster(capacity: int | None) -> Start:
    @contextmanager
    def start(items: int) -> Iterator[Measure]:
        with Cluster.local(workers=WORKERS) as cluster:
            cluster.wait_for(workers=WORKERS)
            yield lambda: between_workers(cluster, capacity, items)

    return start


def between_workers(cluster: Cluster, capacity: int | None, items: int) -> float:
    """Only a round in which giver and taker were on different workers counts."""
    places: list[int] = []

    def run() -> None:
        places[:] = hand_offs(items, capacity).run(None, on=cluster).unsafe_get()

    while True:
        took = seconds(run)
        if places[0] != places[1]:
            return took / items * 1e6


def give_to_manager(queue: Any, ready: Barrier, items: int) -> None:
    ready.wait()
    for n in range(items):
        queue.put(n)
    ready.wait()


def take_of_manager(queue: Any, ready: Barrier, items: int) -> None:
    ready.wait()
    for _ in range(items):
        queue.get()
    ready.wait()


def of_manager(capacity: int) -> Start:
    def measure(items: int) -> float:
        with SPAWN.Manager() as manager:
            queue, ready = manager.Queue(capacity), SPAWN.Barrier(3, timeout=START_SECONDS)
            both = [
                SPAWN.Process(target=target, args=(queue, ready, items), daemon=True)
                for target in (give_to_manager, take_of_manager)
            ]
            for process in both:
                process.start()

            ready.wait()
            took = seconds(ready.wait)
            for process in both:
                process.join()
            return took / items * 1e6

    return each_time(measure)


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


def of_dask(capacity: int) -> Start:
    @contextmanager
    def start(items: int) -> Iterator[Measure]:
        from distributed import Client

        with Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as client:
            giver, taker = client.scheduler_info()["workers"]

            def all_of_them() -> None:
                given = client.submit(give_to_dask, items, capacity, workers=[giver], pure=False)
                taken = client.submit(take_of_dask, items, capacity, workers=[taker], pure=False)
                client.gather([given, taken])

            yield lambda: seconds(all_of_them) / items * 1e6

    return start


def between_processes(capacity: int | None) -> list[Candidate]:
    most = capacity or 0
    return [
        Candidate("distio, 2 workers", of_cluster(capacity)),
        Candidate("multiprocessing.Manager, 2 processes", of_manager(most), "Python"),
        Candidate("dask, 2 workers", of_dask(most), "distributed", 0.1),
    ]


QUESTIONS = [
    Question(
        __file__,
        "queue",
        "How long does an item take through a queue of one, in one process?",
        "µs",
        [
            Candidate("distio", each_time(lambda items: in_process(hand_offs(items), items))),
            Candidate(
                "distio, io.do", each_time(lambda items: in_process(direct_hand_offs(items), items))
            ),
            Candidate("asyncio", each_time(of_asyncio), "Python"),
        ],
        (50_000, 5_000, 50),
        rounds=3,
        goal="2 times asyncio",
    ),
    Question(
        __file__,
        "queue-between-workers",
        "How long does an item take through a queue of one, from process to process?",
        "µs",
        between_processes(1),
        (2_000, 500, 10),
        rounds=3,
    ),
    Question(
        __file__,
        "queue-of-64",
        "How long does an item take through a queue with room for 64, from process to process?",
        "µs",
        between_processes(64),
        (2_000, 0, 0),
        rounds=3,
    ),
    Question(
        __file__,
        "queue-without-limit",
        "How long does an item take through a queue without a limit, from process to process?",
        "µs",
        between_processes(None),
        (2_000, 0, 0),
        rounds=3,
        goal="a fifth of multiprocessing.Manager",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
