"""Unknown peers: they are connected, and are no members, not yet or not any more.

Rules
-----
- Nothing follows from a message of an unknown peer: it is counted and dropped. Those of a former
  member are counted apart.
- An unknown peer that is refused is told once, and can't shake hands any more on that connection.
- No more than `_MOST_REFUSED` of those that were told are remembered. While there are as many,
  others are told nothing, so that none of them makes a queue grow here.
- A former member needs new connections to become another member.
- Nothing is kept of a peer whose connection broke.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

__all__ = ["UnknownPeers"]

_MOST_REFUSED: Final = 1_024


@final
class UnknownPeers:
    """The addresses of peers that were refused, and those that members have had."""

    def __init__(self) -> None:
        self.messages = 0
        """How many messages came from unknown peers."""
        self.outdated = 0
        """The number of messages that came from processes which had been members."""
        self._refused: set[bytes] = set()
        """The addresses of peers that were told that they are refused."""
        self._spent: set[bytes] = set()
        """The addresses of former members, or of connections that a member has given up."""

    def count_message(self, address: bytes) -> bool:
        """A message came from this unknown peer; return whether that has been a member."""
        self.messages += 1
        is_outdated = address in self._spent
        self.outdated += is_outdated
        return is_outdated

    def refuse(self, address: bytes) -> bool:
        """Note that this peer is refused, and will be seen to hang up; return whether it is to be
        told."""
        if address in self._refused or len(self._refused) >= _MOST_REFUSED:
            return False
        self._refused.add(address)
        return True

    def spend(self, addresses: Iterable[bytes]) -> None:
        """Addresses are not those of a member any more."""
        self._spent.update(addresses)

    def forget(self, address: bytes) -> None:
        """The connection of this address broke."""
        self._refused.discard(address)
        self._spent.discard(address)

    def is_refused(self, address: bytes) -> bool:
        """Whether the peer was told that it is refused."""
        return address in self._refused

    def is_spent(self, address: bytes) -> bool:
        """Whether a member has had this address."""
        return address in self._spent

    @property
    def addresses(self) -> set[bytes]:
        """The addresses of all peers of which something is kept."""
        return self._refused | self._spent
