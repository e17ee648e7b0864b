"""Timers: when to wake which fiber. A timer never fires early.

Rules
-----
- A timer ends with its member. If the fiber goes on elsewhere, from a snapshot in which it sleeps,
  it asks again there, and sleeps for the rest of the time: until the deadline of the sleep in which
  the snapshot was taken, or not at all if that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from distio.coordination.admission import Inadmissible, part_of, require_host
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of

__all__ = ["Timer", "Timers"]

_FEW: Final = 100
"""How many stopped timers the heap may keep before they are cleared away."""


class Timer(NamedTuple):
    """Ordered by deadline."""

    deadline: float
    fiber: int
    number: int
    """The number that the member gave to the timer."""
    member: int
    run: int


class Timers(CoordinatorFeature):
    """A heap of deadlines, and how many of them each run has.

    A fiber has one timer at a time. A stopped timer stays in the heap until it is at the top when
    somebody looks there, or until most of the heap are stopped ones: to take each one out at once
    would be a tenth of the cost of cancelling a fiber that sleeps.
    """

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self.fell_asleep: Callable[[MemberRecord, m.StartTimer, float], None] = _nothing
        """Called with the member and the deadline of each timer that it starts."""
        self.heap: list[Timer] = []
        self._running: dict[int, Timer] = {}
        """The timers that are running, by fiber."""
        self._of_run: dict[int, dict[int, dict[int, None]]] = {}
        """By run and member: the fibers."""

    def __len__(self) -> int:
        """The number of running timers."""
        return len(self._running)

    def forget_listener(self) -> None:
        """Tell nobody of fibers that fall asleep."""
        self.fell_asleep = _nothing

    # -- what members say -----------------------------------------------------------------

    @admits
    def admit_start(self, sender: MemberRecord, message: m.StartTimer) -> None:
        """The fiber is there, and doesn't sleep already."""
        if part_of(self._state, sender, message.run) is not None:
            require_host(self._state, sender, message.run, message.fiber)
            if message.fiber in self._running and not message.is_repeated:
                raise Inadmissible(f"fiber {name_of(message.fiber)} sleeps already")

    @handles
    def start_timer(self, sender: MemberRecord, message: m.StartTimer) -> None:
        """A fiber sleeps."""
        if message.run not in self._state.runs:
            self._state.stale += 1
            return
        now, record = self._state.now, self._state.fibers.get(message.fiber)
        deadline = now + message.seconds
        if record is not None and message.is_repeated:
            deadline = now if record.rare.wakes_at is None else record.rare.wakes_at
        self.start(Timer(deadline, message.fiber, message.timer, sender.id, message.run))
        self.fell_asleep(sender, message, deadline)

    @handles
    @unchecked
    def stop_timer(self, sender: MemberRecord, message: m.StopTimer) -> None:
        """A fiber sleeps no longer."""
        if not self.stop(sender.id, message.fiber, message.timer):
            self._state.stale += 1  # it has fired meanwhile

    def deadline_of(self, fiber: int) -> float | None:
        """When the sleep of a fiber ends; None: it doesn't sleep."""
        timer = self._running.get(fiber)
        return None if timer is None else timer.deadline

    def is_running(self, member: int, fiber: int, number: int) -> bool:
        """Whether a fiber sleeps at this member, with the timer of this number."""
        timer = self._running.get(fiber)
        return timer is not None and timer.number == number and timer.member == member

    def take(self, fiber: int) -> float | None:
        """Forget the timer of a fiber; return its deadline, None if there is none."""
        timer = self._running.get(fiber)
        if timer is None:
            return None
        self.stop(timer.member, fiber, timer.number)
        return timer.deadline

    # -- the heap -------------------------------------------------------------------------

    def start(self, timer: Timer) -> None:
        """Add a timer."""
        if timer.fiber in self._running:
            self._end(self._running[timer.fiber])
        heappush(self.heap, timer)
        self._state.wake_at(timer.deadline)
        self._running[timer.fiber] = timer
        at = self._of_run.setdefault(timer.run, {}).setdefault(timer.member, {})
        at[timer.fiber] = None
        self._clear_top()

    def stop(self, member: int, fiber: int, number: int) -> bool:
        """Forget a timer of this member; False if there is none: it has fired."""
        if not self.is_running(member, fiber, number):
            return False
        self._end(self._running[fiber])
        self._tidy()
        return True

    def next_deadline(self) -> float | None:
        """When the next timer fires; None: there is none."""
        return self.heap[0].deadline if self.heap else None

    def due(self, now: float) -> list[Timer]:
        """Take out the timers whose deadline has come."""
        due = []
        while self.heap and self.heap[0].deadline <= now:
            timer = heappop(self.heap)
            if self._running.get(timer.fiber) is timer:
                self._end(timer)
                due.append(timer)
        self._clear_top()
        return due

    def tick(self, now: float) -> None:
        """Wake the fibers whose time has come."""
        for timer in self.due(now):
            fired = m.TimerFired(timer.fiber, timer.number)
            self._state.survive(self._state.send, timer.member, fired, run=timer.run)

    def will_wake(self, run: int) -> bool:
        """Whether a timer of this run is running."""
        return run in self._of_run

    def run_ended(self, id: int, run: Run) -> None:
        """Forget the timers of the run."""
        for member in [*self._of_run.get(id, ())]:
            self._drop(id, member)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Forget the timers of the member."""
        for run in lost.runs:
            self._drop(run, lost.id)

    def count_anew(self) -> None:
        """Forget the timers of runs that are no more."""
        for run in [each for each in self._of_run if each not in self._state.runs]:
            for member in [*self._of_run[run]]:
                self._drop(run, member)

    def validate(self) -> None:
        """Check that no timer outlives its run."""
        for id, members in self._of_run.items():
            if id not in self._state.runs:
                raise DistioBug(f"timers outlive run {name_of(id)}")
            for member, fibers in members.items():
                if any(
                    (self._running[each].run, self._running[each].member) != (id, member)
                    for each in fibers
                ):
                    raise DistioBug(f"timers of run {name_of(id)} are miscounted")
        if len(self._running) != sum(len(at) for of in self._of_run.values() for at in of.values()):
            raise DistioBug("timers belong to no run")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"timers": self._running}

    def _drop(self, run: int, member: int) -> None:
        """Forget the timers that a run has at a member."""
        for fiber in [*self._of_run.get(run, {}).get(member, ())]:
            self._end(self._running[fiber])
        self._tidy()

    def _end(self, timer: Timer) -> None:
        del self._running[timer.fiber]
        of_run = self._of_run[timer.run]
        at = of_run[timer.member]
        del at[timer.fiber]
        if not at:
            del of_run[timer.member]
            if not of_run:
                del self._of_run[timer.run]

    def _tidy(self) -> None:
        """Clear stopped timers away, if most are."""
        if len(self.heap) > 2 * len(self._running) + _FEW:
            self.heap = list(self._running.values())
            heapify(self.heap)
        self._clear_top()

    def _clear_top(self) -> None:
        """Take timers away that were stopped, until the first one runs.

        That is done with each change, never when somebody looks: the state depends on inputs alone.
        """
        while self.heap and self._running.get(self.heap[0].fiber) is not self.heap[0]:
            heappop(self.heap)


def _nothing(member: MemberRecord, message: m.StartTimer, deadline: float) -> None:
    """Do nothing: the default where no part wants to know which fibers sleep."""
