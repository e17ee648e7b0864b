"""Generated programs whose fibers talk: by queues, values, barriers, latches, topics, under locks.

Each fiber does some things in turn, some of them with a time limit, some in fibers of workers. The
outcome depends on the schedule, so no Result is wrong; what fibers are told is checked by the
simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from distio import IO, Barrier, CountDownLatch, Deferred, PubSub, Queue, Var, io, resource

Program = IO[Any, Any, Any]

_LATE: Final = io.pure("late")


class Things(NamedTuple):
    """The primitives that the fibers of one program share."""

    queue: Queue[Any]
    other: Queue[Any]
    value: Deferred[Any]
    barrier: Barrier
    latch: CountDownLatch
    topic: PubSub[Any]
    var: Var[Any]
    lock: Any
    two: Any


class Doing(NamedTuple):
    """One thing that a fiber does."""

    what: str
    limit: float | None
    """For how many seconds it may wait."""


class Talk(NamedTuple):
    """A program."""

    capacity: int | None
    fibers: Sequence[tuple[bool, Sequence[Doing]]]
    """Whether each has a fiber of its own on a worker, and what it does."""


def _add(n: int, values: Sequence[int]) -> tuple[Sequence[int], None]:
    return (*values, n), None


def _by_hand(n: int, var: Var[Any]) -> Program:
    return var.get().flat_map(lambda values: io.yield_.then(var.set((*values, n))))


_WAITS: Final[dict[str, Callable[[Things, int], Program]]] = {
    "put": lambda all, n: all.queue.put(n),
    "offer": lambda all, n: all.queue.offer(n),
    "take": lambda all, n: all.queue.take(),
    "poll": lambda all, n: all.queue.poll(),
    "size": lambda all, n: all.queue.size(),
    "close": lambda all, n: all.queue.close(),
    "put elsewhere": lambda all, n: all.other.put(n),
    "take elsewhere": lambda all, n: all.other.take(),
    "set": lambda all, n: all.value.set(n),
    "get": lambda all, n: all.value.get(),
    "is set": lambda all, n: all.value.is_set(),
    "meet": lambda all, n: all.barrier.wait(),
    "count down": lambda all, n: all.latch.count_down(),
    "wait": lambda all, n: all.latch.wait(),
    "publish": lambda all, n: all.topic.publish(n),
    "listen": lambda all, n: all.topic.subscribe().use(lambda feed: feed.take()),
    "look": lambda all, n: all.topic.subscribe().use(lambda feed: io.yield_.then(feed.poll())),
}
_HOLDS: Final[dict[str, Callable[[Things, int], Program]]] = {
    "update": lambda all, n: all.var.update(partial(_add, n)),
    "read": lambda all, n: all.var.get(),
    "write": lambda all, n: all.var.lock().with_(_by_hand(n, all.var)),
    "lock": lambda all, n: all.lock.with_(io.yield_),
    "enter": lambda all, n: all.two.with_(io.sleep(0.001)),
}

_DOINGS: Final = st.one_of(
    st.builds(Doing, st.sampled_from([*_WAITS]), st.sampled_from([0.002, 0.01, None])),
    st.builds(Doing, st.sampled_from([*_HOLDS]), st.none()),
)

TALKS: Final[st.SearchStrategy[Talk]] = st.builds(
    Talk,
    st.sampled_from([None, 0, 1, 2]),
    st.lists(
        st.tuples(st.booleans(), st.lists(_DOINGS, min_size=1, max_size=5)), min_size=2, max_size=5
    ),
)


def to_io(talk: Talk) -> Program:
    """The program. It ends within five seconds, whoever waits for whom."""

    def one(all: Things, n: int, doing: Doing) -> Program:
        program = {**_WAITS, **_HOLDS}[doing.what](all, n)
        limited = program if doing.limit is None else program.timeout(doing.limit, _LATE)
        return limited.attempt()

    def start(made: Sequence[Any]) -> Program:
        fibers = []
        for who, (is_elsewhere, doings) in enumerate(talk.fibers):
            numbered = enumerate(doings, 100 * who)
            fiber = io.sequence([one(Things(*made), n, doing) for n, doing in numbered])
            fibers.append(io.zip_par(fiber) if is_elsewhere else fiber)
        return io.zip_par(fibers).timeout(5, _LATE)

    queues = Queue.create(talk.capacity), Queue.create()
    meetings = Deferred.create(), Barrier.create(2), CountDownLatch.create(2)
    held = PubSub.create(talk.capacity), Var.create(()), resource.reentrant_lock
    return io.zip(*queues, *meetings, *held, resource.semaphore(2)).flat_map(start)
