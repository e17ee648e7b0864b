"""Does a server keep its memory flat? Some of its requests fail, some take too long, all are
answered through channels of their own.

    python benchmarks/soak.py [--seconds 60] [--place threads|cluster|both]

Prints, over time, how much memory all processes take (PSS, or RSS where that can't be had), their
open files, and the processor time that the idle server took at the end. Exits with 1 if the memory
grows: after a third of the time, to warm up, a line is laid through the rest; it may rise by
`MOST_GROWTH` of the memory in that time, and by `NOISE_BYTES`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

import psutil

from distio import IO, Cluster, Deferred, Ok, Queue, Var, io

MOST_GROWTH: Final = 0.05
NOISE_BYTES: Final = 3 * 1024**2
SAMPLES: Final = 30

Program = IO[Any, Any, Any]


# -- the server -------------------------------------------------------------------------------


def broken(n: int) -> int:
    raise ValueError(f"request {n} makes no sense")


def answer(question: tuple[int, Deferred[int]]) -> Program:
    n, reply = question
    return reply.set(n + 1)


def serve(questions: Queue[Any]) -> Program:
    """Answer questions until the queue is closed; each in a fiber of its own."""
    one = questions.take().flat_map(lambda question: io.parallel(answer(question)))
    return io.rec(lambda again: one.then(again)).catch(lambda closed: io.pure(None))


def ask(questions: Queue[Any], n: int) -> Program:
    """A question with a reply channel of its own."""
    made = Deferred.create()
    return made.flat_map(lambda reply: questions.put((n, reply)).then(reply.get()))


def count(total: Var[int]) -> Program:
    return total.update(lambda n: (n + 1, None))


def requests(questions: Queue[Any], total: Var[int], n: int) -> Program:
    """The requests that come in at one time."""
    fails = io.parallel(io.defer(broken, n))  # nobody waits for it
    late = io.sleep(60).timeout(0.001, io.pure("too late"))
    passing = Var.create(n).flat_map(count)
    scratch = Queue.create().flat_map(lambda queue: queue.put(bytes(100)).then(queue.take()))
    return io.zip_par(fails, late, passing, scratch, ask(questions, n), count(total)).map(len)


def client(questions: Queue[Any], total: Var[int], until: float) -> Program:
    def go_on(n: int) -> Program:
        if time.time() > until:
            return questions.close().then(io.pure(n))
        return requests(questions, total, n).then(io.sleep(0.001), io.defer_io(go_on, n + 1))

    return go_on(0)


def server(until: float) -> Program:
    """Its value is how many rounds of requests there were."""

    def run(made: Sequence[Any]) -> Program:
        questions, total = made
        return io.zip_par(client(questions, total, until), serve(questions)).map(lambda all: all[0])

    return io.zip(Queue.create(), Var.create(0)).flat_map(run)


# -- what is measured -------------------------------------------------------------------------


class Sample(NamedTuple):
    """All processes at one moment."""

    seconds: float
    memory: int
    files: int
    processor_seconds: float


def sample(began: float) -> Sample:
    """Look at this process and those that it has started."""
    memory = files = 0
    used = 0.0
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        with process.oneshot():
            memory += _memory_of(process)
            files += process.num_fds()
            times = process.cpu_times()
            used += times.user + times.system
    return Sample(time.monotonic() - began, memory, files, used)


def _memory_of(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):
        return int(process.memory_info().rss)


def growth(samples: Sequence[Sample]) -> float:
    """By how many bytes a line through these rises, from the first to the last."""
    times, sizes = [each.seconds for each in samples], [each.memory for each in samples]
    mean_time, mean_size = fmean(times), fmean(sizes)
    spread = sum((each - mean_time) ** 2 for each in times)
    slope = sum((t - mean_time) * (s - mean_size) for t, s in zip(times, sizes)) / spread
    return slope * (times[-1] - times[0])


def is_flat(samples: Sequence[Sample]) -> bool:
    """Whether the memory stays, after a time to warm up."""
    warm = samples[len(samples) // 3 :]
    return growth(warm) <= NOISE_BYTES + MOST_GROWTH * fmean(each.memory for each in warm)


def soak(place: str, seconds: float, start: Callable[[Program], Callable[[], Any]]) -> bool:
    """Run the server, print what is seen, return whether the memory was flat."""
    began = time.monotonic()
    wait = start(server(time.time() + seconds))
    samples = []
    for number in range(SAMPLES):
        due = began + seconds * (number + 1) / (SAMPLES + 1)
        time.sleep(max(0.0, due - time.monotonic()))
        samples.append(sample(began))
        print(f"{place:8} {due - began:6.1f} s {_shown(samples[-1])}", flush=True)
    result = wait()
    before = sample(began)
    time.sleep(min(2.0, seconds / 10))
    after = sample(began)
    idle = (after.processor_seconds - before.processor_seconds) / (after.seconds - before.seconds)
    rise = growth(samples[len(samples) // 3 :]) / 2**20
    verdict = "flat" if is_flat(samples) else "GROWS"
    print(f"{place:8} at rest  {_shown(after)}, {idle:.2%} of a core while idle")
    print(f"{place:8} {result}: memory {verdict}, {rise:+.1f} MiB after the time to warm up")
    return is_flat(samples) and isinstance(result, Ok)


def _shown(seen: Sample) -> str:
    return f"{seen.memory / 2**20:7.1f} MiB, {seen.files} open files"


def on_threads(program: Program) -> Callable[[], Any]:
    """Start it on two threads of this process."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(program.run(None, 2)))
    thread.start()

    def wait() -> Any:
        thread.join()
        return results[0]

    return wait


def main() -> int:
    """Soak in the places that the command line names."""
    parser = argparse.ArgumentParser(description="Does a server keep its memory flat?")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--place", choices=["threads", "cluster", "both"], default="both")
    options = parser.parse_args()
    logging.getLogger("distio").addHandler(logging.NullHandler())
    logging.getLogger("distio").propagate = False
    print(f"process {os.getpid()}: memory is that of all processes, what they share counted once")
    is_good = True
    if options.place != "cluster":
        is_good &= soak("threads", options.seconds, on_threads)
    if options.place != "threads":
        with Cluster.local(workers=2, threads=2) as cluster:
            is_good &= soak(
                "cluster", options.seconds, lambda program: cluster.submit(program, None).result
            )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
