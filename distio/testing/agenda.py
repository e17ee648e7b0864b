"""The agenda of a simulated cluster: what is to happen to its processes, and when.

Faults stand on it and their ends, and so do workers that return and handshakes to give up.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final, final

__all__ = ["AGENDA", "Action", "Agenda"]

Action = tuple[int, Callable[[Any], None], Any]
"""Something that can happen: (whose doing it is, what to call, with what)."""

AGENDA: Final = -1_000_000
"""The actor of all actions on the agenda."""


@final
class Agenda:
    """Actions in the order of their moments; those of one moment in the order they came in.

    Args:
        is_obsolete: whether an action has nothing to do any more; such a one isn't waited for.
    """

    def __init__(self, is_obsolete: Callable[[Action], bool]) -> None:
        self._is_obsolete = is_obsolete
        self._entries: list[tuple[float, int, Action]] = []
        self._size = 0
        """How many entries it has ever had."""

    def put(self, moment: float, act: Callable[[Any], None], subject: Any) -> None:
        """Add that `act` is to be called with `subject` at `moment`."""
        self._size += 1
        heappush(self._entries, (moment, self._size, (AGENDA, act, subject)))

    def due(self, now: float) -> Action | None:
        """The first action, if its moment has come."""
        entries = self._entries
        return entries[0][2] if entries and entries[0][0] <= now else None

    def drop_first(self) -> None:
        """Take out the first action, which is about to happen."""
        heappop(self._entries)

    def next_moment(self) -> float:
        """The moment of the first action that isn't obsolete; those before it are dropped.

        Without such an action it is inf.
        """
        entries = self._entries
        while entries:
            moment, _, action = entries[0]
            if not self._is_obsolete(action):
                return moment
            heappop(entries)
        return inf
