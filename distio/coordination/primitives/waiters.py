"""The fibers that wait at primitives of the coordinator, and how many of them wait where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

__all__ = ["Waiter", "Waiters"]


class Waiter(NamedTuple):
    """A fiber that waits for a reply."""

    member: int
    run: int
    key: int
    references: Sequence[int] = ()
    """The references in the item that the fiber puts."""


@final
class Waiters(Mapping[int, Waiter]):
    """The waiting fibers, by id."""

    def __init__(self) -> None:
        self._of: dict[int, Waiter] = {}
        self._counts: dict[int, dict[int, int]] = {}
        """By member and run: how many wait."""
        self._at: dict[int, dict[int, None]] = {}
        """By member: which ones."""

    def enter(self, fiber: int, waiter: Waiter) -> None:
        """A fiber waits."""
        self._of[fiber] = waiter
        self._at.setdefault(waiter.member, {})[fiber] = None
        runs = self._counts.setdefault(waiter.member, {})
        runs[waiter.run] = runs.get(waiter.run, 0) + 1

    def leave(self, fiber: int) -> Waiter:
        """A fiber waits no longer."""
        waiter = self._of.pop(fiber)
        runs = self._counts[waiter.member]
        runs[waiter.run] -= 1
        if not runs[waiter.run]:
            del runs[waiter.run]
        del self._at[waiter.member][fiber]
        if not runs:
            del self._counts[waiter.member], self._at[waiter.member]
        return waiter

    def move(self, fiber: int, member: int) -> None:
        """A fiber that waits is at another member."""
        self.enter(fiber, self.leave(fiber)._replace(member=member))

    def at(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait."""
        return self._counts.get(member, {})

    def of(self, member: int) -> list[int]:
        """The fibers at this member that wait."""
        return [*self._at.get(member, ())]

    @property
    def has_counts(self) -> bool:
        """Whether any are counted."""
        return bool(self._counts)

    def __getitem__(self, fiber: int) -> Waiter:
        return self._of[fiber]

    def __contains__(self, fiber: object) -> bool:
        return fiber in self._of

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
