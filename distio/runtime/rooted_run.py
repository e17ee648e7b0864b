"""A run whose root is in this process, while a thread waits for it.

Rules
-----
- The run is cancelled by what interrupts the thread, or by the end of the fiber whose function has
  started it. That may come before the run has begun, so it is noted first.
- A thread that is interrupted for good gives the run up: nobody waits for it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from distio.core.ops.base import IO
from distio.errors import KeyRefused
from distio.protocol.domains import Snapshots
from distio.result import Result
from distio.runtime.interrupts import interruptible
from distio.runtime.link import LinkedHost
from distio.runtime.main_thread import serving_on_main, wake_main_thread
from distio.runtime.nesting import nested_within, stopped_with_its_fiber, waiting
from distio.runtime.pending_runs import PendingRun, closed, inherited, panic_of
from distio.runtime.records import tagging

if TYPE_CHECKING:
    from distio._display.meter import Counts
    from distio.runtime.progress import Watched

__all__ = ["RootedRun"]


@final
class RootedRun:
    """A run whose root is in this process, for the thread that waits for it.

    Args:
        host: that of this process.
        snapshots: what is kept of the fibers of the run.
    """

    def __init__(self, host: LinkedHost, snapshots: Snapshots) -> None:
        self._host = host
        self._snapshots = snapshots
        self._pending: PendingRun | None = None
        self._is_cancelled = False
        self._is_watched = False
        self._watched: Watched | None = None

    def counting(self) -> Callable[[], Counts | None]:
        """Watch the run from its beginning.

        Returns:
            A function that any thread may ask how many of its fibers have ended.
        """
        self._is_watched = True
        return lambda: None if self._watched is None else self._watched.counts()

    def run(self, io: IO[Any, Any, Any], context: Any) -> Result[Any, Any]:
        """Run the program; return its Result when the run is over.

        Args:
            io: the program.
            context: the value that `io.read` computes.

        Raises:
            KeyboardInterrupt: the run is given up, and goes on.
        """
        if self._host.is_inherited:
            return closed(inherited(self._host.process))
        stop = self.cancel
        with (
            waiting(),
            interruptible(stop, self._describe),
            stopped_with_its_fiber(stop),
            serving_on_main(wake_main_thread),
            tagging,
        ):
            try:
                self._pending = self._host.runs.begin(io, context, self._snapshots)
            except KeyRefused as error:
                return panic_of(error)
            if self._is_cancelled:
                self.cancel()
            try:
                with nested_within(self._host, self._pending.run), self._watching(self._pending):
                    self._pending.wait()
            except BaseException:
                self._pending.is_abandoned = True
                raise
            return self._pending.result()

    @contextmanager
    def _watching(self, pending: PendingRun) -> Iterator[None]:
        if not self._is_watched:
            yield
            return
        from distio.runtime.progress import Watched  # few need it

        self._watched = Watched(self._host, pending.run)
        self._watched.begin()
        try:
            yield
        finally:
            self._watched.end(is_over=pending.is_over)

    def cancel(self) -> None:
        """Cancel the run, also if it is still to begin; returns at once."""
        self._is_cancelled = True
        if self._pending is not None:
            self._host.cancel_run(self._pending.run)

    def _describe(self) -> str:
        return "" if self._pending is None else self._host.describe_run(self._pending.run)
