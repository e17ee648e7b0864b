"""A member's record of one lock."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from distio.core.fiber import Fiber
from distio.protocol.pieces import Bytes

__all__ = ["LocalLock"]

Key = int | str


@final
class LocalLock:
    """One lock, as far as it is known to this member."""

    __slots__ = (
        "asked",
        "free",
        "holders",
        "is_changed",
        "is_delegated",
        "key",
        "per_seconds",
        "runs",
        "tokens",
        "turns",
        "value",
    )

    def __init__(self, key: Key, tokens: int, per_seconds: float) -> None:
        self.key = key
        self.tokens = tokens
        """The tokens as in `requests.Lock`: 0 if the lock is reentrant."""
        self.per_seconds = per_seconds
        self.free = 0
        """How many tokens are here and in nobody's hands."""
        self.holders: dict[int, Fiber] = {}
        self.turns: OrderedDict[int, Fiber] = OrderedDict()
        """Fibers that wait, parked, and are to be served with the tokens here, in this order."""
        self.asked: OrderedDict[int, Fiber] = OrderedDict()
        """Fibers that wait for turns, for which the coordinator was asked, in this order."""
        self.is_delegated = False
        """Whether there is no need to ask it: all of them are."""
        self.value: Bytes = b""
        """The value of a variable; empty while there is no token here."""
        self.is_changed = False
        """Whether the coordinator doesn't know the value yet."""
        self.runs: set[int] = set()
        """The runs whose fibers have used it here."""

    @property
    def is_idle(self) -> bool:
        """Whether no fiber here has anything to do with it."""
        return not (self.holders or self.turns or self.asked)

    def count(self, fiber: Fiber) -> int:
        """How many tokens a fiber holds that holds some."""
        assert fiber.holds is not None
        return fiber.holds[self.key].count if self.tokens else 1
