"""A member's part in pressure: nothing is said that would only lie somewhere.

Rules
-----
- A member may say things faster than the coordinator hears them: each fiber that it starts makes
  messages, and an outcome may be large. Messages that aren't heard are in memory somewhere between
  them.
- So the member asks, every some thousand messages and every MiB, to be told when these are heard.
  While too many are unheard, a fiber that asks to start others is parked, and none is started.
  While too many bytes are unheard, outcomes stay where they ended, too: their fibers end later.
- Outcomes of a run stay as well while the coordinator says so, since somebody doesn't read them.
- A client offers no more fibers of a run while many of them wait for a place. The others stay as
  they are, unpickled; the fiber that has started them goes on.
- All other fibers go on: those that end relieve the pressure, and those that wait may be needed.
- Messages that were said to the member before a question of the coordinator are read when the
  member answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sized
from itertools import chain
from typing import Final

from distio.coordination.dispatch import handles
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import MemberFeature
from distio.coordination.placement.tasks import PickleFibers
from distio.coordination.pressure.tasks import AskAgain, LetOutcomeGo
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol.messages import pressure as m

__all__ = ["ASK_FOR_ROOM_EVERY", "Pressure"]

ASK_FOR_ROOM_EVERY: Final = 20_000
"""A client that has offered so many fibers of a run waits until few have no place."""


class Pressure(MemberFeature):
    """The starts and the outcomes of one member that have to wait."""

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
        self._held_runs: set[int] = set()
        """The runs whose outcomes somebody doesn't read."""
        self._is_letting_go = False
        """Whether a task in the queue lets an outcome leave that was held back."""

    # -- fibers that start others ---------------------------------------------------------

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

    # -- outcomes -------------------------------------------------------------------------

    def holds_back(self, run: int, task: Task) -> bool:
        """Keep a task that lets an outcome of this run leave, if that would only lie somewhere."""
        if not self.holds_outcomes(run):
            return False
        self._state.held_back.setdefault(run, deque()).append(task)
        return True

    def holds_outcomes(self, run: int) -> bool:
        """Whether outcomes of this run would only lie somewhere."""
        state = self._state
        return not state.is_leaving and (state.is_full or run in self._held_runs)

    @handles
    def hold(self, message: m.HoldOutput) -> None:
        """Somebody doesn't read what fibers of a run have for it."""
        self._held_runs.add(message.run)

    @handles
    def release_run(self, message: m.ReleaseOutput) -> None:
        """Everybody reads it again."""
        self._held_runs.discard(message.run)
        self._let_outcomes_go()

    def _let_outcomes_go(self) -> None:
        if self._state.held_back and not self._is_letting_go:
            self._is_letting_go = True
            self._state.queue(LetOutcomeGo(self._next_outcome))

    def _next_outcome(self) -> Task | None:
        """Take out one of the tasks that were held back; the next one goes when it has been said.

        Returns:
            The task, if one may go now.
        """
        held_back = self._state.held_back
        self._is_letting_go = False
        run = next((run for run in held_back if run not in self._held_runs), None)
        if run is None or self._state.is_full:
            return None
        task = held_back[run].popleft()
        if not held_back[run]:
            del held_back[run]
        self._let_outcomes_go()
        return task

    def let_all_go(self) -> None:
        """The member leaves: its fibers are to end."""
        held_back, self._state.held_back = self._state.held_back, {}
        self._state.ready.extend(chain(*held_back.values()))

    # -- offers ---------------------------------------------------------------------------

    def offers_later(self, id: int, task: PickleFibers, count: int) -> bool:
        """Keep a task that has just offered so many fibers, if it has more, and many were offered.

        The next work of the same thread doesn't wait for that.

        Args:
            id: the run of the fibers.
            task: the task.
            count: how many fibers.

        Returns:
            Whether it is kept.
        """
        state, run = self._state, self._state.runs[id]
        run.offered += count
        is_one_of_several = isinstance(task.then, Task)
        if task.is_done or run.offered < ASK_FOR_ROOM_EVERY or is_one_of_several:
            return False
        task.then = None
        if run.id not in state.unoffered:
            state.send(m.AwaitRoom(run.id))
        state.unoffered.setdefault(run.id, deque()).append(task)
        return True

    @handles
    def room(self, message: m.Room) -> None:
        """Few fibers of a run wait for a place: more of them are offered."""
        tasks = self._state.unoffered.pop(message.run, ())
        if tasks:
            self._state.runs[message.run].offered = 0
        self._state.ready.extend(tasks)

    # -- what the coordinator says --------------------------------------------------------

    @handles
    def heard(self, message: m.Heard) -> None:
        """The coordinator has heard more: if that is enough, fibers ask again."""
        self._state.note_heard(message.said)
        if not self._state.is_pressed:
            self._let_go()
        self._let_outcomes_go()

    @handles
    def have_read(self, message: m.AwaitRead) -> None:
        """The coordinator asks whether what it has said is read: it has been taken up."""
        self._state.send(m.HaveRead(message.said))

    def _let_go(self) -> None:
        held, self._held = self._held, {}
        for fiber in held.values():
            del self._state.parked[fiber.id]
            self._state.queue(AskAgain(fiber, self._ask_again))

    # -- hooks ----------------------------------------------------------------------------

    def run_is_cancelled(self, run: LocalRun) -> None:
        """Let the held outcomes of the run go: its fibers are to end, whoever reads that."""
        self._held_runs.discard(run.id)
        self._let_outcomes_go()

    def run_ended(self, run: LocalRun) -> None:
        """The fibers of the run were dropped."""
        self._held_runs.discard(run.id)
        if self._held:
            self._held = {id: each for id, each in self._held.items() if each.run != run.id}
        self._state.held_back.pop(run.id, None)
        self._state.unoffered.pop(run.id, None)

    def coordinator_lost(self, reason: str) -> None:
        """Let all go that was held: another coordinator begins anew, and has heard all that it is
        to hear."""
        self._state.begin_to_say()
        self._held_runs.clear()
        self._let_go()
        self.let_all_go()
        self._state.ready.extend(chain(*self._state.unoffered.values()))
        self._state.unoffered.clear()

    def leftovers(self) -> Mapping[str, Sized]:
        return {
            "fibers that are to start others": self._held,
            "outcomes that are held back": self._state.held_back,
            "fibers that are to be offered": self._state.unoffered,
            "runs whose outcomes are held back": self._held_runs,
        }
