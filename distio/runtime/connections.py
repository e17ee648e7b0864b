"""The connections of a coordinator: who is at the other end of each, and what they say.

An *address* is that of one side of a member: where it speaks from, or where it listens.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NamedTuple, Protocol

from distio.coordination.membership.identity import Identity
from distio.runtime.binding import Binding
from distio.runtime.wire import Frames

__all__ = ["Arrival", "Connections"]


class Arrival(NamedTuple):
    """A message that has come."""

    address: bytes
    """Where it came from."""
    frames: Frames
    envelope: Any
    """The sender, as the connections know it."""


class Connections(Protocol):
    """Where a coordinator listens; only for the thread that makes it."""

    @property
    def binding(self) -> Binding:
        """The address, which outlives the connections."""

    @property
    def sources(self) -> tuple[Any, ...]:
        """The descriptors and sockets to poll."""

    @property
    def ends(self) -> Any:
        """That among them which tells of connections that broke."""

    def look(self, events: Set[Any]) -> None:
        """Take up what the sources tell, before anything is received."""

    def close(self) -> None:
        """Close all, when what was sent is out, or after a moment; may be called again. The binding
        stays."""

    # -- messages -------------------------------------------------------------------------

    def receive(self) -> Arrival | None:
        """The next message; None if there is none now."""

    @property
    def is_behind(self) -> bool:
        """Whether there may be something to take up of which no source tells."""

    def send(self, address: bytes, frames: Frames) -> None:
        """Send this message at once, or as soon as its peer takes it; never waits.

        If the peer can't be reached, the connection has broken.
        """

    def identity_of(self, arrival: Arrival) -> Identity | None:
        """The sender of this; None: it may not say anything any more."""

    # -- who is there ---------------------------------------------------------------------

    def note(self, arrival: Arrival) -> bool:
        """Keep who has sent this until the peer hangs up; False if that can't be seen."""

    def admit(self, arrival: Arrival) -> int:
        """The sender of this is a member now; return the descriptor of its connection."""

    def note_breaks(self) -> None:
        """Take up which connections broke."""

    def take_broken(self, *, is_silent: bool) -> list[bytes]:
        """Take out the addresses of those that broke and have nothing left to say.

        Args:
            is_silent: whether no message is left at all.
        """

    # -- who may stay ---------------------------------------------------------------------

    def find_unwelcome(self, events: Set[Any]) -> list[tuple[bytes, str]]:
        """Find the peers that may not stay.

        Returns:
            The address of each of them, and why it may not.
        """

    def turn_out(self, arrival: Arrival) -> str:
        """The sender of this may not stay; say why, or nothing if it can't be seen to hang up."""

    def cut(self) -> None:
        """End the connections of peers that may not stay."""

    # -- who is alive ---------------------------------------------------------------------

    @property
    def look_at(self) -> float | None:
        """When to look for silent peers, on the system's clock; None: there is none."""

    def silent_members(self, member_at: Callable[[bytes], int | None]) -> dict[int, str]:
        """Find the members that have been silent for too long, if it is time to look.

        Args:
            member_at: the member that has this address.

        Returns:
            By member, what is to be said of it.
        """
