"""A member's part in the roster: its process has asked for the members, and is told."""

from __future__ import annotations

from typing import final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.protocol.messages.roster import MembersListed

__all__ = ["Roster"]


@final
class Roster(MemberFeature):
    """Passes the answers on to the host, which has asked."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    @handles
    def listed(self, message: MembersListed) -> None:
        """Pass the list of all members to the host."""
        self._state.tell_host(message)
