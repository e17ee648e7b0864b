"""A member's part in code that isn't the same everywhere: it gives back what it can't go on with.

Rules
-----
- Before a pickle is opened, what it names is compared with what is here under the same names. If
  that is other code, and nothing stands in for it, the fibers go back as they came. Nothing was
  made of them, so nothing is lost.
- Fibers that can go on nowhere else are opened all the same: those that call an actor here, those
  that carry its object, and those that come home.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.state.destination import ANYWHERE
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol.messages import Chunk
from distio.protocol.messages import code as m

__all__ = ["OtherCode"]


class OtherCode(MemberFeature):
    """The fibers that one member gives back, and the reports on workers with other code."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    def give_back(self, chunk: Chunk, fibers: Sequence[Fiber], why: Sequence[str]) -> None:
        """Fibers that have come, and weren't opened, go back.

        Args:
            chunk: as it came.
            fibers: what stands here for its fibers, with their handles.
            why: in which way the code here is another.
        """
        state = self._state
        run = state.runs[chunk.run]
        run.unopened.difference_update(fiber.id for fiber in fibers)
        state.flush(full=False)
        attachments = [(digest, b"") for digest, _ in chunk.attachments]
        state.send(m.ChunkReturned(msgspec.structs.replace(chunk, attachments=attachments), [*why]))
        run.alive -= len(fibers)
        departure = Departure(run, fibers, ANYWHERE)
        for fibers_left in state.hooks.fibers_left:
            fibers_left(departure)

    @handles
    def reported(self, message: m.CodeReported) -> None:
        """Fibers of runs that were started here have to look for a worker."""
        self._state.tell_host(message)
