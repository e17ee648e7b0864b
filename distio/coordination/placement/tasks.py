"""Tasks that pickle fibers which leave a member, and unpickle those that come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, final

import msgspec

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.state.claim import Claim
from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber, Handle
from distio.core.ops.failures import Fail
from distio.core.ops.values import Pure
from distio.core.outcomes import Leaving
from distio.core.pickling.archives import archives_among
from distio.core.pickling.captures import LARGE_CAPTURE
from distio.core.pickling.code_records import NO_STAND_INS, StandIns, records_in
from distio.core.pickling.loading import bring_sources
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.versions import describe_versions
from distio.core.snapshot import dump_chunk, load_fibers, why_it_cannot_ship
from distio.errors import NotPicklable, TracedException
from distio.protocol import messages as m
from distio.protocol.messages.logs import LogLevels
from distio.protocol.pieces import joined

__all__ = [
    "BeginFibers",
    "OfferFibers",
    "PickleFibers",
    "Refused",
    "UnpickleChunk",
    "as_it_came",
    "fibers_that_fail",
    "stand_ins_for",
]

_CHUNKS: Final = 64
"""Into how many pieces the children of one `parallel` are split, so that all cores get some, unless
somebody knows better."""
_MOST_IN_CHUNK: Final = 256
_NOTHING: Final = Pure(None)
_ADVICE: Final = "; threads of this process can make it (threads=4)"


class Opened(Protocol):
    """Takes the fibers of a chunk, and their handles."""

    def __call__(
        self, chunk: m.Chunk, fibers: Sequence[Fiber], handles: Sequence[Handle[Any, Any, Any]], /
    ) -> None: ...


class Refused(Protocol):
    """Takes a chunk that can't be opened here, the handles of its fibers, and why it can't."""

    def __call__(
        self, chunk: m.Chunk, handles: Sequence[Handle[Any, Any, Any]], why: Sequence[str], /
    ) -> None: ...


class Pickled(Protocol):
    """Takes fibers, their pickle (None: they can't be pickled), where they go, and what leaves with
    them: outcomes.

    Returns:
        Whether their run goes on.
    """

    def __call__(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped | None,
        destination: Destination,
        mentioned: Ended,
        /,
    ) -> bool: ...


Ended = Sequence[tuple[int, Leaving]]
"""(fiber, outcome) of some that have ended."""
FindMentioned = Callable[[Sequence[Handle[Any, Any, Any]]], Ended]


@final
class BeginFibers(Task):
    """Fibers were started and saved: they begin, and the one that has started them goes on.

    Args:
        parent: the fiber that has started them.
        children: the fibers.
        begun: called with them, unless their run has ended; returns the parent.
    """

    __slots__ = ("_begun", "_children", "_parent")

    def __init__(
        self,
        parent: Fiber,
        children: Sequence[Fiber],
        begun: Callable[[Fiber, Sequence[Fiber]], Fiber | None],
    ) -> None:
        self._parent = parent
        self._children = children
        self._begun = begun

    @property
    def run_id(self) -> int:
        """The run of the fibers."""
        return self._parent.run

    def fiber_ids(self) -> list[int]:
        """The ids of the children, and of the fiber that has started them."""
        return [self._parent.id, *[child.id for child in self._children]]

    def commit(self) -> Fiber | None:
        """The fibers begin."""
        return self._begun(self._parent, self._children)


@final
class UnpickleChunk(Task):
    """Fibers came in one pickle; opening it puts them into `ready`.

    Args:
        chunk: the pickle.
        run: that of the fibers.
        log_levels: those of all clients when the chunk came.
        handles: those of the fibers.
        claims: those of the references in the chunk.
        opened: called with the fibers and their handles.
        refused: called instead if the code here isn't that which the fibers need.
        dropped: called instead if the run ends first.
    """

    __slots__ = (
        "_claims",
        "_differences",
        "_dropped",
        "_fibers",
        "_handles",
        "_log_levels",
        "_opened",
        "_refused",
        "_run",
        "chunk",
    )

    def __init__(
        self,
        chunk: m.Chunk,
        run: LocalRun,
        log_levels: Mapping[int, LogLevels],
        handles: Sequence[Handle[Any, Any, Any]],
        claims: Sequence[Claim],
        opened: Opened,
        refused: Refused,
        dropped: Callable[[m.Chunk], None],
    ) -> None:
        self.chunk = chunk
        self._run = run
        self._handles = handles
        self._claims = claims
        self._fibers: list[Fiber] = []
        self._log_levels = log_levels
        self._opened = opened
        self._refused = refused
        self._dropped = dropped
        self._differences: Sequence[str] = ()
        """The differences between the code here and that which the fibers need."""

    @property
    def run_id(self) -> int:
        """The run that the fibers belong to."""
        return self.chunk.run

    def fiber_ids(self) -> list[int]:
        """The fibers in the chunk."""
        return [fiber for fiber, _ in self.chunk.fibers]

    def run(self, host: HostServices) -> None:
        """Unpickle the chunk."""
        chunk = self.chunk
        try:
            host.use_log_levels(self._log_levels)
            if archives := archives_among(digest for digest, _ in chunk.attachments):
                host.use_archives(archives, self._run.attachments)
            shared = self._run.bundles, self._run.attachments
            stand_ins = self._compare_code(host) if chunk.code else NO_STAND_INS
            if self._differences:
                return
            opens = *shared, self._claims, chunk.places, stand_ins
            self._fibers = load_fibers(chunk.run, chunk.fibers, chunk.payload, *opens)
        except BaseException as exception:  # noqa: BLE001 (each of them ends in this panic)
            if versions := self._other_versions():
                exception.add_note(f"packages that aren't the same: {'; '.join(versions)}")
            self._fibers = fibers_that_fail(chunk, TracedException.in_except_clause(exception))

    def _compare_code(self, host: HostServices) -> StandIns:
        """Compare the code here with what the fibers need; return what stands in for it."""
        chunk, run = self.chunk, self._run
        bring_sources(chunk.payload, run.bundles, run.attachments)
        compared = host.compare_code(records_in(joined(run.attachments[chunk.code])))
        if not (chunk.target or chunk.actor):  # else they can go on here alone
            self._differences = [str(each) for each in compared.differences]
        return compared.stand_ins

    def _other_versions(self) -> list[str]:
        """The packages named by the chunk whose versions here aren't those of where it was made."""
        manifest = self._run.attachments.get(self.chunk.code)
        return describe_versions(records_in(joined(manifest)).versions) if manifest else []

    def commit(self) -> None:
        """Queue the fibers of the chunk: they are ready."""
        if self._differences:
            self._refused(self.chunk, self._handles, self._differences)
            return
        self._opened(self.chunk, self._fibers, self._handles)

    def stand_ins(self) -> list[Fiber]:
        """The stand-ins for the fibers of the chunk, if it leaves as it came."""
        return stand_ins_for(self.chunk, self._handles)

    def dropped(self) -> bool:
        """Drop the chunk, whose run is over."""
        self._dropped(self.chunk)
        return True


def as_it_came(chunk: m.Chunk) -> m.Chunk:
    """A chunk for the coordinator, which has its attachments."""
    attachments = [(digest, b"") for digest, _ in chunk.attachments]
    return msgspec.structs.replace(chunk, attachments=attachments)


def stand_ins_for(chunk: m.Chunk, handles: Sequence[Handle[Any, Any, Any]]) -> list[Fiber]:
    """The stand-ins for the fibers of a chunk that was not opened: they have its handles."""
    fibers = [Fiber(id, chunk.run, _NOTHING, None) for id, _ in chunk.fibers]
    for fiber, handle in zip(fibers, handles):
        fiber.handle = handle
    return fibers


def fibers_that_fail(chunk: m.Chunk, reason: TracedException) -> list[Fiber]:
    """The stand-ins for the fibers of a chunk, which do nothing but fail."""
    failure = Fail([], [reason])
    fibers = [Fiber(id, chunk.run, failure, None) for id, _ in chunk.fibers]
    for fiber, (_, epoch) in zip(fibers, chunk.fibers):
        fiber.epoch = epoch
    return fibers


@final
class OfferFibers(Task):
    """Offers some ready fibers to other members.

    Args:
        count: the number of fibers.
        offer: called when an executor takes this; returns the task that pickles them, if any.
    """

    __slots__ = ("_offer", "count")

    def __init__(self, count: int, offer: Callable[[int], Task | None]) -> None:
        self.count = count
        self._offer = offer

    def taken(self) -> Task | None:
        """The fibers that are ready now leave."""
        return self._offer(self.count)


@final
class PickleFibers(Task):
    """Fibers of one run are to travel, chunk by chunk; those that can't be pickled are kept.

    Args:
        fibers: the fibers.
        pickled: called with each chunk, and with outcomes to which it refers.
        mentioned: finds, by the handles in a chunk, outcomes that have to leave with it.
        then: what the same thread goes on with.
        destination: where the fibers go.
        waits: called after each chunk with the run, this, and the size of the chunk; returns
            whether the rest waits, and somebody else has this then.
        pieces: about how many chunks there are, if the fibers allow it; 0: nobody knows better.
    """

    __slots__ = (
        "_chunks",
        "_destination",
        "_dumped",
        "_find_mentioned",
        "_mentioned",
        "_packed",
        "_pickled",
        "_waits",
        "_writer",
        "then",
    )

    def __init__(
        self,
        fibers: Sequence[Fiber],
        pickled: Pickled,
        mentioned: FindMentioned,
        then: Fiber | Task | None = None,
        destination: Destination = ANYWHERE,
        waits: Callable[[int, PickleFibers, int], bool] | None = None,
        pieces: int = 0,
    ) -> None:
        size = max(1, min(len(fibers) // (pieces or _CHUNKS), _MOST_IN_CHUNK))
        if size > 1 and any(fiber.holds or fiber.needs for fiber in fibers):
            size = 1  # locks and needs are of one fiber alone, also if it is to go on elsewhere
        starts = range((len(fibers) - 1) // size * size, -1, -size)
        self._chunks = [fibers[start : start + size] for start in starts]
        """The last one goes first."""
        self._packed: Sequence[Fiber] = ()
        self._dumped: Dumped | None = None
        """The pickle of `_packed`; None: it can't be made."""
        self._pickled = pickled
        self._find_mentioned = mentioned
        self._mentioned: Ended = ()
        self._destination = destination
        self._writer = Writer(attaches=True)
        self.then = then
        self._waits = waits

    @property
    def run_id(self) -> int:
        """The run they belong to."""
        return self._packed[0].run if self._packed else self._chunks[-1][0].run

    @property
    def fibers(self) -> list[Fiber]:
        """The fibers that haven't left yet."""
        return [*self._packed, *[fiber for chunk in self._chunks for fiber in chunk]]

    def fiber_ids(self) -> list[int]:
        """The fibers that haven't left yet, and the one that goes on then."""
        fibers = [*self.fibers, self.then] if isinstance(self.then, Fiber) else self.fibers
        return [fiber.id for fiber in fibers]

    def run(self, host: HostServices) -> None:
        """Pickle the next chunk; halve it until it is clear which of them can't be pickled."""
        while True:
            self._packed = fibers = self._chunks.pop()
            before = self._writer.size
            try:
                self._dumped = dump_chunk(fibers, writer=self._writer)
            except BaseException:  # noqa: BLE001 (a fiber that can't be pickled stays, whatever the reason)
                if len(fibers) > 1:
                    middle = len(fibers) // 2
                    self._chunks += [fibers[middle:], fibers[:middle]]
                    continue
                self._dumped = None
                if self._destination.actor or not _may_stay(fibers[0]):
                    _refuse(fibers[0], self._destination)
                else:
                    host.on_unpicklable(fibers[0])
            else:
                _look_at(fibers, self._dumped.generators, self._writer.size - before, host)
                self._mentioned = self._find_mentioned(self._dumped.handles)
            return

    def commit(self) -> Fiber | Task | None:
        """The fibers leave, or are kept."""
        mentioned, self._mentioned = self._mentioned, ()
        if not self._pickled(self._packed, self._dumped, self._destination, mentioned):
            return self.then if isinstance(self.then, Task) else None
        run, count, then = self.run_id, len(self._packed), self.then
        self._packed, self._dumped = (), None
        if self._waits is not None and self._waits(run, self, count):
            return then
        return self if self._chunks else then

    @property
    def is_done(self) -> bool:
        """Whether all fibers have left, or are kept."""
        return not self._chunks


def _look_at(fibers: Sequence[Fiber], copied: Sequence[Any], size: int, host: HostServices) -> None:
    """Let the host look at what fibers take along that their program may not know of."""
    is_large = size >= LARGE_CAPTURE
    if not (copied or is_large) or any(fiber.epoch for fiber in fibers):
        return  # those that move once more were looked at before
    if copied:
        host.copied(fibers, copied)
    if is_large:
        host.on_large_payload(fibers)


def _may_stay(fiber: Fiber) -> bool:
    """Whether a fiber that can't be pickled runs here instead."""
    return fiber.needs is None and (fiber.next is None or fiber.next._may_stay)


def _refuse(fiber: Fiber, destination: Destination) -> None:
    """A fiber that belongs elsewhere and can't travel fails here."""
    what = "a call of an actor" if destination.target else "the object of an actor"
    if not destination.actor:
        what = "a placed fiber" if fiber.needs is not None else "a call for a worker"
    advice = "" if fiber.next is None or fiber.next._may_stay else _ADVICE
    refusal = NotPicklable(f"{what} can't travel: {why_it_cannot_ship(fiber)}{advice}")
    fiber.next = Fail([], [TracedException(refusal, str(refusal))])
