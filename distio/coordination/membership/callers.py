"""Processes that have begun to shake hands: the two halves of each, by their token."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

from distio.coordination.membership.identity import ANYBODY, Identity
from distio.protocol import messages as m

__all__ = ["Caller", "Callers", "TokenInUse"]

_MOST_CALLERS: Final = 4_096
_LONGEST_SECONDS: Final = 60.0
"""How long the second half may take to come: both connections are made at the same time."""


class TokenInUse(Exception):
    """Another connection, or the process with another key, has said this of the handshake."""


@final
class Caller:
    """A process that has begun to shake hands."""

    def __init__(self, now: float, identity: Identity) -> None:
        self.identity: Final = identity
        """The identity of both halves."""
        self.overdue_at = now + _LONGEST_SECONDS
        """The time at which the other half comes too late."""
        self.begins: m.Hello | m.Resume | None = None
        self.speaks_from = b""
        self.listens_at = b""

    @property
    def addresses(self) -> list[bytes]:
        """The addresses that the peer has called from."""
        return [address for address in (self.speaks_from, self.listens_at) if address]


@final
class Callers:
    """The handshakes that aren't complete."""

    def __init__(self) -> None:
        self._by_token: OrderedDict[bytes, Caller] = OrderedDict()
        """The oldest first."""
        self._token_of: dict[bytes, bytes] = {}
        """By address: of which handshake it is a half."""

    def __contains__(self, address: bytes) -> bool:
        return address in self._token_of

    def __len__(self) -> int:
        return len(self._by_token)

    @property
    def addresses(self) -> list[bytes]:
        """The addresses of all halves."""
        return [*self._token_of]

    def take(
        self,
        now: float,
        address: bytes,
        message: m.Hello | m.Listen | m.Resume,
        identity: Identity = ANYBODY,
    ) -> Caller:
        """One half of a handshake came from this address, of a peer with this identity.

        Raises:
            TokenInUse: the half was there, or the other half is that of another identity.
        """
        caller = self._by_token.get(message.token)
        if caller is None:
            caller = self._by_token[message.token] = Caller(now, identity)
        else:
            half = caller.listens_at if isinstance(message, m.Listen) else caller.speaks_from
            if half or caller.identity != identity:
                raise TokenInUse
        self._token_of[address] = message.token
        if isinstance(message, m.Listen):
            caller.listens_at = address
        else:
            caller.speaks_from, caller.begins = address, message
        return caller

    @property
    def one_too_many(self) -> bytes:
        """An address of the oldest handshake, if it has to make room; else empty."""
        if len(self._by_token) <= _MOST_CALLERS:
            return b""
        return next(iter(self._by_token.values())).addresses[0]

    def overdue(self, now: float) -> bytes:
        """An address of the oldest handshake, if that has taken too long; else empty."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return b""
        return next(iter(self._by_token.values())).addresses[0]

    def next_deadline(self) -> float | None:
        """When the oldest handshake has taken too long; None: there is none."""
        for caller in self._by_token.values():
            return caller.overdue_at
        return None

    def forget(self, address: bytes) -> None:
        """Forget this handshake, which is complete, or comes to nothing."""
        token = self._token_of.get(address)
        if token is not None:
            for each in self._by_token.pop(token).addresses:
                self._token_of.pop(each, None)
