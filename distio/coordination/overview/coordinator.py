"""The overview of a cluster: the coordinator tells what it knows, and asks members for their part.

Rules
-----
- An observer changes nothing of a cluster; a client that looks may cancel a run.
- An answer is bounded: lists have the first ones, with the number of all; fibers come in pages.
- A page of fibers is bytes that only the observer opens.
- A member that doesn't answer harms nobody: its observer says when it waits no longer. If the
  member is lost, the observer is told.
- A listing ends with its last page, or with its observer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sized
from itertools import islice
from typing import Final, NamedTuple, Protocol

from distio.coordination.dispatch import handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature, Key
from distio.coordination.overview.text import LATE
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol.endings import Cause
from distio.protocol.ids import NOBODY
from distio.protocol.messages import overview as m
from distio.protocol.version import PROTOCOL

__all__ = ["MOST_TOLD", "PAGE", "Overview"]

MOST_TOLD: Final = 1_000
"""How many members, runs and locks one answer has at most."""
PAGE: Final = 1_000
"""How many fibers a page has."""
_MOST_LISTINGS: Final = 100


class _Listing(NamedTuple):
    """Fibers that an observer lists."""

    observer: int
    question: int
    member: int


class LocksInUse(Protocol):
    """The locks of a cluster."""

    @property
    def waiting(self) -> int:
        """How many fibers wait for locks."""

    def in_use(self) -> Iterable[tuple[Key, int, int, int]]:
        """The locks that have tokens out or fibers waiting: key, tokens, lent, waiting."""


class Overview(CoordinatorFeature):
    """The listings of fibers that aren't told to their ends."""

    def __init__(
        self,
        state: CoordinatorState,
        cancel: Callable[[int, Run, Cause], None],
        locks: LocksInUse,
        sleeping: Sized,
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            cancel: called with a run that is to be cancelled.
            locks: all locks.
            sleeping: the timers of fibers that sleep at members.
        """
        self._state = state
        self._cancel = cancel
        self._locks = locks
        self._sleeping = sleeping
        self._count = 0
        self._listings: dict[int, _Listing] = {}
        self._number_of: dict[_Listing, int] = {}
        self._here: dict[_Listing, deque[int]] = {}
        """The fibers at no member that each listing hasn't told yet."""

    # -- what goes on ---------------------------------------------------------------------

    @handles
    @unchecked
    def tell(self, sender: MemberRecord, message: m.AskOverview) -> None:
        """Tell what the coordinator knows."""
        self._state.send(sender.id, self.overview(self._state.now, message.question))

    def overview(self, now: float, question: int = 0) -> m.OverviewTold:
        """The overview of this moment, as the answer to this question."""
        state = self._state
        fibers, nowhere = self._fibers_by_member()
        told = self.numbers(nowhere)
        members = islice(state.members.values(), MOST_TOLD)
        lists = (
            [self._tell_member(each, now, fibers) for each in members],
            [self._tell_run(*each, now) for each in islice(state.runs.items(), MOST_TOLD)],
            [m.LockTold(*each) for each in islice(self._locks.in_use(), MOST_TOLD)],
        )
        return m.OverviewTold(question, told, *lists)

    def numbers(self, nowhere: int | None = None) -> m.ClusterTold:
        """The numbers of the whole cluster; `nowhere` fibers are at no member, if that is known."""
        state = self._state
        if nowhere is None:
            _, nowhere = self._fibers_by_member()
        alive = sum(run.alive for run in state.runs.values())
        asleep = sum(run.asleep for run in state.runs.values())
        ready = sum(each.load for each in state.members.values())
        blocked = sum(sum(each.blocked.values()) for each in state.members.values())
        sleeping, locked = len(self._sleeping), self._locks.waiting
        rest = alive - nowhere - ready - blocked - sleeping - locked
        states = {
            "ready or running": min(ready, alive),
            "waiting for fibers": blocked,
            "waiting for locks": locked,
            "sleeping": sleeping,
            "sleeping at the coordinator": asleep,
            "waiting for a place": nowhere - asleep,
            "elsewhere": max(0, rest),
        }
        return m.ClusterTold(
            version=state.version,
            protocol=PROTOCOL,
            members=len(state.members),
            runs=len(state.runs),
            locks=sum(1 for _ in self._locks.in_use()),
            states=states,
            backlog=len(state.backlog),
            counts={LATE: state.stale, **state.counts},
        )

    def _fibers_by_member(self) -> tuple[dict[int, int], int]:
        """How many fibers are alive at each member, and at none."""
        fibers: dict[int, int] = {}
        for run in self._state.runs.values():
            for member, count in run.alive_at.items():
                fibers[member] = fibers.get(member, 0) + count
        return fibers, fibers.pop(NOWHERE, 0)

    def _tell_member(
        self, member: MemberRecord, now: float, fibers: Mapping[int, int]
    ) -> m.MemberTold:
        hello = member.hello
        left = "leaves" if member.is_leaving else ""
        return m.MemberTold(
            id=member.id,
            name=hello.name,
            kind=hello.kind,
            host=hello.host,
            process=hello.pid,
            threads=hello.threads,
            version=hello.version,
            python=hello.python,
            age_seconds=max(0.0, now - member.joined_at),
            fibers=fibers.get(member.id, 0),
            ready=max(0, member.load),
            blocked=max(0, sum(member.blocked.values())),
            state="gone" if member.is_gone else left,
        )

    def _tell_run(self, id: int, run: Run, now: float) -> m.RunTold:
        owner = self._state.members.get(run.owner)
        members = self._state.members.values()
        return m.RunTold(
            id=id,
            name=run.name,
            owner="" if owner is None else owner.name(),
            age_seconds=max(0.0, now - run.since),
            fibers=max(0, run.alive),
            blocked=max(0, sum(each.blocked.get(id, 0) for each in members)),
            waiting=max(0, run.alive_at.get(NOWHERE, 0) - run.asleep),
            asleep=max(0, run.asleep),
            ending="" if run.ending is None else _why(*run.ending),
        )

    @handles
    @unchecked
    def cancel(self, sender: MemberRecord, message: m.AskToCancel) -> None:
        """Cancel a run, whoever has started it."""
        run = self._state.runs.get(message.run)
        self._state.send(sender.id, m.CancelTold(message.question, run is not None))
        if run is not None:
            self._cancel(message.run, run, Cause.CANCELLED)

    # -- fibers ---------------------------------------------------------------------------

    @handles
    @unchecked
    def ask(self, sender: MemberRecord, message: m.AskFibers) -> None:
        """An observer asks for a page of the fibers at a member, or at none."""
        listing = _Listing(sender.id, message.question, message.member)
        if message.member == NOBODY:
            self._tell_page_of_nowhere(listing, message)
        elif message.member not in self._state.members:
            self._tell_gone(listing)
        elif message.page and listing not in self._number_of:
            self._state.stale += 1
        else:
            number = self._number_of.get(listing) or self._begin(listing)
            order = m.ListFibers(number, message.run, message.page)
            self._state.send(message.member, order)

    @handles
    @unchecked
    def listed(self, sender: MemberRecord, message: m.FibersListed) -> None:
        """A member sends a page."""
        listing = self._listings.get(message.listing)
        if listing is None or listing.member != sender.id:
            self._state.stale += 1  # its observer is gone
            return
        if message.is_last:
            self._forget(listing)
        told = m.FibersTold(
            listing.question, sender.id, message.page, message.is_last, message.is_cut
        )
        self._state.send(listing.observer, told)

    def _begin(self, listing: _Listing) -> int:
        if len(self._listings) >= _MOST_LISTINGS:
            self._stop(next(iter(self._listings.values())))
        self._count += 1
        self._listings[self._count] = listing
        self._number_of[listing] = self._count
        return self._count

    def _stop(self, listing: _Listing) -> None:
        number = self._forget(listing)
        self._state.send_if_member(listing.member, m.StopListing(number))

    def _forget(self, listing: _Listing) -> int:
        number = self._number_of.pop(listing)
        del self._listings[number]
        return number

    def _tell_gone(self, listing: _Listing) -> None:
        told = m.FibersTold(listing.question, listing.member, m.pack_page([]), True, gone=True)
        self._state.send_if_member(listing.observer, told)

    # -- those that are at no member ------------------------------------------------------

    def _tell_page_of_nowhere(self, listing: _Listing, message: m.AskFibers) -> None:
        state = self._state
        if message.page == 0:
            runs = state.runs if message.run is None else {message.run}
            of_runs = (state.runs[id] for id in runs if id in state.runs)
            self._here[listing] = deque(
                fiber for run in of_runs if NOWHERE in run.alive_at for fiber in run.fibers
            )
        left = self._here.get(listing, deque())
        fibers: list[m.FiberTold] = []
        for _ in range(min(PAGE, len(left))):
            fiber = left.popleft()
            record = state.fibers.get(fiber)
            if record is not None and record.host == NOWHERE and not record.ended:
                fibers.append(self._tell_fiber(fiber, record))
        if not left:
            self._here.pop(listing, None)
        told = m.FibersTold(listing.question, NOBODY, m.pack_page(fibers), not left)
        state.send(listing.observer, told)

    def _tell_fiber(self, fiber: int, record: FiberRecord) -> m.FiberTold:
        group, snapshot = record.rare.group, record.snapshot
        state = "sleeps at the coordinator" if group is not None else "waits for a place"
        if snapshot is not None and snapshot.chunk.code in self._state.misfits:
            state = "waits for a worker with its code"
        name = "" if group is None else group.names.get(fiber) or ""
        told = name, record.rare.owner, state
        return m.FiberTold(fiber, record.run, *told, "", "", [], 0, None, [])

    # -- hooks ----------------------------------------------------------------------------

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """An observer is gone, or a member that was to tell of its fibers."""
        for listing in [*self._number_of]:
            if listing.observer == lost.id:
                self._stop(listing)
            elif listing.member == lost.id:
                self._forget(listing)
                self._tell_gone(listing)
        self._here = {key: left for key, left in self._here.items() if key.observer != lost.id}

    def validate(self) -> None:
        """Check that the member and the observer of each listing are there."""
        for listing in self._number_of:
            if not {listing.observer, listing.member} <= self._state.members.keys():
                raise DistioBug(f"a listing outlives its observer or its member: {listing}")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"listings of fibers": self._listings}


def _why(cause: Cause, reason: str) -> str:
    return reason or cause.name.lower().replace("_", " ")
