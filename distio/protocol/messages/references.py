"""Counts of references to queues, variables and fibers."""

from distio.protocol.base import FiberId, MemberMessage
from distio.protocol.domains import Positive

__all__ = ["GiveBack"]


class GiveBack(MemberMessage, frozen=True, gc=False):
    """No fiber here can reach these keys any more, as far as this member has heard of them."""

    counts: list[tuple[FiberId, Positive]]
    """By key: how many times this member was counted for it, for having made it or got a payload
    that refers to it."""
