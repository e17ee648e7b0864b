"""The coordinator's state machine: `handle(now, event) -> [Command]`.

The machine is a state, and features that know it. Each feature is the coordinator's half of one
conversation with members, has its rules, and handles its messages. `feature/coordinator.py` has the
other moments in which a feature may have a say.

Rules
-----
- A message of an incarnation that is not (or no longer) a member is dropped and counted in `stale`.
- To register and to grant is one step of this machine, for all that fibers wait for.
- The machine is a function of its inputs: the same events, with the same times, lead to the same
  commands, whether it is pickled and loaded in between or not. So no command depends on the order
  of a set, on an address, on a hash of a text, or on anything outside of the machine.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final, NamedTuple, get_type_hints

from distio.coordination.actors.coordinator import Actors
from distio.coordination.admission import require_role
from distio.coordination.cancellation.coordinator import Cancellation
from distio.coordination.checkpoints.coordinator import Checkpoints
from distio.coordination.code.coordinator import OtherCode
from distio.coordination.cold.coordinator import PUT_AWAY, Cold, PutAwayPolicy
from distio.coordination.deadlock.coordinator import DeadlockDetector
from distio.coordination.dispatch import HandlerTable, admits, handles, unchecked
from distio.coordination.durable.coordinator import NamedRuns
from distio.coordination.endings.coordinator import Endings
from distio.coordination.feature.coordinator import Hooks
from distio.coordination.invariants.coordinator import check, check_at_rest
from distio.coordination.locks.coordinator import Locks
from distio.coordination.logs.coordinator import Logs
from distio.coordination.membership.coordinator import Membership
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.outcomes.unverified_waits import UnverifiedWaits
from distio.coordination.overview.coordinator import Overview
from distio.coordination.overview.saved import SavedState
from distio.coordination.placement.coordinator import Placement
from distio.coordination.placement.unfit_reports import UnfitReports
from distio.coordination.pressure.coordinator import Pressure
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.recovery.reports import LossReports
from distio.coordination.references.coordinator import References
from distio.coordination.roster.coordinator import Roster
from distio.coordination.runs.coordinator import Runs
from distio.coordination.settings import GRACE_SECONDS, KEEP_SECONDS, MAX_LOSSES, Settings
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import (
    Closing,
    Disconnected,
    Emptying,
    Event,
    Expelled,
    Forked,
    Joined,
    PeerRefused,
    Received,
    Send,
)
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run
from distio.coordination.state.store import InMemory, Keep
from distio.coordination.state.unread import MOST_UNREAD_BYTES
from distio.coordination.status.coordinator import StatusQueries
from distio.coordination.timers.coordinator import Timers
from distio.coordination.watches.coordinator import Watches
from distio.protocol import messages as m

__all__ = ["Coordinator", "Features"]


class Features(NamedTuple):
    """All features, in the order in which their hooks are called."""

    references: References
    recovery: Recovery  # before all that a lost member has: some of it goes on elsewhere
    checkpoints: Checkpoints
    actors: Actors
    cold: Cold
    cancellation: Cancellation  # before outcomes: a fiber hears of it before its handle is dropped
    outcomes: Outcomes
    timers: Timers
    locks: Locks
    primitives: Primitives
    logs: Logs
    unverified_waits: UnverifiedWaits
    membership: Membership
    endings: Endings
    named_runs: NamedRuns
    watches: Watches
    runs: Runs  # after all from which a lost member has something: its runs may be over then
    deadlocks: DeadlockDetector
    status: StatusQueries
    overview: Overview
    saved: SavedState
    placement: Placement  # late: what has become of members and runs in this event is known
    unfit_reports: UnfitReports  # after placement: what waits then has found no place
    roster: Roster  # after placement: what waits then has found no place
    pressure: Pressure  # after placement: it tells how much is left that has no place
    other_code: OtherCode
    loss_reports: LossReports  # last: it tells where fibers were placed


def _make(
    state: CoordinatorState,
    grace: float,
    max_losses: int,
    put_away: PutAwayPolicy,
    keep_seconds: float,
) -> Features:
    references = References(state)
    unverified_waits = UnverifiedWaits(state, references)
    pressure = Pressure(state)
    outcomes = Outcomes(state, references, unverified_waits, pressure.said)
    locks, timers = Locks(state, references), Timers(state)
    primitives, actors = Primitives(state, references, pressure), Actors(state)
    cold = Cold(state, references, timers.is_running, timers.take, put_away)
    timers.fell_asleep = cold.fell_asleep
    membership = Membership(state)
    endings = Endings(state, membership.dismiss, grace)
    named_runs = NamedRuns(state, endings.begin, keep_seconds)
    loss_reports = LossReports(state, named_runs.clients_of)
    placement = Placement(
        state,
        references,
        unverified_waits,
        locks.has_lent,
        endings.check_loss,
        actors,
        outcomes.move_waits,
    )
    return Features(
        references=references,
        recovery=Recovery(
            state,
            references,
            unverified_waits,
            outcomes.send_kept,
            locks.move,
            locks.has_lent,
            timers.deadline_of,
            loss_reports.restored,
            locks.give_up_places,
            primitives.is_waiting,
            max_losses,
        ),
        checkpoints=Checkpoints(state),
        actors=actors,
        cold=cold,
        cancellation=Cancellation(state, outcomes, cold.rouse),
        outcomes=outcomes,
        timers=timers,
        locks=locks,
        primitives=primitives,
        logs=Logs(state, named_runs.clients_of, named_runs.keep_records),
        unverified_waits=unverified_waits,
        membership=membership,
        endings=endings,
        named_runs=named_runs,
        watches=Watches(state, named_runs.clients_of),
        runs=Runs(state, endings, loss_reports.gone),
        deadlocks=DeadlockDetector(
            state, unverified_waits.makers, locks.all_held, locks.has_tokens, endings.deadlocked
        ),
        status=StatusQueries(state),
        overview=Overview(state, endings.begin, locks, timers),
        saved=SavedState(state, timers.deadline_of),
        roster=Roster(state),
        placement=placement,
        unfit_reports=UnfitReports(state, named_runs.clients_of),
        pressure=pressure,
        other_code=OtherCode(
            state, placement.admit_offer, placement.take_in, named_runs.clients_of
        ),
        loss_reports=loss_reports,
    )


_CLASSES: Final = list(get_type_hints(Features).values())
# a handshake is over before the machine hears of a member: see `membership.handshakes`
_BESIDES: Final = (*m.HANDSHAKE, m.RenewLease)
_HANDLERS: Final = HandlerTable(handles, m.MemberMessage, _CLASSES, besides=_BESIDES)
_UNCHECKED: Final = HandlerTable(unchecked, m.MemberMessage, _CLASSES, is_complete=False)
_RULES: Final = HandlerTable(
    admits, m.MemberMessage, _CLASSES, besides=(*_BESIDES, *_UNCHECKED.kinds)
)


class Coordinator:
    """Decides; its shell carries the messages and keeps the clock."""

    def __init__(
        self,
        grace: float = GRACE_SECONDS,
        max_losses: int = MAX_LOSSES,
        put_away: PutAwayPolicy = PUT_AWAY,
        keep: Keep = InMemory,
        keep_seconds: float = KEEP_SECONDS,
        most_unread: int = MOST_UNREAD_BYTES,
    ) -> None:
        """
        Args:
            grace: how many seconds a run that is ended may take to release what it holds.
            max_losses: how many workers may be lost while they step a fiber, before it is lost too.
            put_away: which fibers that sleep are put away, to cost no member anything.
            keep: keeps the bytes of snapshots and outcomes.
            keep_seconds: for how long the outcome of a named run is kept, if its client doesn't
                say.
            most_unread: while a member has more bytes before it that it has not read, others that
                have something for it are slowed.
        """
        self.state = CoordinatorState(keep, most_unread)
        self.features = _make(self.state, grace, max_losses, put_away, keep_seconds)
        self.state.hooks = Hooks(self.features)
        self._bind()

    def configure(self, settings: Settings) -> None:
        """Take these from now on; see `__init__`."""
        self.state.version = settings.version
        self.features.endings.grace = settings.grace
        self.features.recovery.max_losses = settings.max_losses
        self.features.named_runs.keep_seconds = settings.keep_seconds
        self.state.most_unread = settings.unread_memory

    def _bind(self) -> None:
        self._handlers = _HANDLERS.bind(self.features)
        self._rules = _RULES.bind(self.features)

    def admit(self, event: Received) -> None:
        """Check whether a member can truthfully say what it has said.

        Raises:
            Inadmissible: it can't.
            Late: nothing follows from it.
        """
        sender, kind = self.state.members.get(event.member), type(event.message)
        if sender is not None:
            require_role(sender, kind)
            if kind in _RULES.kinds:
                self._rules[kind](sender, event.message)

    def handle(self, now: float, event: Event) -> list[Send]:
        """Take up one event.

        Args:
            now: seconds on a clock that never goes back.
            event: what happened.

        Returns:
            The messages to send to each member, in order.
        """
        state = self.state
        state.now = now
        if type(event) is Received:
            sender = state.members.get(event.member)
            if sender is not None:
                message = event.message
                self._handlers[type(message)](sender, message)
            else:
                state.stale += 1
        else:
            self._take_up(event)
        if state.alarm <= now:
            state.survive(state.tick)
        if state.is_unsettled:
            state.is_unsettled = False
            state.survive_each(state.hooks.settle)
        if state.failures:
            raise state.failures[0]
        commands, state.commands = state.commands, []
        return commands

    def _take_up(self, event: Event) -> None:
        """Take up what the shell has seen."""
        membership = self.features.membership
        if isinstance(event, Joined):
            membership.join(event.hello, event.fence_seconds, event.role)
        elif isinstance(event, Disconnected):
            membership.disconnected(event)
        elif isinstance(event, Expelled):
            membership.expel(event.member, event.reason, is_blameless=event.is_blameless)
        elif isinstance(event, Closing):
            self.features.endings.close(event.reason, event.grace)
        elif isinstance(event, Emptying):
            self.features.endings.empty(event.reason, event.grace)
        elif isinstance(event, Forked):
            self._fork(event)
        elif isinstance(event, PeerRefused):
            self.state.tally("peers refused")

    def _fork(self, event: Forked) -> None:
        """End all runs but one, whose fibers go on as if all members were lost together."""
        for id, run in list(self.state.runs.items()):
            if id != event.run:
                self.state.end_run(id, run)
        self.features.named_runs.keep_only(event.run, event.name)
        self.features.membership.lose_all("the run was forked")

    def next_deadline(self) -> float | None:
        """When a Tick is due at the latest; None: only other events matter."""
        state = self.state
        return None if state.alarm == inf else state.next_deadline()  # none, most often

    # -- what shells look at --------------------------------------------------------------

    @property
    def members(self) -> dict[int, MemberRecord]:
        """The records of the members, by incarnation."""
        return self.state.members

    @property
    def runs(self) -> dict[int, Run]:
        """The runs, by the id of the root."""
        return self.state.runs

    @property
    def fibers(self) -> dict[int, FiberRecord]:
        """The records of fibers that have one, by id."""
        return self.state.fibers

    @property
    def stale(self) -> int:
        """How many messages came too late to mean anything."""
        return self.state.stale

    @property
    def is_closing(self) -> bool:
        """Whether the coordinator is about to end."""
        return self.features.endings.is_closing

    def validate(self) -> None:
        """Check what must always hold, or raise a DistioBug; tests call this after every event."""
        check(self.state)

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        check_at_rest(self.state)

    def take_apart(self) -> None:
        """The machine is done with: no circle keeps its parts from dying when it does."""
        self.state.hooks = Hooks(())
        self.features.timers.forget_listener()

    # -- pickling: handlers are bound anew ------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"state": self.state, "features": self.features}

    def __setstate__(self, parts: dict[str, Any]) -> None:
        self.__dict__.update(parts)
        self._bind()
