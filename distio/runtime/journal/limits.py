"""When a journal makes checkpoints, and how many it keeps."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["CUT_SECONDS", "PRIVATE_LIMITS", "Limits"]

CUT_SECONDS: Final = 60.0
"""How long after a change a checkpoint is made, if some are kept."""


class Limits(msgspec.Struct, frozen=True):
    """The rule that says when a checkpoint is made, and how many are kept.

    One is made as soon as this much was written since the one before, and at least as much as that
    one has. If some are kept, one is also made so many seconds after the first change that the one
    before doesn't have.
    """

    bytes: int = 64 * 2**20
    """The bytes of turns: a coordinator that takes the journal up goes through them."""
    turns: int = 100_000
    blob_bytes: int = 256 * 2**20
    """The bytes of blobs: the room of those that nobody needs is given back."""
    seconds: float = CUT_SECONDS
    cuts: int = 0
    """The number of checkpoints kept to look back at, with the one in which the journal begins."""


PRIVATE_LIMITS: Final = Limits(bytes=16 * 2**20, turns=50_000)
"""The limits of a private journal: a coordinator takes up so much in about a second."""
