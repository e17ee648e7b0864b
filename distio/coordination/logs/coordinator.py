"""Log records on their way to the clients whose runs they belong to, and the levels back.

Rules
-----
- Records pass as bytes, in the order in which a worker says them, and are never kept here.
- The levels of a client go to a worker before the first of its fibers that is placed there after
  they were set; a worker that has been told isn't told again.
- A client says how much it has heard. While too much is on its way to a client, which may be
  stopped, or far away, records for it are left out, and counted; it is told when it hears again.
- Records of a run that is over go to its client as well: a failure may be told late. Those whose
  client is gone are dropped and counted.
- Those of a named run go to the clients that are attached to it; the last ones are kept with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from distio.coordination.admission import part_of, require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import Run
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of
from distio.protocol.messages.logs import LogLevels, LogsHeard

__all__ = ["MOST_ON_THEIR_WAY_BYTES", "Logs"]

MOST_ON_THEIR_WAY_BYTES: Final = 32 * 1024**2
"""Further records for a client are left out, and counted."""


@final
class Logs(CoordinatorFeature):
    """By client: its levels, and the workers that know them."""

    def __init__(
        self,
        state: CoordinatorState,
        clients_of: Callable[[int], Sequence[int]],
        keep: Callable[[int, m.RelayLogs], bool],
    ) -> None:
        """
        Args:
            state: what is known of members and runs.
            clients_of: the clients that are attached to a named run.
            keep: called with a worker, and with records of a named run that have come from it;
                returns whether the run is known.
        """
        self._state = state
        self._clients_of = clients_of
        self._keep = keep
        self.dropped = 0
        """How many messages with records came too late to be of use to anybody."""
        self._levels: dict[int, LogLevels] = {}
        """The log levels of each client."""
        self._known: dict[int, dict[int, LogLevels]] = {}
        """By worker and client: the levels that the worker knows."""
        self._on_their_way: dict[int, int] = {}
        """By client: how many bytes of records it may not have heard."""
        self._left_out: dict[int, dict[tuple[int, int], int]] = {}
        """By client, then by worker and run: how many records were left out."""

    @handles
    @unchecked
    def set_levels(self, sender: MemberRecord, message: m.SetLogLevels) -> None:
        """A client has changed its levels."""
        self._levels[sender.id] = message.levels

    def before_placing(self, member: MemberRecord, id: int, run: Run) -> None:
        """A worker knows the levels of a client before it steps the first of its fibers."""
        if not self._levels:
            return
        if member.is_worker:
            for client in self._clients_of(id) if run.name else (run.owner,):
                self._tell_levels(member, client)

    def _tell_levels(self, member: MemberRecord, client: int) -> None:
        levels = self._levels.get(client)
        if levels is None:
            return
        known = self._known.setdefault(member.id, {})
        if known.get(client) is not levels:
            known[client] = levels
            self._state.send(member.id, m.LogLevelsSet(client, levels))

    @admits
    def admit_relay(self, sender: MemberRecord, message: m.RelayLogs) -> None:
        """The worker has hosted fibers of the run; or of others of its client, if it is over."""
        if part_of(self._state, sender, message.run) is not None or not message.run:
            return
        client = home_of(message.run)
        is_heard = client == NOBODY or client in self._state.members
        has_served = self._state.has_served(sender.id, client)
        require(has_served or not is_heard, "log records of runs of others")

    @handles
    def relay(self, sender: MemberRecord, message: m.RelayLogs) -> None:
        """A worker has records."""
        is_kept = self._keep(sender.id, message)
        clients = self._clients_for(sender, message.run)
        if not (clients or is_kept):
            self.dropped += 1
        for client in clients:
            self._pass_on(client, sender.id, message)

    def _pass_on(self, client: int, worker: int, message: m.RelayLogs) -> None:
        size = len(message.records)
        on_their_way = self._on_their_way.get(client, 0) + size
        if on_their_way > MOST_ON_THEIR_WAY_BYTES:
            left_out, key = self._left_out.setdefault(client, {}), (worker, message.run)
            left_out[key] = left_out.get(key, 0) + message.count + message.omitted
            return
        self._on_their_way[client] = on_their_way
        fields = message.run, message.records, message.omitted
        self._state.send(client, m.LogsRelayed(worker, *fields))

    @admits
    def admit_heard(self, sender: MemberRecord, message: LogsHeard) -> None:
        """Refuse the message unless so many bytes were sent to the client."""
        on_their_way = self._on_their_way.get(sender.id, 0)
        require(message.bytes <= on_their_way, "more log records were heard than were sent")

    @handles
    def heard(self, sender: MemberRecord, message: LogsHeard) -> None:
        """A client has heard records: it hears of those that were left out."""
        if message.bytes:
            self._on_their_way[sender.id] -= message.bytes
        for (worker, run), count in self._left_out.pop(sender.id, {}).items():
            self._state.send(sender.id, m.LogsRelayed(worker, run, b"", count))

    def _clients_for(self, member: MemberRecord, run: int) -> list[int]:
        if run:
            client = home_of(run)
            if client == NOBODY:
                return [*self._clients_of(run)]
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
        self._on_their_way.pop(lost.id, None)
        self._left_out.pop(lost.id, None)
        if self._levels.pop(lost.id, None) is not None:
            for worker, known in self._known.items():
                if known.pop(lost.id, None) is not None:
                    self._state.send_if_member(worker, m.LogLevelsSet(lost.id, None))
