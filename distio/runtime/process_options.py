"""The options of the processes of a cluster on this machine, and which of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final, final

from distio.coordination.settings import GRACE_SECONDS, MAX_LOSSES
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.core import expect
from distio.errors import ClusterError, MatchError
from distio.runtime.cores import usable_cores
from distio.runtime.failure_detector import PATIENCE_SECONDS
from distio.runtime.process_supervisor import MAX_RESTARTS, WITHIN_SECONDS
from distio.runtime.workers import Worker, as_workers

__all__ = ["START_SECONDS", "ProcessOptions", "workers_asked_for"]

START_SECONDS: Final = 120.0
"""How long a process of a local cluster may take to start: the machine may be busy."""


@final
@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """Options of the processes of a cluster on this machine."""

    blas_threads: int | None = None
    """See `thread_limits`."""
    grace: float = GRACE_SECONDS
    """How many seconds a run that is ended may take to release what it holds."""
    restart: bool = True
    """Whether workers that end are started again."""
    max_restarts: int = MAX_RESTARTS
    """The most restarts of each worker, in `within_seconds`."""
    within_seconds: float = WITHIN_SECONDS
    start_seconds: float = START_SECONDS
    """How long at most each process may take to start."""
    max_losses: int = MAX_LOSSES
    """See `Coordinator`."""
    snapshot_memory: int = IN_MEMORY_BYTES
    """How many bytes of snapshots and outcomes are kept in memory."""
    patience: float = PATIENCE_SECONDS
    """The seconds for which a process may be stopped."""
    journal: str | PathLike[str] | bool = False
    """The directory of the coordinator's journal; True: it has a private one; False: none."""
    accepts_other_code: bool = False
    """Whether workers take fibers that were saved with other code."""
    keep_snapshots: int = 0
    """How many cuts the journal keeps."""
    bind: str = ""
    """The address at which the coordinator listens; by default a socket in a private directory."""
    workers_are_elsewhere: bool = False
    """Whether others start the workers, on whatever host."""

    def require_right(self, where: str) -> None:
        """Raise what says that an option is of another kind.

        Args:
            where: names the caller in errors.

        Raises:
            TypeError: an option is no such number or path, or cuts have no journal to be kept in.
            ValueError: a number is too low.
        """
        for name, least in _LEAST.items():
            expected = f"{name} is a whole number from {least}"
            if expect.integer(getattr(self, name), where, expected) < least:
                raise ValueError(f"{where}: {expected}, but got {getattr(self, name)}")
        if wrong := expect.no_window(self.within_seconds, f"{where}, within_seconds"):
            raise MatchError(wrong)
        for name, seconds in (("timeout", self.start_seconds), ("patience", self.patience)):
            if wrong := expect.no_window(seconds, f"{where}, {name}"):
                raise MatchError(wrong)
        if wrong := expect.no_time(self.grace, where, "grace is a number of seconds"):
            raise MatchError(wrong)
        place: Any = self.journal
        if not isinstance(place, bool | str | PathLike):
            raise MatchError(
                f"{where}: journal is a directory, True or False, but got {expect.shown(place)}"
            )
        if self.keep_snapshots and isinstance(place, bool):
            raise MatchError(
                f"{where}: keep_snapshots keeps them in the journal's directory; give one as "
                "journal"
            )

    @property
    def journal_directory(self) -> Path | None:
        """The directory that the program has given; None: it has given none."""
        return None if isinstance(self.journal, bool) else Path(self.journal).absolute()


_LEAST: Final = {"max_restarts": 0, "max_losses": 1, "snapshot_memory": 0, "keep_snapshots": 0}


def workers_asked_for(workers: Any, threads: Any, blas_threads: Any) -> list[Worker]:
    """The workers of a local cluster.

    Args:
        workers: a number, or a list that says of each what it is like; None: one for each core.
        threads: how many threads each has, if there is only a number.
        blas_threads: how many threads libraries start in each; None: nobody says.

    Raises:
        ClusterError: one of the numbers is none from 1.
        MatchError: `workers` is something else.
    """
    if workers is None:
        workers = usable_cores()
    counts: dict[str, Any] = {"threads": threads}
    if blas_threads is not None:
        counts["blas_threads"] = blas_threads
    if not isinstance(workers, Sequence):
        counts = {"workers": workers, **counts}
    for name, number in counts.items():
        if not expect.is_count(number):
            raise ClusterError(
                f"a local cluster takes at least 1 worker of at least 1 thread, "
                f"but got {name}={number!r}; give whole numbers from 1"
            )
    return as_workers(workers, threads, "Cluster.local")
