"""What is the same over and over is said once, and then counted.

Rules
-----
- The first failure at a place is said at once. Those that follow are counted, not said.
- A failure that comes `QUIET_SECONDS` or more after the last one that was said at its place is said
  again, with the count. What was counted since then is said when the run ends.
- So no clock has to wake anybody. A run remembers `MOST_PLACES` places; all others are one place.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, NamedTuple, final

__all__ = ["MOST_PLACES", "QUIET_SECONDS", "Omitted", "Repeats"]

QUIET_SECONDS: Final = 10.0
MOST_PLACES: Final = 1_000
_ELSEWHERE: Final = "elsewhere"


class Omitted(NamedTuple):
    """So many were not said."""

    number: int
    since: float
    """When one like them was said, in seconds on the caller's clock."""
    like: str
    """What was said of that one, in short."""


@final
class _Place:
    __slots__ = ("count", "like", "said_at")

    def __init__(self, said_at: float, like: str) -> None:
        self.said_at = said_at
        self.like = like
        self.count = 0


@final
class Repeats:
    """What was said in each run, and what was counted since."""

    def __init__(self, most_places: int = MOST_PLACES) -> None:
        self._most_places = most_places
        self._runs: dict[int, dict[Hashable, _Place]] = {}

    def __contains__(self, run: int) -> bool:
        return run in self._runs

    def note(self, now: float, run: int, place: Hashable, like: str) -> Omitted | None:
        """Something has happened at this place.

        Args:
            now: seconds on a clock that never goes back.
            run: in which run.
            place: what is the same for all that are alike.
            like: what is told of it in short, if others like it are counted.

        Returns:
            How many were not said since the last that was; None: this one isn't to be said either.
        """
        places = self._runs.setdefault(run, {})
        if place not in places and len(places) >= self._most_places:
            place = _ELSEWHERE
        known = places.get(place)
        if known is not None and now - known.said_at < QUIET_SECONDS:
            known.count += 1
            return None
        places[place] = _Place(now, like)
        return Omitted(0, now, like) if known is None else _omitted_at(known)

    def run_ended(self, run: int) -> list[Omitted]:
        """Forget this run; return what is still to be said of it."""
        places = self._runs.pop(run, {}).values()
        return [_omitted_at(place) for place in places if place.count]


def _omitted_at(place: _Place) -> Omitted:
    return Omitted(place.count, place.said_at, place.like)
