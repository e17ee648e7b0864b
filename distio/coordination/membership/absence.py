"""A member without connections: when it makes others, and when it gives up.

A member is absent from the moment in which it sees a connection break until the coordinator knows
it again. It tries to come back, and each attempt has some seconds in which something has to come.
After the longest time that it may be absent the coordinator may hold it for lost, so it gives up.
"""

from __future__ import annotations

from math import inf
from typing import Final, final

__all__ = ["Absence"]

_NEWS_SECONDS: Final = 1.0
"""A person is told of an absence that has lasted so long."""
_AGAIN_SECONDS: Final = 0.1
"""The pause after an attempt that broke as well."""
_ANSWER_SECONDS: Final = 2.0
"""An attempt on which nothing comes for so long is followed by another one."""


@final
class Absence:
    """Whether a member is absent, and what is due then; its shell makes the connections.

    Args:
        longest: for how many seconds it may be absent; 0: it never may.
    """

    def __init__(self, longest: float) -> None:
        self.longest: Final = longest
        self._since: float | None = None
        self._redial_at = 0.0
        self._ends_by = inf
        """The time at which the member gives up in any case."""
        self._is_told = False

    @property
    def is_now(self) -> bool:
        """Whether the member is absent."""
        return self._since is not None

    def broke(self, now: float) -> None:
        """A connection broke, perhaps one that was made to come back."""
        if self._since is None:
            self._since = self._redial_at = now
        else:
            self._redial_at = now + _AGAIN_SECONDS

    def redialed(self, now: float) -> None:
        """Other connections are being made, and the coordinator is asked on them."""
        self._redial_at = now + _ANSWER_SECONDS

    def resumed(self) -> bool:
        """The coordinator knows the member again; return whether a person was told of it."""
        was_told, self._is_told = self._is_told, False
        self._since = None
        return was_told

    def is_news(self, now: float) -> bool:
        """Whether a person is to be told of this absence now; True once."""
        if self._since is None or self._is_told or now - self._since < _NEWS_SECONDS:
            return False
        self._is_told = True
        return True

    def end_by(self, moment: float) -> None:
        """The member is to end: it doesn't wait for longer than until then."""
        self._ends_by = moment

    def note_life(self, now: float, silent: float) -> None:
        """Something came on these connections so many seconds ago: the answer may be long."""
        if self._since is not None and silent < _ANSWER_SECONDS:
            self._since = max(self._since, now - silent)
            self._redial_at = max(self._redial_at, now - silent + _ANSWER_SECONDS)

    @property
    def redial_at(self) -> float | None:
        """When to make other connections; None: it isn't absent."""
        return None if self._since is None else self._redial_at

    @property
    def dues(self) -> tuple[float, float] | None:
        """When to make other connections, and when the member gives up; None: it isn't absent."""
        return None if self._since is None else (self._redial_at, self._ends_at(self._since))

    def is_too_long(self, now: float) -> bool:
        """Whether the coordinator may hold the member for lost."""
        return self._since is not None and self._ends_at(self._since) <= now

    def _ends_at(self, since: float) -> float:
        return min(since + self.longest, self._ends_by)
