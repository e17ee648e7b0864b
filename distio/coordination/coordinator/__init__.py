"""The coordinator: the registry of fibers, placement, timers, the ends of runs.

To it user programs are opaque bytes: nothing here imports `distio.core` or a pickler.
"""

from distio.coordination.coordinator.machine import (
    Coordinator,
    Disconnected,
    Event,
    Joined,
    Received,
    Send,
    Tick,
)

__all__ = ["Coordinator", "Disconnected", "Event", "Joined", "Received", "Send", "Tick"]
