"""What does a suspension cost the processor, in a worker and in the coordinator?

The machines of both are here in one thread, without sockets and other threads. So the figures hold
on a machine with other work, too. A suspension is what a fiber on a worker does that others see:
it is saved first. The peer is the same run without snapshots. Goal: at most 60 µs more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from benchmarks._timing import show, take_turns
from benchmarks.queues import hand_offs
from distio import Queue, Var, io
from distio.coordination.coordinator import Coordinator
from distio.coordination.executor.executor import Executor
from distio.coordination.gate import Gate
from distio.coordination.member import Member
from distio.coordination.state.events import Joined, Received, Send
from distio.core.pickling.code_records import Comparison, Records, compare
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.protocol import messages as m
from distio.protocol.codec import from_coordinator, from_member
from distio.protocol.domains import MemberKind, Snapshots
from distio.protocol.version import PROTOCOL, PYTHON

CALLS: Final = 1_000
ROUNDS: Final = 15
STREAK: Final = 8
"""How many pieces of work a member does before it sends what it has to say, as when it is busy."""
LEVELS: Final[tuple[Snapshots, ...]] = ("off", "suspensions")


class Services:
    """The services of a process in which nothing is printed, called or logged."""

    def hand(self) -> None:
        """None: the process isn't watched."""

    def compare_code(self, records: Records) -> Comparison:
        """Compare with this process, which is both."""
        return compare(records)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Process:
    """A member with one executor, and the time that it takes."""

    def __init__(self, machines: Machines, kind: MemberKind, serial: int) -> None:
        self._machines = machines
        self._space = ObjectSpace()
        incarnation = machines.join(kind, serial)
        is_client = kind == "client"
        name = None if is_client else f"worker {serial}"
        self.member = Member(incarnation, offers_children=is_client, worker=name)
        services: Any = Services()
        self._executor = Executor(self.member, services)
        self.seconds = 0.0

    def run(self) -> bool:
        """Do some of what is ready, and say what follows; return whether there was anything."""
        began = time.process_time()
        with use_space(self._space):
            done = sum(1 for _ in zip(range(STREAK), self._turns()))
        self.member.flush(full=not done)
        said = self.member.take_outbox()
        frames = from_member.encode(said) if said else []
        self.seconds += time.process_time() - began
        if frames:
            self._machines.hear(self.member.incarnation, frames)
        return bool(done or said)

    def _turns(self) -> Iterator[None]:
        executor = self._executor
        while executor.work is not None or executor.next_task():
            executor.run()
            executor.commit()
            yield

    def told(self, frames: list[bytes]) -> None:
        """Take up what the coordinator says."""
        began = time.process_time()
        for message in from_coordinator.decode(frames):
            self.member.receive(message)
        self.seconds += time.process_time() - began


class Machines:
    """A coordinator, a client, and workers, as far as they decide."""

    def __init__(self, workers: int) -> None:
        self.coordinator = Coordinator()
        self._gate = Gate(self.coordinator)
        self.seconds = 0.0
        """The seconds that the coordinator has taken."""
        self.client = Process(self, "client", 0)
        self.workers = [Process(self, "worker", 1 + number) for number in range(workers)]
        self._members = {each.member.incarnation: each for each in (self.client, *self.workers)}

    def join(self, kind: MemberKind, serial: int) -> int:
        """A member joins; return its incarnation."""
        incarnation = self.coordinator.state.next_incarnation
        who = PROTOCOL, PYTHON, kind, 1, "here", serial, b"%08d" % serial
        self._gate.handle(0.0, Joined(m.Hello(*who)))
        return incarnation

    def hear(self, member: int, frames: list[bytes]) -> None:
        """The coordinator takes up what a member says, and answers."""
        began = time.process_time()
        commands: list[Send] = []
        for message in from_member.decode(frames):
            commands += self._gate.handle(0.0, Received(member, message))
        batches: dict[int, list[m.CoordinatorMessage]] = {}
        for to, answer in commands:
            if to in self._members:
                batches.setdefault(to, []).append(answer)
        frames_to = {to: from_coordinator.encode(batch) for to, batch in batches.items()}
        self.seconds += time.process_time() - began
        for to, frames in frames_to.items():
            self._members[to].told(frames)

    def run(self, program: Any, level: Snapshots) -> None:
        """Run a program to its end."""
        root = self.client.member.start_root(program, None, level)
        self.client.member.queue(root)
        while [each for each in self._members.values() if each.run()]:
            pass
        ((run, _),) = self.client.member.take_ended_runs()
        assert run.id == root.id
        assert root.handle is not None
        assert root.handle.outcome is not None
        root.handle.outcome.unsafe_get()
        for each in self.workers:
            for ended, _ in each.member.take_ended_runs():
                ended.release()


# -- what is run ------------------------------------------------------------------------------


def put_all(queue: Queue[int], left: int) -> Any:
    return queue.put(left).flat_map(lambda _: put_all(queue, left - 1)) if left else io.pure(None)


def puts(capacity: int | None) -> Any:
    """A fiber puts items into a queue."""
    made = Queue.create(capacity)
    return made.flat_map(lambda queue: io.zip_par(io.defer_io(put_all, queue, CALLS)))


def updates() -> Any:
    """A fiber updates a variable."""

    def update(total: Var[int], left: int) -> Any:
        once = total.update(lambda n: (n + 1, None))
        return once.flat_map(lambda _: update(total, left - 1)) if left else io.pure(None)

    return Var.create(0).flat_map(lambda total: io.zip_par(io.defer_io(update, total, CALLS)))


SUSPENSIONS: Final[dict[str, tuple[Callable[[], Any], int]]] = {
    "put, bounded queue": (lambda: puts(CALLS + 1), 1),
    "put, queue without a limit": (lambda: puts(None), 1),
    "put and take, on two workers: two snapshots": (lambda: hand_offs(CALLS, None), 2),
    "update of a Var": (updates, 1),
}
"""By name: what is run, and on how many workers."""


class Turns:
    """Runs one program with and without snapshots, and notes what that takes."""

    def __init__(self, program: Callable[[], Any], workers: int) -> None:
        self._program = program
        self._machines = Machines(workers)
        self._found: dict[Snapshots, list[tuple[float, float]]] = {level: [] for level in LEVELS}

    def measure(self, level: Snapshots) -> float:
        workers, coordinator = self._seconds()
        self._machines.run(self._program(), level)
        workers, coordinator = self._seconds()[0] - workers, self._seconds()[1] - coordinator
        self._found[level].append((workers, coordinator))
        return workers + coordinator

    def _seconds(self) -> tuple[float, float]:
        return sum(each.seconds for each in self._machines.workers), self._machines.seconds

    def row(self) -> list[str]:
        """The cells: the workers, the coordinator, and how much more both take with snapshots."""
        off, on = [
            [min(times) / CALLS * 1e6 for times in zip(*self._found[level])] for level in LEVELS
        ]
        return [*[f"{a:.0f} → {b:.0f}" for a, b in zip(off, on)], f"{sum(on) - sum(off):.0f}"]


def main() -> None:
    rows = []
    for name, (program, workers) in SUSPENSIONS.items():
        turns = Turns(program, workers)
        take_turns({level: partial(turns.measure, level) for level in LEVELS}, ROUNDS)
        rows.append([name, *turns.row()])
    columns = ["", "workers, µs", "coordinator, µs", "more"]
    title = f"processor time of each operation, off → suspensions, best of {ROUNDS}"
    show(f"{title}; goal: ≤ 60 more for each snapshot", columns, rows)


if __name__ == "__main__":
    main()
