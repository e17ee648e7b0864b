"""A host whose fibers may go on elsewhere: it steps them only as long as its lease lasts."""

from __future__ import annotations

from collections.abc import Callable

from distio.coordination.executor.services import OnLoop
from distio.core.fiber import Fiber
from distio.core.interpreter import Tank
from distio.runtime.fence import Fence, lease_clock
from distio.runtime.watched_host import WatchedHost

__all__ = ["FencedHost"]


class FencedHost(WatchedHost):
    """Functions of fibers are called behind a fence."""

    fence: Fence | None = None
    """None: this process is lost only when it has ended, or never."""

    @property
    def rests(self) -> bool:
        """Whether the threads of the pool wait at the fence."""
        return self.fence is not None and not self.fence.is_open(lease_clock())

    def tank(self) -> Tank | None:
        """Steps get their fuel in portions, and wait at the fence in between."""
        return None if self.fence is None else self.fence.tank()

    def on_loop(self, fiber: Fiber, call: OnLoop) -> Callable[[], None]:
        """Let the loop wait at the fence, too."""
        stop = super().on_loop(fiber, call)
        if self.fence is not None:
            from distio.runtime.event_loop import hold_loop  # takes long, and is there by now

            self.fence.hold_loop = hold_loop
        return stop

    def may_call(self, fiber: Fiber) -> bool:
        """Wait at the fence; the fiber may be dropped meanwhile."""
        if self.fence is None:
            return True
        self.fence.wait()
        return self.member.is_running(fiber.run)
