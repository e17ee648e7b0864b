"""How long until another process has answered a call that does nothing?"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import zmq

from benchmarks._timing import SPAWN
from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.peers import Peer, candidates_of, local_cluster, same
from distio import Cluster, io

Trips = Callable[[int], list[float]]
"""Makes so many round trips, one after another; returns the seconds of each."""


# -- ours, in a program ----------------------------------------------------------------------


def one_round_trip(_: int) -> Any:
    clock = io.defer(time.perf_counter)
    child = io.parallel(io.pure(1)).flat_map(io.wait)
    return clock.flat_map(
        lambda start: child.flat_map(lambda _: clock.map(lambda end: end - start))
    )


def trips_of_cluster(cluster: Cluster) -> Trips:
    return lambda count: list(
        io.traverse(range(count), one_round_trip).run(None, on=cluster).unsafe_get()
    )


# -- the others' ------------------------------------------------------------------------------


def trips_of_peer(peer: Peer) -> Trips:
    def trips(count: int) -> list[float]:
        times = []
        for n in range(count):
            start = time.perf_counter()
            assert peer.submit(same, n)() == n
            times.append(time.perf_counter() - start)
        return times

    return trips


def echo(url: str) -> None:
    """The work of the other process, until it is told to stop."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(url)
        while (parts := router.recv_multipart())[-1]:
            router.send_multipart(parts)


@contextmanager
def trips_of_zeromq() -> Iterator[Trips]:
    url = f"ipc://{os.getcwd()}/echo"
    process = SPAWN.Process(target=echo, args=(url,), daemon=True)
    process.start()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(url)

        def trips(count: int) -> list[float]:
            times = []
            for _ in range(count):
                start = time.perf_counter()
                dealer.send(b"x")
                dealer.recv()
                times.append(time.perf_counter() - start)
            return times

        trips(1)
        yield trips
        dealer.send(b"")
        process.join()


# -- how they are measured --------------------------------------------------------------------


def quiet(trips: Trips, count: int) -> float:
    return median(trips(count)) * 1e6


def beside_a_busy_thread(trips: Trips, count: int) -> float:
    """The main thread computes meanwhile, in pure Python."""
    times: list[float] = []
    thread = threading.Thread(target=lambda: times.extend(trips(count)))
    thread.start()
    while thread.is_alive():
        sum(range(1_000))
    return median(times) * 1e6


def stay_on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def candidates(
    how: Callable[[Trips, int], float], prepare: Callable[[], object] = lambda: None
) -> list[Candidate]:
    def of_cluster() -> Start:
        @contextmanager
        def start(count: int) -> Iterator[Measure]:
            prepare()
            with local_cluster() as cluster:
                yield lambda: how(trips_of_cluster(cluster), count)

        return start

    def of_zeromq() -> Start:
        @contextmanager
        def start(count: int) -> Iterator[Measure]:
            prepare()
            with ExitStack() as stack:
                trips = stack.enter_context(trips_of_zeromq())
                yield lambda: how(trips, count)

        return start

    ours, *others = candidates_of(
        lambda peer, count: lambda: how(trips_of_peer(peer), count), prepare=prepare
    )
    return [
        Candidate("distio", of_cluster()),
        Candidate("distio, Executor.submit", ours.start),
        *others,
        Candidate("bare ZeroMQ", of_zeromq(), "pyzmq"),
    ]


QUESTIONS = [
    Question(
        __file__,
        "round-trip",
        "How long until a worker has answered a call that does nothing?",
        "µs",
        candidates(quiet),
        (500, 200, 5),
        goal="10 echoes of bare ZeroMQ",
        says="distio's program starts a fiber, which may go to any worker and survives the loss of "
        "it, and waits for its outcome. The others submit a call, and wait for its value. Bare "
        "ZeroMQ is a frame to a second process and back, and nothing else.",
    ),
    Question(
        __file__,
        "round-trip-busy",
        "How long does that take while the main thread of the client computes?",
        "µs",
        candidates(beside_a_busy_thread),
        (30, 0, 3),
        rounds=3,
        says="Another thread gets hold of the interpreter every 5 ms, whatever it wants to do.",
    ),
    Question(
        __file__,
        "round-trip-one-core",
        "How long does it take if all processes are on one core?",
        "µs",
        candidates(quiet, stay_on_one_core),
        (500, 0, 0),
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
