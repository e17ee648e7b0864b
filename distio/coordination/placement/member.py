"""A member's part in placement: it makes fibers, offers them to others, and takes them in.

Rules
-----
- Children start first-in first-out, here, unless the member offers them to the cluster. A fiber
  that starts ever more of them waits its turn, so not all of them are there before the first runs.
- A fiber leaves by being pickled in a task. One that can't be pickled stays.
- Fibers that have come, and haven't begun, can leave as they came: see `surplus`.
- Before fibers leave, the coordinator is told of all that they have done here. That new ones have
  started is said by their leaving.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from distio.coordination.dispatch import answers, handles
from distio.coordination.executor.tasks import Task, Work
from distio.coordination.feature.member import Departure, MemberFeature
from distio.coordination.placement.local import LocalPlaces
from distio.coordination.placement.tasks import (
    BeginFibers,
    PickleFibers,
    UnpickleChunk,
    as_it_came,
    fibers_that_fail,
    stand_ins_for,
)
from distio.coordination.pressure.member import Pressure
from distio.coordination.recovery.member import Recovery
from distio.coordination.references.member import References
from distio.coordination.state.children import inherit
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO
from distio.core.outcomes import Leaving
from distio.core.pickling.archives import archives_among
from distio.core.pickling.payloads import Dumped
from distio.errors import DistioBug, NotImportable, TracedException
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.domains import Snapshots
from distio.protocol.ids import sequence_of
from distio.protocol.messages.code import ChunkReturned

__all__ = ["MOST_READY", "Placement"]

MOST_READY: Final = 10_000
"""The most ready fibers: if there are more, a fiber that starts others goes on when these have
begun."""


class Placement(MemberFeature):
    """The half of a member in placement: where its fibers come from, and where they go."""

    def __init__(
        self,
        state: MemberState,
        references: References,
        recovery: Recovery,
        pressure: Pressure,
        places: LocalPlaces,
        asked: set[int],
    ) -> None:
        """
        Args:
            state: what is known of fibers here.
            references: those in chunks are counted.
            recovery: saves fibers.
            pressure: holds fibers that start too many others.
            places: what placed fibers hold, if the member is alone.
            asked: gets the fibers that come, and for whose outcome others wait.
        """
        self._state = state
        self._pressure = pressure
        self._places = places
        self._asked = asked
        self._references = references
        self._recovery = recovery

    # -- fibers that are made here --------------------------------------------------------

    def start_root(
        self, io: IO[Any, Any, Any], context: Any, snapshots: Snapshots = "off"
    ) -> Fiber:
        """Begin a run, whose id is its root's; the root is not queued yet."""
        state = self._state
        id = state.next_ids(1)
        run = state.new_run(id)
        run.archives = {**state.archives}
        run.alive = 1  # as `StartRun` says: a run is never without a fiber
        state.send(m.StartRun(id, snapshots))
        return state.make(run, id, io, context)

    @answers
    def spawn(self, parent: Fiber, request: rq.Spawn) -> Fiber | Task | None:
        """Make the children that `parent` asks for and answer it with their handles."""
        if self._pressure.holds(parent):
            return None
        state, context = self._state, parent.context
        run, make = state.runs[parent.run], state.make
        count = len(request.ios)
        first = state.next_ids(count)
        children = [make(run, id, io, context) for id, io in enumerate(request.ios, first)]
        if parent.shield or parent.exempt_from_run_cancel or parent.locals or parent.variables:
            inherit(children, parent)
        if parent.stream is not None:
            parent.stream.divide_among(children)
        run.started(sequence_of(first), count)
        scope = request.scope
        if request.are_owned and (scope or not parent.is_pinned):  # else the run ends with it
            for child in children:
                child.owner, child.scope = parent.id, scope
        parent.value = [child.handle for child in children]
        if request.needs is not None and not state.orphaned_because:
            if not state.is_standalone:
                return self._ship_placed(parent, children, request.needs)
            if self._places.counts:
                return self._place_here(parent, children, request.needs)
        if state.offers_children and children:
            shipping = self.ship(children, pieces=request.pieces)
            if self._pressure.offers_later(run.id, shipping, 0):
                return parent
            shipping.then = parent
            return shipping
        return self._begin(parent, children)

    def _place_here(self, parent: Fiber, children: Sequence[Fiber], needs: m.Needs) -> Fiber:
        """Children begin when there is what they need in this process."""
        for child in children:
            child.needs, child.request = needs, rq.AwaitPlace(needs)
            self._places.await_place(child, child.request)
        return parent

    def _ship_placed(self, parent: Fiber, children: Sequence[Fiber], needs: m.Needs) -> Task:
        """Children leave for workers that have what they need; this one may be the one."""
        for child in children:
            is_shielded = bool(child.shield or child.exempt_from_run_cancel)
            child.needs = msgspec.structs.replace(needs, is_shielded=is_shielded)
        leaving = self.ship(children, then=parent)
        if parent.tree is None:
            return leaving
        parent.tree.add(children)
        return self._recovery.before_leaving(children, leaving, parent)

    def _begin(self, parent: Fiber, children: Sequence[Fiber]) -> Fiber | Task | None:
        """Children run here, and grow the tree of their parent."""
        tree = parent.tree
        if tree is not None and children:
            is_saved = self._recovery.saves_starts(tree)
            tree.add(children)
            if is_saved:
                return self._recovery.save_start(tree, BeginFibers(parent, children, self._begun))
        return self._begun(parent, children)

    def _begun(self, parent: Fiber, children: Sequence[Fiber]) -> Fiber | None:
        state = self._state
        if parent.run not in state.runs:
            return None
        state.ready.extend(children)
        if len(state.ready) > MOST_READY:
            state.queue(parent)  # behind them: it starts no more before they have begun
            return None
        return parent

    def withdraw(self, fiber: Fiber, request: rq.Spawn) -> bool:
        self._pressure.release(fiber)
        return True

    @answers
    def spawn_here(self, parent: Fiber, request: rq.SpawnHere) -> Fiber | Task | None:
        """Make a child that stays here and answer `parent` with its handle."""
        child = self.make_child(parent, request.io)
        child.is_pinned = True
        return self._begin(parent, [child])

    def make_child(self, parent: Fiber, io: IO[Any, Any, Any]) -> Fiber:
        """Make a child that is in no place and in no tree yet, and answer `parent` with its handle.

        The child gets no context, so that nothing has to travel that it doesn't use, but what
        locals and context variables its parent has.
        """
        state = self._state
        run, id = state.runs[parent.run], state.next_ids(1)
        child = state.make(run, id, io, None)
        inherit([child], parent)
        child.owner = 0 if parent.is_pinned else parent.id
        run.started(sequence_of(id), 1)
        parent.value = [child.handle]
        return child

    # -- fibers that leave ----------------------------------------------------------------

    def ship(
        self,
        fibers: Sequence[Fiber],
        then: Fiber | Task | None = None,
        destination: Destination = ANYWHERE,
        pieces: int = 0,
    ) -> PickleFibers:
        """The task that lets these fibers, of one run, leave.

        Args:
            fibers: the fibers.
            then: what the executor goes on with.
            destination: where they go.
            pieces: in about how many pieces; 0: nobody knows what is best.
        """
        run = self._state.runs[fibers[0].run]
        mentioned = partial(self._recovery.mentioned, run)
        waits = self._pressure.offers_later if self._state.offers_children else None
        return PickleFibers(fibers, self.pickled, mentioned, then, destination, waits, pieces)

    def leave_as_they_came(
        self, chunk: m.Chunk, fibers: Sequence[Fiber], said: m.MemberMessage, *, were_opened: bool
    ) -> None:
        """Let fibers that have come, and have not begun, leave as bytes that are here still.

        Args:
            chunk: as it came; they are all of its fibers, or some.
            fibers: the fibers, or what stands for them, with their handles.
            said: what tells the coordinator.
            were_opened: whether they are fibers by now.
        """
        state = self._state
        run = state.runs[chunk.run]
        if not were_opened:
            state.in_chunks -= len(fibers) - 1
            run.unopened.difference_update([fiber.id for fiber in fibers])
        state.flush(full=False)
        state.send(said)
        run.alive -= len(fibers)
        departure = Departure(run, fibers, ANYWHERE)
        for fibers_left in state.hooks.fibers_left:
            fibers_left(departure)

    def pickled(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped | None,
        destination: Destination = ANYWHERE,
        mentioned: Sequence[tuple[int, Leaving]] = (),
    ) -> bool:
        """Let these fibers of one run leave; if they can't be pickled, they run here.

        Returns:
            Whether their run goes on; if not, they are dropped.
        """
        state = self._state
        run = state.runs.get(fibers[0].run)
        if run is None:
            return False
        if dumped is None:
            state.ready.extend(fibers)
            return True
        are_new = run.take_start(fibers)
        if not are_new:
            state.flush(full=False)
        self._recovery.send_outcomes(run, mentioned)
        self._references.export(dumped.handles)
        departure = Departure(run, fibers, destination)
        for fibers_leave in state.hooks.fibers_leave:
            fibers_leave(departure)
        chunk = run.chunk(fibers, dumped, departure.held, destination)
        state.send(m.Offer([chunk], are_new))
        run.alive -= len(fibers)
        for fibers_left in state.hooks.fibers_left:
            fibers_left(departure)
        return True

    def ship_root(self, root: Fiber, dumped: Dumped) -> None:
        """The root of a run leaves; its outcome is to come here."""
        assert root.handle is not None
        root.handle.waiters = {}
        self.pickled([root], dumped)

    # -- fibers that come -----------------------------------------------------------------

    @handles
    def place(self, message: m.Place) -> None:
        """Fibers have come, as a pickle."""
        state, chunk = self._state, message.chunk
        is_client = state.offers_children and state.worker is None
        if is_client and chunk.run not in state.runs:
            state.stale += 1  # a client hosts its own runs: it runs nothing that others send it
            return
        run = state.runs.get(chunk.run) or state.new_run(chunk.run)
        run.snapshots = message.snapshots
        run.alive += len(chunk.fibers)
        for fiber, times, loss in message.restored:
            run.restored[fiber] = times, loss
        handles = []
        for id, _ in chunk.fibers:
            # a fiber that comes home finds the fibers that have waited for it here
            handle = state.awaited.take(chunk.run, id) or Handle(id)
            handle.location = run.location
            handles.append(handle)
            state.hosted[id] = handle
            run.known.add(id)
            run.unopened.add(id)
            if chunk.actor:
                state.bind(run, id, chunk.actor)
            if message.are_awaited:
                self._asked.add(id)
        state.in_chunks += len(chunk.fibers) - 1
        run.remember(chunk.payload)
        for digest, data in chunk.attachments:
            run.known_attachments.add(digest)
            if data:
                run.attachments[digest] = data
        for digest in archives_among(digest for digest, _ in chunk.attachments):
            run.archives.setdefault(digest, b"")
        claims = self._references.arrived(chunk.references)
        ends = self._opened, self._refused, self._dropped
        state.queue(UnpickleChunk(chunk, run, state.log_levels, handles, claims, *ends))

    def _opened(
        self, chunk: m.Chunk, fibers: Sequence[Fiber], handles: Sequence[Handle[Any, Any, Any]]
    ) -> None:
        """A chunk was unpickled; `handles` are those of its fibers."""
        state = self._state
        if chunk.run not in state.runs:
            self._dropped(chunk)
            return
        state.in_chunks -= len(chunk.fibers) - 1
        state.runs[chunk.run].unopened.difference_update(fiber.id for fiber in fibers)
        for fibers_arrived in state.hooks.fibers_arrived:
            fibers_arrived(chunk, fibers)
        for fiber, handle in zip(fibers, handles):
            fiber.handle = handle
            handle.name = fiber.name
            fiber.is_pinned = chunk.actor != 0
            fiber.needs = chunk.needs
            waits = chunk.is_waiting and fiber.request is not None  # else it couldn't be opened
            state.ready.append(self._recovery.repeated(fiber) if waits else fiber)

    def _refused(
        self, chunk: m.Chunk, handles: Sequence[Handle[Any, Any, Any]], why: Sequence[str]
    ) -> None:
        """The code here isn't that which the fibers of a chunk need."""
        if chunk.run not in self._state.runs:
            self._dropped(chunk)
            return
        if self._state.orphaned_because:  # there is no other place where they could go
            fibers = fibers_that_fail(chunk, TracedException.ensure_traced(_other_code(why)))
            self._opened(chunk, fibers, handles)
            return
        returned = ChunkReturned(as_it_came(chunk), [*why])
        stand_ins = stand_ins_for(chunk, handles)
        self.leave_as_they_came(chunk, stand_ins, returned, were_opened=False)

    def _dropped(self, chunk: m.Chunk) -> None:
        self._state.in_chunks -= len(chunk.fibers) - 1
        for chunk_dropped in self._state.hooks.chunk_dropped:
            chunk_dropped(chunk)

    # -- what is told ---------------------------------------------------------------------

    @handles
    def no_worker_fits(self, message: m.NoWorkerFits) -> None:
        """A fiber of a run that was started here, or is followed here, waits for a worker."""
        self._state.tell_host(message)

    # -- hooks ----------------------------------------------------------------------------

    def run_ended(self, run: LocalRun) -> None:
        """The fibers that a run which was cut short has left here are dropped."""
        if not run.alive:
            return
        kept: deque[Work] = deque()
        for work in self._state.ready:
            if isinstance(work, Fiber):
                is_dropped = work.run == run.id
            else:
                is_dropped = work.run_id == run.id and work.dropped()
            if not is_dropped:
                kept.append(work)
        self._state.ready = kept
        parked = self._state.parked
        for id in [fiber.id for fiber in parked.values() if fiber.run == run.id]:
            del parked[id]

    def validate(self) -> None:
        if self._state.in_chunks < 0 or self._state.stepping < 0:
            raise DistioBug("the load is miscounted")


def _other_code(why: Sequence[str]) -> NotImportable:
    return NotImportable(f"the code here isn't that which the fiber needs: {'; '.join(why)}")
