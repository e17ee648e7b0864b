"""What does the coordinator's machine take for a shipped fiber, and with what does that grow?

A client starts a fiber, offers it, waits for its outcome and forgets it; a worker gets it and says
how it has ended. There is neither a socket nor another process: only the machine is timed. The cost
is to be flat in the number of members, of fibers that are alive, of runs, timers, locks and chunks
that wait; so is that of an empty run, and of the loss of a worker that has nothing.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from benchmarks._timing import show
from distio.coordination.coordinator import Coordinator
from distio.coordination.state.events import Disconnected, Joined, Received, Send
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON

CLIENT: Final = 1
FAR: Final = 10**9
"""The numbers of fibers that are there beside those that are timed begin here."""
ROUNDS: Final = 5
TRIPS: Final = 100


class Cluster:
    """A machine that a client and some workers have joined."""

    def __init__(self, workers: int) -> None:
        self.machine = Coordinator()
        self._join("client")
        for _ in range(workers):
            self._join("worker")
        self.run = self.start_run(0)
        self._next = 1
        self._before = 0

    def _join(self, kind: MemberKind) -> int:
        serial: int = self.machine.state.next_incarnation
        hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "host", serial, b"", "", serial)
        self.machine.handle(0.0, Joined(hello))
        return serial

    def lose_a_worker(self) -> float:
        """In µs of processor time: one joins, and is lost."""
        worker = self._join("worker")
        start = time.process_time()
        self.machine.handle(0.0, Disconnected(worker, "it was killed"))
        return (time.process_time() - start) * 1e6

    def say(self, member: int, message: m.MemberMessage) -> Sequence[Send]:
        return self.machine.handle(0.0, Received(member, message))

    def tell(self, member: int, *runs: m.RunProgress, ready: int = 0) -> None:
        received = self.machine.members[member].sent
        self.say(member, m.Progress(received, ready, [*runs]))

    def start_run(self, number: int) -> int:
        run = fiber_id(CLIENT, number)
        self.say(CLIENT, m.StartRun(run, "off"))
        return run

    def trip(self) -> None:
        """One fiber goes out and comes back."""
        number, self._next = self._next, self._next + 1
        run, fiber = self.run, fiber_id(CLIENT, number)
        if self._before:
            self.say(CLIENT, m.GiveBack([(self._before, 1)]))
        self.tell(CLIENT, m.RunProgress(run, [(number, 1)], 0, [], 0))
        said = self.say(CLIENT, m.Offer([m.Chunk(run, [(fiber, 0)], b"payload")]))
        (host,) = [each.member for each in said if type(each.message) is m.Place]
        self.say(CLIENT, m.AwaitOutcomes(run, [fiber]))
        self.tell(CLIENT, m.RunProgress(run, [], 0, [], 1))
        self.say(host, m.OutcomesReady([fiber], [b"outcome"]))
        self.tell(host, m.RunProgress(run, [], 0, [(fiber, 1)], 0))
        self._before = fiber

    # -- what else is there -----------------------------------------------------------------

    def add_fibers(self, count: int) -> None:
        """So many fibers live on workers, and the client waits for all of them."""
        ids = [fiber_id(CLIENT, FAR + n) for n in range(count)]
        self.tell(CLIENT, m.RunProgress(self.run, [(FAR, count)], 0, [], 0))
        workers = [id for id, member in self.machine.members.items() if member.is_worker]
        for start in range(0, count, 250):
            fibers = [(id, 0) for id in ids[start : start + 250]]
            self.say(CLIENT, m.Offer([m.Chunk(self.run, fibers, b"payload")]))
            for worker in workers:
                self.tell(worker)  # it has begun with all of them
        self.say(CLIENT, m.AwaitOutcomes(self.run, ids))

    def add_runs(self, count: int) -> None:
        for number in range(count):
            self.start_run(FAR + number)

    def add_timers(self, count: int) -> None:
        """So many fibers of the first worker sleep; the client has sent it one of the run."""
        self.trip()
        for n in range(count):
            self.say(2, m.StartTimer(self.run, fiber_id(2, n), n + 1, 1e6 + n))

    def add_locks(self, count: int) -> None:
        """Each is one fiber's of the first worker."""
        self.trip()
        for n in range(count):
            self.say(2, m.AcquireTokens(f"lock {n}", 0, 0.0, self.run, [fiber_id(2, n)]))


def micros(action: Callable[[], None], count: int) -> float:
    gc.collect()
    start = time.process_time()
    for _ in range(count):
        action()
    return (time.process_time() - start) / count * 1e6


def costs(cluster: Cluster) -> list[str]:
    """Of a trip, of a run without children, and of the loss of a worker that has nothing."""
    numbers = iter(range(2 * FAR, 3 * FAR))

    def start_and_end() -> None:
        run = cluster.start_run(next(numbers))
        cluster.tell(CLIENT, m.RunProgress(run, [], 1, [], 0))

    for _ in range(20):
        cluster.trip()
    found = [
        median(micros(cluster.trip, TRIPS) for _ in range(ROUNDS)),
        median(micros(start_and_end, TRIPS) for _ in range(ROUNDS)),
        median(cluster.lose_a_worker() for _ in range(ROUNDS)),
    ]
    return [f"{each:,.1f}" for each in found]


def main() -> None:
    rows = [[f"{workers:,} workers", *costs(Cluster(workers))] for workers in (10, 100, 1_000)]
    for what, counts, add in (
        ("fibers", (1_000, 100_000, 1_000_000), Cluster.add_fibers),
        ("runs", (10, 10_000), Cluster.add_runs),
        ("timers", (100_000,), Cluster.add_timers),
        ("locks", (100_000,), Cluster.add_locks),
    ):
        for count in counts:
            cluster = Cluster(10)
            add(cluster, count)
            rows.append([f"10 workers, {count:,} other {what}", *costs(cluster)])
    show(
        "µs of processor time in the machine, median",
        ["", "a shipped fiber", "an empty run", "a lost idle worker"],
        rows,
    )


if __name__ == "__main__":
    main()
