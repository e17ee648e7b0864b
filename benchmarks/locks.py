"""How fast does a lock go from hand to hand, in one process and between processes?

In one process the peer is asyncio's lock; between processes a lock of multiprocessing's manager
and, if it is installed (`pip install distributed`), that of dask. Whoever has it in one process
gives way once before giving it back, so that everybody has to wait.

A bare frame that goes from one process to a second by a third, and nothing else, tells what there
is to be had: with a lock whose turns are kept in one place, no hand-off between processes is
faster than that.
"""

from __future__ import annotations

import asyncio
import tempfile
from importlib.util import find_spec
from multiprocessing.synchronize import Barrier
from typing import Any

import zmq

from benchmarks._timing import SPAWN, START_SECONDS, medians, seconds, show, take_turns
from distio import IO, Cluster, Resource, io, resource

FIBERS, EACH = 100, 500
PROCESSES, EACH_OF_CLUSTER, EACH_OF_DASK = 4, 500, 50
ROUNDS = 3


def hand_offs(fibers: int, each: int) -> IO[Any, Any, Any]:
    def take(lock: Resource[Any, Any, None], left: int) -> IO[Any, Any, Any]:
        if left == 0:
            return io.pure(None)
        return lock.with_(io.yield_).flat_map(lambda _: take(lock, left - 1))

    return resource.reentrant_lock.flat_map(
        lambda lock: io.zip_par([io.defer_io(take, lock, each) for _ in range(fibers)])
    )


async def hand_offs_of_asyncio() -> None:
    lock = asyncio.Lock()

    async def take() -> None:
        for _ in range(EACH):
            async with lock:
                await asyncio.sleep(0)

    await asyncio.gather(*[take() for _ in range(FIBERS)])


def take_of_manager(lock: Any, ready: Barrier) -> None:
    ready.wait()
    for _ in range(EACH_OF_CLUSTER):
        with lock:
            pass


def hand_offs_of_manager() -> float:
    with SPAWN.Manager() as manager:
        lock, ready = manager.Lock(), SPAWN.Barrier(PROCESSES + 1, timeout=START_SECONDS)
        takers = [
            SPAWN.Process(target=take_of_manager, args=(lock, ready), daemon=True)
            for _ in range(PROCESSES)
        ]
        for taker in takers:
            taker.start()

        def all_of_them() -> None:
            ready.wait()
            for taker in takers:
                taker.join()

        return seconds(all_of_them)


def give_back(url: str) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(url)
        dealer.send(b"ready")
        while token := dealer.recv():
            dealer.send(token)


def hand_offs_of_a_frame() -> float:
    with (
        tempfile.TemporaryDirectory() as directory,
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
    ):
        url = f"ipc://{directory}/router"
        router.bind(url)
        router.rcvtimeo = int(START_SECONDS * 1e3)
        takers = [SPAWN.Process(target=give_back, args=(url,), daemon=True) for _ in range(2)]
        for taker in takers:
            taker.start()
        # whichever is ready first; an address doesn't tell which of the processes has it
        addresses = [router.recv_multipart()[0] for _ in takers]

        def all_of_them() -> None:
            for _ in range(PROCESSES * EACH_OF_CLUSTER // 2):
                for address in addresses:
                    router.send_multipart([address, b"token"])
                    router.recv_multipart()

        took = seconds(all_of_them)
        for address in addresses:
            router.send_multipart([address, b""])
        for taker in takers:
            taker.join()
    return took


def take_of_dask(_: int) -> None:
    from distributed import Lock

    lock = Lock("contended")
    for _ in range(EACH_OF_DASK):
        with lock:
            pass


def hand_offs_of_dask() -> float:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=2, dashboard_address=None) as client:
        client.gather(client.map(take_of_dask, range(PROCESSES), pure=False))
        return seconds(
            lambda: client.gather(client.map(take_of_dask, range(PROCESSES), pure=False))
        )


def main() -> None:
    peers = {"dask, 2 workers": hand_offs_of_dask} if find_spec("distributed") else {}
    with Cluster.local(workers=2) as cluster:
        on_cluster = hand_offs(PROCESSES, EACH_OF_CLUSTER)
        on_cluster.run(None, on=cluster)
        found = medians(
            take_turns(
                {
                    "distio": lambda: seconds(lambda: hand_offs(FIBERS, EACH).run(None)),
                    "asyncio": lambda: seconds(lambda: asyncio.run(hand_offs_of_asyncio())),
                    "distio, 2 workers": lambda: seconds(lambda: on_cluster.run(None, on=cluster)),
                    "bare ZeroMQ, 3 processes": hand_offs_of_a_frame,
                    "manager, 4 processes": hand_offs_of_manager,
                    **peers,
                },
                ROUNDS,
            )
        )
    counts = [FIBERS * EACH] * 2 + [PROCESSES * EACH_OF_CLUSTER] * 3 + [PROCESSES * EACH_OF_DASK]
    rows = [
        [name, f"{count / took:,.0f}", f"{took / count * 1e6:.0f}"]
        for (name, took), count in zip(found.items(), counts)
    ]
    show(f"a contended lock, median of {ROUNDS}", ["", "hand-offs/s", "µs each"], rows)


if __name__ == "__main__":
    main()
