"""The interface of the coordinator's features: the moments in which each may have a say.

Rules
-----
- A feature is the coordinator's half of one conversation. It is given the state, and the features
  or methods that it needs, when it is made; none knows the coordinator itself.
- A method with `@handles` handles a message of a member; one with `@admits` checks before whether
  the member can truthfully say it.
- A feature asks something of all others through the hooks below. A feature has those in its class
  in which it has a say. For each event, all features are called in the order of one list.
- A hook is called in the middle of an event: it may send messages and call verbs of the state, but
  it must leave what it doesn't own as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Final, final

from distio.coordination.feature.hook import Hook, HookTable
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import FiberRecord, Run
from distio.protocol.messages import Chunk, MemberMessage

__all__ = ["CoordinatorFeature", "Hooks", "Key"]

Key = int | str
"""The key of a lock: a number for a variable or a lock of one program, a name for others."""

_NOBODY: Final[Mapping[int, int]] = {}


class CoordinatorFeature:
    """Base of all features: its hooks do nothing."""

    # -- fibers ---------------------------------------------------------------------------

    def fibers_left(self, member: MemberRecord, chunk: Chunk) -> None:
        """A chunk has come from a member.

        Called before its fibers are counted NOWHERE. All have records, which say so already.
        """

    def before_placing(self, member: MemberRecord, id: int, run: Run) -> None:
        """Fibers of this run are about to be placed at this member.

        Called before the `Place` is sent: what is sent here, the member hears before it has them.
        """

    def fibers_placed(self, member: MemberRecord, chunk: Chunk) -> None:
        """A chunk goes to a member, with the new epochs of its fibers.

        Called when the `Place` is sent: what is sent here, the member hears when it has them.
        """

    def fibers_dropped(self, host: int, chunk: Chunk) -> None:
        """The fibers of a chunk will never be placed: their run is over, or their target is gone.

        Args:
            host: NOWHERE if `fibers_left` was called for the chunk; else the member that has just
                sent it, whose run is over.
            chunk: with the fibers.
        """

    def fiber_ended(self, fiber: int, record: FiberRecord) -> None:
        """A member has reported the end of a fiber that has a record, which says so already."""

    def fiber_lost(self, fiber: int, record: FiberRecord, worker: str, reason: str) -> None:
        """A fiber is lost, and its record says so already: its outcome will never come."""

    def fiber_unreachable(self, fiber: int, host: int, exposed: int) -> None:
        """No member has a handle of a fiber any more, but the one that hosts it.

        Args:
            fiber: the fiber.
            host: its member, unless the fiber has a record.
            exposed: how often that member has reported that a handle leaves.
        """

    def key_unreachable(self, run: int, key: int) -> None:
        """No fiber can reach what this key of a run stands for any more."""

    # -- runs -----------------------------------------------------------------------------

    def run_started(self, id: int, run: Run) -> None:
        """A run has started: its root is counted at the member that has started it."""

    def run_is_ending(self, id: int, run: Run) -> None:
        """A run is being cancelled, and its members have been told."""

    def run_held(self, id: int) -> None:
        """A member doesn't read what fibers of this run have for it; see `pressure`."""

    def run_ended(self, id: int, run: Run) -> None:
        """A run is over.

        Called when the state has forgotten the run and the records of its fibers, and before the
        members are told.
        """

    def run_may_be_stuck(self, id: int, run: Run) -> None:
        """A further fiber of this run waits, or a fiber that could wake others is gone."""

    def will_wake(self, run: int) -> bool:
        """Whether something is under way that will wake a fiber of this run by itself."""
        return False

    def waiting_at(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait for what the coordinator has.

        A fiber that waits for other fibers isn't counted: its member reports that.
        """
        return _NOBODY

    def tokens_moved(self, lock: Key) -> None:
        """Tokens of this lock were lent or have come back."""

    # -- members --------------------------------------------------------------------------

    def member_joined(self, member: MemberRecord) -> None:
        """A process has become a member, and has its `Welcome`."""

    def member_reported(self, member: MemberRecord) -> None:
        """A member has reported its progress, which the state has taken up."""

    def member_slow(self, member: MemberRecord) -> None:
        """This member has too many bytes before it that it has not read; called again if it gets
        more."""

    def member_leaves(self, member: MemberRecord) -> None:
        """This member has said that it is about to leave."""

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """A member is none any more.

        Called when the state has forgotten the member. Others may be lost in the same event, and
        be forgotten by the state already, before this is called for them.
        """

    # -- time -----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` is to be called, even if nothing happens before."""
        return None

    def tick(self, now: float) -> None:
        """A moment has come for which some feature has asked by `CoordinatorState.wake_at`.

        Called after the event is handled. The moment may be earlier than this feature has asked
        for.
        """

    def settle(self) -> None:
        """Do what is left to the end of an event.

        Called after `tick`, if some feature has said that the state `is_unsettled`.
        """

    # -- mistakes of distio's own ---------------------------------------------------------

    def runs_with(self, key: int) -> Iterable[int]:
        """The runs to which what this key stands for belongs."""
        return ()

    def spoilt_runs(self) -> Iterable[int]:
        """After a failure: the runs of which the feature has lost track."""
        return ()

    def abandon_run(self, run: int, reason: str) -> None:
        """Fail the fibers that wait here for one of the `spoilt_runs`: nothing will serve them."""

    def lose_track(self, id: int, run: Run, reason: str) -> None:
        """The coordinator has lost track of a run, for the first time; its books are in order."""

    def refuse(self, member: int, message: MemberMessage, reason: str) -> None:
        """A handler has failed: answer a fiber that can't go on before it is answered."""

    def count_anew(self) -> None:
        """After a failure, when the books of all runs are in order: bring the rest in line."""

    # -- checks ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Check what must always hold between two events.

        Raises:
            DistioBug: something doesn't.
        """

    def leftovers(self) -> Mapping[str, Sized]:
        """By name in words: what must be empty when all runs have ended."""
        return {}


F = CoordinatorFeature


@final
class Hooks(HookTable):
    """The methods of the features that have a say in each hook, in order."""

    fibers_left = Hook(F.fibers_left)
    before_placing = Hook(F.before_placing)
    fibers_placed = Hook(F.fibers_placed)
    fibers_dropped = Hook(F.fibers_dropped)
    fiber_ended = Hook(F.fiber_ended)
    fiber_lost = Hook(F.fiber_lost)
    fiber_unreachable = Hook(F.fiber_unreachable)
    key_unreachable = Hook(F.key_unreachable)
    run_started = Hook(F.run_started)
    run_is_ending = Hook(F.run_is_ending)
    run_held = Hook(F.run_held)
    run_ended = Hook(F.run_ended)
    run_may_be_stuck = Hook(F.run_may_be_stuck)
    will_wake = Hook(F.will_wake)
    waiting_at = Hook(F.waiting_at)
    tokens_moved = Hook(F.tokens_moved)
    member_joined = Hook(F.member_joined)
    member_reported = Hook(F.member_reported)
    member_slow = Hook(F.member_slow)
    member_leaves = Hook(F.member_leaves)
    member_lost = Hook(F.member_lost)
    next_deadline = Hook(F.next_deadline)
    tick = Hook(F.tick)
    settle = Hook(F.settle)
    runs_with = Hook(F.runs_with)
    spoilt_runs = Hook(F.spoilt_runs)
    abandon_run = Hook(F.abandon_run)
    lose_track = Hook(F.lose_track)
    refuse = Hook(F.refuse)
    count_anew = Hook(F.count_anew)
    validate = Hook(F.validate)
    leftovers = Hook(F.leftovers)

    def __getstate__(self) -> tuple[CoordinatorFeature, ...]:
        return tuple(self.features)

    def __setstate__(self, features: tuple[CoordinatorFeature, ...]) -> None:
        super().__init__(features)
