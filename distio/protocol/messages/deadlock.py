"""Wait graphs: which fibers wait for which."""

import msgspec

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Id, Key

__all__ = ["RequestWaitGraph", "WaitGraph"]


class WaitGraph(MemberMessage, frozen=True, gc=False):
    """The wait graph of a run at one member."""

    run: Id
    probe: Count
    is_quiet: bool
    """Whether all fibers of the run that are here wait for fibers, and nothing is on its way."""
    edges: list[tuple[Id, list[Id]]]
    for_locks: list[tuple[Id, Key]] = msgspec.field(default_factory=list)
    """(fiber, lock) of each that waits for a lock."""
    held: list[tuple[Key, list[Id]]] = msgspec.field(default_factory=list)
    """(lock, the fibers of the run that hold it); of a semaphore, once for each token."""
    for_primitives: list[tuple[Id, str]] = msgspec.field(default_factory=list)
    """(fiber, what it waits for, in words) of each that waits for the reply of a primitive."""
    woken: Count = 0
    """How many times fibers of the run have ceased to wait here."""
    for_runs: list[tuple[Id, Id]] = msgspec.field(default_factory=list)
    """(fiber, run) of each that waits for fibers of another run."""


class RequestWaitGraph(CoordinatorMessage, frozen=True, gc=False):
    """Send the wait graph of this run, which seems to be deadlocked."""

    run: Id
    probe: Count
    """The number of the probe, which the `WaitGraph` names."""
