"""The options with which a coordinator's process begins: its times, its limits, and who may
join."""

from __future__ import annotations

from pathlib import Path

import msgspec

from distio.coordination.membership.lease import lease_seconds
from distio.coordination.membership.session import ABSENCE_SECONDS, OUTAGE_SECONDS
from distio.coordination.settings import (
    GRACE_SECONDS,
    KEEP_SECONDS,
    MAX_LOSSES,
    MAX_MEMBERS,
    Settings,
)
from distio.coordination.state.store import IN_MEMORY_BYTES
from distio.coordination.state.unread import MOST_UNREAD_BYTES
from distio.protocol.version import VERSION
from distio.runtime.addresses import ipc_path
from distio.runtime.failure_detector import PATIENCE_SECONDS

__all__ = ["CoordinatorOptions"]


class CoordinatorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of whoever starts a coordinator's process; times in seconds."""

    grace: float = GRACE_SECONDS
    """How long a run that is ended may take to release what it holds."""
    patience: float = PATIENCE_SECONDS
    """The time for which a member may give no sign of life."""
    max_losses: int = MAX_LOSSES
    """How many workers may be lost while they step a fiber, before it is lost too."""
    absence: float = ABSENCE_SECONDS
    """How long a member whose connection broke may take to come back; 0: it never does."""
    outage: float = OUTAGE_SECONDS
    """The time for which members wait for another coordinator, if there is a journal."""
    keep_seconds: float = KEEP_SECONDS
    """How long the outcome of a named run is kept, if its client doesn't say."""
    snapshot_memory: int = IN_MEMORY_BYTES
    """How many bytes of snapshots and outcomes are kept in memory.

    The rest is in a temporary file. With a journal all of them are there.
    """
    directory: str | None = None
    """The directory of that file; None: that of the system's temporary files."""
    unread_memory: int = MOST_UNREAD_BYTES
    """How many bytes a member may have before it that it has not read.

    With more, others that have something for it are slowed, and it is lost if it reads nothing.
    """
    max_members: int = MAX_MEMBERS
    """How many members there may be; others are refused."""
    keys: Path | None = None
    """The folder of its keys; None: it has none."""
    is_insecure: bool = False
    """Whether the coordinator may listen on loopback without keys, and let in whoever connects."""
    workers_are_here: bool = True
    """Whether a worker of its program runs on this machine, and connects by itself."""

    shared_memory: Path | None = None
    """The directory of memory that processes on this host share; None: there is none.

    It is used on ipc, if no process carries the connections of others.
    """

    def settings(self, url: str, *, has_journal: bool) -> Settings:
        """The settings that the machine has to know.

        Args:
            url: where the coordinator listens.
            has_journal: whether another process can go on when this one has ended.

        >>> CoordinatorOptions().settings("ipc:///tmp/c", has_journal=False).absence
        0.0
        """
        # on ipc a connection breaks only when its process has ended, or has closed it; but the
        # process may be one that carries the connection to a worker elsewhere
        are_here = ipc_path(url) is not None and self.workers_are_here
        sees_ends = are_here and not has_journal
        absence = 0.0 if sees_ends else self.absence
        return Settings(
            grace=self.grace,
            max_losses=self.max_losses,
            keep_seconds=self.keep_seconds,
            absence=absence,
            lease=0.0 if sees_ends else lease_seconds(self.patience, absence),
            outage=self.outage if has_journal else 0.0,
            unread_memory=self.unread_memory,
            max_members=self.max_members,
            version=VERSION,
            shared_memory=str(self.shared_memory or "") if are_here else "",
        )
