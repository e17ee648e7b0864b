"""Runs for whose ends threads of this process wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from threading import TIMEOUT_MAX
from typing import Any, Final

from distio.coordination.member import Member
from distio.coordination.outcomes.member import lost_with
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Packed
from distio.errors import Cancelled, ClusterClosed, Deadlock, TracedException
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.result import Panic, Result
from distio.runtime.main_thread import is_main_thread, serve_until, wake_main_thread

__all__ = ["CLOSED", "Pending", "PendingRun", "PendingRuns", "closed", "inherited"]

CLOSED: Final = (
    "this cluster is closed and runs nothing more; make another with Cluster.local or "
    "Cluster.connect, and run programs inside its `with` block"
)


class Pending:
    """Something of the coordinator for which threads may wait."""

    def __init__(self) -> None:
        self.is_over = False
        """Whether there is nothing to wait for any more."""
        self._gate = _closed_gate()
        """Open when it is over. A lock, not an event: a `__del__` may ask for the result in the
        midst of its own thread's wait."""
        self._calls: deque[Callable[[], None]] = deque()
        """The functions to call when it is over. The thread that takes a call out makes it."""

    def end_wait(self) -> None:
        """End the wait of all threads."""
        self.is_over = True
        self._gate.release()
        wake_main_thread()
        self._make_calls()

    def when_over(self, call: Callable[[], None]) -> None:
        """Have this called when it is over, now if it is, by any thread; it must not block."""
        self._calls.append(call)
        if self.is_over:
            self._make_calls()

    def _make_calls(self) -> None:
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:  # another thread has taken the last one
                return
            call()

    def renew_in_child(self) -> None:
        """In a forked child: another thread may have been in the gate."""
        self._gate = _closed_gate()
        self._calls.clear()  # they are about loops that run in the parent

    def wait(
        self, timeout: float | None = None, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Block until it is over; return whether it is.

        The main thread makes the calls meanwhile that fibers have for it.

        Args:
            timeout: for how many seconds at most; None: as long as it takes.
            unless: whether the main thread, when it is woken, is to stop waiting.
        """
        if self.is_over or (timeout is not None and timeout <= 0):
            return self.is_over
        if is_main_thread():
            serve_until(lambda: self.is_over or unless(), timeout)
            return self.is_over
        if self._gate.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX)):
            self._gate.release()  # for other threads that wait as well
        return self.is_over


class PendingRun(Pending):
    """One run, for whose end threads may wait."""

    def __init__(self, run: int, label: str, handle: Handle[Any, Any, Any] | None) -> None:
        """
        Args:
            run: which.
            label: its root, in words.
            handle: that of its root; None: there is none.
        """
        super().__init__()
        self.run = run
        self._label = label
        self.is_abandoned = False
        """Whether the thread that waited for the run has given up, though the run goes on."""
        self._handle = handle
        self._failure: Result[Any, Any] | None = None

    def ended(self, message: m.RunEnded) -> None:
        """Take the end of the run from the coordinator's message."""
        failure = _failure_of(message)
        is_cancelled = message.cause is not Cause.FINISHED
        if failure is None and is_cancelled and self._handle and self._handle.outcome is None:
            failure = panic_of(Cancelled(self._label))  # dropped before all was released
        self.end(failure)

    def named_run_ended(self, message: m.NamedRunEnded) -> None:
        """Take the end of the run, and the outcome of its root, which isn't in this process."""
        assert self._handle is not None
        if message.payload is not None:
            self._handle.outcome = Packed(message.payload)
        elif message.lost is not None:
            self._handle.outcome = lost_with(*message.lost, message.run)
        self.ended(m.RunEnded(message.run, message.cause, message.reason))

    def end(self, failure: Result[Any, Any] | None = None) -> None:
        """End the wait; `failure` takes the place of what the root computed."""
        self._failure = failure
        self.end_wait()

    def drop_in_child(self, failure: Result[Any, Any]) -> None:
        """In a forked child: end the wait for a run that goes on in the parent."""
        if not self.is_over:
            self.renew_in_child()
            self.end(failure)

    def standing(self) -> str:
        """The state of the run in words; a value that is still bytes isn't opened."""
        if not self.is_over:
            return "not over"
        outcome = self._failure or (None if self._handle is None else self._handle.outcome)
        return f"over: {type(outcome).__name__}" if isinstance(outcome, Result) else "over"

    def result(self) -> Result[Any, Any]:
        """The Result of a run that is over."""
        if self._failure is not None:
            return self._failure
        assert self._handle is not None
        outcome = self._handle.outcome
        result: Result[Any, Any] = outcome.open() if isinstance(outcome, Packed) else outcome
        return result


def _closed_gate() -> threading.Lock:
    gate = threading.Lock()
    gate.acquire()
    return gate


def inherited(process: int) -> str:
    """Why nothing runs on a cluster in a forked child of the process that made it."""
    return (
        f"this cluster belongs to process {process}, from which this one was forked, and runs "
        f"nothing here; make another in this process with Cluster.local or Cluster.connect"
    )


class PendingRuns:
    """All runs that go on; guarded like the member they belong to."""

    def __init__(self) -> None:
        self._open: dict[int, PendingRun] = {}
        self._closed_because = ""

    def issue(self, root: Fiber) -> PendingRun:
        """Enter a run that is about to start; the result is over already if no run can start."""
        pending = PendingRun(root.run, root.label, root.handle)
        if self._closed_because:
            pending.end(closed(f"{CLOSED} ({self._closed_because})"))
        else:
            self._open[root.run] = pending
        return pending

    def close_ended(self, member: Member) -> list[LocalRun]:
        """Wake the threads that wait for runs that have ended.

        Returns:
            The runs that have ended. Some of their failures may be unobserved.
        """
        runs, tell = self.take_ended(member)
        tell()
        return runs

    def take_ended(self, member: Member) -> tuple[list[LocalRun], Callable[[], None]]:
        """The runs that have ended, and a function that wakes their waiters, on any thread."""
        ended = member.take_ended_runs()
        ends = [(self._open.pop(run.id, None), message) for run, message in ended]

        def tell() -> None:
            for pending, message in ends:
                if pending is not None:
                    pending.ended(message)

        return [run for run, _ in ended], tell

    def refuse(self, reason: str) -> list[PendingRun]:
        """Let no more runs start; return those that go on."""
        self._closed_because = reason
        return list(self._open.values())

    def cut_short(self, reason: str, stack_trace: str = "") -> None:
        """End all runs, and those that are asked for later: the cluster is no more.

        Args:
            reason: why the cluster is no more.
            stack_trace: that of the exception which is the reason, if there is one.
        """
        self._closed_because = reason
        self.fail(closed(f"the run was cut short: {reason}", stack_trace))

    def drop_in_child(self, process: int) -> None:
        """In a forked child of this process: end the waits, since no message comes here."""
        runs, self._open = list(self._open.values()), {}
        for pending in runs:
            pending.drop_in_child(closed(inherited(process)))

    def fail(self, failure: Result[Any, Any]) -> None:
        """End all runs with this Result."""
        runs, self._open = list(self._open.values()), {}
        for pending in runs:
            pending.end(failure)


def _failure_of(ended: m.RunEnded) -> Panic[Any, Any] | None:
    """The Result that the end of a run imposes; None: that of its root counts."""
    if ended.cause is Cause.DEADLOCK:
        return panic_of(Deadlock(ended.reason))
    if ended.reason:
        return closed(f"the run was cut short: {ended.reason}")
    return None


def closed(message: str, stack_trace: str = "") -> Panic[Any, Any]:
    """The Result of a run that a cluster can't carry out."""
    return panic_of(ClusterClosed(message), stack_trace)


def panic_of(exception: BaseException, stack_trace: str = "") -> Panic[Any, Any]:
    """The Result of a run that ends because of the cluster, not of its program."""
    return Panic([TracedException(exception, stack_trace or str(exception))], [])
