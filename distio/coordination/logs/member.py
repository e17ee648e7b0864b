"""A member's part in logging: its fibers log for others, and others log for it."""

from __future__ import annotations

from collections import deque
from typing import Final, final

import msgspec

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.protocol import messages as m
from distio.protocol.messages.logs import LogsHeard
from distio.protocol.pieces import joined

__all__ = ["HEARD_BYTES", "MOST_WAITING_BYTES", "LogBuffer", "Logs", "records_in"]

HEARD_BYTES: Final = 1024**2
"""When so many bytes of records have come, the coordinator is told."""

MOST_WAITING_BYTES: Final = 8 * 1024**2
"""Bytes of records that may wait in a worker; further records are omitted, and counted."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(list[bytes])


@final
class Logs(MemberFeature):
    """The log levels of clients, and how much of the log records was heard here."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._untold = 0
        """How many bytes of records have come since the coordinator was told."""

    @handles
    def set_levels(self, message: m.LogLevelsSet) -> None:
        """Fibers of this client will come, or the client is gone."""
        levels = {**self._state.log_levels}
        if message.levels is None:
            levels.pop(message.client, None)
        else:
            levels[message.client] = message.levels
        self._state.log_levels = levels

    @handles
    def records_arrived(self, message: m.LogsRelayed) -> None:
        """Records of a run of this member."""
        self._state.tell_host(message)
        self._untold += len(message.records)
        if self._untold >= HEARD_BYTES:
            self._state.send(LogsHeard(self._untold))
            self._untold = 0


@final
class LogBuffer:
    """Records that wait to be sent, in order; each is bytes. At most so many of them are kept."""

    __slots__ = ("_bytes", "_most_bytes", "_omitted", "_records")

    def __init__(self, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self._most_bytes = most_bytes
        self._records: deque[tuple[int, bytes]] = deque()
        """(run, record) of each."""
        self._bytes = 0
        self._omitted: dict[int, int] = {}
        """By run: how many were left out since the last `take`."""

    def __bool__(self) -> bool:
        return bool(self._records or self._omitted)

    def put(self, run: int, record: bytes) -> None:
        """Keep a record, or count it if too much is waiting."""
        if self._bytes + len(record) > self._most_bytes:
            self._omitted[run] = self._omitted.get(run, 0) + 1
            return
        self._bytes += len(record)
        self._records.append((run, record))

    def take(self) -> list[m.RelayLogs]:
        """Take out the messages that are to be sent."""
        said: list[m.RelayLogs] = []
        gathered: list[bytes] = []
        while self._records:
            run, record = self._records.popleft()
            gathered.append(record)
            if not self._records or self._records[0][0] != run:
                said.append(m.RelayLogs(run, _encode(gathered), count=len(gathered)))
                gathered = []
        said += [m.RelayLogs(run, b"", count) for run, count in self._omitted.items()]
        self._omitted.clear()
        self._bytes = 0
        return said


def records_in(message: m.RelayLogs | m.LogsRelayed) -> list[bytes]:
    """The records of one message."""
    return _decoder.decode(joined(message.records)) if message.records else []
