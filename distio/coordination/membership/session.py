"""One side of what a member and the coordinator say to each other, whatever connections carry it.

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
- What was heard is acknowledged by whatever is said next. If nothing is said, an empty batch says
  it: `ACKNOWLEDGE_SECONDS` after the first message that wasn't acknowledged, or when there are
  `ACKNOWLEDGE_AT_MOST` of them. An empty batch has no number, so it isn't acknowledged itself, and
  two sides that have nothing to say are silent.
- So a side keeps no more than what it has said since the other one has heard that many messages, or
  for that long, and while the acknowledgement is under way; and while no connection is there, what
  it has said since, for as long as it may be absent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from distio.protocol.base import Message

__all__ = ["ABSENCE_SECONDS", "ACKNOWLEDGE_AT_MOST", "ACKNOWLEDGE_SECONDS", "Breach", "Session"]

ABSENCE_SECONDS: Final = 10.0
"""A member may be without connections for so long, unless another time is set."""
ACKNOWLEDGE_SECONDS: Final = 1.0
ACKNOWLEDGE_AT_MOST: Final = 128

Out = TypeVar("Out", bound=Message)
In = TypeVar("In", bound=Message)


class Breach(Exception):
    """The other side has said what can't follow from what was said before."""


class Session(Generic[Out, In]):
    """What one side has said and heard; its shell carries batches and keeps the clock.

    Args:
        now: the time, in seconds on a monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self.heard = 0
        """The highest number that was heard."""
        self._said = 0
        self._kept: deque[Out] = deque()
        """What was said last and isn't acknowledged."""
        self._told = 0
        """The highest number of which the other side was told that it was heard."""
        self._owes_since: float | None = None
        self._heard_at = now

    # -- saying ---------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        """How many messages are kept."""
        return len(self._kept)

    def say(self, messages: Sequence[Out]) -> None:
        """Keep these, and number them: they are said next, or when there is a connection again."""
        for message in messages:
            if message.is_numbered:
                self._kept.append(message)
                self._said += 1

    def take_back(self, batch: Sequence[Out]) -> None:
        """These, which were said last, can't be carried: it is as if they had not been said."""
        for _ in range(_numbered(batch)):
            self._kept.pop()
            self._said -= 1

    def header(self, batch: Sequence[Out]) -> tuple[int, int]:
        """What goes out with a batch of the messages that were said last.

        Returns:
            The number of the first message (0 if none has a number), and the highest number heard.
        """
        self._told = self.heard
        self._owes_since = None
        count = _numbered(batch)
        return (self._said - count + 1 if count else 0), self.heard

    # -- hearing --------------------------------------------------------------------------

    def hear(self, now: float, first: int, heard: int, messages: Sequence[In]) -> Sequence[In]:
        """A batch came with this header.

        Returns:
            Those of its messages that weren't heard before.

        Raises:
            Breach: it doesn't follow from what was said before.
        """
        self._forget(heard)
        self._heard_at = now
        count = _numbered(messages)
        if not count:
            return messages
        if not 0 < first <= self.heard + 1:
            raise Breach(f"said message {first} after message {self.heard}")
        again = min(self.heard + 1 - first, count)
        if again:
            messages = self.unheard(first, messages)
        self.heard += count - again
        if self._owes_since is None:
            self._owes_since = now
        return messages

    def unheard(self, first: int, messages: Sequence[In]) -> Sequence[In]:
        """Those messages of a batch that weren't heard before; the batch isn't heard by this."""
        again = self.heard + 1 - first
        if again <= 0:
            return messages
        numbered = [each for each in messages if each.is_numbered]
        return [each for each in messages if not each.is_numbered] + numbered[again:]

    @property
    def acknowledge_at(self) -> float | None:
        """When an empty batch is to be sent, unless something is said before; None: never."""
        since = self._owes_since  # read once: another thread may be saying something
        return None if since is None else since + ACKNOWLEDGE_SECONDS

    @property
    def has_heard_enough(self) -> bool:
        """Whether an empty batch is to be sent at once, unless something is said."""
        return self.heard - self._told >= ACKNOWLEDGE_AT_MOST

    def _forget(self, heard: int) -> None:
        """The other side has heard all up to this number."""
        missing = self._said - heard
        if missing < 0:
            raise Breach(f"has heard message {heard}, but {self._said} were said")
        kept = self._kept
        while len(kept) > missing:
            kept.popleft()

    # -- coming back ----------------------------------------------------------------------

    def resume(self, now: float, heard: int) -> list[Out]:
        """There are connections again, and the other side says how much it has heard.

        Returns:
            What it has not heard, in order.

        Raises:
            Breach: it has heard more than was said, or less than it had acknowledged.
        """
        if heard < self._said - len(self._kept):
            raise Breach(f"has forgotten what it heard after message {heard}")
        self._forget(heard)
        self._heard_at = now
        return list(self._kept)

    # -- the lease ------------------------------------------------------------------------

    def note_life(self, at: float) -> None:
        """The transport had a sign of life of the other side then, though nothing was said."""
        self._heard_at = max(self._heard_at, at)

    def is_lease_over(self, now: float, seconds: float) -> bool:
        """Whether nothing was heard for so long that a member may be held for lost."""
        return now - self._heard_at >= seconds


def _numbered(messages: Sequence[Message]) -> int:
    count = 0
    for message in messages:  # most often there is one, which is quicker than a `sum`
        count += message.is_numbered
    return count
