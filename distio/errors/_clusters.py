"""Clusters that refuse, or end."""

from __future__ import annotations

from typing import final

from distio.errors._base import DistioError

__all__ = [
    "ClusterClosed",
    "ClusterError",
    "HandshakeRefused",
    "JournalError",
    "KeyRefused",
    "RunRefused",
    "RunUnknown",
]


class ClusterError(DistioError):
    """A cluster can't be started, reached or used."""


@final
class JournalError(ClusterError):
    """The journal of a coordinator can't be used, or is damaged."""


@final
class HandshakeRefused(ClusterError):
    """The coordinator doesn't accept this process."""


@final
class KeyRefused(ClusterError):
    """The coordinator doesn't accept the key of this process, or one of them lacks keys."""


@final
class RunUnknown(ClusterError):
    """No run has this name: none was submitted under it, or the outcome was forgotten."""


@final
class RunRefused(ClusterError):
    """The coordinator refuses to start a run under this name, or to forget it.

    The name is that of another program, or the run goes on, or there are too many names.
    """


@final
class ClusterClosed(ClusterError):
    """The cluster ended while it was in use."""
