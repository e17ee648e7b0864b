"""A host that notes which fibers its threads have in hand, if somebody watches its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from distio.coordination.executor.hands import Hand
from distio.core.fiber import Fiber
from distio.runtime.black_box import BlackBox
from distio.runtime.host import Host

__all__ = ["WatchedHost"]

_MEMORY_SECONDS: Final = 0.1
"""The memory is noted when something is sent, but no more often than this."""


class WatchedHost(Host):
    """Functions of fibers run on threads of the pool, on others, and on the event loop."""

    black_box: BlackBox | None = None
    """The box in which the host notes fibers; None: nobody watches the process."""
    _loop_hand: Hand | None = None
    _memory_noted = 0.0
    """When."""

    def note_memory(self, now: float) -> None:
        """Note how much memory the process has, if that wasn't done lately."""
        if self.black_box is not None and now - self._memory_noted > _MEMORY_SECONDS:
            self._memory_noted = now
            self.black_box.note_memory()

    def hand(self) -> Hand | None:
        """A slot of the black box."""
        return None if self.black_box is None else self.black_box.hand_of_thread()

    def loop_hand(self) -> Hand | None:
        """The one slot for the event loop, which runs one coroutine at a time."""
        if self._loop_hand is None and self.black_box is not None:
            self._loop_hand = self.black_box.hand()
        return self._loop_hand

    def run_in_thread(
        self, call: Callable[[], None], withdrawn: Callable[[], None], fiber: Fiber
    ) -> Callable[[], None]:
        """Note the fiber while its function is called."""
        return super().run_in_thread(self._noted(call, fiber), withdrawn, fiber)

    def on_main_thread(
        self, call: Callable[[], None], refuse: Callable[[], None], fiber: Fiber
    ) -> Callable[[], bool]:
        """Note the fiber while its function is called."""
        return super().on_main_thread(self._noted(call, fiber), refuse, fiber)

    def _noted(self, call: Callable[[], None], fiber: Fiber) -> Callable[[], None]:
        box = self.black_box
        if box is None:
            return call

        def noted() -> None:
            hand = box.hand()
            hand.take(fiber)
            try:
                call()
            finally:
                hand.leave()

        return noted
