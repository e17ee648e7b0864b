"""Clusters whose workers a provider starts, from within."""

from __future__ import annotations

from distio import Cluster
from distio.runtime.fleet import Fleet

__all__ = ["fleet_of"]


def fleet_of(cluster: Cluster) -> Fleet:
    """The fleet of a cluster that `Cluster.start` has made."""
    fleet = cluster._stop.__self__  # type: ignore[union-attr]  # it is the method of a fleet
    assert isinstance(fleet, Fleet)
    return fleet
