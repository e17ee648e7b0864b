"""A member's wire: what carries its frames to the coordinator, and those of the coordinator to it.

A wire is made for one address and breaks once. It never makes another connection by itself: what
was on its way is lost with it, and `Lines` make another wire.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Frames", "Wire"]

Frames = list[Any]
"""The frames of one message, each of them bytes or a view of some."""


class Wire(Protocol):
    """Speaks and listens to the coordinator at one address.

    One thread listens at a time. The host's mutex guards what is said; the rest is for the link
    thread.
    """

    @property
    def listener(self) -> Any | None:
        """The source that can be read when something has come; None: nothing comes any more."""

    @property
    def watched(self) -> Sequence[Any]:
        """The sources that can be read when the wire may have broken, besides the listener."""

    @property
    def answering(self) -> Sequence[Any]:
        """The sources that can be read when the coordinator has answered a handshake in any way."""

    @property
    def stranger(self) -> int | None:
        """The user, neither this one nor root, whose process is at the other end; None: it isn't
        one of another user, as far as the system tells."""

    @property
    def blocked(self) -> int | None:
        """The descriptor that takes no more for now, though something is left to be sent; None: all
        was sent."""

    @property
    def connections(self) -> Sequence[int]:
        """The descriptors of the connections that are there."""

    def send(self, frames: Frames) -> None:
        """Say this at once, or as soon as there is room; never waits."""

    def send_as_listener(self, frames: Frames) -> None:
        """The same, for the greeting that says who listens."""

    def flush(self, mutex: AbstractContextManager[object]) -> None:
        """Send what is left, as far as there is room; may wait a moment for more.

        Args:
            mutex: the host's, which isn't held.
        """

    def receive(self, *, may_wait: bool) -> Frames | None:
        """The next message that has come; None: none has.

        Args:
            may_wait: whether it may take a moment to receive more of a large message.
        """

    def receive_answer(self) -> Frames | None:
        """The same, while this process isn't a member: it may come to the speaker, too."""

    def has_broken(self, events: Set[Any]) -> bool:
        """Whether the wire broke since this was asked last, as these events may tell."""

    def trust_listener(self) -> None:
        """The coordinator tells on the listening side when the speaking one has broken."""

    def close(self, linger: int) -> None:
        """Hang up; may be called again.

        Args:
            linger: how many milliseconds the last words may take on their way.
        """
