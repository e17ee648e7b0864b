"""A member's part in code that isn't the same everywhere: it gives back what it can't go on with.

Rules
-----
- Before a pickle is opened, what it names is compared with what is here under the same names. If
  that is other code, and nothing stands in for it, the fibers go back as they came. Nothing was
  made of them, so nothing is lost. (`Placement` does that, as fibers leave by it in other ways.)
- Fibers that can go on nowhere else are opened all the same: those that call an actor here, those
  that carry its object, and those that come home.
"""

from __future__ import annotations

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.protocol.messages import code as m

__all__ = ["OtherCode"]


class OtherCode(MemberFeature):
    """The reports on workers with other code."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    @handles
    def reported(self, message: m.CodeReported) -> None:
        """Fibers of runs that were started here have to look for a worker."""
        self._state.tell_host(message)
