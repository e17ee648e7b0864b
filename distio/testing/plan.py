"""The plan of a simulated cluster: its size, its faults, its limits, the classes it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from distio.coordination.coordinator import Coordinator
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.membership.lease import lease_seconds
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.protocol.domains import Snapshots
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.workers import Worker
from distio.testing.faults import (
    Disconnect,
    Fault,
    FullDisk,
    Partition,
    Pause,
    Restart,
    SlowDisk,
    Stop,
)

__all__ = ["Components", "Limits", "Plan"]

_OF_JOURNAL: Final = (FullDisk, Restart, SlowDisk)


@dataclass(frozen=True)
class Components:
    """The classes of a simulated cluster; other classes than these are for tests of the tests."""

    coordinator: Callable[[], Coordinator] = Coordinator
    member: Callable[..., Member] = Member
    executor: Callable[..., Executor] = Executor


@dataclass(frozen=True)
class Limits:
    """The limits at which a simulation gives up."""

    steps: int
    virtual_seconds: float


@dataclass
class Plan:
    """The plan of a world."""

    members: int
    threads: int
    latency: tuple[float, float]
    faults: Sequence[Fault] = ()
    limits: Limits = field(default_factory=lambda: Limits(100_000, float("inf")))
    patience_seconds: float = PATIENCE_SECONDS
    absence_seconds: float = ABSENCE_SECONDS
    snapshots: Snapshots = "off"

    @property
    def lease_seconds(self) -> float:
        """How long a worker may step its fibers unheard; 0: as nobody is cut off, for ever."""
        cuts = (Disconnect, Partition, Pause, Stop, *_OF_JOURNAL)
        if not any(isinstance(fault, cuts) for fault in self.faults):
            return 0.0
        return lease_seconds(self.patience_seconds, self.absence_seconds)

    @property
    def outage_seconds(self) -> float:
        """How long members wait for another coordinator; 0: there is no journal."""
        has_journal = any(isinstance(fault, _OF_JOURNAL) for fault in self.faults)
        return OUTAGE_SECONDS if has_journal else 0.0

    workers: Sequence[Worker] = ()
    """The options of the workers; empty: none are given."""

    def worker_named(self, name: str) -> Worker | None:
        """The options of the worker of this name, `worker-N`."""
        index = int(name.rpartition("-")[2]) - 1 if name.startswith("worker-") else -1
        return self.workers[index] if 0 <= index < len(self.workers) else None

    invariant: Callable[[], object] | None = None
    """Called after each event; it raises, or returns False, if something is wrong."""
