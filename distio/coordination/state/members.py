"""The coordinator's records of its members, and of those that it has lost lately.

A member reports how many of its fibers are ready, and how many messages of the coordinator it had
handled by then. The coordinator adds the fibers that it has placed there since, so the load is
never guessed from silence.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from distio.coordination.state.unread import MOST_UNREAD_BYTES, Unread
from distio.errors import ProcessExit
from distio.protocol.domains import MemberKind, Role
from distio.protocol.ids import given_name, member_name
from distio.protocol.messages import Chunk, Hello, Progress, WorkerExited

__all__ = ["AHEAD", "Departed", "MemberRecord"]

AHEAD: Final = 2
"""A worker is given more while fewer than this many fibers a thread are ready in it."""

_MOST_DEPARTED: Final = 1_000
_MOST_EXITS: Final = 100
"""The most exits that are kept of those that are known in detail."""


_ROLES: Final[Mapping[MemberKind, Role]] = {"client": "client", "observer": "observer"}


class MemberRecord:
    """The record of one member."""

    def __init__(
        self,
        id: int,
        hello: Hello,
        fence_seconds: float = 0.0,
        joined_at: float = 0.0,
        most_unread: int = MOST_UNREAD_BYTES,
        role: Role = "any",
    ) -> None:
        self.id = id
        self.hello = hello
        self.role: Role = "observer" if role == "observer" else _ROLES.get(hello.kind, "worker")
        """The rights of the member to send messages; see `MemberMessage.roles`. A supervisor has
        the role of its workers."""
        self.fence_seconds = fence_seconds
        """See `events.Joined`."""
        self.joined_at = joined_at
        self.is_worker: Final = hello.kind == "worker"
        """Whether the member takes fibers of any run."""
        self.sent = 0
        """How many counted messages were sent to it."""
        self.received = 0
        """The number of messages that the member had handled when it last reported."""
        self.unread = Unread(most_unread)
        """The messages to the member that it has not read."""
        self.is_slow = False
        """Whether the messages that it has not read are too many: see `pressure`."""
        self.withdrawals = 0
        """How many `WithdrawAcquire` of it were heard."""
        self._ready = 0
        self._placed: deque[tuple[int, int]] = deque()
        """(which message, how many fibers) of what was placed there and isn't in `_ready` yet."""
        self._under_way = 0
        """How many fibers these are."""
        self.fibers: dict[int, None] = {}
        """The fibers with a record that says that they are there, alive or ended."""
        self.runs: dict[int, None] = {}
        """The runs that have it among their `members`."""
        self.blocked: dict[int, int] = {}
        """By run: how many fibers waited for others when it last reported."""
        self.nothing_to_steal = False
        """Whether the member had nothing that could move, and has got, started and woken nothing
        since."""
        self.was_asked_to_share = False
        self.refused: dict[bytes, list[str]] = {}
        """By manifest of code that is another there: in which way, in words."""
        self.is_full = False
        """Whether the member has said that it has too little memory to take more fibers."""
        self.is_leaving = False
        """Whether the member has said that it leaves: its fibers release what they hold."""
        self.gone_because = ""
        """The reason why the link broke, while the report on the exit of the process is still to
        come."""
        self.gone_at: float | None = None
        """The time at which the break was seen."""
        self.is_blameless = False
        """See `events.Disconnected`."""
        self.not_there: frozenset[int] = frozenset()
        """The fibers that were placed at a member that is lost now, and that it never had."""
        self.exit: WorkerExited | None = None
        """How its process has exited, if somebody has seen that."""

    @property
    def left_in_order(self) -> bool:
        """Whether a former member had said that it leaves, and did."""
        return self.is_leaving and self.exit is None and not self.is_gone

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
        """Whether the member takes more."""
        return self.takes_fibers and self.load < AHEAD * self.hello.threads

    @property
    def takes_fibers(self) -> bool:
        """Whether the member takes fibers that need no room."""
        # written out, as it is asked for each chunk that is placed
        return not (self.gone_because or self.is_leaving or self.is_full or self.is_slow)

    @property
    def is_staying(self) -> bool:
        """Whether the member is there, and doesn't leave."""
        return not (self.is_gone or self.is_leaving)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the member had handled all messages that were sent to it when it last
        reported."""
        return self.received == self.sent

    def note_placed(self, chunk: Chunk) -> None:
        """A chunk is being sent there (counted in `sent` already)."""
        self._placed.append((self.sent, len(chunk.fibers)))
        self._under_way += len(chunk.fibers)
        self.nothing_to_steal = False

    def update(self, progress: Progress) -> None:
        """Take up what the member reports."""
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

    @property
    def given_name(self) -> str:
        """The name of the member if somebody has given it one, else empty."""
        hello = self.hello
        return given_name(self.id, hello.pid, hello.host, hello.name)

    def name(self) -> str:
        """The name of the member in messages to people."""
        hello = self.hello
        return member_name(hello.kind, self.id, hello.pid, hello.host, hello.name)


class Departed:
    """The members lost last, and why: fibers of theirs may be asked for, or still be sent there."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self._exits: OrderedDict[str, ProcessExit] = OrderedDict()
        """By name: how its process has exited."""
        self._told: dict[str, set[int]] = {}
        """By name: the members that know that."""

    def __len__(self) -> int:
        return len(self._known)

    def note(self, id: int, name: str, reason: str, exit: ProcessExit | None = None) -> None:
        """A member is lost."""
        self._known[id] = name, reason
        if len(self._known) > _MOST_DEPARTED:
            self._known.popitem(last=False)
        if exit is not None:
            self._exits[name], self._told[name] = exit, set()
            if len(self._exits) > _MOST_EXITS:
                name, _ = self._exits.popitem(last=False)
                del self._told[name]

    def news_of(self, name: str, member: int) -> ProcessExit | None:
        """How the process of the lost member of this name exited, if this one isn't told yet."""
        exit = self._exits.get(name)
        if exit is None or member in self._told[name]:
            return None
        self._told[name].add(member)
        return exit

    def who(self, id: int) -> tuple[str, str]:
        """The name of a member, and why it is lost."""
        return self._known.get(id, (f"member {id}", "gone from the cluster"))
