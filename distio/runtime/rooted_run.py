"""A run whose root is in this process, while a thread waits for it, or a task of an event loop.

Rules
-----
- The run is cancelled by what interrupts the thread, or by the end of the fiber whose function has
  started it. That may come before the run has begun, so it is noted first.
- A thread that is interrupted for good gives the run up: nobody waits for it any more.
- While a task waits, no thread does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from distio.core.ops.base import IO
from distio.errors import KeyRefused
from distio.protocol.domains import Snapshots
from distio.result import Result
from distio.runtime.interrupts import interruptible
from distio.runtime.link import LinkedHost
from distio.runtime.loops import EventLoop
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
    """A run whose root is in this process, for the thread or the task that waits for it.

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
                with nested_within(self._host, self._pending.run):
                    self._watch(self._pending)
                    self._pending.wait()
            except BaseException:
                self._pending.is_abandoned = True
                raise
            finally:
                self.counted()
            return self._pending.result()

    def _watch(self, pending: PendingRun) -> None:
        if self._is_watched and not pending.is_over:
            from distio.runtime.progress import Watched  # few need it

            self._watched = Watched(self._host, pending.run)
            self._watched.begin()

    def counted(self) -> None:
        """Watch the run no longer; a second call does nothing."""
        if self._is_watched and self._watched is not None and self._pending is not None:
            self._is_watched = False
            self._watched.end(is_over=self._pending.is_over)

    def begin(
        self, io: IO[Any, Any, Any], context: Any, loop: EventLoop, over: Callable[[], None]
    ) -> None:
        """Start the program for a task that waits; returns at once.

        Args:
            io: the program.
            context: the value that `io.read` computes.
            loop: that of the task; it runs the coroutines of fibers that are in this process.
            over: called by any thread when the run is over; it must not block.
        """
        self._pending = pending = self._begun(io, context, loop)
        self._watch(pending)
        tagging.__enter__()

        def ended() -> None:
            tagging.__exit__()
            self._host.loops.pop(pending.run, None)
            over()

        pending.when_over(ended)

    def _begun(self, io: IO[Any, Any, Any], context: Any, loop: EventLoop) -> PendingRun:
        if self._host.is_inherited:
            return _over(closed(inherited(self._host.process)))
        try:
            return self._host.runs.begin(io, context, self._snapshots, loop)
        except KeyRefused as error:
            return _over(panic_of(error))

    def result(self) -> Result[Any, Any]:
        """The Result of a run that has begun for a task, and is over."""
        assert self._pending is not None
        return self._pending.result()

    def cancel(self) -> None:
        """Cancel the run, also if it is still to begin; returns at once."""
        self._is_cancelled = True
        if self._pending is not None:
            self._host.cancel_run(self._pending.run)

    def _describe(self) -> str:
        return "" if self._pending is None else self._host.describe_run(self._pending.run)


def _over(result: Result[Any, Any]) -> PendingRun:
    """Stands for a run that could not begin."""
    pending = PendingRun(0, "", None)
    pending.end(result)
    return pending
