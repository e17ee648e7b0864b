"""The places of workers that a provider starts: which of them are to be filled, and when.

Rules
-----
- Each place has one worker at a time, under a new serial number each time. One that ends is started
  again, at once, and less often if it ends again soon (`Backoff`).
- A place is given up when three workers in a row have ended before they joined, or after too many
  restarts within a time (`RestartLimit`). When all are given up, the cluster can't go on.
- A place that is one too many goes with its worker, which is ended if it doesn't leave in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final, final

from distio.runtime.process_supervisor import Backoff, RestartLimit

__all__ = ["MOST_FAILED_STARTS", "Slot", "Slots"]

MOST_FAILED_STARTS: Final = 3
_LEFT_SECONDS: Final = 1.0
"""After how long a worker is started again that was told to end."""


@final
@dataclass(eq=False)
class Slot:
    """The place of one worker after another."""

    limit: RestartLimit
    number: int = 0
    """The number of the place: it stays as long as the place does."""
    name: str = ""
    """How the provider calls its worker; empty: it has none."""
    serial: int = 0
    has_joined: bool = False
    is_leaving: bool = False
    """Whether its worker was told to leave, as one too many."""
    leaves_by: float | None = None
    """The time at which the place's worker is ended, if it hasn't left by then."""
    began_at: float = 0.0
    due: float | None = 0.0
    """The time at which the place's worker is to be started; None: it has one, or is given up."""
    refusals: int = 0
    """How often in a row the provider could start no worker here."""
    failed_starts: int = 0
    """How many workers in a row have ended before they joined."""
    backoff: Backoff = field(default_factory=Backoff)


@final
class Slots:
    """The places of all workers.

    Args:
        wanted: how many.
        new_limit: makes the limit of restarts of each.
    """

    def __init__(self, wanted: int, new_limit: Callable[[], RestartLimit] = RestartLimit) -> None:
        self._new_limit = new_limit
        self._next_serial = 1
        self._slots = [Slot(new_limit(), number) for number in range(wanted)]

    @property
    def names(self) -> list[str]:
        """How the provider calls the workers that there are."""
        return [slot.name for slot in self._slots if slot.name]

    @property
    def left(self) -> int:
        """How many places have a worker, or will have one."""
        return sum(bool(slot.name) or slot.due is not None for slot in self._slots)

    @property
    def due(self) -> float | None:
        """When the next worker is to be started, or to be ended."""
        moments = [moment for slot in self._slots for moment in (slot.due, slot.leaves_by)]
        return min((moment for moment in moments if moment is not None), default=None)

    def to_fill(self, now: float) -> list[Slot]:
        """The places whose workers are to be started now, with their serial numbers."""
        found = [slot for slot in self._slots if slot.due is not None and slot.due <= now]
        for slot in found:
            slot.serial, self._next_serial = self._next_serial, self._next_serial + 1
        return found

    def filled(self, now: float, slots: Iterable[Slot], names: Iterable[str]) -> None:
        """The provider has started workers for these places."""
        for slot, name in zip(slots, names, strict=True):
            slot.name, slot.due, slot.began_at = name, None, now
            slot.has_joined, slot.refusals = False, 0

    def refused(self, now: float, slot: Slot) -> float:
        """The provider can start none there now; return in how many seconds to ask again."""
        slot.refusals += 1
        seconds = slot.backoff.next(lived=0.0) or slot.backoff.next(lived=0.0)
        slot.due = now + seconds
        return seconds

    def joined(self, names: Iterable[str]) -> None:
        """The workers of these names are members."""
        known = set(names)
        for slot in self._slots:
            if slot.name in known:
                slot.has_joined, slot.failed_starts = True, 0

    def overdue(self, now: float) -> list[str]:
        """The workers that have not left in time; told once."""
        late = [s for s in self._slots if s.leaves_by is not None and s.leaves_by <= now]
        for slot in late:
            slot.leaves_by = None
        return [slot.name for slot in late]

    def ended(self, now: float, name: str, *, has_left: bool) -> tuple[Slot, float | None]:
        """A worker has ended.

        Returns:
            Its place, and in how many seconds the next one is started there; None: never.
        """
        slot = next(slot for slot in self._slots if slot.name == name)
        slot.name, lived = "", now - slot.began_at
        if slot.is_leaving:
            self._slots.remove(slot)
            return slot, None
        if not slot.has_joined:
            slot.failed_starts += 1
        if slot.failed_starts >= MOST_FAILED_STARTS or not slot.limit.allows(now):
            return slot, None
        seconds = slot.backoff.next(lived=lived)
        if has_left:
            seconds = max(seconds, _LEFT_SECONDS)
        slot.due = now + seconds
        return slot, seconds

    def add(self, wanted: int) -> None:
        """Have so many places more, under the lowest numbers that are free."""
        taken = {slot.number for slot in self._slots}
        free = (number for number in count() if number not in taken)
        self._slots += [Slot(self._new_limit(), number) for number in islice(free, wanted)]

    def leave(self, now: float, names: Iterable[str], seconds: float) -> list[str]:
        """Have these workers leave for good, and their places with them.

        Args:
            now: the time.
            names: which workers.
            seconds: how long each may take.

        Returns:
            The names of those that are still to be told.
        """
        chosen = set(names)
        told = [slot for slot in self._slots if slot.name in chosen and not slot.is_leaving]
        for slot in told:
            slot.is_leaving, slot.leaves_by = True, now + seconds
        return [slot.name for slot in told]
