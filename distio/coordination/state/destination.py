"""The destinations of fibers that leave a member."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["ANYWHERE", "Destination"]


class Destination(NamedTuple):
    """The destination of fibers, as in `Chunk`."""

    target: int = 0
    """The member that the fibers are for; 0: any."""
    actor: int = 0
    """The actor that they call, if they are for one member; else the one whose object they carry;
    0: none."""


ANYWHERE: Final = Destination()
