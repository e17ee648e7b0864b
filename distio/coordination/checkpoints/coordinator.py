"""The coordinator's part in checkpoints: it says what is stored.

Rules
-----
- Messages of a member are handled in order. So when the question is handled, the snapshot that was
  sent before is stored, and the answer may be sent.
"""

from __future__ import annotations

from distio.coordination.admission import part_of, require_host
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.protocol.messages import checkpoints as m

__all__ = ["Checkpoints"]


class Checkpoints(CoordinatorFeature):
    """The half that answers fibers once they are stored; nothing has to be remembered for it."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state

    @admits
    def admit_await(self, sender: MemberRecord, message: m.AwaitStored) -> None:
        """The fiber is there."""
        if part_of(self._state, sender, message.run) is not None:
            require_host(self._state, sender, message.run, message.fiber)

    @handles
    def await_stored(self, sender: MemberRecord, message: m.AwaitStored) -> None:
        """A fiber waits until what its member has said before is stored."""
        if message.run not in self._state.runs:
            self._state.stale += 1
            return
        self._state.send(sender.id, m.Stored(message.fiber, message.number))
