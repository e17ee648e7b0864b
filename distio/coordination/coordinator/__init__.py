"""The coordinator's machine: `handle(now, event) -> [Send]`, and the switchboard before it."""

from distio.coordination.coordinator.events import (
    Closing,
    Disconnected,
    Event,
    Joined,
    Received,
    Send,
    Tick,
)
from distio.coordination.coordinator.machine import Coordinator
from distio.coordination.coordinator.switchboard import HANDSHAKE, Switchboard

__all__ = [
    "Closing",
    "HANDSHAKE",
    "Coordinator",
    "Disconnected",
    "Event",
    "Joined",
    "Received",
    "Send",
    "Switchboard",
    "Tick",
]
