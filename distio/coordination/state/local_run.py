"""The part of a run that one member hosts, and what is still to be reported of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from distio.coordination.state.destination import ANYWHERE, Destination
from distio.coordination.state.failure import Failure
from distio.coordination.state.location import LocalFiber
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.core.pickling.loading import Bundle
from distio.core.pickling.payloads import Dumped
from distio.core.references import keys_of
from distio.protocol.domains import Snapshots
from distio.protocol.ids import sequence_of
from distio.protocol.messages import Chunk, RunProgress
from distio.protocol.pieces import Bytes, is_shared

if TYPE_CHECKING:
    from distio.coordination.state.progress import ProgressReport

__all__ = ["LocalRun"]

_MOST_REMEMBERED: Final = 4


class LocalRun:
    """The part of a run that one member hosts."""

    __slots__ = (
        "_ended",
        "_finished",
        "_is_anew",
        "_progress",
        "_started",
        "alive",
        "archives",
        "asked",
        "attached_bytes",
        "attachments",
        "blocked",
        "bound",
        "bundles",
        "id",
        "known",
        "known_attachments",
        "location",
        "locks",
        "makes_calls",
        "nested",
        "objects",
        "offered",
        "posting",
        "primitives",
        "restored",
        "sent_outcomes",
        "shared",
        "snapshots",
        "trees",
        "unobserved",
        "unopened",
        "unreleased",
        "values",
        "woken",
    )

    def __init__(self, id: int, progress: ProgressReport) -> None:
        self.id = id
        self.location = LocalFiber(id)
        """The location of the handles of all fibers of the run that are here."""
        self.alive = 0
        """The number of the run's fibers that are here and haven't ended."""
        self.offered = 0
        """The number of fibers that were offered since few of them waited for a place."""
        self.blocked = 0
        """The number of fibers that wait for others here: for fibers, locks, or answers that are
        here."""
        self.asked: set[int] = set()
        """The fibers that wait for locks, or replies, for which the coordinator was asked."""
        self.woken = 0
        """How many times some of them have ceased to wait so."""
        self.posting = 0
        """How many outcomes are on their way to somebody elsewhere."""
        self.nested: dict[int, int] = {}
        """Fibers here whose functions wait for nested runs, and for which; they are blocked."""
        self.known: set[int] = set()
        """The fibers for which the member keeps a handle or an entry; dropped with the run."""
        self.unobserved: dict[int, Failure] = {}
        """The failures of fibers here whose outcomes nobody has got, but somebody may ask for."""
        self.unreleased = ""
        """The fibers that were dropped before they had released, in words, and why."""
        self.locks: dict[int | str, None] = {}
        """The locks that its fibers have used here and that the member still knows."""
        self.objects: dict[int, None] = {}
        """The objects that are kept for it; dropped with the run."""
        self.bundles: dict[bytes, Bundle] = {}
        """By digest, the bundles that the fibers which came here share."""
        self.attachments: dict[bytes, Bytes] = {}
        """By digest, what came with fibers for others as well."""
        self.attached_bytes = 0
        """How large those were that have left here."""
        self.shared: deque[Bytes] = deque(maxlen=_MOST_REMEMBERED)
        """The last payloads that left or came with large values in shared memory."""
        self.known_attachments: set[bytes] = set()
        """The digests of those that the coordinator has."""
        self.archives: dict[bytes, bytes] = {}
        """By digest, the archives of code that its fibers need wherever they go; without bytes if
        they came from elsewhere."""
        self.primitives: dict[int, None] = {}
        """The primitives of the run, if the member keeps them; dropped with the run."""
        self.values: dict[int, None] = {}
        """The variables whose values the member keeps; dropped with the run."""
        self.makes_calls = False
        """Whether its fibers elsewhere make calls for somebody who knows of no fibers."""
        self.snapshots: Snapshots = "off"
        """The snapshots that are kept of its fibers here, in case the member is lost."""
        self.trees: dict[int, Tree] = {}
        """By fiber here that the coordinator knows, if one of them may go on elsewhere."""
        self.restored: dict[int, tuple[int, str]] = {}
        """By fiber here that has gone on after a loss: how many times, and the last one."""
        self.bound: dict[int, int] = {}
        """By fiber here that calls an object which is kept here, so that it goes on nowhere else:
        the key of the object."""
        self.unopened: set[int] = set()
        """The fibers that have come in a pickle, as long as nobody has opened it."""
        self.sent_outcomes: set[int] = set()
        """The fibers here whose outcomes the coordinator keeps."""
        self._is_anew = False
        """Whether its coordinator takes all of its fibers here for fibers that were made here."""
        self._progress = progress
        """Where this run enters itself when it has something to tell."""
        self._started: list[tuple[int, int]] = []
        self._finished = 0
        self._ended: list[tuple[int, int]] = []

    def started(self, first: int, count: int) -> None:
        """Count fibers that were made here, with sequence numbers from `first`."""
        if not count:
            return
        self._progress.unreported[self.id] = self
        self.alive += count
        if self._started:
            start, before = self._started[-1]
            if start + before == first:
                self._started[-1] = (start, before + count)
                return
        self._started.append((first, count))

    def take_start(self, fibers: Sequence[Fiber]) -> bool:
        """Whether these have not begun, and their start was still to be reported: who offers them
        reports it then.

        Of a fiber that has begun, what it has started here is to be reported as well.

        Args:
            fibers: some that are here, in the order in which they were made.
        """
        if not self._started or self._is_anew or fibers[0].epoch:
            return False
        if any(fiber.request is not None or fiber.next is None for fiber in fibers):
            return False
        start, before = self._started[-1]
        first, last = sequence_of(fibers[0].id), sequence_of(fibers[-1].id)
        count = len(fibers)
        if first != start or last - first + 1 != count or count > before:
            return False
        if count < before:
            self._started[-1] = start + count, before - count
        else:
            self._started.pop()
        if not (self._started or self._finished or self._ended):
            self._progress.unreported.pop(self.id, None)
        return True

    @property
    def unreported_ends(self) -> int:
        """How many fibers have ended here of which the coordinator isn't told yet."""
        return self._finished + len(self._ended)

    def has_ended(self, fiber: Fiber) -> None:
        """Note the end of a fiber, which is to be reported."""
        self._progress.unreported[self.id] = self
        self.alive -= 1
        if not self.alive:
            self._progress.emptied[self.id] = self
        is_saved = self.trees.pop(fiber.id, None) is not None
        if self._is_anew or not (fiber.epoch or is_saved):  # it was made here and never left
            self._finished += 1
        else:
            self._ended.append((fiber.id, fiber.epoch))

    def begin_anew(self) -> None:
        """Another coordinator knows nothing of it but that it has a root."""
        self._is_anew = True
        self._started = [(0, self.alive - 1)] if self.alive > 1 else []
        self._finished, self._ended = 0, []
        self._progress.unreported[self.id] = self

    def block(self, change: int) -> None:
        """Change the number of fibers that wait for others here."""
        # told also when fewer wait, and when as many wait as before: the coordinator suspects a
        # deadlock by this count together with its own, and asks when it is told
        self._progress.newly_blocked[self.id] = self
        if change < 0:
            self.woken += 1
        self.blocked += change

    def chunk(
        self,
        fibers: Sequence[Fiber],
        dumped: Dumped,
        held: Sequence[tuple[int | str, int, int]],
        destination: Destination = ANYWHERE,
        *,
        is_waiting: bool = False,
    ) -> Chunk:
        """The chunk of some fibers: each attachment goes along the first time only."""
        attachments = [
            (digest, b"" if digest in self.known_attachments else data)
            for digest, data in {**dumped.attachments, **self.archives}.items()
        ]
        self.attached_bytes += sum([len(data) for _, data in attachments])
        self.known_attachments.update(dumped.attachments, self.archives)
        payload = dumped.payload
        self.remember(payload)
        references = keys_of(dumped.references, dumped.handles)
        ids = [(fiber.id, fiber.epoch) for fiber in fibers]
        packed = payload, [*held], *destination, attachments, references
        owners = [fiber.owner for fiber in fibers]
        scopes = [fiber.scope for fiber in fibers]
        return Chunk(
            self.id,
            ids,
            *packed,
            is_waiting=is_waiting,
            owners=owners if any(owners) else [],
            scopes=scopes if any(scopes) else [],
            code=dumped.code,
            needs=fibers[0].needs if len(fibers) == 1 else None,
        )

    def remember(self, payload: Bytes) -> None:
        """Keep what processes share of a payload for a while: it may be dumped, or come, again."""
        if is_shared(payload):
            self.shared.append(payload)

    def release(self) -> None:
        """Free what its fibers have shared; it has ended, and this may run user code."""
        self.attachments.clear()
        self.shared.clear()
        while self.bundles:
            self.bundles.popitem()[1].release()

    def take_progress(self) -> RunProgress:
        """Take out what is still to be reported."""
        progress = RunProgress(self.id, self._started, self._finished, self._ended, self.blocked)
        self._started, self._finished, self._ended = [], 0, []
        return progress
