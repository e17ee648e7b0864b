"""A fiber of which the coordinator knows, and those that it has started since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from distio.core.fiber import Fiber

__all__ = ["Tree"]


@final
class Tree:
    """A saved fiber and those below it: if the member is lost, `head` goes on, and starts the
    `rest` again."""

    __slots__ = ("has_called", "head", "held", "is_doomed", "is_unsaved", "rest")

    def __init__(
        self, head: Fiber, held: frozenset[int | str], *, is_unsaved: bool = False
    ) -> None:
        self.head = head
        self.held = held
        """The locks that the snapshot holds."""
        self.rest: dict[int, Fiber] = {}
        """By id: the living fibers that were started since, by it or by others of them."""
        self.is_unsaved = is_unsaved
        """Whether the coordinator was told that there is no snapshot to go on from."""
        self.has_called = False
        """Whether its fibers have called objects of actors that are kept here."""
        self.is_doomed = False
        """Whether its fibers end with the member, which leaves."""

    def add(self, children: Iterable[Fiber]) -> None:
        """Fibers were started below one of the tree."""
        for child in children:
            child.tree = self
            self.rest[child.id] = child

    def fibers(self) -> list[Fiber]:
        """The fibers of the tree that haven't ended."""
        return [each for each in (self.head, *self.rest.values()) if each.tree is self]
