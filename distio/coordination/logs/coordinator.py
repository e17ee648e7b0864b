"""Log records on their way to the clients whose runs they belong to, and the levels back.

Rules
-----
- Records pass as bytes, in the order in which a worker says them, and are never kept here.
- The levels of a client go to a worker before the first of its fibers that is placed there after
  they were set; a worker that has been told isn't told again.
- Records of a run that is over go to its client as well: a failure may be told late. Those whose
  client is gone are dropped and counted.
"""

from __future__ import annotations

from typing import final

from distio.coordination.admission import part_of
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import Run
from distio.protocol import messages as m
from distio.protocol.ids import home_of
from distio.protocol.messages.logs import LogLevels

__all__ = ["Logs"]


@final
class Logs(CoordinatorFeature):
    """By client: its levels, and the workers that know them."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self.dropped = 0
        """How many messages with records came too late to be of use to anybody."""
        self._levels: dict[int, LogLevels] = {}
        """By client."""
        self._known: dict[int, dict[int, LogLevels]] = {}
        """By worker and client: the levels that the worker knows."""

    @handles
    def set_levels(self, sender: MemberRecord, message: m.SetLogLevels) -> None:
        """A client has changed its levels."""
        self._levels[sender.id] = message.levels

    def before_placing(self, member: MemberRecord, run: Run) -> None:
        """A worker knows the levels of a client before it steps the first of its fibers."""
        if not self._levels:
            return
        client = run.owner
        levels = self._levels.get(client)
        if levels is None or not member.is_worker:
            return
        known = self._known.setdefault(member.id, {})
        if known.get(client) is not levels:
            known[client] = levels
            self._state.send(member.id, m.LogLevelsSet(client, levels))

    @admits
    def admit_relay(self, sender: MemberRecord, message: m.RelayLogs) -> None:
        """The worker has hosted fibers of the run, or the run is over."""
        part_of(self._state, sender, message.run)

    @handles
    def relay(self, sender: MemberRecord, message: m.RelayLogs) -> None:
        """A worker has records."""
        clients = self._clients_for(sender, message.run)
        if not clients:
            self.dropped += 1
        for client in clients:
            fields = message.run, message.records, message.omitted
            self._state.send(client, m.LogsRelayed(sender.id, *fields))

    def _clients_for(self, member: MemberRecord, run: int) -> list[int]:
        if run:
            client = home_of(run)
            return [client] if client in self._state.members else []
        family = member.hello.family
        return [
            other.id
            for other in self._state.members.values()
            if family and other.hello.family == family and not other.is_worker
        ]

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The levels of the member hold no more."""
        self._known.pop(lost.id, None)
        if self._levels.pop(lost.id, None) is not None:
            for worker, known in self._known.items():
                if known.pop(lost.id, None) is not None:
                    self._state.send_if_member(worker, m.LogLevelsSet(lost.id, None))
