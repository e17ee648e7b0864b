"""A member's state machine: what happens to the fibers that one process hosts.

Rules
-----
- A fiber hosted here is in exactly one place: in `ready`, in `parked`, or in the hands of the
  thread that steps it.
- Children start first-in first-out. What wakes goes to the end of `ready`.
- A wait among fibers of one member never leaves it. Registering and looking whether it has
  happened already is one step, under the caller's mutex: no wake-up can be lost.
- An outcome lives in the handle of its fiber. For a fiber that others may ask for (placed here,
  or its handle has left) the handle is kept in `hosted` until nobody wants it, at the latest
  until the run ends.
- What the coordinator is to hear goes to `outbox`, in order; counts are gathered and told in one
  `Progress`, always before anything that depends on them.

Nothing here runs user code. Whatever does (stepping, pickling, unpickling, calling) is work that
a `Executor` takes from `ready` and performs outside the mutex.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from distio.coordination.calls.callbacks import nobody_calls
from distio.coordination.cancellation.member import Cancelling
from distio.coordination.endings.member import is_lost_by_leaving, run_ended, say_goodbye
from distio.coordination.executor.tasks import OfferFibers, PickleFibers, Task, UnpickleChunk, Work
from distio.coordination.failures.member import Failures
from distio.coordination.failures.reporting import ReportFailures
from distio.coordination.invariants.member import check_handles, check_places, check_waiters
from distio.coordination.leftovers import check_rest
from distio.coordination.locks.member import Locks
from distio.coordination.logs.member import Logs
from distio.coordination.outcomes.awaited import Awaited
from distio.coordination.outcomes.crossing import Crossing
from distio.coordination.outcomes.member import (
    drop_outcomes,
    export,
    fiber_lost,
    send_outcomes,
    take_outcomes,
)
from distio.coordination.outcomes.waits import await_fibers, describe_waits, look, settle
from distio.coordination.primitives.member import Primitives
from distio.coordination.references.member import References
from distio.coordination.state.children import inherit
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import RemoteFiber
from distio.coordination.state.progress import ProgressReport
from distio.coordination.status.member import StatusQueries
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO
from distio.core.pickling.payloads import Dumped
from distio.core.snapshot import Leaving
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.domains import MOST_SECONDS
from distio.protocol.ids import fiber_id, sequence_of
from distio.protocol.requests import AwaitBlocking, AwaitCallback, AwaitFibers, Request, Sleep
from distio.result import Ok, Result

__all__ = ["Member"]


class Member:
    """Decides; its host steps the fibers, carries the messages, and guards it with a mutex."""

    def __init__(
        self,
        incarnation: int,
        *,
        offers_children: bool = False,
        is_standalone: bool = False,
        new_key: Callable[[], int] | None = None,
        worker: str | None = None,
    ) -> None:
        self.incarnation = incarnation
        self.worker = worker
        """How it is called in failures, if it is a worker."""
        self.new_key = new_key or partial(self.next_ids, 1)
        """Makes the id of a lock, a variable or an object."""
        self.is_standalone = is_standalone
        """Whether it is alone in its cluster: then the values of variables stay here as they are,
        and the coordinator sees to nothing but whose turn it is."""
        self.offers_children = offers_children
        """Whether children are offered to the cluster before they are run here."""
        self.ready: deque[Work] = deque()
        self.parked: dict[int, Fiber] = {}
        self.hosted: dict[int, Handle[Any, Any, Any]] = {}
        """Handles of fibers here that others may ask for."""
        self.awaited = Awaited()
        """Handles of fibers elsewhere that some fiber here waits for."""
        self.asked: set[int] = set()
        """Fibers here whose outcome somebody elsewhere waits for."""
        self.runs: dict[int, LocalRun] = {}
        self.crossing = Crossing(self.runs, self.parked)
        self.locks = Locks(self)
        self.cancelling = Cancelling(self)
        self.status_queries = StatusQueries(self)
        self.primitives = Primitives(self)
        self.references = References(self)
        self.logs = Logs()
        self.failures = Failures(self)
        self.objects: dict[int, Any] = {}
        """What is kept here for fibers everywhere; see `distio.core.located`."""
        self.outbox: list[m.MemberMessage] = []
        self.ended_runs: list[tuple[LocalRun, m.RunEnded]] = []
        """Runs that have ended since the host last looked."""
        self.stale = 0
        """How many messages came too late to mean anything."""
        self.is_leaving = False
        """Whether it cancels its fibers, to say goodbye when none is left."""
        self.orphaned_because = ""
        """If not empty: it has lost its coordinator, and why; see `orphans`."""
        self.has_left = False
        """Whether it has said goodbye."""
        self.stepping = 0
        """How many pieces of work are in hand."""
        self._news = ProgressReport()
        self.in_parcels = 0
        self._sequence = 0
        self._timers = 0

    # -- runs and children ----------------------------------------------------------------

    def start_root(self, io: IO[Any, Any, Any], context: Any) -> Fiber:
        """Begin a run, whose id is its root's; the root is not queued yet."""
        id = self.next_ids(1)
        run = self.runs[id] = self._new_run(id)
        run.alive = 1  # as `StartRun` says: a run is never without a fiber
        self.outbox.append(m.StartRun(id))
        return self.make(run, id, io, context)

    def _new_run(self, id: int) -> LocalRun:
        return LocalRun(id, self._news.unreported, self._news.newly_blocked)

    def spawn(self, parent: Fiber, ios: Sequence[IO[Any, Any, Any]]) -> list[Fiber]:
        """Make the children that `parent` asked for and answer it with their handles.

        Returns:
            Those that the host is to offer to the cluster: to be `shipped` or `keep`-ed.
        """
        run, context = self.runs[parent.run], parent.context
        first = self.next_ids(len(ios))
        children = [self.make(run, id, io, context) for id, io in enumerate(ios, first)]
        if parent.shield or parent.exempt_from_run_cancel or parent.locals or parent.variables:
            inherit(children, parent)
        if parent.stream is not None:
            parent.stream.divide_among(children)
        run.started(sequence_of(first), len(children))
        parent.value = [child.handle for child in children]
        if self.offers_children:
            return children
        self.ready.extend(children)
        return []

    def next_ids(self, count: int) -> int:
        """So many ids in a row, of which this is the first."""
        first = fiber_id(self.incarnation, self._sequence)
        self._sequence += count
        return first

    def make(self, run: LocalRun, id: int, io: IO[Any, Any, Any], context: Any) -> Fiber:
        fiber = Fiber(id, run.id, io, context)
        fiber.handle = Handle(id)
        fiber.handle.location = run.location
        fiber.is_pinned = self.is_standalone  # there is nowhere to go
        return fiber

    def queue(self, work: Work) -> None:
        """Put work at the end of the queue."""
        self.ready.append(work)

    def take(self, index: int = 0) -> Fiber | Task | None:
        """Take out work for a hand, the oldest unless told otherwise; None if there is none."""
        while self.ready:
            if index:
                work = self.ready[index]
                del self.ready[index]
                index = 0
            else:
                work = self.ready.popleft()
            if type(work) is Fiber:
                if type(work.request) is AwaitFibers:
                    look(self, work)
                if self.cancelling.is_pending:
                    self.cancelling.tell(work)
            elif type(work) is OfferFibers:
                shipping = self._offer(work.count)
                if shipping is None:
                    continue
                work = shipping
            self.stepping += 1
            return work
        return None

    # -- what a fiber asks ----------------------------------------------------------------

    def await_fibers(
        self, fiber: Fiber, handles: Sequence[Handle[Any, Any, Any]], enough: int | None = None
    ) -> bool:
        """Answer with the Results of these fibers, or park `fiber` until enough are there.

        Args:
            fiber: who waits.
            handles: for which fibers.
            enough: how many of them must have ended; None: all.

        Returns:
            Whether it was answered at once.
        """
        return await_fibers(self, fiber, handles, len(handles) if enough is None else enough)

    def sleep(self, fiber: Fiber) -> None:
        """Park `fiber` for at least as many seconds as it asks for."""
        request = fiber.request
        assert isinstance(request, Sleep)
        self._timers += 1
        request.timer = self._timers
        self.park(fiber)
        seconds = min(request.seconds, MOST_SECONDS)  # who sleeps for ever says so in a float
        self.outbox.append(m.StartTimer(fiber.run, fiber.id, request.timer, seconds))

    def park(self, fiber: Fiber) -> None:
        """Park `fiber` until it is answered; what it had computed before may die."""
        fiber.value = None
        self.parked[fiber.id] = fiber

    def called_back(self, fiber: Fiber, request: Request, result: Result[Any, Any]) -> None:
        """The callback of this fiber's request was called, for the first time or again."""
        if self.parked.get(fiber.id) is not fiber or fiber.request is not request:
            self.stale += 1
            return
        fiber.answer(result)
        self.unpark(fiber)

    def callback_dropped(self, fiber: Fiber, request: AwaitCallback | AwaitBlocking) -> None:
        """The callback of this fiber's request has died without being called."""
        if fiber.can_be_cancelled_now(waits=True):  # it was stopped before it had begun
            self.called_back(fiber, request, Ok(None))
            return
        self.called_back(fiber, request, nobody_calls(fiber, request))

    def unpark(self, fiber: Fiber) -> None:
        """A parked fiber has got what it waits for."""
        del self.parked[fiber.id]
        self.ready.append(fiber)

    # -- the end of a fiber ---------------------------------------------------------------

    def is_running(self, run: int) -> bool:
        """Whether this run goes on; if not, what belongs to it is to be dropped."""
        return run in self.runs

    def finish(self, fiber: Fiber, *, is_observed: bool = False) -> None:
        """The fiber has ended; tell those who wait for it here.

        Args:
            fiber: one whose run `is_running`.
            is_observed: whether somebody elsewhere has got its outcome already.
        """
        handle, run = fiber.handle, self.runs[fiber.run]
        assert handle is not None
        if fiber.holds:
            self.locks.release_all(fiber)
        if self.cancelling.is_pending:
            self.cancelling.ended(fiber)
        is_observed = is_observed or bool(handle.waiters)
        is_lost = self.is_leaving and is_lost_by_leaving(self, fiber)
        settle(self, handle, fiber.outcome())
        del handle
        if is_lost:
            run.alive -= 1
        elif fiber.failure is None or not self.failures.settle(run, fiber, is_observed=is_observed):
            run.has_ended(fiber)
        else:
            self.ready.appendleft(ReportFailures(fiber))

    # -- outcomes for others --------------------------------------------------------------

    def is_asked_for(self, fiber: Fiber) -> bool:
        """Whether the outcome is to be `posted` before the fiber is finished."""
        return fiber.id in self.asked and not is_lost_by_leaving(self, fiber)

    def posted(self, fiber: int, outcome: Leaving) -> None:
        """The outcome was pickled for others."""
        self.export(outcome.handles)
        self.asked.discard(fiber)
        self._news.post(fiber, outcome)

    def export(
        self, handles: Sequence[Handle[Any, Any, Any]], *, is_for_good: bool = False
    ) -> None:
        """These handles leave the process; see `outcomes.export`."""
        if handles:
            export(self, handles, is_for_good=is_for_good)

    # -- shipping -------------------------------------------------------------------------

    def _offer(self, count: int) -> PickleFibers | None:
        """Take out up to so many of the oldest ready fibers, to be shipped."""
        taken: list[Fiber] = []
        passed: list[Work] = []
        while self.ready and len(taken) < count:
            work = self.ready.popleft()
            if isinstance(work, Fiber) and not work.is_pinned:
                taken.append(work)
            else:
                passed.append(work)
        self.ready.extendleft(reversed(passed))
        if not taken:
            self.outbox.append(m.Offer([]))
            return None
        by_run: dict[int, list[Fiber]] = {}
        for fiber in taken:
            by_run.setdefault(fiber.run, []).append(fiber)
        shipping: PickleFibers | None = None
        for fibers in by_run.values():
            shipping = PickleFibers(fibers, then=shipping)
        return shipping

    def keep(self, fibers: Sequence[Fiber]) -> None:
        """These can't travel: run them here."""
        self.ready.extend(fibers)

    def shipped(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped,
        target: int = 0,
    ) -> None:
        """These, of one run, were pickled: they leave, for this member if one is named."""
        run = self.runs[fibers[0].run]
        self.flush(full=False)
        self.export(dumped.handles)
        held = self.locks.leave(fibers)
        ids = [(fiber.id, fiber.epoch) for fiber in fibers]
        self.outbox.append(m.Offer([run.chunk(ids, dumped, held, target)]))
        self.locks.left(held)
        if self.cancelling.is_pending:
            self.cancelling.left(fibers)
        run.alive -= len(fibers)
        ask = []
        for fiber in fibers:
            handle, fiber.handle = fiber.handle, None
            assert handle is not None
            if self.hosted.pop(fiber.id, None) is not None:
                self.references.left(fiber.id)
                run.known.discard(fiber.id)
            self.asked.discard(fiber.id)
            handle.location = RemoteFiber(run.location, fiber.id, self.references.given_back)
            if handle.waiters is not None:
                self.awaited.add(run.id, handle)
                run.known.add(fiber.id)
                ask.append(fiber.id)
        if ask:
            self.outbox.append(m.AwaitOutcomes(run.id, ask))

    def ship_root(self, root: Fiber, dumped: Dumped) -> None:
        """The root of a run leaves; its outcome is to come here."""
        assert root.handle is not None
        root.handle.waiters = {}
        self.shipped([root], dumped)

    def opened(
        self, chunk: m.Chunk, fibers: Sequence[Fiber], handles: Sequence[Handle[Any, Any, Any]]
    ) -> None:
        """A parcel was unpickled; `handles` are those of its fibers."""
        self.in_parcels -= len(chunk.fibers) - 1
        if chunk.run not in self.runs:
            self.locks.lost(chunk.held)
            return
        self.locks.arrived(chunk.held, fibers)
        for fiber, handle in zip(fibers, handles):
            fiber.handle = handle
            handle.name = fiber.name
            fiber.is_pinned = chunk.target != 0
            self.ready.append(fiber)

    # -- what the coordinator says --------------------------------------------------------

    def receive(self, message: m.CoordinatorMessage) -> None:
        """Take up one message."""
        if message.is_counted:
            self._news.received += 1
        _HANDLERS[type(message)](self, message)

    def _place(self, message: m.Place) -> None:
        chunk = message.chunk
        run = self.runs.get(chunk.run)
        if run is None:
            run = self.runs[chunk.run] = self._new_run(chunk.run)
        run.alive += len(chunk.fibers)
        handles = []
        for id, _ in chunk.fibers:
            # a fiber that comes home finds those who have waited for it here
            handle = self.awaited.take(chunk.run, id) or Handle(id)
            handle.location = run.location
            handles.append(handle)
            self.hosted[id] = handle
            run.known.add(id)
        self.in_parcels += len(chunk.fibers) - 1
        for digest, data in chunk.attachments:
            run.known_attachments.add(digest)
            if data:
                run.attachments[digest] = data
        claims = self.references.arrived(chunk.references)
        self.ready.append(UnpickleChunk(chunk, run, self.logs.levels, handles, claims))

    def _timer_fired(self, message: m.TimerFired) -> None:
        fiber = self.parked.get(message.fiber)
        request = None if fiber is None else fiber.request
        if fiber is None or type(request) is not Sleep or request.timer != message.timer:
            self.stale += 1
            return
        fiber.value = None
        self.unpark(fiber)

    def _solicit(self, message: m.StealRequest) -> None:
        self.ready.appendleft(OfferFibers(message.count))

    # -- what the coordinator hears -------------------------------------------------------

    @property
    def load(self) -> int:
        """How many fibers are ready or being stepped."""
        return len(self.ready) + self.in_parcels + self.stepping

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell at once."""
        return bool(self.outbox or self._news or self.references.given_back)

    def has_to_tell_of(self, run: int) -> bool:
        """Whether fibers of it started or ended, or outcomes were posted, since it told."""
        return run in self._news.unreported or self._news.has_posted

    def nothing_to_tell(self, run: int) -> None:
        """This run is over: what there was to tell of it is moot."""
        self._news.unreported.pop(run, None)
        self._news.newly_blocked.pop(run, None)

    def forget_news(self) -> None:
        """There is nobody to be told what the coordinator doesn't know yet."""
        self._news.clear()

    @property
    def has_newly_blocked(self) -> bool:
        """Whether there is something to tell before long."""
        return bool(self._news.newly_blocked)

    def flush(self, *, full: bool = True) -> None:
        """Put what the coordinator doesn't know yet into the outbox; see `ProgressReport.flush`."""
        self.references.give_back()
        self._news.flush(self.load, self.outbox, full=full)
        self.references.all_have_left()
        if self.is_leaving:
            say_goodbye(self)

    def validate(self, in_hand: Iterable[Fiber | Task] | None = None) -> None:
        """Check what must always hold; tests call this after every event.

        Args:
            in_hand: what the hands hold, if that is known.

        Raises:
            DistioBug: something doesn't.
        """
        check_places(self.ready, self.parked, self.runs, in_hand, self.crossing)
        check_handles(self.hosted, self.awaited.values(), self.asked)
        self.locks.validate()
        self.primitives.validate()
        check_waiters(self.ready, self.parked, self.hosted, self.awaited.values())
        if self.in_parcels < 0 or self.stepping < 0:
            raise DistioBug("the load is miscounted")

    def validate_rest(self) -> None:
        """Check that nothing is left of runs that have ended, or raise a DistioBug."""
        check_rest(
            f"member {self.incarnation}",
            {
                "runs": self.runs,
                "fibers that are ready": self.ready,
                "fibers that are parked": self.parked,
                "handles of fibers here": self.hosted,
                "handles of fibers elsewhere": self.awaited,
                "counts of handles that left": self.references,
                "fibers that are asked for": self.asked,
                "locks and values of variables": self.locks,
                "fibers that are to be cancelled": self.cancelling,
                "objects": self.objects,
                "what fibers talk by": self.primitives,
                "log records": self.logs,
                "waits for other runs": self.crossing,
            },
        )


_HANDLERS: dict[type, Any] = {
    m.Replied: lambda member, message: member.primitives.answered(message),
    m.DescribeFiber: lambda member, message: member.status_queries.answer(message),
    m.RequestWaitGraph: describe_waits,
    m.DropOutcomes: drop_outcomes,
    m.PrimitivesFreed: lambda member, message: member.primitives.freed(message),
    m.FiberLost: fiber_lost,
    m.FibersCancelled: lambda member, message: member.cancelling.hear(message),
    m.CallWithdrawn: lambda member, message: member.primitives.forgone(message),
    m.LockRefused: lambda member, message: member.locks.refused(message),
    m.LogLevelsSet: lambda member, message: member.logs.set_levels(message),
    m.LogsRelayed: lambda member, message: member.logs.arrived.append(message),
    m.Outcomes: take_outcomes,
    m.Place: Member._place,
    m.RecallDelegation: lambda member, message: member.primitives.recalled(message),
    m.RecallTokens: lambda member, message: member.locks.recalled(message),
    m.RunCancelled: lambda member, message: member.cancelling.hear_of_run(message),
    m.RunEnded: run_ended,
    m.SendOutcomes: send_outcomes,
    m.StealRequest: Member._solicit,
    m.StatusReply: lambda member, message: member.status_queries.hear(message),
    m.TimerFired: Member._timer_fired,
    m.TokensGranted: lambda member, message: member.locks.lent(message),
}
