"""A member without connections: when it makes others, and when it gives up.

A member is absent from the moment in which it sees a connection break until the coordinator knows
it again. It tries to come back, and each attempt has some seconds in which something has to come.
After the longest time that it may be absent the coordinator may hold it for lost, so it gives up.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["Absence"]

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

    def resumed(self) -> None:
        """The coordinator knows the member again."""
        self._since = None

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
        return None if self._since is None else (self._redial_at, self._since + self.longest)

    def is_too_long(self, now: float) -> bool:
        """Whether the coordinator may hold the member for lost."""
        return self._since is not None and self._since + self.longest <= now
