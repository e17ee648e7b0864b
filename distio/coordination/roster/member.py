"""A member's part in the roster: its process asks, and takes out the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.protocol.messages.roster import MembersListed

__all__ = ["Roster"]


@final
class Roster(MemberFeature):
    """The answers that the host of this member hasn't taken out yet."""

    def __init__(self) -> None:
        self._answers: list[MembersListed] = []

    @handles
    def listed(self, message: MembersListed) -> None:
        """All members."""
        self._answers.append(message)

    def take_answers(self) -> list[MembersListed]:
        """Take out what has come, in order."""
        answers, self._answers = self._answers, []
        return answers

    def leftovers(self) -> Mapping[str, Sized]:
        return {"answers about members": self._answers}
