"""A member's part in pressure: its fibers start no others while too much is unheard.

Rules
-----
- A member may say things faster than the coordinator hears them: each fiber that it starts makes
  messages. What isn't heard is in memory somewhere between them.
- So the member asks, every some thousand messages, to be told when these are heard. While too many
  are unheard, a fiber that asks to start others is parked, and none is started.
- All other fibers go on: those that end relieve the pressure, and those that wait may be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized

from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import MemberFeature
from distio.coordination.pressure.tasks import AskAgain
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol.messages import pressure as m

__all__ = ["Pressure"]


class Pressure(MemberFeature):
    """The fibers of one member that are to start others later."""

    def __init__(
        self, state: MemberState, ask_again: Callable[[Fiber], Fiber | Task | None]
    ) -> None:
        """
        Args:
            state: what is known of fibers here.
            ask_again: lets a fiber ask again; returns what the executor goes on with.
        """
        self._state = state
        self._ask_again = ask_again
        self._held: dict[int, Fiber] = {}

    def holds(self, fiber: Fiber) -> bool:
        """Park a fiber that asks to start others, if too much is unheard."""
        if not self._state.is_pressed:
            return False
        self._state.park(fiber)
        self._held[fiber.id] = fiber
        return True

    def release(self, fiber: Fiber) -> None:
        """The fiber doesn't start any: it is cancelled."""
        del self._held[fiber.id]

    @handles
    def heard(self, message: m.Heard) -> None:
        """The coordinator has heard more: if that is enough, fibers ask again."""
        self._state.heard = message.said
        if not self._state.is_pressed:
            self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, {}
        for fiber in held.values():
            del self._state.parked[fiber.id]
            self._state.queue(AskAgain(fiber, self._ask_again))

    def run_ended(self, run: LocalRun) -> None:
        """The fibers of the run were dropped."""
        if self._held:
            self._held = {id: each for id, each in self._held.items() if each.run != run.id}

    def coordinator_lost(self, reason: str) -> None:
        """Another one begins anew, and has heard all that it is to hear."""
        self._state.said = self._state.asked_at = self._state.heard = 0
        self._let_go()

    def leftovers(self) -> Mapping[str, Sized]:
        return {"fibers that are to start others": self._held}
