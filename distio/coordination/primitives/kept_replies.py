"""The replies for which snapshots wait: who goes on from such a snapshot is told the same again."""

from __future__ import annotations

from typing import final

from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m

__all__ = ["KeptReplies"]


@final
class KeptReplies:
    """Keeps replies in the records of their fibers.

    Args:
        state: what is known of fibers.
        references: those in the items of replies are counted.
    """

    def __init__(self, state: CoordinatorState, references: References) -> None:
        self._state = state
        self._references = references

    def keep(self, fiber: int, reply: m.Replied) -> None:
        """Keep the reply to a fiber that waits for it in its snapshot."""
        record = self._state.fibers.get(fiber)
        if record is not None and record.snapshot is not None and record.snapshot.chunk.is_waiting:
            record.own.reply = reply
            self._references.came(reply.references)

    def keep_told(self, member: MemberRecord, reply: m.Replied) -> None:
        """A member has answered the call of a fiber there itself."""
        record = self._state.fibers.get(reply.fiber)
        if record is not None and record.host == member.id:
            self.forget(reply.fiber)
            self.keep(reply.fiber, reply)

    def of(self, fiber: int) -> m.Replied | None:
        """The reply that is kept for a fiber, if there is one."""
        record = self._state.fibers.get(fiber)
        return None if record is None else record.rare.reply

    def forget(self, fiber: int) -> None:
        """A fiber calls anew: nobody asks for the reply to its last call any more."""
        record = self._state.fibers.get(fiber)
        if record is not None and record.rare.reply is not None:
            reply, record.own.reply = record.rare.reply, None
            self._references.gone(reply.references)
