"""A member's part in named runs: a client asks about them, a worker tells how a root has ended.

Rules
-----
- Each question has a number, and one answer.
- A client attaches once to a run, however many of its threads wait for it. The end comes once for
  each time that it was asked for.
"""

from __future__ import annotations

from typing import final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.core.outcomes import Leaving
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of

__all__ = ["NamedRuns"]


@final
class NamedRuns(MemberFeature):
    """Numbers the questions of this member, and passes the answers on to its host."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._questions = 0

    # -- a client -------------------------------------------------------------------------

    def next_question(self) -> int:
        """Take a number for a question."""
        self._questions += 1
        return self._questions

    @handles
    def found(self, message: m.NamedRunFound) -> None:
        """Tell the host that the action is done."""
        self._state.tell_host(message)

    @handles
    def refused(self, message: m.NamedRunRefused) -> None:
        """Tell the host that the action can't be done."""
        self._state.tell_host(message)

    @handles
    def listed(self, message: m.NamedRunsListed) -> None:
        """All named runs."""
        self._state.tell_host(message)

    @handles
    def run_is_over(self, message: m.NamedRunEnded) -> None:
        """A run has ended to which this member is attached."""
        self._state.tell_host(message)

    # -- a worker -------------------------------------------------------------------------

    def root_ended(self, root: int, outcome: Leaving) -> None:
        """A root has ended here, and its outcome leaves: if its run has a name, say how."""
        if home_of(root) == NOBODY:
            self._state.send(m.RootEnded(root, outcome.kind))
