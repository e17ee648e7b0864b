"""The inputs of the coordinator: all that its shell tells it, as data.

Rules
-----
- The coordinator is a function of its inputs: whoever takes up the same inputs, in order and with
  their times, comes to the same state and says the same, under the same numbers. So a journal holds
  inputs, and no feature has to know that there is one.
- The inputs between two sendings are a *turn*. A turn is in the journal, whole, before any message
  that follows from it is sent. So nobody knows more of the coordinator than its journal does.
- Messages that were on their way when a coordinator ended are void: connections are gone. Sessions
  say again what the other side has not heard; see `membership.session`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from distio.coordination.membership.identity import ANYBODY, Identity
from distio.coordination.settings import Settings
from distio.protocol.codec import Take, from_member

if TYPE_CHECKING:
    from distio.coordination.membership.handshakes import Handshakes

__all__ = [
    "Closed",
    "CutOff",
    "Emptied",
    "Ended",
    "Frame",
    "GaveUp",
    "Heard",
    "HungUp",
    "Input",
    "Refused",
    "Restarted",
    "Ticked",
    "Turn",
    "decode",
    "encode",
    "take_up_again",
]


class _Input(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    now: float
    """The time on the coordinator's clock."""


Frame: TypeAlias = bytes | list[bytes | int]
"""A frame, or parts of it, among them the numbers of blobs in place of their bytes."""


class Heard(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """A batch of messages came from this address."""

    address: bytes
    frames: Sequence[Frame]
    identity: Identity = ANYBODY
    """The identity of the key that the connection has."""

    def take_up(self, board: Handshakes, take: Take | None = None) -> None:
        """Tell the coordinator.

        Args:
            board: the coordinator.
            take: finds the parts to which the frames refer.
        """
        batch = from_member.read(self.frames, take)
        board.hear(self.now, self.address, batch.messages, batch.first, batch.heard, self.identity)


class Refused(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """A batch from this address is not to be taken up."""

    address: bytes
    reason: str
    is_seen: bool

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.refuse(self.address, self.reason, self.now, is_seen=self.is_seen)


class HungUp(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """The connection of this address broke."""

    address: bytes

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.disconnect(self.now, self.address)


class CutOff(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """A message to this address can't be carried."""

    address: bytes
    reason: str

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.cut_off(self.now, self.address, self.reason)


class GaveUp(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """The shell holds this member for lost."""

    member: int
    reason: str

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.give_up(self.now, self.member, self.reason)


class Ended(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """The process of this member has ended."""

    member: int

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.process_ended(self.now, self.member)


class Ticked(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """Something is due."""

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.tick(self.now)


class Closed(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """The cluster is to end."""

    reason: str
    grace: float | None

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.close(self.now, self.reason, self.grace)


class Emptied(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """The program of the cluster has ended, and all members are to leave."""

    reason: str
    grace: float

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.empty(self.now, self.reason, self.grace)


class Restarted(_Input, frozen=True, array_like=True, tag=True, gc=False):
    """A process begins to be the coordinator, with these settings; no connection is there."""

    settings: Settings

    def take_up(self, board: Handshakes) -> None:
        """Tell the coordinator."""
        board.machine.configure(self.settings)
        board.restart(self.now, self.settings)


Input = Heard | Refused | HungUp | CutOff | GaveUp | Ended | Ticked | Closed | Emptied | Restarted


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """The inputs between two sendings, in order."""

    wall_clock: float
    """The wall clock of the host then, in seconds since 1970."""
    inputs: Sequence[Input]
    said: int
    """How many messages the coordinator had said to members by its end. A coordinator that takes
    the turn up again must have said as many, or isn't the same."""


_encoder: Final = msgspec.msgpack.Encoder()


def encode(turn: Turn) -> bytes:
    """A turn as bytes."""
    return _encoder.encode(turn)


def decode(data: bytes) -> Turn:
    """The turn that `encode` was given.

    Raises:
        msgspec.DecodeError: these bytes don't come from `encode`.
    """
    return msgspec.msgpack.decode(data, type=Turn)


def take_up_again(board: Handshakes, inputs: Sequence[Input], take: Take | None = None) -> None:
    """Take up the inputs of a turn from the journal, and say to nobody what follows from them.

    Args:
        board: the coordinator.
        inputs: these.
        take: finds the parts in shared memory to which they refer; see `Blobs.take`.
    """
    for each in inputs:
        if isinstance(each, Heard):
            each.take_up(board, take)
        else:
            each.take_up(board)
    while board.outgoing:
        outgoing, board.outgoing = board.outgoing, {}
        for address in outgoing:
            board.header(address)  # as when it was sent: sessions know what went out
