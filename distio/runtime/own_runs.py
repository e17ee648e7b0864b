"""Runs that a process starts in its cluster, and that end with it.

Rules
-----
- The root of a run begins in this process (`begin`), or is shipped to a worker (`submit`).
- The log levels of this process go before the first run that they concern, and again when they have
  changed. So records of its fibers elsewhere come at the levels of this program.
- The link thread hears of the end of a run. The part of the end that calls code of the user is for
  another thread: log handlers, and the freeing of the user's objects.
- The threads that wait for a run wake when its log records have been handled, and in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from distio.coordination.state.local_run import LocalRun
from distio.core.context_vars import of_the_caller
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.core.pickling.archives import Archive
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.messages.logs import LogLevels
from distio.runtime.blocking import in_background
from distio.runtime.deliveries import levels_now
from distio.runtime.failures import log_unreleased
from distio.runtime.loops import EventLoop
from distio.runtime.pending_runs import PendingRun
from distio.runtime.roots import dump_root

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["OwnRuns"]

_MUTEX_MAY_TAKE_SECONDS: Final = 1.0
"""The time limit for the mutex: no thread holds it for a thousandth of this."""


@final
class OwnRuns:
    """Starts runs of one process, and sees to their ends; its books are `Host.pending_runs`."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._levels_told: LogLevels | None = None

    # -- starting -------------------------------------------------------------------------

    def begin(
        self,
        io: IO[Any, Any, Any],
        context: Any,
        snapshots: Snapshots,
        loop: EventLoop | None = None,
    ) -> PendingRun:
        """Run `io` with its root in this process.

        Args:
            io: the program.
            context: the value that `io.read` computes.
            snapshots: what is kept of its fibers.
            loop: runs the coroutines of those fibers that are here; None: that of the process.

        Raises:
            KeyRefused: the role of this process doesn't let it.
        """
        host = self._host
        host.require_role(m.StartRun(0))
        levels, variables = levels_now(), of_the_caller()
        with host.fail_stop:
            pending, root = self._start(io, context, levels, snapshots)
            root.variables = variables
            root.is_pinned = True  # so it need not remember how to go on elsewhere
            if loop is not None:
                host.loops[root.run] = loop
            host.member.queue(root)
            host.wake()
            return pending
        return host.pending_runs.issue(Fiber(0, 0, io, context))

    def submit(self, io: IO[Any, Any, Any], context: Any, snapshots: Snapshots) -> PendingRun:
        """Run `io` with its root on a worker.

        Raises:
            NotPicklable: it can't be pickled.
            KeyRefused: the role of this process doesn't let it.
        """
        host = self._host
        host.require_role(m.StartRun(0))
        fiber, dumped = dump_root(host, io, context)
        levels = levels_now()
        with host.fail_stop:
            pending, root = self._start(io, context, levels, snapshots)
            host.member.ship_root(root, dumped)
            host.send_outbox()
            return pending
        return host.pending_runs.issue(fiber)

    def ship(self, archives: Iterable[Archive]) -> None:
        """Runs that begin from now on take this code along, in place of earlier versions of it."""
        with self._host.fail_stop:
            self._host.member.state.add_archives(archives)

    def tell_levels(self) -> None:
        """The levels for log records of fibers elsewhere, if they have changed."""
        levels = levels_now()
        with self._host.fail_stop:
            self._note_levels(levels)

    def _note_levels(self, levels: LogLevels) -> None:
        if levels != self._levels_told:
            self._levels_told = levels
            self._host.member.send(m.SetLogLevels(levels))

    def _start(
        self, io: IO[Any, Any, Any], context: Any, levels: LogLevels, snapshots: Snapshots
    ) -> tuple[PendingRun, Fiber]:
        self._note_levels(levels)
        root = self._host.member.start_root(io, context, snapshots)
        return self._host.pending_runs.issue(root), root

    # -- ends -----------------------------------------------------------------------------

    def ended(self, runs: list[LocalRun], tell: Callable[[], None]) -> None:
        """Runs that were started here are over (on the link thread).

        Args:
            runs: which.
            tell: wakes the threads that wait for them.
        """
        host = self._host
        if host.failures.has_to_tell_of(run.id for run in runs) or any(
            run.unreleased for run in runs
        ):
            # this thread calls no log handler, and frees no objects of the user
            tell = partial(in_background, partial(self.look_after, runs, tell))
        elif any(run.bundles for run in runs):
            in_background(partial(_release, runs))
        host.deliveries.when_handled(tell)

    def look_after(self, runs: list[LocalRun], tell: Callable[[], None]) -> None:
        """Log what is left to say of runs that are over, and wake the threads that wait for them.

        Args:
            runs: which.
            tell: wakes the threads.
        """
        try:
            log_unreleased(runs)
            self._host.failures.runs_ended([run.id for run in runs])
        finally:  # threads that wait for the runs wake, whatever a log handler does
            tell()
        _release(runs)

    def finish(self, reason: str) -> None:
        """End all runs of this process, wait until they are over, and refuse others."""
        host = self._host
        runs = host.pending_runs.refuse(reason)
        host.inbox.put(self._cancel, runs, reason)
        if not host.mutex.acquire(timeout=_MUTEX_MAY_TAKE_SECONDS):
            return  # this very thread holds it, and was interrupted: nothing goes on before it does
        host.mutex.release()
        for pending in runs:
            if not pending.is_abandoned:
                pending.wait()
        with host.fail_stop:
            host.cut_short(reason)

    def _cancel(self, runs: Sequence[PendingRun], reason: str) -> None:
        for pending in runs:
            self._host.member.cancel_run(pending.run, Cause.CLUSTER_CLOSED, reason)
        self._host.send_outbox()


def _release(ended: list[LocalRun]) -> None:
    while ended:
        ended.pop().release()
