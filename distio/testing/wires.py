"""One direction of one simulated connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol, final

__all__ = ["Frames", "Reader", "Wire"]

Frames = Sequence[bytes | memoryview]


class Reader(Protocol):
    """The process at the end of a wire."""

    is_stale: bool
    """Whether its actions have to be found out anew."""


@final
class Wire:
    """Carries frames in the order in which they were sent, each as late as it was told to.

    When it breaks, what its end still gets is decided then; after that comes None.

    Args:
        reader: whoever is at its end.
        repeats: chooses, if given, whether something that was sent before comes once more.
        greets: whether the first frames that are sent are a greeting, which never comes twice.
    """

    __slots__ = (
        "_before", "_greets", "_is_cut", "_latest", "_reader", "_repeats",
        "arrival", "is_broken", "queue",
    )  # fmt: skip

    def __init__(
        self, reader: Reader, repeats: Callable[[int], int] | None = None, *, greets: bool = False
    ) -> None:
        self._reader = reader
        self._repeats = repeats
        self._greets = greets
        self._before: Frames = ()
        self.queue: deque[tuple[float, Frames | None]] = deque()
        """(when it arrives, what)."""
        self.arrival = inf
        """The time at which something arrives next; inf: nothing does, as things are."""
        self._is_cut = False
        self.is_broken = False
        """Whether frames that are sent get lost."""
        self._latest = 0.0

    def send(self, frames: Frames | None, arrival: float) -> None:
        """Put frames onto it, to arrive then or after what was sent before, if that is later."""
        if self.is_broken:
            return
        self._latest = max(self._latest, arrival)
        self.queue.append((self._latest, frames))
        self._changed()
        if self._repeats is None or frames is None:
            return
        if self._greets:
            self._greets = False
            return
        # the one before, which then comes late, or else the same one
        again = [frames, self._before][self._repeats(2)] or frames
        if self._repeats(2):
            self.queue.append((self._latest, again))
        self._before = frames

    def break_(self, arrival: float, lost: int) -> None:
        """The wire breaks: the last `lost` batches never arrive; its end sees it at `arrival`."""
        for _ in range(lost):
            self.queue.pop()
        self.send(None, arrival)
        self.is_broken = True
        self._changed()

    def close(self) -> None:
        """Close the end of the wire: nothing arrives, and nobody sees that."""
        self.queue.clear()
        self.is_broken = True
        self._changed()

    def cut(self, is_cut: bool) -> None:
        """Let nothing come through for now, and nothing get lost; or let everything through
        again."""
        self._is_cut = is_cut
        self._changed()

    def take(self) -> Frames | None:
        """Take the frames that have arrived."""
        frames = self.queue.popleft()[1]
        self._changed()
        return frames

    def _changed(self) -> None:
        self.arrival = self.queue[0][0] if self.queue and not self._is_cut else inf
        self._reader.is_stale = True
