"""What does the coordinator's machine take for a shipped fiber, and with what does that grow?

A client starts a fiber, offers it, waits for its outcome and forgets it; a worker gets it and says
how it has ended. There is neither a socket nor another process: only the machine is timed. The cost
is to be flat in the number of members, of fibers that are alive, of runs, timers, locks and chunks
that wait; so is that of an empty run, and of the loss of a worker that has nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final

from benchmarks.harness import Candidate, Measure, Question, Start, main
from distio.coordination.coordinator import Coordinator
from distio.coordination.state.events import Disconnected, Joined, Received, Send
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON

CLIENT: Final = 1
FAR: Final = 10**9
"""The numbers of fibers that are there beside those that are timed begin here."""


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
        chunk = m.Chunk(run, [(fiber, 0)], b"payload")
        said = self.say(CLIENT, m.Offer([chunk], are_new=True, are_awaited=True))
        (host,) = [each.member for each in said if type(each.message) is m.Place]
        self.tell(CLIENT, m.RunProgress(run, [], 0, [], 1))
        self.say(host, m.OutcomesReady([fiber], [b"outcome"]))
        self.tell(host, m.RunProgress(run, [], 0, [(fiber, 1)], 0))
        self._before = fiber

    # -- what else is there -----------------------------------------------------------------

    def add_fibers(self, count: int) -> None:
        """Let so many fibers live on workers, and the client wait for all of them."""
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
        """Let so many fibers of the first worker sleep; the client has sent it one of the run."""
        self.trip()
        for n in range(count):
            self.say(2, m.StartTimer(self.run, fiber_id(2, n), n + 1, 1e6 + n))

    def add_locks(self, count: int) -> None:
        """Each is one fiber's of the first worker."""
        self.trip()
        for n in range(count):
            self.say(2, m.AcquireTokens(f"lock {n}", 0, 0.0, self.run, [fiber_id(2, n)]))


# -- what is measured -------------------------------------------------------------------------


def micros(action: Callable[[], object], count: int) -> float:
    """Of processor time, for each of so many."""
    start = time.process_time()
    for _ in range(count):
        action()
    return (time.process_time() - start) / count * 1e6


def trips(workers: int, add: Callable[[Cluster], None] = lambda _: None) -> Start:
    """Shipped fibers, beside what is added to the cluster before."""

    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        cluster = Cluster(workers)
        add(cluster)
        yield lambda: micros(cluster.trip, count)

    return start


def empty_runs(workers: int) -> Start:
    """Runs without children."""

    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        cluster, numbers = Cluster(workers), iter(range(FAR, 2 * FAR))

        def start_and_end() -> None:
            run = cluster.start_run(next(numbers))
            cluster.tell(CLIENT, m.RunProgress(run, [], 1, [], 0))

        yield lambda: micros(start_and_end, count)

    return start


def losses(add: Callable[[Cluster, int], None], others: int) -> Start:
    """Losses of a worker that has nothing, beside what others have."""

    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        cluster = Cluster(10)
        add(cluster, others)
        yield lambda: median(cluster.lose_a_worker() for _ in range(count))

    return start


QUESTIONS = [
    Question(
        __file__,
        "coordinator",
        "What does a shipped fiber cost the coordinator's machine, in processor time?",
        "µs",
        [
            Candidate("10 workers", trips(10)),
            Candidate("100 workers", trips(100)),
            Candidate("1,000 workers", trips(1_000)),
            Candidate("10, and 1,000 other fibers", trips(10, lambda it: it.add_fibers(1_000))),
            Candidate("10, and 100,000 others", trips(10, lambda it: it.add_fibers(100_000))),
            Candidate("10, and 10,000 other runs", trips(10, lambda it: it.add_runs(10_000))),
            Candidate("10, and 100,000 timers", trips(10, lambda it: it.add_timers(100_000))),
            Candidate("10, and 100,000 locks", trips(10, lambda it: it.add_locks(100_000))),
        ],
        (500, 200, 10),
        goal="flat",
        says="Only the machine is timed: there is neither a socket nor another process.",
    ),
    Question(
        __file__,
        "coordinator-runs",
        "What does a run without children cost it?",
        "µs",
        [
            Candidate("10 workers", empty_runs(10)),
            Candidate("100 workers", empty_runs(100)),
            Candidate("1,000 workers", empty_runs(1_000)),
        ],
        (500, 0, 10),
        goal="flat",
    ),
    Question(
        __file__,
        "coordinator-losses",
        "What does the loss of an idle worker cost it?",
        "µs",
        [
            Candidate("1,000 fibers elsewhere", losses(Cluster.add_fibers, 1_000)),
            Candidate("100,000 fibers elsewhere", losses(Cluster.add_fibers, 100_000)),
            Candidate("100,000 timers elsewhere", losses(Cluster.add_timers, 100_000)),
            Candidate("100,000 locks elsewhere", losses(Cluster.add_locks, 100_000)),
        ],
        (5, 0, 1),
        goal="flat",
    ),
]

if __name__ == "__main__":
    main(QUESTIONS)
