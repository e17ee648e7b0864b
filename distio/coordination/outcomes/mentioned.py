"""Outcomes that have to leave because something refers to their fibers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import LocalFiber
from distio.core.fiber import Handle
from distio.core.outcomes import Leaving, Packed, dump_outcome
from distio.core.references import keys_of

__all__ = ["outcomes_of"]


def outcomes_of(
    mentioned: Iterable[Handle[Any, Any, Any]], run: LocalRun
) -> list[tuple[int, Leaving]]:
    """The outcomes of these fibers, and of those to which they refer, if nobody else has them."""
    outcomes: dict[int, Leaving] = {}
    left = [*mentioned]
    while left:
        handle = left.pop()
        is_here = isinstance(handle.location, LocalFiber) and handle.location.run == run.id
        if handle.outcome is None or not is_here or handle.id in outcomes:
            continue
        if handle.id in run.sent_outcomes:
            continue
        if isinstance(handle.outcome, Packed):
            packed = handle.outcome
            outcomes[handle.id] = Leaving(packed.payload, (), keys_of(packed.references))
        else:
            outcomes[handle.id] = dump_outcome(handle.outcome)
            left += outcomes[handle.id].handles
    return list(outcomes.items())
