"""One side of the session of a member and the coordinator, whatever connections carry it.

Rules
-----
- Messages are numbered, from 1, on each side for itself; batches are not, since which messages go
  together is a matter of timing. A batch says the number of its first message, and the highest
  number that its sender has heard. Greetings (`Message.is_numbered` is false) have no numbers: they
  belong to one connection, and are never said again.
- A side keeps what it has said until the other side has said that it heard it. So when connections
  have broken and others were made, each side says again what the other one has not heard, in order.
- A message that was heard before is dropped, whether it comes twice or late. A gap is a breach: on
  one connection nothing is lost, so whoever leaves one lies, or has gone wrong.
- Messages that were heard are acknowledged by the next message in return. If nothing is said, an
  empty batch says it: `ACKNOWLEDGE_SECONDS` after the first message that wasn't acknowledged, or
  when there are `ACKNOWLEDGE_AT_MOST` of them. An empty batch has no number, so it isn't
  acknowledged itself, and two sides that have nothing to say are silent.
- Members that are lost as soon as their connection breaks have an `UnnumberedSession`: one
  connection carries all that they say and hear, so nothing is kept, numbered or acknowledged.
- A coordinator that goes on from a journal may have gone back, so it says other messages under
  numbers that members have heard before. Of what it says in its new life a member hears nothing
  until the member has come back. So one that comes back has heard what was said in former lives at
  most, or knows more than the journal.
- So a side keeps no more than what it has said since the other one has heard that many messages, or
  for that long, and while the acknowledgement is under way; and while no connection is there, what
  it has said since, for as long as it may be absent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final, Generic, TypeAlias, TypeVar

from distio.protocol.base import Message

__all__ = [
    "ABSENCE_SECONDS",
    "ACKNOWLEDGE_AT_MOST",
    "ACKNOWLEDGE_SECONDS",
    "OUTAGE_SECONDS",
    "Ahead",
    "Breach",
    "NumberedSession",
    "Session",
    "UnnumberedSession",
    "begin_session",
    "count_numbered",
]

ABSENCE_SECONDS: Final = 10.0
"""A member may be without connections for so long, unless another time is set."""
OUTAGE_SECONDS: Final = 600.0
"""A member waits so long for another coordinator that goes on from the journal of the one that has
ended, unless another time is set."""
ACKNOWLEDGE_SECONDS: Final = 1.0
ACKNOWLEDGE_AT_MOST: Final = 128

Out = TypeVar("Out", bound=Message)
In = TypeVar("In", bound=Message)


class Breach(Exception):
    """The other side has said what can't follow from what was said before."""


class Ahead(Breach):
    """The other side knows more than this side has said or heard, which has gone back then."""


class NumberedSession(Generic[Out, In]):
    """The messages that one side has said and heard; its shell carries them and keeps the clock."""

    def __init__(self) -> None:
        self.heard = 0
        """The highest number that was heard."""
        self._said = 0
        self._sent = 0
        """The highest number that went out on the connection that is there."""
        self._kept: deque[Out] = deque()
        """The messages that were said last and aren't acknowledged."""
        self._told = 0
        """The highest number of which the other side was told that it was heard."""
        self._said_before: int | None = None
        """How much had been said when this side went on from its journal, until the other side has
        come back; None: it is back, or this side has never gone on so."""
        self.acknowledge_at: float | None = None
        """When an empty batch is to be sent, unless something is said before; None: never."""

    # -- saying ---------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        """How many messages are kept."""
        return len(self._kept)

    @property
    def acknowledged(self) -> int:
        """The highest number of which the other side has said that it was heard."""
        return self._said - len(self._kept)

    @property
    def unsent(self) -> Sequence[Out]:
        """The messages that went out on no connection: none was there."""
        count = self._said - self._sent
        return list(self._kept)[-count:] if count else ()

    def say(self, message: Out) -> None:
        """Keep a message with a number: it is sent next, or when there is a connection again."""
        self._kept.append(message)
        self._said += 1

    def say_all(self, messages: Sequence[Out]) -> None:
        """Do the same with several."""
        self._kept += messages
        self._said += len(messages)

    def take_back(self, messages: Sequence[Out]) -> None:
        """Take back these messages, said last, which can't be carried: as if they had not been
        said."""
        for _ in messages:
            self._kept.pop()
        self._said -= len(messages)
        self._sent = min(self._sent, self._said)

    def header(self) -> tuple[int, int]:
        """The header of a batch with all messages that were said and haven't been sent.

        Returns:
            The number of the first message (0 if there is none), and the highest number heard.
        """
        sent, self._sent = self._sent, self._said
        return (sent + 1 if self._said > sent else 0), self.acknowledge()

    def acknowledge(self) -> int:
        """The highest number heard, of which the other side is being told."""
        self._told = self.heard
        self.acknowledge_at = None
        return self.heard

    # -- hearing --------------------------------------------------------------------------

    def hear(self, now: float, first: int, heard: int, messages: Sequence[In]) -> Sequence[In]:
        """A batch came with this header.

        Returns:
            Those of its messages that weren't heard before.

        Raises:
            Breach: it doesn't follow from what was said before.
        """
        if heard > self._said - len(self._kept):
            self._forget(heard)
        count = count_numbered(messages)
        if not count:
            return messages
        if not 0 < first <= self.heard + 1:
            raise Breach(f"said message {first} after message {self.heard}")
        again = min(self.heard + 1 - first, count)
        if again:
            messages = self.unheard(first, messages)
        self.heard += count - again
        if self.acknowledge_at is None:
            self.acknowledge_at = now + ACKNOWLEDGE_SECONDS
        return messages

    def unheard(self, first: int, messages: Sequence[In]) -> Sequence[In]:
        """The messages of a batch that weren't heard before; the batch isn't heard by this."""
        again = self.heard + 1 - first
        if again <= 0:
            return messages
        numbered = [each for each in messages if each.is_numbered]
        return [each for each in messages if not each.is_numbered] + numbered[again:]

    @property
    def has_heard_enough(self) -> bool:
        """Whether an empty batch is to be sent at once, unless something is said."""
        return self.heard - self._told >= ACKNOWLEDGE_AT_MOST

    def _forget(self, heard: int) -> None:
        """The other side has heard all up to this number."""
        missing = self._said - heard
        if missing < 0:
            raise Ahead(f"has heard message {heard}, but {self._said} were said")
        kept = self._kept
        while len(kept) > missing:
            kept.popleft()

    # -- coming back ----------------------------------------------------------------------

    def restart(self) -> None:
        """Another process is this side now, and goes on from a journal."""
        if self._said_before is None:
            self._said_before = self._said

    def resume(self, heard: int, acknowledged: int = 0) -> list[Out]:
        """Go on over new connections; the other side says what it knows.

        Args:
            heard: the highest number that it has heard.
            acknowledged: the highest number of which it was told that it was heard here.

        Returns:
            The messages that it has not heard, in order: they are to be sent next.

        Raises:
            Breach: it has heard more than was said, or less than it had acknowledged, or was told
                of more than was heard.
        """
        if heard < self.acknowledged:
            raise Breach(f"has forgotten what it heard after message {heard}")
        before, self._said_before = self._said_before, None
        if before is not None and heard > before:
            raise Ahead(f"has heard message {heard}, but {before} were said")
        if acknowledged > self.heard:
            raise Ahead(f"was told that message {acknowledged} was heard, but {self.heard} were")
        self._forget(heard)
        self._sent = self.acknowledged
        return list(self._kept)


class UnnumberedSession(Generic[Out, In]):
    """The session of a member that never comes back: its connections keep the order, no more."""

    acknowledge_at: ClassVar[None] = None
    acknowledged: ClassVar[int] = 0
    unsent: ClassVar[tuple[()]] = ()
    has_heard_enough: ClassVar[bool] = False

    def say(self, message: Out) -> None:
        """Keep nothing."""

    def say_all(self, messages: Sequence[Out]) -> None:
        """Keep nothing."""

    def take_back(self, messages: Sequence[Out]) -> None:
        """Do nothing: the message wasn't kept."""

    def header(self) -> tuple[int, int]:
        """The header without numbers: no message has one."""
        return 0, 0

    def acknowledge(self) -> int:
        """Acknowledge nothing."""
        return 0

    def hear(self, now: float, first: int, heard: int, messages: Sequence[In]) -> Sequence[In]:
        """Return all messages: none comes twice."""
        return messages

    def unheard(self, first: int, messages: Sequence[In]) -> Sequence[In]:
        """Return all messages: none was heard before."""
        return messages

    def restart(self) -> None:
        """End the session: its connections are gone."""

    def resume(self, heard: int, acknowledged: int = 0) -> list[Out]:
        """Raise a Breach: nothing is known of what the other side has not heard."""
        raise Breach("came back, though its connections may not break")


Session: TypeAlias = NumberedSession[Out, In] | UnnumberedSession[Out, In]


def begin_session(absence: float) -> Session[Out, In]:
    """The session of a member.

    Args:
        absence: for how many seconds it may be without connections.
    """
    return NumberedSession() if absence > 0 else UnnumberedSession()


def count_numbered(messages: Sequence[Message]) -> int:
    """How many of these messages have numbers."""
    count = 0
    for message in messages:  # most often there is one, which is quicker than a `sum`
        count += message.is_numbered
    return count
