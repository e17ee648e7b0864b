"""The claim that all references in one process to one key share."""

from __future__ import annotations

from collections import deque

__all__ = ["Claim"]


class Claim:
    """Keeps a key alive: the last reference to it takes the claim along.

    A claim may die anywhere, also in the garbage collector: it only appends to a deque.
    """

    __slots__ = ("__weakref__", "_given_back", "count", "is_pinned", "key")

    def __init__(self, key: int, given_back: deque[tuple[int, int]]) -> None:
        self.key = key
        self.count = 1
        """How often the coordinator has counted this member for the key."""
        self.is_pinned = False
        self._given_back = given_back

    def put_off(self, given_back_later: deque[tuple[int, int]]) -> None:
        """Little is kept for this key, so it is given back together with others."""
        self._given_back = given_back_later

    def pin(self) -> None:
        """Note a reference that leaves untracked: the key lives as long as its run."""
        self.is_pinned = True

    def __del__(self) -> None:
        if not self.is_pinned:
            self._given_back.append((self.key, self.count))
