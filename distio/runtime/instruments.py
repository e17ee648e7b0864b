"""The instruments of a coordinator: what its loop shows of itself to people.

Rules
-----
- A request for metrics or SIGUSR1 leaves word and wakes the loop. The loop answers between two
  turns, so nobody else looks at the machine.
- Lines are printed by another thread: nobody may read them.
- Modules that serve HTTP, or know of fibers, take long to import. So they are imported when
  they are needed: most coordinators start, and end, without them.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from distio.coordination.overview.text import lines_of_overview
from distio.runtime.decider import Decider

if TYPE_CHECKING:
    from distio.runtime.metrics import Metrics

__all__ = ["Instruments"]

log: Final = logging.getLogger("distio.coordinator")


@final
class Instruments:
    """The instruments that the loop of a coordinator's process updates.

    Args:
        decider: what decides in it.
        url: where it listens.
        wake: has the loop call `look`; may be called by any thread, and from a signal handler.
    """

    def __init__(self, decider: Decider, url: str, wake: Callable[[], None]) -> None:
        self._decider = decider
        self._url = url
        self._wake = wake
        self.metrics: Metrics | None = None
        """Serves the numbers; None: nobody does."""
        self._is_to_tell = False
        """Whether the loop was asked to say what goes on."""
        self._heard = 0
        """How many messages have come."""
        self._longest_turn = 0.0
        """The longest turn in seconds, since its numbers were asked for."""
        self._dropped_logs = 0
        """How many batches of log records are known to have come too late."""

    # -- whoever asks ---------------------------------------------------------------------

    def serve_metrics(self, address: str) -> None:
        """Serve the numbers of the loop there; see `metrics`.

        Raises:
            ClusterError: that can't be.
        """
        from distio.runtime.metrics import Metrics

        self.metrics = Metrics(address, self._wake)
        log.info("metrics are at %s/metrics", self.metrics.url)

    def tell_at(self, number: signal.Signals) -> None:
        """Print what goes on at this signal, unless something handles it.

        Only for the main thread, when the loop is woken by signals.
        """
        if signal.getsignal(number) is not signal.SIG_DFL:
            from distio.runtime.telling import on_sigusr1

            if signal.getsignal(number) is not on_sigusr1:
                return
        signal.signal(number, lambda *_: self._have_it_told())

    def _have_it_told(self) -> None:
        self._is_to_tell = True
        self._wake()

    def close(self) -> None:
        """Serve no longer."""
        if self.metrics is not None:
            self.metrics.close()

    # -- the loop -------------------------------------------------------------------------

    def look(self) -> None:
        """Answer whoever asks; the loop was woken, perhaps for that."""
        if self._is_to_tell:
            self._is_to_tell = False
            self._tell()
        metrics, board = self.metrics, self._decider.board
        if metrics is not None and metrics.see_to(board, self._heard, self._longest_turn):
            self._longest_turn = 0.0

    def _tell(self) -> None:
        from distio.runtime.blocking import in_background  # which knows programs
        from distio.runtime.telling import say

        overview = self._decider.board.machine.features.overview.overview(self._decider.now())
        lines = [f"distio: process {os.getpid()}, coordinator at {self._url}"]
        # by another thread: nobody may read what is printed
        in_background(partial(say, [*lines, *lines_of_overview(overview)]))

    def note_heard(self, count: int) -> None:
        """Count so many messages that have come."""
        self._heard += count

    def note_turn(self, seconds: float) -> None:
        """A turn of the loop is over, which took so long."""
        self._longest_turn = max(self._longest_turn, seconds)

    def note_dropped_logs(self) -> None:
        """Log how many batches of records have come too late, if some have."""
        dropped = self._decider.board.machine.features.logs.dropped
        if dropped > self._dropped_logs:
            count, self._dropped_logs = dropped - self._dropped_logs, dropped
            log.debug("dropped %d batches of log records of runs that are over", count)
