"""The number of generated programs, and the shapes of simulated clusters on which they run."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from hypothesis import strategies as st

from distio import IO, io, resource
from distio.testing import Crash, Disconnect, Fail, Fault, Partition, Pause, Restart

CONTEXT: Final = 7

SEEDS: Final = st.integers(0, 2**32)

SHAPES: Final = st.tuples(st.integers(1, 3), st.integers(1, 2))
"""The number of workers, and the number of threads of each process."""

SHORT: Final = st.sampled_from([0.001, 1.0])

HARMLESS: Final[st.SearchStrategy[Fault]] = st.one_of(
    st.builds(Pause, st.sampled_from([None, "client"]), st.none(), SHORT),
    st.builds(Partition, st.sampled_from([None, "client"]), st.none(), SHORT),
    st.builds(Restart, st.just("coordinator"), st.none(), SHORT),
)

HARMFUL: Final[st.SearchStrategy[Fault]] = st.one_of(
    st.builds(Crash, st.sampled_from([None, "client"])),
    st.builds(Fail, st.sampled_from([None, "client"])),
    st.builds(Partition, st.sampled_from([None, "client"]), st.none(), st.just(30.0)),
    st.builds(
        Disconnect,
        st.sampled_from([None, "client"]),
        st.none(),
        st.none() | SHORT,
        st.sampled_from([0.0, 60.0]),
        st.booleans(),
    ),
)


Io = IO[Any, Any, Any]

COUNTS: Counter[str] = Counter()
"""A simulated cluster is one process: fibers count here wherever they are."""


def count(what: str) -> None:
    COUNTS[what] += 1


def slowly(program: Io) -> Io:
    return io.sequence(io.yield_, program, io.sleep(0.0005))


FILE = resource.from_open_close_io(
    slowly(io.defer(count, "opened")), lambda _, status: slowly(io.defer(count, "closed"))
)
