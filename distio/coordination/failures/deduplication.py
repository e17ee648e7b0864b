"""Deduplication of reports: a failure that repeats at a place is logged once, then counted.

Rules
-----
- The first failure at a place is logged at once. Those that follow are counted, not logged.
- A failure that comes `QUIET_SECONDS` or more after the last one that was logged at its place is
  logged again, with the count. The rest of the count is logged when the run ends.
- So no clock has to wake anybody. A run remembers `MOST_PLACES` places; all others are one place.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, NamedTuple, final

__all__ = ["MOST_PLACES", "QUIET_SECONDS", "Omitted", "Deduplicator"]

QUIET_SECONDS: Final = 10.0
MOST_PLACES: Final = 1_000
_ELSEWHERE: Final = "elsewhere"


class Omitted(NamedTuple):
    """How many failures at one place were not logged."""

    number: int
    since: float
    """The time of the last failure like these that was logged, in seconds on the caller's clock."""
    like: str
    """The last one that was logged, in short."""


@final
class _Place:
    __slots__ = ("count", "like", "logged_at")

    def __init__(self, logged_at: float, like: str) -> None:
        self.logged_at = logged_at
        self.like = like
        self.count = 0


@final
class Deduplicator:
    """The places of each run at which failures were logged, and the counts since."""

    def __init__(self, most_places: int = MOST_PLACES) -> None:
        self._most_places = most_places
        self._runs: dict[int, dict[Hashable, _Place]] = {}

    def __contains__(self, run: int) -> bool:
        return run in self._runs

    def note(self, now: float, run: int, place: Hashable, like: str) -> Omitted | None:
        """Count a failure at this place, unless it is to be logged.

        Args:
            now: seconds on a clock that never goes back.
            run: the run of the fiber.
            place: a key that equal failures share.
            like: the failure in short, for the count of others like it.

        Returns:
            How many were omitted since the last one that was logged; None: don't log this one.
        """
        places = self._runs.setdefault(run, {})
        if place not in places and len(places) >= self._most_places:
            place = _ELSEWHERE
        known = places.get(place)
        if known is not None and now - known.logged_at < QUIET_SECONDS:
            known.count += 1
            return None
        places[place] = _Place(now, like)
        return Omitted(0, now, like) if known is None else _omitted_at(known)

    def run_ended(self, run: int) -> list[Omitted]:
        """Forget this run; return the counts that are still to be logged."""
        places = self._runs.pop(run, {}).values()
        return [_omitted_at(place) for place in places if place.count]


def _omitted_at(place: _Place) -> Omitted:
    return Omitted(place.count, place.logged_at, place.like)
