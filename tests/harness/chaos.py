"""Programs whose Results show what was lost or done twice, and a thread that kills their workers.

Each function of a program notes that it was called, in a file that outlives its process.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from distio import Cluster, Ok, Queue, Result, Var, child, io, resource, supervise
from distio.runtime.child_processes import ChildProcess
from distio.runtime.processes import LocalProcesses

__all__ = ["TRIALS", "Killer", "kill_whole", "Trial", "calls_of", "note"]

Program = Any

SOURCES: Final = Path(__file__).parents[2] / "distio" / "coordination"


# -- functions that are called at least once --------------------------------------------------


def note(directory: str, name: str) -> None:
    """Note one call: a byte more in the file of this name, whatever befalls the process then."""
    descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def calls_of(directory: Path) -> dict[str, int]:
    """How often each name was noted."""
    return {path.name: path.stat().st_size for path in directory.iterdir()}


# -- the programs -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A program, and what must be true of it whatever is killed."""

    make: Callable[[str], Program]
    """Makes the program, whose functions note their calls in this directory."""
    expected: Any
    """The value that the run computes; None: the one that a run on one thread computes."""
    called: frozenset[str]
    """The names that are noted at least once."""


WRITERS, ROUNDS = 6, 8


def count_up(directory: str, writer: int, shared: Sequence[Any], k: int = 0) -> Program:
    """Read and write a variable within a lock, with others between; then update it."""
    if k == ROUNDS:
        return io.pure(None)
    lock, total, slots = shared

    def write(n: int) -> Program:
        here = io.defer(note, directory, f"{writer}.{k}")
        return here.then(io.yield_, io.sleep(0.002), total.set(n + 1))

    section = total.get().flat_map(write)
    both = section.then(total.update(lambda n: (n + 100, None)))
    again = io.defer_io(count_up, directory, writer, shared, k + 1)
    return slots.with_(lock.with_(both)).then(again)


def locks_and_variables(directory: str) -> Program:
    """Writers that take turns; each round adds 101, once."""

    def run(shared: Sequence[Any]) -> Program:
        writers = [io.zip_par(count_up(directory, n, shared)) for n in range(WRITERS)]
        return io.zip_par(writers).then(shared[1].get())

    shared = io.zip(resource.reentrant_lock, Var.create(0), resource.semaphore(3))
    return shared.flat_map(run)


PRODUCERS, STAGES, ITEMS = 4, 4, 15


def produce(directory: str, queue: Queue[Any], producer: int, k: int = 0) -> Program:
    """Put items that chance has made: another try makes others."""
    if k == ITEMS:
        return io.pure(None)

    def put(drawn: float) -> Program:
        noted = io.defer(note, directory, f"{producer}.{k}")
        return noted.then(io.sleep(0.005), queue.put((producer, k, drawn)))

    again = io.defer_io(produce, directory, queue, producer, k + 1)
    return io.random.flat_map(put).then(again)


def pass_on(taken: Queue[Any], given: Queue[Any]) -> Program:
    """Take each item, let others on, and put the item into the other queue."""

    def one(item: Any) -> Program:
        return io.zip_par(io.pure(item), io.sleep(0.001)).flat_map(lambda both: given.put(both[0]))

    return taken.take().flat_map(one).flat_map(lambda _: io.defer_io(pass_on, taken, given))


def collect(queue: Queue[Any], left: int, seen: tuple[Any, ...] = ()) -> Program:
    """Take so many items."""
    if left == 0:
        return io.pure(seen)
    return queue.take().flat_map(lambda item: io.defer_io(collect, queue, left - 1, (*seen, item)))


def pipeline(directory: str) -> Program:
    """Items go through two queues, one of them bounded: each arrives once."""

    def run(queues: Sequence[Any]) -> Program:
        first, second = queues
        stages = io.parallel([pass_on(first, second).attempt() for _ in range(STAGES)])
        makers = [io.zip_par(produce(directory, first, n)) for n in range(PRODUCERS)]
        ended = io.zip_par(*makers, collect(second, PRODUCERS * ITEMS))

        def arrived(fibers: Sequence[Any], seen: Sequence[Any]) -> Program:
            stop = io.zip_par([fiber.cancel() for fiber in fibers])
            names = sorted(item[:2] for item in seen)
            return stop.then(second.size()).map(lambda left: (names, left))

        return stages.flat_map(
            lambda fibers: ended.flat_map(lambda ends: arrived(fibers, ends[-1]))
        )

    return io.zip(Queue.create(3), Queue.create()).flat_map(run)


DEPTH = 5


def grow(directory: str, path: str = "r") -> Program:
    """A tree of fibers: each starts two where it is, which may move on; leaves count 1."""
    here = io.defer(note, directory, path)
    if len(path) > DEPTH:
        return here.then(io.sleep(0.1), io.defer(sum, range(2)))
    children = [io.defer_io(grow, directory, path + side) for side in "lr"]
    return here.then(io.sleep(0.02), io.zip_par(children)).map(sum)


def paths_from(path: str = "r") -> list[str]:
    """The names of the fibers in the tree."""
    below = [] if len(path) > DEPTH else [*paths_from(path + "l"), *paths_from(path + "r")]
    return [path, *below]


CHILDREN, FAILURES = 4, 3


def stumble(directory: str, lives: Var[int], name: str) -> Program:
    """A child that fails for some lives of it, which a variable counts, and then ends well."""

    def live(updated: Any) -> Program:
        number = updated.old_value
        noted = io.defer(note, directory, f"{name}.{number}").then(io.sleep(0.03))
        fails = number < FAILURES
        return noted.then(io.error(number) if fails else io.pure((name, number)))

    return lives.update(lambda n: (n + 1, None)).flat_map(live)


def supervisors(directory: str) -> Program:
    """Supervisors, each with a child: a lost worker is none of its failures."""

    def look_after(name: str) -> Program:
        def run(made: Sequence[Any]) -> Program:
            lives, restarts = made
            stumbles = child(stumble(directory, lives, name), name, restart="transient")

            def told(name: str, result: Result[Any, Any], attempt: int) -> Program:
                return restarts.update(lambda n: (n + 1, None))

            ended = supervise(stumbles, on_restart=told, max_restarts=FAILURES)
            return ended.flat_map(lambda ends: restarts.get().map(lambda n: (ends, n)))

        return io.zip(Var.create(0), Var.create(0)).flat_map(run)

    return io.zip_par([look_after(f"child{n}") for n in range(CHILDREN)])


def index(directory: str) -> Program:
    """The main job: an index of some of distio's own sources."""
    from examples import index_sources  # here: what it imports takes a worker a second

    return index_sources.program(SOURCES, lambda: None).map(str)


def _names(rows: int, columns: int) -> frozenset[str]:
    return frozenset(f"{row}.{column}" for row in range(rows) for column in range(columns))


TRIALS: Final = {
    "main job": Trial(index, None, frozenset()),
    "locks and variables": Trial(
        locks_and_variables, WRITERS * ROUNDS * 101, _names(WRITERS, ROUNDS)
    ),
    "pipeline": Trial(
        pipeline,
        ([(n, k) for n in range(PRODUCERS) for k in range(ITEMS)], 0),
        _names(PRODUCERS, ITEMS),
    ),
    "tree": Trial(grow, 2**DEPTH, frozenset(paths_from())),
    "supervisors": Trial(
        supervisors,
        [([Ok((f"child{n}", FAILURES))], FAILURES) for n in range(CHILDREN)],
        frozenset(f"child{n}.{k}" for n in range(CHILDREN) for k in range(FAILURES + 1)),
    ),
}


# -- the killer -------------------------------------------------------------------------------


Victims = Callable[[LocalProcesses], Sequence[ChildProcess]]
"""The processes of a cluster of which one is killed each time."""


class Killer:
    """Kills random processes of a local cluster, at moments that the seed chooses.

    Args:
        cluster: the cluster.
        victims: of which processes it kills one each time.
        chance: chooses moments and workers.
        most: how many workers it kills at most.
        longest: the longest time before each kill, in seconds.
    """

    def __init__(
        self, cluster: Cluster, victims: Victims, chance: random.Random, most: int, longest: float
    ) -> None:
        assert cluster._processes is not None
        self._processes = cluster._processes
        self._victims = victims
        self._plan = [(chance.uniform(0.0, longest), chance.randrange(1000)) for _ in range(most)]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._kill)
        self.kills = 0
        """How many were killed while the block ran."""

    def _kill(self) -> None:
        for seconds, drawn in self._plan:
            if self._is_over.wait(seconds):
                return
            victims = self._victims(self._processes)
            alive = [each for each in victims if each.returncode is None]
            if alive:
                alive[drawn % len(alive)].send_signal(signal.SIGKILL)
                self.kills += 1

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def kill_whole(pid: int) -> None:
    """Kill a program and its processes, all at once."""
    program = psutil.Process(pid)
    program.suspend()  # else it would start another process meanwhile
    for each in [*program.children(recursive=True), program]:
        each.send_signal(signal.SIGKILL)
