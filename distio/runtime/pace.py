"""The pace of a member: whether what it has to say goes out at once, or with what follows.

Rules
-----
- Messages go out at once, unless more follow in the same turn, or a frame has gone out less than
  `HOLD_BACK_SECONDS` ago and more is likely to follow: fibers are ready, or the message is
  deferrable and the member is in a burst.
- The ends of fibers, if there is nothing else to say, wait for up to `GATHER_SECONDS` while they
  are few beside the fibers that are still to be stepped: whoever waits for one of them has waited
  longer already, and each frame costs three processes some milliseconds together.
- A burst is a row of frames that followed each other soon. While a thread computes, the link thread
  sends what was held back, some milliseconds late.
- If all that is new is how many fibers wait, it is said after a silence of
  `_LONGEST_SILENCE_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, final

__all__ = ["GATHER_SECONDS", "HELD_BACK_SECONDS", "HOLD_BACK_SECONDS", "Advice", "Pace"]

HOLD_BACK_SECONDS: Final = 0.001
GATHER_SECONDS: Final = 0.02
_FEW: Final = 4
"""Ends are few if there are more than so many times as many fibers to be stepped."""
_BURST: Final = 4
"""The number of frames in a row from which on they are a burst."""
_BURST_ENDS_SECONDS: Final = 0.004
_LONGEST_SILENCE_SECONDS: Final = 0.05
"""How long a member that is never idle may keep to itself how many of its fibers wait."""


class Advice(Enum):
    """The advice for messages that a member has to say."""

    WAIT = "say nothing yet"
    GATHER = "have it said after GATHER_SECONDS, unless it is said before"
    HOLD_BACK = "have it said after HOLD_BACK_SECONDS, unless it is said before"
    SEND = "send it"
    SEND_ALL = "send it, and all else that is known"


HELD_BACK_SECONDS: Final[Mapping[Advice, float]] = {
    Advice.HOLD_BACK: HOLD_BACK_SECONDS,
    Advice.GATHER: GATHER_SECONDS,
}
"""How long messages are held back, by the advice to do so."""


@final
class Pace:
    """Remembers how soon frames have followed each other; its host's mutex guards it."""

    def __init__(self) -> None:
        self._last_sent = 0.0
        self._frames_in_a_row = 0
        """The frames that went out, each soon after the one before."""
        self.due: float | None = None
        """The time at which the link thread says what is held back; None: nothing is."""

    def hold_back(self, due: float) -> bool:
        """Something is held back until then; return whether the link thread has to know."""
        if self.due is not None and self.due <= due:
            return False
        self.due = due
        return True

    def is_due(self, now: float) -> bool:
        """Whether it is time to say what is held back."""
        due = self.due
        return due is not None and now >= due

    def sent(self, now: float) -> None:
        """A frame goes out."""
        is_soon = now - self._last_sent < _BURST_ENDS_SECONDS
        self._frames_in_a_row = self._frames_in_a_row + 1 if is_soon else 1
        self._last_sent = now

    def advise(
        self,
        now: float,
        *,
        has_news: bool,
        more_follows: bool = False,
        is_busy: bool = False,
        is_deferrable: bool = False,
        ends: int = 0,
        load: int = 0,
    ) -> Advice:
        """Say what to do with what the member has to say.

        Args:
            now: the time.
            has_news: whether there is more than that fibers wait.
            more_follows: whether more is said in this turn.
            is_busy: whether fibers are ready.
            is_deferrable: whether the last message is.
            ends: how many fibers have ended, if there is nothing else to say.
            load: how many fibers are still to be stepped.
        """
        silent_for = now - self._last_sent
        is_silent = silent_for > _LONGEST_SILENCE_SECONDS
        if not (has_news or is_silent):
            return Advice.WAIT
        is_in_burst = is_deferrable and self._frames_in_a_row >= _BURST
        if is_busy and load > _FEW * ends > 0 and silent_for < GATHER_SECONDS:
            return Advice.GATHER
        is_time = silent_for > HOLD_BACK_SECONDS
        if more_follows or (not is_time and (is_busy or is_in_burst)):
            return Advice.HOLD_BACK
        return Advice.SEND_ALL if is_silent else Advice.SEND
