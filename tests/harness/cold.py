"""Simulated clusters on which fibers that sleep are put away at once."""

from __future__ import annotations

from typing import Any, Final

from distio.coordination.cold.coordinator import PutAwayPolicy
from distio.coordination.coordinator import Coordinator
from distio.testing import Simulation
from distio.testing.plan import Components

__all__ = ["COLD", "times_put_away"]

AT_ONCE: Final = PutAwayPolicy(after_seconds=0.0, least_seconds=0.0)

COLD: Final = Components(coordinator=lambda: Coordinator(put_away=AT_ONCE))


def times_put_away(simulation: Simulation[Any, Any]) -> int:
    """How many times the coordinator has heard that fibers were put away."""
    lines = str(simulation.history).splitlines()
    return sum("FibersPutAway" in line and "sends" not in line for line in lines)
