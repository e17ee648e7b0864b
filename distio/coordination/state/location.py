"""What ties a handle to the member whose process it is in (`Handle.location`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from distio.coordination.references.member import Claim
from distio.core.fiber import Handle

if TYPE_CHECKING:
    from distio.coordination.state.local_run import LocalRun

__all__ = ["LocalFiber", "RemoteFiber", "origin_of", "run_behind"]


class LocalFiber:
    """Ties a handle to this member: its fiber, one of this run, is or was hosted here."""

    __slots__ = ("run",)

    def __init__(self, run: int) -> None:
        self.run = run


@final
class RemoteFiber(Claim):
    """Ties a handle to a fiber that was shipped from here; dies with the handle."""

    __slots__ = ("origin",)

    def __init__(self, origin: LocalFiber, fiber: int, given_back: deque[tuple[int, int]]) -> None:
        super().__init__(fiber, given_back)
        self.origin = origin
        """The tie that the handle had before: that of the fiber's run."""


def run_behind(runs: Mapping[int, LocalRun], handle: Handle[Any, Any, Any]) -> LocalRun | None:
    """The run of this handle's fiber, if the handle was made for it here and the run goes on.

    Runs of different clusters in one process may have the same number: ties tell them apart.
    """
    origin = origin_of(handle)
    run = None if origin is None else runs.get(origin.run)
    return run if run is not None and run.location is origin else None


def origin_of(handle: Handle[Any, Any, Any]) -> LocalFiber | None:
    """The tie of the fiber's run; None if the handle is a copy, or its run was cut short."""
    location = handle.location.origin if type(handle.location) is RemoteFiber else handle.location
    return location if isinstance(location, LocalFiber) else None
