"""Streams of random numbers that a seed decides, one for each fiber.

A stream belongs to a place in the tree of a program. The path to that place begins with the seed.
Each generation adds two numbers: how often the parent had started fibers before, and the place of
the fiber among those that the parent started then. Ids, clocks and processes have no part in the
path. So a program that takes the same steps draws the same numbers, wherever its fibers run and in
any order.

A place becomes a key by a hash (BLAKE2b), so streams have nothing to do with one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from distio.core.fiber import Fiber

__all__ = ["SEED_BITS", "Group", "Stream"]

SEED_BITS: Final = 128
_KEY_BYTES: Final = 16
_NUMBER_BYTES: Final = 8


@final
class Group:
    """Fibers that start at one time, or in an order that is left to chance."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def stream_of(self, *place: int) -> Stream:
        """The stream of the fiber, or of the part of a program, at this place of the group."""
        return Stream(_derived(self._key, b"distio stream", *place))

    def __reduce__(self) -> tuple[Any, ...]:
        return Group, (self._key,)


@final
class Stream:
    """Gives each seed and each group once; it belongs to one fiber, which changes it."""

    __slots__ = ("_groups", "_key", "_seeds")

    def __init__(self, key: bytes, groups: int = 0, seeds: int = 0) -> None:
        self._key = key
        self._groups = groups
        """How many groups the stream has given."""
        self._seeds = seeds
        """How many seeds the stream has given."""

    @classmethod
    def of_seed(cls, seed: int) -> Stream:
        """The first stream of a program with this seed, which may be any integer."""
        data = seed.to_bytes(seed.bit_length() // 8 + 1, "big", signed=True)
        return cls(blake2b(data, person=b"distio seed", digest_size=_KEY_BYTES).digest())

    def next_seed(self) -> int:
        """A number of SEED_BITS bits, each time another one."""
        self._seeds += 1
        return int.from_bytes(_derived(self._key, b"distio number", self._seeds), "big")

    def next_group(self) -> Group:
        """The group of what the fiber starts next."""
        self._groups += 1
        return Group(_derived(self._key, b"distio group", self._groups))

    def divide_among(self, children: Sequence[Fiber]) -> None:
        """Give a stream to each of these fibers, which start at one time."""
        group = self.next_group()
        for index, child in enumerate(children):
            child.stream = group.stream_of(index)

    def __reduce__(self) -> tuple[Any, ...]:
        return Stream, (self._key, self._groups, self._seeds)


def _derived(key: bytes, purpose: bytes, *numbers: int) -> bytes:
    data = b"".join([number.to_bytes(_NUMBER_BYTES, "big") for number in numbers])
    return blake2b(data, key=key, person=purpose, digest_size=_KEY_BYTES).digest()
