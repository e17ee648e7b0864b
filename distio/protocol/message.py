"""What all messages have in common."""

from __future__ import annotations

import msgspec

__all__ = ["Message"]


class Message(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Base of all messages; on the wire each is tagged with its name."""
