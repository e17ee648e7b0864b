"""Requests that the executor which steps the fiber answers alone."""

from __future__ import annotations

from typing import Final, final

from distio.protocol.requests.base import Request

__all__ = ["NOW", "RANDOM", "SWITCHED", "YIELDED", "Now", "Random", "Switched", "Yielded"]


@final
class Yielded(Request):
    """The fiber gave way, or ran out of fuel; it can go on at any time."""

    __slots__ = ()
    action = "yields"

    def __reduce__(self) -> str:
        return "YIELDED"


@final
class Now(Request):
    """Read the wall clock; answered by what it shows, in seconds."""

    __slots__ = ()
    asks_host = True
    action = "reads the clock"

    def __reduce__(self) -> str:
        return "NOW"


@final
class Random(Request):
    """Draw a random number; answered by one from 0 up to, but not, 1."""

    __slots__ = ()
    asks_host = True

    def __reduce__(self) -> str:
        return "RANDOM"


@final
class Switched(Request):
    """The fiber goes on in another context of variables; answered by stepping it there at once.

    The outcome that the fiber had when it asked is still there.
    """

    __slots__ = ()
    must_be_seen = True
    action = "goes on in another context of variables"

    def __reduce__(self) -> str:
        return "SWITCHED"


NOW: Final = Now()
RANDOM: Final = Random()
SWITCHED: Final = Switched()
YIELDED: Final = Yielded()
