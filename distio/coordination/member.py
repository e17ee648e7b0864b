"""A member's state machine: what happens to the fibers that one process hosts.

Rules
-----
- A fiber hosted here is in exactly one place: in `ready`, in `parked`, or with the executor that
  steps it; if the member leaves, perhaps in `set_aside`.
- Children start first-in first-out. A fiber that wakes goes to the end of `ready`.
- A wait among fibers of one member never leaves it. Registering and looking whether it has
  happened already is one step, under the caller's mutex: no wake-up can be lost.
- An outcome lives in the handle of its fiber. For a fiber that others may ask for (placed here,
  or its handle has left) the handle is kept in `hosted` until nobody wants it, at the latest
  until the run ends.
- Messages for the coordinator go to the outbox, in order. Counts are gathered in one `Progress`,
  which always goes before any message that depends on them.

Nothing here runs user code. Stepping, pickling, unpickling and calling run it: they are work that
an `Executor` takes from `ready` and runs outside the mutex.

The machine is its state and a list of features, each of which has a folder of its own. A feature
handles messages of the coordinator, answers requests of fibers, and is told what happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, get_type_hints

from distio.coordination.actors.member import Actors
from distio.coordination.calls.member import Calls
from distio.coordination.cancellation.member import Cancellation
from distio.coordination.checkpoints.member import Checkpoints
from distio.coordination.code.member import OtherCode
from distio.coordination.cold.member import Cold
from distio.coordination.deadlock.member import WaitGraphs
from distio.coordination.dispatch import HandlerTable, answers, handles
from distio.coordination.durable.member import NamedRuns
from distio.coordination.endings.member import Endings
from distio.coordination.executor.tasks import Work
from distio.coordination.executor.turns import Turns
from distio.coordination.failures.member import Failures
from distio.coordination.feature.member import Hooks
from distio.coordination.invariants.member import check_places
from distio.coordination.leftovers import check_rest
from distio.coordination.locks.member import Locks
from distio.coordination.logs.member import Logs
from distio.coordination.outcomes.fiber_waits import FiberWaits
from distio.coordination.outcomes.member import Outcomes
from distio.coordination.outcomes.nested import NestedRuns
from distio.coordination.overview.member import Overview
from distio.coordination.placement.local import LocalPlaces
from distio.coordination.placement.member import Placement
from distio.coordination.placement.surplus import Surplus
from distio.coordination.pressure.member import Pressure
from distio.coordination.primitives.member import Primitives
from distio.coordination.recovery.draining import Drain, Drained
from distio.coordination.recovery.member import Recovery
from distio.coordination.references.member import References
from distio.coordination.roster.member import Roster
from distio.coordination.state.failure import Failure
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import HostMessage, MemberState
from distio.coordination.status.member import StatusQueries
from distio.coordination.status.words import describe_fibers
from distio.coordination.timers.member import Timers
from distio.coordination.watches.member import Watches
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.core.pickling.payloads import Dumped
from distio.protocol import messages as m
from distio.protocol.domains import Snapshots
from distio.protocol.endings import Cause
from distio.protocol.messages.logs import LogLevels
from distio.protocol.messages.overview import CancelTold, FibersTold, OverviewTold, SavedTold
from distio.protocol.requests import AwaitBlocking, AwaitCallback, Request
from distio.result import Result

__all__ = ["Features", "Member"]


class Features(NamedTuple):
    """All features, in the order in which their hooks are called."""

    turns: Turns
    waits: FiberWaits
    nested_runs: NestedRuns
    failures: Failures
    logs: Logs
    references: References
    recovery: Recovery
    checkpoints: Checkpoints
    cold: Cold
    drain: Drain
    pressure: Pressure
    other_code: OtherCode
    places: LocalPlaces
    surplus: Surplus
    placement: Placement  # before locks: what a run has left here is dropped first
    timers: Timers
    calls: Calls
    status: StatusQueries
    overview: Overview
    primitives: Primitives
    locks: Locks
    cancellation: Cancellation  # before outcomes: fibers that leave take their cancellations along
    outcomes: Outcomes
    actors: Actors
    wait_graphs: WaitGraphs
    named_runs: NamedRuns
    roster: Roster
    watches: Watches
    endings: Endings  # last: a goodbye is the last word


def _make(state: MemberState) -> Features:
    waits, failures = FiberWaits(state), Failures(state)
    references, cancellation = References(state), Cancellation(state)
    locks, timers = Locks(state, references), Timers(state)
    recovery = Recovery(state, references, cancellation, locks.held_by)
    drain = Drain(state, recovery, cancellation)
    pressure = Pressure(state, recovery.ask_again)
    outcomes = Outcomes(state, references, waits, pressure)
    places = LocalPlaces(state)
    placement = Placement(state, references, recovery, pressure, places, outcomes.asked)
    actors = Actors(state, placement, recovery, cancellation)
    named_runs = NamedRuns(state)
    return Features(
        turns=Turns(state),
        waits=waits,
        nested_runs=NestedRuns(state),
        failures=failures,
        logs=Logs(state),
        references=references,
        recovery=recovery,
        checkpoints=Checkpoints(state, recovery, cancellation),
        cold=Cold(state, recovery),
        drain=drain,
        pressure=pressure,
        other_code=OtherCode(state),
        places=places,
        surplus=Surplus(state, placement, recovery),
        placement=placement,
        timers=timers,
        calls=Calls(state),
        status=StatusQueries(state),
        overview=Overview(state),
        primitives=Primitives(state, references),
        locks=locks,
        cancellation=cancellation,
        outcomes=outcomes,
        actors=actors,
        wait_graphs=WaitGraphs(state),
        named_runs=named_runs,
        roster=Roster(state),
        watches=Watches(state),
        endings=Endings(
            state,
            waits,
            outcomes,
            failures,
            cancellation,
            recovery,
            drain,
            pressure,
            actors,
            named_runs,
        ),
    )


_CLASSES: Final = list(get_type_hints(Features).values())
_JOINING: Final = (
    m.Welcome, m.LeaseRenewed, m.LinkBroke, m.Resumed, m.Refused, m.Shutdown,
)  # fmt: skip
_FOR_THE_HOST: Final = (
    *_JOINING, m.Leave, m.MemberDrained, OverviewTold, FibersTold, SavedTold, CancelTold,
)  # fmt: skip
"""The process itself joins, comes back, and ends; a program asks for others to leave, or looks at
the cluster."""
_HANDLERS: Final = HandlerTable(handles, m.CoordinatorMessage, _CLASSES, besides=_FOR_THE_HOST)
_ANSWERS: Final = HandlerTable(answers, Request, _CLASSES)
_GO_ON_ELSEWHERE: Final = "this process may be held for lost, so they go on elsewhere"


class Member:
    """Decides; its host steps the fibers, carries the messages, and guards it with a mutex."""

    state_type: type[MemberState] = MemberState

    def __init__(
        self,
        incarnation: int,
        *,
        offers_children: bool = False,
        is_standalone: bool = False,
        new_key: Callable[[], int] | None = None,
        worker: str | None = None,
    ) -> None:
        """
        Args:
            incarnation: the number that the coordinator gave to this life of the process.
            offers_children: whether children are offered to the cluster before they are run here.
            is_standalone: whether the member is alone in its cluster.
            new_key: makes the id of a lock, a variable or an object; None: as ids of fibers.
            worker: how the member is called in failures, if it is a worker.
        """
        self.state = self.state_type(
            incarnation,
            offers_children=offers_children,
            is_standalone=is_standalone,
            new_key=new_key,
            worker=worker,
        )
        self.features = _make(self.state)
        self._handlers = _HANDLERS.bind(self.features)
        answers = _ANSWERS.bind(self.features)
        self.state.hooks = Hooks(self.features, answers)
        self.answers = answers
        """By type of request, what answers it."""
        if not (offers_children or is_standalone):  # else no fiber goes on without the member
            self.answers = _ANSWERS.bind(self.features)
            self.answers.update(self.features.recovery.guarded(answers))
            self.answers.update(self.features.checkpoints.guarded())

    # -- what its host tells it -----------------------------------------------------------

    def start_root(
        self, io: IO[Any, Any, Any], context: Any, snapshots: Snapshots = "off"
    ) -> Fiber:
        """Begin a run, whose id is its root's; the root is not queued yet."""
        return self.features.placement.start_root(io, context, snapshots)

    def ship_root(self, root: Fiber, dumped: Dumped) -> None:
        """The root of a run leaves; its outcome is to come here."""
        self.features.placement.ship_root(root, dumped)

    def equip(self, has: m.Needs) -> None:
        """The process, which is alone, has this for placed fibers, and no more."""
        self.features.places.equip(has)

    def queue(self, work: Work) -> None:
        """Put work at the end of the queue."""
        self.state.queue(work)

    def receive(self, message: m.CoordinatorMessage) -> None:
        """Take up one message of the coordinator."""
        if self.state.has_left:
            self.state.stale += 1  # the coordinator has said it before it heard the goodbye
            return
        if message.is_counted:
            self.state.progress.received += 1
        self._handlers[type(message)](message)

    def called_back(self, fiber: Fiber, request: Request, result: Result[Any, Any]) -> None:
        """The callback of this fiber's request was called, for the first time or again."""
        self.features.calls.called_back(fiber, request, result)

    def callback_dropped(self, fiber: Fiber, request: AwaitCallback | AwaitBlocking) -> None:
        """The callback of this fiber's request has died without being called."""
        self.features.calls.callback_dropped(fiber, request)

    def cancel_run(self, run: int, cause: Cause = Cause.CANCELLED, reason: str = "") -> None:
        """Have all fibers of this run cancelled, here and elsewhere, unless it is over."""
        if run in self.state.runs:
            self.state.send(m.CancelRun(run, cause, reason))

    def nested_run_began(self, fiber: Fiber, run: int, is_executing: bool) -> None:
        """A function of this fiber waits for a run of this member; see `NestedRuns.began`."""
        self.features.nested_runs.began(fiber, run, is_executing)

    def nested_run_ended(self, fiber: Fiber) -> None:
        """The function waits no longer."""
        self.features.nested_runs.ended(fiber)

    def add_threads(self, count: int) -> None:
        """Count so many more threads that are going to step fibers; none of them does yet."""
        self.state.threads += count

    def remove_thread(self) -> None:
        """Count one thread less."""
        self.state.threads -= 1

    def thread_left(self) -> None:
        """An executor's thread is away for a while: what it has keeps no other work from coming."""
        self.state.stepping -= 1

    def thread_came_back(self) -> None:
        """The thread is there again."""
        self.state.stepping += 1

    def leave(self, seconds: float) -> None:
        """Leave the cluster, as soon as no fiber is left here that doesn't go on elsewhere.

        Args:
            seconds: how long that may take; the coordinator watches over it.
        """
        self.features.endings.leave(seconds)

    @property
    def drained(self) -> Drained:
        """The fate of the fibers here since the member leaves."""
        return self.features.drain.drained

    def lose_coordinator(self, reason: str, *, is_fenced: bool = False) -> None:
        """The coordinator is lost, for good; see `standalone` for the one that takes its place.

        Args:
            reason: why, for the Results of runs.
            is_fenced: whether the coordinator may go on, and hold this member for lost.
        """
        state = self.state
        state.orphaned_because = reason
        state.is_leaving = False  # its fibers end as others do, which are told of
        state.offers_children = False
        state.outbox.clear()
        state.progress.clear()
        for run in list(state.runs.values()):
            if not run.alive:
                self.features.endings.run_over(m.RunEnded(run.id, Cause.CLUSTER_CLOSED, reason))
            elif is_fenced and run.snapshots != "off":
                ended = m.RunEnded(run.id, Cause.CLUSTER_CLOSED, reason, _GO_ON_ELSEWHERE)
                self.features.endings.run_over(ended)
            else:
                run.begin_anew()
                state.send(m.StartRun(run.id))
        self.flush()  # how many fibers there are, before anything else is said of them
        for coordinator_lost in state.hooks.coordinator_lost:
            coordinator_lost(reason)

    def drop_chores(self) -> None:
        """The host has stopped, and will do none of the work that belongs to no fiber."""
        ready = self.state.ready
        self.state.ready = deque(
            work for work in ready if isinstance(work, Fiber) or not work.is_chore
        )

    # -- what its host takes out ----------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell at once."""
        state = self.state
        if state.outbox or state.given_back:
            return True
        return state.progress.is_urgent(may_wait=state.worker is None)

    @property
    def has_later_news(self) -> bool:
        """Whether there is something to tell before long."""
        progress = self.state.progress
        return bool(progress.newly_blocked or progress.unreported)

    def flush(self, *, full: bool = True) -> None:
        """Put what the coordinator doesn't know yet into the outbox; see `ProgressReport.flush`.

        A client hosts fibers of its own runs, and nobody but those waits for their starts and ends.
        """
        self.state.flush(full=full, may_wait=self.state.worker is None)

    def send(self, message: m.MemberMessage) -> None:
        """Let the coordinator hear what the process itself has to say."""
        self.state.send(message)

    def take_outbox(self) -> list[m.MemberMessage]:
        """Take out what the coordinator is to hear."""
        return self.state.take_outbox()

    def take_ended_runs(self) -> list[tuple[LocalRun, m.RunEnded]]:
        """Take out the runs that have ended."""
        ended, self.state.ended_runs = self.state.ended_runs, []
        return ended

    def take_for_host(self) -> list[HostMessage]:
        """Take out what the coordinator has said to the process: reports, log records, answers."""
        told, self.state.for_host = self.state.for_host, []
        return told

    def take_failure(self) -> Failure | None:
        """Take out the next failure that is to be reported (called in any thread)."""
        return self.features.failures.take()

    @property
    def has_failures(self) -> bool:
        """Whether failures are to be reported."""
        return bool(self.features.failures)

    def report_failures_later(self) -> None:
        """Handles have died: have the failures reported that nobody can ask for any more."""
        self.features.failures.report_later()

    def watch_handles(self, arm: Callable[[], Callable[[], None]]) -> None:
        """Let `arm` prepare for handles that die at any time; see `Failures.arm`."""
        self.features.failures.arm = arm

    # -- what its host asks ---------------------------------------------------------------

    @property
    def incarnation(self) -> int:
        """The number of this life of the process."""
        return self.state.incarnation

    @property
    def label(self) -> str:
        """The member as statuses and log records show it."""
        name = self.state.name
        return f"member {self.incarnation} ({name})" if name else f"member {self.incarnation}"

    @property
    def worker(self) -> str | None:
        """How the member is called in failures, if it is a worker."""
        return self.state.worker

    @property
    def log_levels(self) -> Mapping[int, LogLevels]:
        """By client: the log levels of those whose fibers are here."""
        return self.state.log_levels

    def is_running(self, run: int) -> bool:
        """Whether this run goes on; if not, what belongs to it is to be dropped."""
        return run in self.state.runs

    @property
    def hosts_fibers(self) -> bool:
        """Whether a fiber is here that hasn't ended."""
        return any(run.alive for run in self.state.runs.values())

    def describe_fibers(self, run: int) -> str:
        """The fibers of a run that are here, and their states; empty if the run is over."""
        return describe_fibers(self.state, run)

    # -- checks ---------------------------------------------------------------------------

    def validate(self, executing: Iterable[Work] | None = None) -> None:
        """Check what must always hold; tests call this after every event.

        Args:
            executing: what the executors have, if that is known.

        Raises:
            DistioBug: something doesn't.
        """
        check_places(self.state, executing)
        for validate in self.state.hooks.validate:
            validate()

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        state = self.state
        rest: dict[str, Any] = {
            "runs": state.runs,
            "fibers that are ready": state.ready,
            "fibers that are parked": state.parked,
            "messages for the host": state.for_host,
        }
        for leftovers in state.hooks.leftovers:
            rest |= leftovers()
        check_rest(f"member {state.incarnation}", rest)
