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

from collections.abc import Callable, Mapping
from typing import final

from distio.coordination.placement.coordinator import MemberRecord
from distio.protocol import messages as m
from distio.protocol.ids import home_of
from distio.protocol.messages.logs import LogLevels

__all__ = ["Logs"]


@final
class Logs:
    """Who has which levels, and who was told."""

    def __init__(
        self,
        say: Callable[[int, m.CoordinatorMessage], None],
        members: Mapping[int, MemberRecord],
    ) -> None:
        self.dropped = 0
        """How many messages with records came too late to be of use to anybody."""
        self._say = say
        self._members = members
        self._levels: dict[int, LogLevels] = {}
        """By client."""
        self._told: dict[int, dict[int, LogLevels]] = {}
        """By worker and client: the levels that the worker knows."""

    def set_levels(self, client: MemberRecord, message: m.SetLogLevels) -> None:
        """A client has changed its levels."""
        self._levels[client.id] = message.levels

    def before_placing(self, worker: MemberRecord, client: int) -> None:
        """Fibers of this client are about to be placed there."""
        levels = self._levels.get(client)
        if levels is None or not worker.is_worker:
            return
        told = self._told.setdefault(worker.id, {})
        if told.get(client) is not levels:
            told[client] = levels
            self._say(worker.id, m.LogLevelsSet(client, levels))

    def relay(self, member: MemberRecord, message: m.RelayLogs) -> None:
        """A worker has records."""
        clients = self._clients_for(member, message.run)
        if not clients:
            self.dropped += 1
        for client in clients:
            fields = message.run, message.records, message.omitted
            self._say(client, m.LogsRelayed(member.id, *fields))

    def _clients_for(self, member: MemberRecord, run: int) -> list[int]:
        if run:
            client = home_of(run)
            return [client] if client in self._members else []
        family = member.hello.family
        return [
            other.id
            for other in self._members.values()
            if family and other.hello.family == family and not other.is_worker
        ]

    def member_gone(self, lost: int) -> None:
        """A member is gone, and its levels hold no more."""
        self._told.pop(lost, None)
        if self._levels.pop(lost, None) is not None:
            for worker, told in self._told.items():
                if told.pop(lost, None) is not None:
                    self._say(worker, m.LogLevelsSet(lost, None))
