"""Where fibers go: what is known of each member's load, and who takes the next chunk.

A member tells how many fibers are ready in it, and how many of our messages it had handled when
it said so. What was placed there since is added: so the load is never guessed from silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from distio.protocol.ids import member_name
from distio.protocol.messages import Chunk, Hello, Progress

__all__ = ["AHEAD", "MemberRecord", "choose_host", "choose_victim"]

AHEAD: Final = 2
"""A worker is given more while fewer than this many fibers a thread are ready in it."""


class MemberRecord:
    """What the coordinator knows of one member."""

    def __init__(self, id: int, hello: Hello) -> None:
        self.id = id
        self.hello = hello
        self.is_worker: Final = hello.kind == "worker"
        """Whether it takes fibers of any run."""
        self.sent = 0
        """How many messages were sent to it."""
        self.received = 0
        """How many of them it had handled when it last told."""
        self._ready = 0
        self._placed: deque[tuple[int, int]] = deque()
        """(which message, how many fibers) of what was placed there and isn't in `_ready` yet."""
        self._under_way = 0
        """How many fibers these are."""
        self.blocked: dict[int, int] = {}
        """By run: how many fibers waited for others when it last told."""
        self.nothing_to_steal = False
        """It had nothing that could move, and has started nothing since, and nothing woke."""
        self.was_asked_to_share = False
        self.is_leaving = False
        """It has said so: its fibers release what they hold."""
        self.gone_because = ""
        """Its link is no more, and why; how its process exited is still to be told."""

    @property
    def is_gone(self) -> bool:
        """Whether its link is no more, and how its process exited is still to be told."""
        return bool(self.gone_because)

    @property
    def load(self) -> int:
        """How many fibers are ready there, as far as is known."""
        return self._ready + self._under_way

    @property
    def has_room(self) -> bool:
        """Whether it takes more."""
        return self.is_staying and self.load < AHEAD * self.hello.threads

    @property
    def is_staying(self) -> bool:
        """Whether it is there, and doesn't leave."""
        return not (self.is_gone or self.is_leaving)

    @property
    def is_up_to_date(self) -> bool:
        """Whether it had handled all our messages when it last told."""
        return self.received == self.sent

    def placed(self, chunk: Chunk) -> None:
        """A chunk is being sent there (counted in `sent` already)."""
        self._placed.append((self.sent, len(chunk.fibers)))
        self._under_way += len(chunk.fibers)

    def told(self, progress: Progress) -> None:
        """Take up its own word."""
        self.received = progress.received
        if progress.ready > self._ready:
            self.nothing_to_steal = False
        self._ready = progress.ready
        while self._placed and self._placed[0][0] <= progress.received:
            self._under_way -= self._placed.popleft()[1]
        for run in progress.runs:
            self.blocked[run.run] = run.blocked
            if run.started:
                self.nothing_to_steal = False

    def name(self) -> str:
        """How it is called in messages to people."""
        return member_name(self.hello.kind, self.id, self.hello.pid, self.hello.host)


def choose_host(members: Iterable[MemberRecord]) -> MemberRecord | None:
    """The worker with the most room, or None if none has any."""
    takers = [member for member in members if member.is_worker and member.has_room]
    return min(
        takers, key=lambda member: (member.load / member.hello.threads, member.id), default=None
    )


def choose_victim(members: Iterable[MemberRecord]) -> tuple[MemberRecord, int] | None:
    """Who should give work away, and how many fibers, if some worker has nothing to do."""
    has_idle, victim, most = False, None, 0
    for member in members:
        if not member.is_worker or member.gone_because:
            continue
        load = member.load
        can_give = not (member.was_asked_to_share or member.nothing_to_steal)
        if not load:
            has_idle = True
        elif load > max(most, member.hello.threads) and can_give:
            victim, most = member, load
    if victim is None or not has_idle:
        return None
    return victim, (most - victim.hello.threads + 1) // 2
