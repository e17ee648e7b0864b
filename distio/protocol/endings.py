"""Why runs end: one concept on both sides of the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, final

__all__ = ["CANCELLED", "UNKNOWN", "Cause"]

UNKNOWN: Final = (
    "its outcome is nowhere to be had, because its run is over, or of another cluster, or its "
    "maker is gone; wait for a fiber in the run that started it"
)
"""The reason why a fiber that wasn't lost has no outcome, and never will."""

CANCELLED: Final = "it was cancelled with its run while it slept"
"""The reason why a fiber that has ended has sent no outcome: it has only failed as cancelled."""


@final
class Cause(StrEnum):
    """The cause that ends a run.

    A run that has FINISHED is over. Every other cause cancels the run: its fibers release what they
    hold, as far as their processes are there to do it, within a period of grace. Then the run is
    over, and fibers that haven't released are dropped and named.
    """

    FINISHED = "finished"
    """All its fibers have ended."""
    CANCELLED = "cancelled"
    """The program has cancelled the run, was interrupted by a signal, or was told to end."""
    DEADLOCK = "deadlock"
    """All its fibers wait, and nothing can ever wake one of them."""
    CLIENT_GONE = "client gone"
    """The process that had started it has left the cluster, or is lost."""
    CLUSTER_CLOSED = "cluster closed"
    """The program closes the cluster, or the coordinator is told to end."""
    FAILED = "failed"
    """A mistake of distio has spoilt what the coordinator knows of the run."""
