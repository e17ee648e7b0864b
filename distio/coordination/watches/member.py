"""A member's part in watching runs: it asks, and remembers what it was told last."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.protocol import messages as m

__all__ = ["Watches"]


@final
class Watches(MemberFeature):
    """The runs that threads of this process watch; see `begin` and `end`."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._watched: dict[int, int] = {}
        """By run, how many watch it."""
        self._told: dict[int, m.RunWatched] = {}

    def begin(self, run: int) -> None:
        """Watch a run that goes on."""
        self._watched[run] = self._watched.get(run, 0) + 1
        if self._watched[run] == 1:
            self._state.send(m.WatchRun(run))

    def end(self, run: int, *, is_over: bool) -> None:
        """Watch the run no longer, which may be over."""
        self._watched[run] -= 1
        if self._watched[run]:
            return
        del self._watched[run]
        self._told.pop(run, None)
        if not is_over:
            self._state.send(m.WatchRun(run, goes_on=False))

    def told(self, run: int) -> m.RunWatched | None:
        """The last report on a run that is watched; None: none has come yet."""
        return self._told.get(run)

    @handles
    def watched(self, message: m.RunWatched) -> None:
        """How many fibers a run has."""
        if message.run in self._watched:
            self._told[message.run] = message
        else:
            self._state.stale += 1

    def leftovers(self) -> Mapping[str, Sized]:
        return {"watched runs": self._watched}
