"""The coordinator's books on one named run: its program, how it ended, its last log records."""

from __future__ import annotations

from collections import deque
from typing import Final, final

from distio.coordination.state.registry import FiberRecord
from distio.coordination.state.store import Stored
from distio.protocol import messages as m
from distio.protocol.domains import OutcomeKind
from distio.protocol.endings import Cause
from distio.protocol.pieces import joined

__all__ = ["MOST_RECORDS_BYTES", "End", "NamedBook", "Share"]

MOST_RECORDS_BYTES: Final = 64 * 1024
"""The most bytes of log records that are kept with one run: the last ones."""


@final
class Share:
    """The last log records of a run; older ones are counted."""

    __slots__ = ("_bytes", "_kept", "count", "left_out")

    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes, int]] = deque()
        """(worker, records, how many) of each message."""
        self._bytes = 0
        self.count = 0
        """How many records are kept."""
        self.left_out = 0
        """The number of older records, which aren't kept."""

    def add(self, worker: int, message: m.RelayLogs) -> None:
        """Records have come; they may take the place of older ones."""
        self.left_out += message.omitted
        if message.count:
            self._kept.append((worker, joined(message.records), message.count))
            self._bytes += len(message.records)
            self.count += message.count
        while self._bytes > MOST_RECORDS_BYTES:
            _, records, count = self._kept.popleft()
            self._bytes -= len(records)
            self.count -= count
            self.left_out += count

    def messages(self, run: int) -> list[m.LogsRelayed]:
        """The messages for a client that wasn't there when the records came."""
        said = [m.LogsRelayed(worker, run, records) for worker, records, _ in self._kept]
        if self.left_out:
            said.insert(0, m.LogsRelayed(0, run, b"", self.left_out))
        return said


@final
class End:
    """How a named run ended."""

    __slots__ = ("at", "cause", "kind", "lost", "outcome", "reason")

    def __init__(
        self,
        at: float,
        kind: OutcomeKind,
        outcome: Stored | None,
        cause: Cause,
        reason: str,
        lost: tuple[str, str] | None,
    ) -> None:
        self.at = at
        self.kind: OutcomeKind = kind
        self.outcome = outcome
        """The outcome of the root, if there is one."""
        self.cause = cause
        self.reason = reason
        """The reason why the outcome doesn't count; empty if it does."""
        self.lost = lost
        """The worker with which the root was lost, and why, if it was."""


@final
class NamedBook:
    """One named run, from its start until it is forgotten."""

    __slots__ = (
        "clients",
        "end",
        "id",
        "keep_seconds",
        "kind",
        "name",
        "program",
        "root",
        "share",
        "started_at",
    )

    def __init__(
        self, id: int, message: m.SubmitNamedRun, now: float, keep_seconds: float, root: FiberRecord
    ) -> None:
        self.id = id
        self.name = message.name
        self.program = message.program
        """The digest of its program."""
        self.keep_seconds = keep_seconds
        self.started_at = now
        self.root: FiberRecord | None = root
        """The record of its root, as long as it runs."""
        self.kind: OutcomeKind = "panic"
        """How its root ended; unless a worker has said so, it was dropped, or lost."""
        self.end: End | None = None
        self.clients: dict[int, None] = {}
        """The members that hear of it."""
        self.share = Share()
