"""How much was said to a member that it has not read, as far as is known."""

from __future__ import annotations

from collections import deque
from typing import Final, final

__all__ = ["MOST_MESSAGES", "MOST_UNREAD_BYTES", "Unread"]

MOST_UNREAD_BYTES: Final = 32 * 1024**2
"""While a member has more before it, others that have something for it are slowed."""
MOST_MESSAGES: Final = 1_000_000
"""A member that has more before it is lost: it asks again and again, and reads no answer."""
_ASK_EVERY_BYTES: Final = 1024**2


@final
class Unread:
    """The messages to one member, and how much of them the member says that it has read.

    Args:
        most: how many bytes it may have before it.
    """

    __slots__ = ("_asked", "_every", "_read", "_read_messages", "ask_at", "said", "said_messages")

    def __init__(self, most: int = MOST_UNREAD_BYTES) -> None:
        self._every = min(_ASK_EVERY_BYTES, max(1, most // 4))
        self.said = 0
        """How many bytes were said; whoever sends a message counts it."""
        self.said_messages = 0
        self._read = 0
        self._read_messages = 0
        self._asked: deque[tuple[int, int]] = deque()
        """(bytes, messages) that were said before each question that isn't answered yet."""
        self.ask_at = self._every
        """The number of bytes said at which the member is to be asked."""

    def ask(self) -> int:
        """The member is asked whether it has read what was said so far; return how much that is."""
        self._asked.append((self.said, self.said_messages))
        self.ask_at = self.said + self._every
        return self.said

    def can_have_read(self, said: int) -> bool:
        """Whether the member was asked about so much."""
        return bool(self._asked) and said <= self._asked[-1][0]

    def note_read(self, said: int) -> None:
        """The member has read so much."""
        while self._asked and self._asked[0][0] <= said:
            self._read, self._read_messages = self._asked.popleft()

    @property
    def bytes(self) -> int:
        """The number of bytes that the member has before it."""
        return self.said - self._read

    @property
    def messages(self) -> int:
        """How many messages it has before it."""
        return self.said_messages - self._read_messages
