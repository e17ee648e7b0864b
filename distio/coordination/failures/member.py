"""A member's part in failures: which of them nobody can ask for any more.

Rules
-----
- The failure of a fiber is reported once, unless somebody has got its outcome in time.
- The failure is unobserved as long as nobody has got the outcome. The handle of the fiber then has
  the location `Unobserved`, which dies with the handle, and hands the failure over to be reported.
- A fiber whose handle dies when the fiber ends is counted as alive until its failure has been
  reported: the report leaves the process before the end of the fiber.
- The end of a run is the end of all handles: what is unobserved then is reported, too.
- A cancellation is no failure.

A handle may die anywhere, also in the garbage collector, so a location takes no lock and runs no
code of the user: it appends to a deque, and rings if nobody is about to look there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

from distio.coordination.failures.reporting import ReportFailures
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.failure import Failure, is_cancellation
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import LocalFiber
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber

__all__ = ["Failures", "Unobserved"]


class Unobserved(LocalFiber):
    """Ties a handle to this member, where its fiber has failed, and nobody has seen that yet."""

    __slots__ = ("_failures", "_fiber", "_origin", "_unobserved")

    def __init__(self, run: LocalRun, fiber: int, failures: Failures) -> None:
        super().__init__(run.id)
        self._origin = run.location
        self._fiber = fiber
        self._unobserved = run.unobserved
        self._failures = failures

    @property
    def origin(self) -> LocalFiber:
        return self._origin

    def __del__(self) -> None:
        failure = self._unobserved.pop(self._fiber, None)
        if failure is not None:
            self._failures.hand_over(failure)


@final
class Failures(MemberFeature):
    """The failures of one member's fibers."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self.arm: Callable[[], Callable[[], None]] = lambda: _silent
        """Prepares for handles that die at any time, in any thread; returns what such a thread
        calls then (the host's business)."""
        self._ring: Callable[[], None] | None = None
        self._unreported: deque[Failure] = deque()
        self._is_looking = False
        """Whether somebody is about to look there anyway."""

    def __bool__(self) -> bool:
        """Whether a failure is to be reported."""
        return bool(self._unreported)

    def hand_over(self, failure: Failure) -> None:
        """Take a failure that nobody can ask for any more (called in any thread, at any time)."""
        self._unreported.append(failure)
        if not self._is_looking and self._ring is not None:
            self._ring()

    def take(self) -> Failure | None:
        """Take out the next failure that is to be reported (called in any thread)."""
        try:
            return self._unreported.popleft()
        except IndexError:
            return None

    def note(self, run: LocalRun, fiber: Fiber, *, is_observed: bool) -> bool:
        """The fiber has failed, and those who waited for it here were told: it loses its handle.

        Returns:
            Whether its end is to wait until failures have been reported.
        """
        handle, failure = fiber.handle, fiber.failure
        assert handle is not None
        assert failure is not None
        if is_observed or is_cancellation(fiber):
            return False
        if self._ring is None:
            self._ring = self.arm()
        run.unobserved[fiber.id] = Failure(run.id, fiber.id, fiber.name, failure)
        # the traceback refers to the fiber: what is kept of it must not refer to the traceback
        fiber.failure = fiber.handle = None
        self._is_looking = True
        handle.location, handle = Unobserved(run, fiber.id, self), None
        self._is_looking = False
        return bool(self._unreported)

    def report_later(self) -> None:
        """Handles have died: have the failures reported that nobody can ask for any more."""
        if self._unreported:
            self._state.ready.appendleft(ReportFailures(self._state))

    def run_ended(self, run: LocalRun) -> None:
        unobserved = run.unobserved.copy()  # handles may die meanwhile
        for fiber in unobserved:
            failure = run.unobserved.pop(fiber, None)
            if failure is not None:
                self._unreported.append(failure)


def _silent() -> None:
    """Do nothing when a handle dies."""
