"""How long does it take until a contended lock has gone to the next one?

In one process, whoever has it gives way once before giving it back, so that everybody has to wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

import zmq

from benchmarks._timing import SPAWN, START_SECONDS, seconds
from benchmarks.harness import Candidate, Measure, Question, main
from benchmarks.harness.peers import WORKERS
from benchmarks.harness.question import each_time
from distio import IO, Cluster, Resource, io, resource

FIBERS = 100
PROCESSES = 4


def hand_offs(fibers: int, each: int) -> IO[Any, Any, Any]:
    def take(lock: Resource[Any, Any, None], left: int) -> IO[Any, Any, Any]:
        if left == 0:
            return io.pure(None)
        return lock.with_(io.yield_).flat_map(lambda _: take(lock, left - 1))

    return resource.reentrant_lock.flat_map(
        lambda lock: io.zip_par([io.defer_io(take, lock, each) for _ in range(fibers)])
    )


def of_distio(turns: int) -> float:
    program = hand_offs(FIBERS, turns // FIBERS)
    return seconds(lambda: program.run(None).unsafe_get()) / turns * 1e6


def of_asyncio(turns: int) -> float:
    async def main() -> None:
        lock = asyncio.Lock()

        async def take() -> None:
            for _ in range(turns // FIBERS):
                async with lock:
                    await asyncio.sleep(0)

        await asyncio.gather(*[take() for _ in range(FIBERS)])

    return seconds(lambda: asyncio.run(main())) / turns * 1e6


# -- between processes ------------------------------------------------------------------------


@contextmanager
def of_cluster(turns: int) -> Iterator[Measure]:
    with Cluster.local(workers=WORKERS) as cluster:
        cluster.wait_for(workers=WORKERS)
        program = hand_offs(PROCESSES, turns // PROCESSES)
        yield lambda: seconds(lambda: program.run(None, on=cluster).unsafe_get()) / turns * 1e6


def take_of_manager(lock: Any, ready: Barrier, turns: int) -> None:
    ready.wait()
    for _ in range(turns):
        with lock:
            pass
    ready.wait()


def of_manager(turns: int) -> float:
    with SPAWN.Manager() as manager:
        lock, ready = manager.Lock(), SPAWN.Barrier(PROCESSES + 1, timeout=START_SECONDS)
        arguments = lock, ready, turns // PROCESSES
        takers = [
            SPAWN.Process(target=take_of_manager, args=arguments, daemon=True)
            for _ in range(PROCESSES)
        ]
        for taker in takers:
            taker.start()

        ready.wait()
        took = seconds(ready.wait)
        for taker in takers:
            taker.join()
        return took / turns * 1e6


def give_back(url: str) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(url)
        dealer.send(b"ready")
        while token := dealer.recv():
            dealer.send(token)


@contextmanager
def of_a_frame(turns: int) -> Iterator[Measure]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        url = f"ipc://{os.getcwd()}/router"
        router.bind(url)
        router.rcvtimeo = int(START_SECONDS * 1e3)
        takers = [SPAWN.Process(target=give_back, args=(url,), daemon=True) for _ in range(2)]
        for taker in takers:
            taker.start()
        # whichever is ready first; an address doesn't tell which of the processes has it
        addresses = [router.recv_multipart()[0] for _ in takers]

        def all_of_them() -> None:
            for _ in range(turns // 2):
                for address in addresses:
                    router.send_multipart([address, b"token"])
                    router.recv_multipart()

        yield lambda: seconds(all_of_them) / turns * 1e6
        for address in addresses:
            router.send_multipart([address, b""])
        for taker in takers:
            taker.join()


def take_of_dask(_: int, turns: int) -> None:
    from distributed import Lock

    lock = Lock("contended")
    for _ in range(turns):
        with lock:
            pass


@contextmanager
def of_dask(turns: int) -> Iterator[Measure]:
    from distributed import Client

    with Client(n_workers=WORKERS, threads_per_worker=2, dashboard_address=None) as client:

        def all_of_them() -> None:
            each = turns // PROCESSES
            client.gather(client.map(take_of_dask, range(PROCESSES), turns=each, pure=False))

        yield lambda: seconds(all_of_them) / turns * 1e6


QUESTIONS = [
    Question(
        __file__,
        "lock",
        f"How long does each turn of {FIBERS} fibers take at a lock, in one process?",
        "µs",
        [
            Candidate("distio", each_time(of_distio)),
            Candidate("asyncio", each_time(of_asyncio), "Python"),
        ],
        (50_000, 5_000, 100),
        rounds=3,
        goal="1.5 times asyncio",
    ),
    Question(
        __file__,
        "lock-between-workers",
        f"How long does each turn of {PROCESSES} take at a lock, on several processes?",
        "µs",
        [
            Candidate("distio, 2 workers", of_cluster),
            Candidate("multiprocessing.Manager, 4 processes", each_time(of_manager), "Python"),
            Candidate("dask, 2 workers", of_dask, "distributed", 0.1),
            Candidate("bare ZeroMQ, 3 processes", of_a_frame, "pyzmq"),
        ],
        (2_000, 400, 8),
        rounds=3,
        says="Two fibers on each worker of distio take turns, so about half of its turns stay in a "
        "process. Bare ZeroMQ is a frame that goes from one process to a second by a third: no "
        "lock that is kept in one place goes faster from process to process.",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
