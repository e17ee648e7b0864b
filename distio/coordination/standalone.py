"""A member that has lost its coordinator becomes standalone: it gets a coordinator of its own.

Rules
-----
- The process is well, so its fibers are to release what they hold. A coordinator in the same
  process takes the place of the lost one until no fiber is left.
- The member tells that coordinator which runs have fibers here, how many, and which timers are set.
- Outcomes, locks and primitives that are elsewhere are lost to the member. A fiber that waits for
  one of them fails, and so does a fiber that asks for one later. A lock that was delegated to the
  member stays delegated: no other member can have it.
- If the coordinator may be there, and hold the member for lost, fibers may go on elsewhere with
  what they held. Here they are dropped, as if the process had been killed. Those of runs without
  snapshots are nowhere else, so they release.
"""

from __future__ import annotations

from typing import Final, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member
from distio.coordination.state.events import Closing, Event, Joined, Received, Tick
from distio.protocol.messages import Hello
from distio.protocol.version import PROTOCOL, PYTHON

__all__ = ["StandaloneCoordinator"]

_HOST: Final = "alone"


@final
class StandaloneCoordinator:
    """Takes the place of a lost coordinator, until the member has released everything.

    Its methods are called with the member's mutex held. `now` is as for `Coordinator.handle`.
    """

    def __init__(
        self, now: float, member: Member, reason: str, grace: float, *, is_fenced: bool = False
    ) -> None:
        """
        Args:
            now: when the coordinator was lost.
            member: the member that has lost its coordinator.
            reason: why, for the Results of its runs.
            grace: how many seconds its fibers may take to release what they hold.
            is_fenced: whether that coordinator may go on, and hold the member for lost.
        """
        self._member = member
        self._coordinator = Coordinator(grace)
        self._coordinator.state.next_incarnation = member.incarnation
        self._coordinator.handle(now, Joined(Hello(PROTOCOL, PYTHON, "client", 1, _HOST, 0, b"")))
        member.lose_coordinator(reason, is_fenced=is_fenced)
        self.exchange(now)
        self._happened(now, Closing(reason))

    @property
    def is_over(self) -> bool:
        """Whether the member has released everything."""
        return not self._member.state.runs

    def next_deadline(self) -> float | None:
        """When `exchange` is to be called at the latest."""
        return self._coordinator.next_deadline()

    def exchange(self, now: float) -> None:
        """Carry messages both ways until no machine has any; tell the coordinator the time."""
        member = self._member
        member.flush()
        self._happened(now, Tick())
        while batch := member.take_outbox():
            for message in batch:
                self._happened(now, Received(member.incarnation, message))
            member.flush()

    def _happened(self, now: float, event: Event) -> None:
        for command in self._coordinator.handle(now, event):
            self._member.receive(command.message)
