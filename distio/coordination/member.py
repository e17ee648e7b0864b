"""A member's state machine: what happens to the fibers that one process hosts.

Rules
-----
- A fiber hosted here is in exactly one place: in `ready`, in `parked`, or with the executor that
  steps it.
- Children start first-in first-out. What wakes goes to the end of `ready`.
- A wait among fibers of one member never leaves it. Registering and looking whether it has
  happened already is one step, under the caller's mutex: no wake-up can be lost.
- An outcome lives in the handle of its fiber. For a fiber that others may ask for (placed here,
  or its handle has left) the handle is kept in `hosted` until nobody wants it, at the latest
  until the run ends.
- What the coordinator is to hear goes to the outbox, in order; counts are gathered and told in one
  `Progress`, always before anything that depends on them.

Nothing here runs user code. Whatever does (stepping, pickling, unpickling, calling) is work that
an `Executor` takes from `ready` and runs outside the mutex.

The machine is its state and a list of features, each of which has a folder of its own. A feature
handles messages of the coordinator, answers requests of fibers, and is told what happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from distio.coordination.actors.member import Actors
from distio.coordination.calls.member import Calls
from distio.coordination.cancellation.member import Cancelling
from distio.coordination.deadlock.member import WaitGraphs
from distio.coordination.dispatch import HandlerTable, answers, handles
from distio.coordination.endings.member import Endings
from distio.coordination.executor.tasks import Work
from distio.coordination.executor.turns import Turns
from distio.coordination.failures.member import Failures
from distio.coordination.feature.member import MemberFeature, overriding
from distio.coordination.invariants.member import check_places
from distio.coordination.leftovers import check_rest
from distio.coordination.locks.member import Locks
from distio.coordination.logs.member import Logs
from distio.coordination.outcomes.member import Outcomes
from distio.coordination.outcomes.nested import NestedRuns
from distio.coordination.outcomes.waits import Waits
from distio.coordination.placement.member import Placement
from distio.coordination.primitives.member import Primitives
from distio.coordination.references.member import References
from distio.coordination.state.failure import Failure
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.coordination.status.member import StatusQueries
from distio.coordination.status.words import describe_fibers
from distio.coordination.timers.member import Timers
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.core.pickling.payloads import Dumped
from distio.protocol import messages as m
from distio.protocol.endings import Cause
from distio.protocol.messages.logs import LogLevels
from distio.protocol.requests import AwaitBlocking, AwaitCallback, Request
from distio.result import Result

__all__ = ["Member"]

F = TypeVar("F", bound=MemberFeature)

_FEATURES: Final = (
    Turns,
    Waits,
    NestedRuns,
    Failures,
    Logs,
    References,
    Placement,
    Timers,
    Calls,
    StatusQueries,
    Primitives,
    Locks,
    Cancelling,
    Outcomes,
    Actors,
    WaitGraphs,
    Endings,
)
_HANDLERS: Final = HandlerTable(
    # the process itself joins, and ends
    handles,
    m.CoordinatorMessage,
    _FEATURES,
    besides=(m.Welcome, m.Refused, m.Shutdown),
)
_ANSWERS: Final = HandlerTable(answers, Request, _FEATURES)


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
        self.state = state = self.state_type(
            incarnation,
            offers_children=offers_children,
            is_standalone=is_standalone,
            new_key=new_key,
            worker=worker,
        )
        waits, failures, self._logs = Waits(state), Failures(state), Logs()
        references = References(state, self._free)
        features: list[MemberFeature] = []
        placement = Placement(state, features, references, self._logs, self.flush)
        cancelling = Cancelling(state, self._withdraw)
        outcomes = Outcomes(state, references, waits)
        self._nested_runs, self._calls = NestedRuns(state), Calls(state)
        endings = Endings(state, features, waits, outcomes, failures, cancelling)
        # in the order in which they are told what happens: what a run has left here is dropped
        # before its locks are free, and fibers take their cancellations along when they leave,
        # before their outcomes are asked for
        features += [
            Turns(state),
            waits,
            self._nested_runs,
            failures,
            self._logs,
            references,
            placement,
            Timers(state),
            self._calls,
            StatusQueries(state),
            Primitives(state, references),
            Locks(state, references),
            cancelling,
            outcomes,
            Actors(state, placement),
            WaitGraphs(state, features),
            endings,
        ]
        self.features: Sequence[MemberFeature] = features
        self.waits, self.placement, self.cancelling = waits, placement, cancelling
        self.endings, self._failures = endings, failures
        self._freeing = overriding(features, MemberFeature.free)
        self._before_flush = overriding(features, MemberFeature.before_flush)
        self._after_flush = overriding(features, MemberFeature.after_flush)
        self._handlers = _HANDLERS.bind(features)
        self.answers = _ANSWERS.bind(features)
        """By type of request, what answers it."""
        self._withdrawals = {
            kind: _feature_of(answer).withdraw for kind, answer in self.answers.items()
        }

    # -- what its host tells it -----------------------------------------------------------

    def start_root(self, io: IO[Any, Any, Any], context: Any) -> Fiber:
        """Begin a run, whose id is its root's; the root is not queued yet."""
        return self.placement.start_root(io, context)

    def ship_root(self, root: Fiber, dumped: Dumped) -> None:
        """The root of a run leaves; its outcome is to come here."""
        self.placement.ship_root(root, dumped)

    def queue(self, work: Work) -> None:
        """Put work at the end of the queue."""
        self.state.queue(work)

    def receive(self, message: m.CoordinatorMessage) -> None:
        """Take up one message of the coordinator."""
        if message.is_counted:
            self.state.progress.received += 1
        self._handlers[type(message)](message)

    def called_back(self, fiber: Fiber, request: Request, result: Result[Any, Any]) -> None:
        """The callback of this fiber's request was called, for the first time or again."""
        self._calls.called_back(fiber, request, result)

    def callback_dropped(self, fiber: Fiber, request: AwaitCallback | AwaitBlocking) -> None:
        """The callback of this fiber's request has died without being called."""
        self._calls.callback_dropped(fiber, request)

    def cancel_run(self, run: int, cause: Cause = Cause.CANCELLED, reason: str = "") -> None:
        """Have all fibers of this run cancelled, here and elsewhere, unless it is over."""
        if run in self.state.runs:
            self.state.send(m.CancelRun(run, cause, reason))

    def nested_run_began(self, fiber: Fiber, run: int, is_in_hand: bool) -> None:
        """A function of this fiber waits for a run of this member; see `NestedRuns.began`."""
        self._nested_runs.began(fiber, run, is_in_hand)

    def nested_run_ended(self, fiber: Fiber) -> None:
        """The function waits no longer."""
        self._nested_runs.ended(fiber)

    def thread_left(self) -> None:
        """An executor's thread is away for a while: what it has keeps no other work from coming."""
        self.state.stepping -= 1

    def thread_came_back(self) -> None:
        """The thread is there again."""
        self.state.stepping += 1

    def leave(self, seconds: float) -> None:
        """Leave the cluster, as soon as all fibers here have released what they hold.

        Args:
            seconds: how long that may take; the coordinator watches over it.
        """
        self.endings.leave(seconds)

    def lose_coordinator(self, reason: str) -> None:
        """The coordinator is lost, for good; see `standalone` for the one that takes its place."""
        state = self.state
        state.orphaned_because = reason
        state.is_leaving = False  # its fibers end as others do, which are told of
        state.offers_children = False
        state.outbox.clear()
        state.progress.clear()
        for run in list(state.runs.values()):
            if run.alive:
                run.begin_anew()
                state.send(m.StartRun(run.id))
            else:
                self.endings.run_over(m.RunEnded(run.id, Cause.CLUSTER_CLOSED, reason))
        self.flush()  # how many fibers there are, before anything else is said of them
        for feature in self.features:
            feature.coordinator_lost(reason)

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
        return bool(state.outbox or state.progress or state.given_back)

    @property
    def has_newly_blocked(self) -> bool:
        """Whether there is something to tell before long."""
        return bool(self.state.progress.newly_blocked)

    def flush(self, *, full: bool = True) -> None:
        """Put what the coordinator doesn't know yet into the outbox; see `ProgressReport.flush`."""
        for feature in self._before_flush:
            feature.before_flush()
        self.state.progress.flush(self.state.load, self.state.outbox, full=full)
        for feature in self._after_flush:
            feature.after_flush()

    def take_outbox(self) -> list[m.MemberMessage]:
        """Take out what the coordinator is to hear."""
        return self.state.take_outbox()

    def take_ended_runs(self) -> list[tuple[LocalRun, m.RunEnded]]:
        """Take out the runs that have ended."""
        ended, self.state.ended_runs = self.state.ended_runs, []
        return ended

    def take_logs(self) -> list[m.LogsRelayed]:
        """Take out the log records that have arrived."""
        return self._logs.take()

    def take_failure(self) -> Failure | None:
        """Take out the next failure that is to be reported (called in any thread)."""
        return self._failures.take()

    @property
    def has_failures(self) -> bool:
        """Whether failures are to be reported."""
        return bool(self._failures)

    def report_failures_later(self) -> None:
        """Handles have died: have the failures reported that nobody can ask for any more."""
        self._failures.report_later()

    def watch_handles(self, arm: Callable[[], Callable[[], None]]) -> None:
        """Let `arm` prepare for handles that die at any time; see `Failures.arm`."""
        self._failures.arm = arm

    # -- what its host asks ---------------------------------------------------------------

    @property
    def incarnation(self) -> int:
        """The number of this life of the process."""
        return self.state.incarnation

    @property
    def worker(self) -> str | None:
        """How the member is called in failures, if it is a worker."""
        return self.state.worker

    @property
    def log_levels(self) -> Mapping[int, LogLevels]:
        """By client: the log levels of those whose fibers are here."""
        return self._logs.levels

    def is_running(self, run: int) -> bool:
        """Whether this run goes on; if not, what belongs to it is to be dropped."""
        return run in self.state.runs

    @property
    def hosts_fibers(self) -> bool:
        """Whether a fiber is here that hasn't ended."""
        return any(run.alive for run in self.state.runs.values())

    def describe_fibers(self, run: int) -> str:
        """Which fibers of a run are here, and what they are at; empty if the run is over."""
        return describe_fibers(self.state, run)

    # -- what its features ask ------------------------------------------------------------

    def _withdraw(self, fiber: Fiber, request: Request) -> bool:
        return self._withdrawals[type(request)](fiber, request)

    def _free(self, keys: Sequence[int]) -> list[Any]:
        freed = [each for feature in self._freeing for each in feature.free(keys)]
        return [each for each in freed if each is not None]

    # -- checks ---------------------------------------------------------------------------

    def part(self, kind: type[F]) -> F:
        """The feature of this class, or of one derived from it; for tests."""
        (found,) = [each for each in self.features if isinstance(each, kind)]
        return found

    def validate(self, in_hand: Iterable[Work] | None = None) -> None:
        """Check what must always hold; tests call this after every event.

        Args:
            in_hand: what the executors have, if that is known.

        Raises:
            DistioBug: something doesn't.
        """
        check_places(self.state, in_hand)
        for feature in self.features:
            feature.validate()

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        state = self.state
        rest: dict[str, Any] = {
            "runs": state.runs,
            "fibers that are ready": state.ready,
            "fibers that are parked": state.parked,
        }
        for feature in self.features:
            rest |= feature.leftovers()
        check_rest(f"member {state.incarnation}", rest)


def _feature_of(answer: Any) -> MemberFeature:
    feature: MemberFeature = answer.__self__
    return feature
