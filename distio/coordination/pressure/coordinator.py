"""The coordinator's part in pressure: it tells members how much it has heard.

Rules
-----
- Messages of a member are handled in order. So when the question is handled, all that was said
  before is heard, and the answer may be sent.
"""

from __future__ import annotations

from distio.coordination.dispatch import handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.protocol.messages import pressure as m

__all__ = ["Pressure"]


class Pressure(CoordinatorFeature):
    """Answers members; nothing has to be remembered for it."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state

    @handles
    @unchecked
    def await_heard(self, sender: MemberRecord, message: m.AwaitHeard) -> None:
        """A member asks how much of what it has said was heard."""
        self._state.send(sender.id, m.Heard(message.said))
