"""The times and limits of a coordinator, as its operator has set them."""

from __future__ import annotations

from typing import Final

import msgspec

from distio.coordination.state.unread import MOST_UNREAD_BYTES

__all__ = ["GRACE_SECONDS", "KEEP_SECONDS", "MAX_LOSSES", "MAX_MEMBERS", "Settings"]

# values that members and clients need of the coordinator, whose features they don't import
GRACE_SECONDS: Final = 10.0
"""How long what a run holds may take to be released, unless the coordinator is told otherwise."""

KEEP_SECONDS: Final = 7 * 24 * 3600.0
"""The time for which an outcome is kept, unless the client or the coordinator is told otherwise."""

MAX_LOSSES: Final = 3
"""A fiber that so many workers had in hand when they were lost isn't placed again, unless the
coordinator is told otherwise."""

MAX_MEMBERS: Final = 10_000
"""How many members a cluster takes, unless its operator says otherwise."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that may differ from one coordinator process to the next; times in seconds."""

    grace: float
    """How long a run that is ended may take to release what it holds."""
    max_losses: int
    """How many workers may be lost while they step a fiber, before it is lost too."""
    keep_seconds: float
    """How long the outcome of a named run is kept, if its client doesn't say."""
    absence: float
    """How long a member may be absent; 0: it is lost when its connection breaks."""
    lease: float
    """How long the leases of members last; 0: they have none."""
    outage: float
    """How long members wait for another process that goes on; 0: none ever does."""
    unread_memory: int = MOST_UNREAD_BYTES
    """How many bytes a member may have before it that it has not read, until others are slowed."""
    max_members: int = MAX_MEMBERS
    """How many members there may be."""
    version: str = ""
    """The version of distio in the process."""
    shared_memory: str = ""
    """The directory in which members on its host share large values; empty: there is none."""
