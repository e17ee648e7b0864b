"""Connections that broke, and what was said on them before and may still have to be taken up.

Rules
-----
- The monitor of a socket may tell that a connection broke before its last messages are taken up. So
  the end of a connection is reported when no message is left at all.
- A flood of others' messages may never let that come about. ZeroMQ takes up the messages of all
  connections in turn. So a connection has nothing left to say when some other one has had many
  turns meanwhile, and this one had none.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["Farewells"]

_MANY_TURNS: Final = 200
"""More than the messages after which ZeroMQ looks whether further connections have some."""


@final
class Farewells:
    """The connections that broke, and whose end isn't reported yet."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        """By address of a connection that broke: the number of its last message."""
        self._count = 0
        """How many messages were taken up since the first of these was known to be broken."""
        self._speakers: set[bytes] = set()
        """The addresses from which these came."""

    def __bool__(self) -> bool:
        return bool(self._last)

    def broke(self, address: bytes) -> None:
        """Note that this connection broke."""
        self._last.setdefault(address, self._count)

    def heard(self, address: bytes) -> None:
        """A message came from this address."""
        self._count += 1
        self._speakers.add(address)
        if address in self._last:
            self._last[address] = self._count

    def take_all(self) -> list[bytes]:
        """Take out all: no message is left."""
        gone = [*self._last]
        self._last.clear()
        self._speakers.clear()
        self._count = 0
        return gone

    def take_silent(self) -> list[bytes]:
        """Take out those that have nothing left to say, though others have."""
        # after so many messages, one of those that speak has had more than enough turns
        enough = _MANY_TURNS * max(1, len(self._speakers))
        silent = [gone for gone, last in self._last.items() if self._count - last >= enough]
        if len(silent) == len(self._last):
            return self.take_all()
        for gone in silent:
            del self._last[gone]
        return silent
