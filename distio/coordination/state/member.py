"""The state of a member: all its features know it, and few verbs change it.

Rules
-----
- A fiber hosted here is in exactly one place: in `ready`, in `parked`, or with an executor; if the
  member leaves, perhaps in `set_aside`; if others don't take up what is said, in `held_back`.
- A fiber that waits for other fibers is counted by its run, so that deadlocks are found: as blocked
  if it is woken here, as asked if the coordinator was asked. `park` and `unpark` count.
- Messages for the coordinator go through `send`, in order. Counts are gathered in `progress`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from distio.coordination.executor.tasks import Task, Work
from distio.coordination.feature.member import Hooks
from distio.coordination.state.awaited import Awaited
from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.location import origin_of
from distio.coordination.state.progress import ProgressReport
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO
from distio.core.outcomes import Leaving
from distio.core.pickling.archives import Archive, digest_of_archive
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.protocol.messages.code import CodeReported
from distio.protocol.messages.logs import LogLevels
from distio.protocol.messages.pressure import AwaitHeard
from distio.protocol.messages.roster import MembersListed
from distio.protocol.pieces import bytes_to_send
from distio.protocol.requests import Request
from distio.protocol.sizes import MESSAGE_BYTES, size_of

__all__ = [
    "ASK_EVERY",
    "GIVE_BACK_TOGETHER",
    "MOST_UNHEARD",
    "MOST_UNHEARD_BYTES",
    "HostMessage",
    "MemberState",
    "NamedRunAnswer",
    "Report",
]

NamedRunAnswer: TypeAlias = (
    m.NamedRunFound | m.NamedRunRefused | m.NamedRunsListed | m.NamedRunEnded
)
"""An answer of the coordinator about named runs."""
Report: TypeAlias = m.LossReported | CodeReported | m.NoWorkerFits
"""A report for the log of the program."""
HostMessage: TypeAlias = m.LogsRelayed | Report | NamedRunAnswer | MembersListed
"""A message of the coordinator to a process, and not to fibers of it."""

GIVE_BACK_TOGETHER: Final = 64
"""The number of fibers with small outcomes that are given back together, if not all is told
before."""
_FEW_RUNS: Final = 16
"""So many runs are looked at, to say less."""
ASK_EVERY: Final = 2_000
"""After so many messages the member asks to be told when they are heard."""
MOST_UNHEARD: Final = 20_000
"""While more are unheard, no fiber starts others."""
ASK_EVERY_BYTES: Final = 1024**2
MOST_UNHEARD_BYTES: Final = 8 * 1024**2
"""While more are unheard, no outcome leaves, either."""


class MemberState:
    """The leaf that each feature of a member gets; it knows none of them."""

    def __init__(
        self,
        incarnation: int,
        *,
        offers_children: bool = False,
        is_standalone: bool = False,
        new_key: Callable[[], int] | None = None,
        worker: str | None = None,
    ) -> None:
        self.hooks = Hooks()
        """The hooks of the member's features; the member fills them in."""
        self.incarnation = incarnation
        self.worker = worker
        """How the member is called in failures, if it is a worker."""
        self.name = ""
        """The name of the member, if somebody has given it one."""
        self.new_key = new_key or partial(self.next_ids, 1)
        """Makes the id of a lock, a variable or an object."""
        self.is_standalone = is_standalone
        """Whether the member is alone in its cluster: then the values of variables stay here as
        they are, and the coordinator sees to nothing but whose turn it is."""
        self.offers_children = offers_children
        """Whether children are offered to the cluster before they are run here."""
        self.ready: deque[Work] = deque()
        self.parked: dict[int, Fiber] = {}
        self.set_aside: dict[int, Any] = {}
        """By fiber, work that is ready, and that nobody does here: the member leaves."""
        self.held_back: dict[int, deque[Task]] = {}
        """By run, work that waits until more of what was said is taken up."""
        self.unoffered: dict[int, deque[Task]] = {}
        """By run, work that offers fibers when fewer wait for a place."""
        self.runs: dict[int, LocalRun] = {}
        self.hosted: dict[int, Handle[Any, Any, Any]] = {}
        """Handles of fibers here that others may ask for."""
        self.awaited = Awaited()
        """Handles of fibers elsewhere that some fiber here waits for."""
        self.calls: dict[int, int] = {}
        """By the key of an object that is kept here: how many fibers here call it."""
        self.archives: dict[bytes, bytes] = {}
        """By digest, the archives of code that runs which begin here take along."""
        self._archive_at: dict[str, bytes] = {}
        """By path, the digest of what was packed there last."""
        self.log_levels: Mapping[int, LogLevels] = {}
        """By client whose fibers are here: its log levels; replaced, never changed."""
        self.outbox: list[m.MemberMessage] = []
        self.said = 0
        """How many messages were taken out of the outbox."""
        self.asked_at = 0
        """The number of messages said when the member last asked how many are heard."""
        self.heard = 0
        """The number of messages that the coordinator has heard, as far as is known."""
        self.said_bytes = 0
        """How large they were."""
        self.asked_at_bytes = 0
        self.heard_bytes = 0
        self.questions: deque[tuple[int, int]] = deque()
        """The messages and bytes that each unanswered question is about."""
        self.progress = ProgressReport()
        self.given_back: deque[tuple[int, int]] = deque()
        """(key, count) of the claims that have died since the coordinator was told."""
        self.given_back_later: deque[tuple[int, int]] = deque()
        """The same, of fibers whose outcomes are here and small: many are told of together."""
        self.for_host: list[HostMessage] = []
        """The coordinator's messages to the process and not to fibers, in order, since the host
        last looked."""
        self.ended_runs: list[tuple[LocalRun, m.RunEnded]] = []
        """Runs that have ended since the host last looked."""
        self.stale = 0
        """How many messages came too late to mean anything."""
        self.is_leaving = False
        """Whether the member cancels its fibers, to say goodbye when none is left."""
        self.has_left = False
        """Whether the member has said goodbye."""
        self.is_to_be_heard = False
        """Whether its process waits until that was heard."""
        self.orphaned_because = ""
        """The reason why the member has lost its coordinator; empty: it has not."""
        self.stepping = 0
        """How many pieces of work executors have."""
        self.threads = 0
        """How many step fibers, each as an executor, or are about to."""
        self.in_chunks = 0
        """How many fibers more there are in `ready` than pieces of work."""
        self._sequence = 0

    # -- fibers ---------------------------------------------------------------------------

    def queue(self, work: Work) -> None:
        """Put work at the end of the queue."""
        self.ready.append(work)

    def park(self, fiber: Fiber, *, is_asked: bool = False) -> None:
        """Park a fiber until its request is answered; what it had computed before may die.

        Args:
            fiber: the fiber.
            is_asked: whether the coordinator was asked.
        """
        fiber.value = None
        self.parked[fiber.id] = fiber
        request: Any = fiber.request
        if request.waits_for_fibers:
            run = self.runs[fiber.run]
            if is_asked:
                run.asked.add(fiber.id)
            else:  # as `LocalRun.block`: a call would be felt in each hand-off of a lock
                run.blocked += 1
                self.progress.newly_blocked[run.id] = run

    def unpark(self, fiber: Fiber) -> None:
        """A parked fiber has got what it waits for, or waits no longer: it goes on."""
        del self.parked[fiber.id]
        self.ready.append(fiber)
        request: Any = fiber.request
        if request.waits_for_fibers:
            run = self.runs[fiber.run]
            run.woken += 1
            if fiber.id in run.asked:
                run.asked.remove(fiber.id)
            else:
                run.blocked -= 1
                self.progress.newly_blocked[run.id] = run

    def asks_no_more(self, fiber: Fiber) -> None:
        """A parked fiber of which the coordinator was told will be woken by fibers here."""
        run = self.runs[fiber.run]
        run.asked.remove(fiber.id)
        run.woken += 1
        run.block(1)

    def asks_now(self, fiber: Fiber) -> None:
        """A parked fiber that waits for fibers here was told to the coordinator."""
        run = self.runs[fiber.run]
        run.block(-1)
        run.asked.add(fiber.id)

    def parked_on(self, kind: type[Request], run: int | None = None) -> list[Fiber]:
        """The fibers, of one run if that is given, that are parked on a request of this type."""
        return [
            fiber
            for fiber in self.parked.values()
            if type(fiber.request) is kind and run in (None, fiber.run)
        ]

    def next_ids(self, count: int) -> int:
        """Take so many ids in a row; return the first."""
        first = fiber_id(self.incarnation, self._sequence)
        self._sequence += count
        return first

    def make(self, run: LocalRun, id: int, io: IO[Any, Any, Any], context: Any) -> Fiber:
        """A new fiber, which is in no place yet."""
        fiber = Fiber(id, run.id, io, context)
        fiber.handle = Handle(id)
        fiber.handle.location = run.location
        fiber.is_pinned = self.is_standalone  # there is nowhere to go
        return fiber

    def bind(self, run: LocalRun, fiber: int, key: int) -> None:
        """A fiber is here that calls an object which is kept here."""
        run.bound[fiber] = key
        self.calls[key] = self.calls.get(key, 0) + 1

    def unbind(self, key: int) -> None:
        """A fiber calls an object no longer that is kept here."""
        self.calls[key] -= 1
        if not self.calls[key]:
            del self.calls[key]

    # -- code -----------------------------------------------------------------------------

    def add_archives(self, archives: Iterable[Archive]) -> None:
        """Runs that begin from now on take this code along, in place of earlier versions of it."""
        for archive in archives:
            self.archives.pop(self._archive_at.get(archive.path, b""), None)
            data = archive.data
            digest = digest_of_archive(data)
            self.archives[digest] = data
            self._archive_at[archive.path] = digest

    # -- runs -----------------------------------------------------------------------------

    def new_run(self, id: int) -> LocalRun:
        """Enter a run that the member didn't know."""
        run = LocalRun(id, self.progress)
        self.runs[id] = run
        return run

    def run_of(self, handle: Handle[Any, Any, Any]) -> LocalRun | None:
        """The run of this handle's fiber, if the handle was made for it here and the run goes on.

        Runs of different clusters in one process may have the same number: locations tell them
        apart.
        """
        origin = origin_of(handle)
        run = None if origin is None else self.runs.get(origin.run)
        return run if run is not None and run.location is origin else None

    # -- the coordinator ------------------------------------------------------------------

    def send(self, message: m.MemberMessage) -> None:
        """Let the coordinator hear this, after all that was sent before."""
        self.outbox.append(message)

    def tell_host(self, message: HostMessage) -> None:
        """Let the host take up what the coordinator has said to the process."""
        self.for_host.append(message)

    def ask_for(self, run: int, fibers: list[int]) -> None:
        """Fibers of this run here wait for these, which are elsewhere.

        If it is just being said that they leave, it is said with that.
        """
        last = self.outbox[-1] if self.outbox else None
        if type(last) is m.Offer and not last.are_awaited and len(last.chunks) == 1:
            (chunk,) = last.chunks
            if chunk.run == run and [fiber for fiber, _ in chunk.fibers] == fibers:
                self.outbox[-1] = msgspec.structs.replace(last, are_awaited=True)
                return
        self.send(m.AwaitOutcomes(run, fibers))

    def flush(self, *, full: bool = True, may_wait: bool = False) -> None:
        """Put what the coordinator doesn't know yet into the outbox; see `ProgressReport.flush`."""
        is_still = full and may_wait and self._only_makes_calls()
        later = self.given_back_later
        if later and ((full and not is_still) or len(later) >= GIVE_BACK_TOGETHER):
            for _ in range(len(later)):  # others may die meanwhile
                self.given_back.append(later.popleft())
        for before_flush in self.hooks.before_flush:
            before_flush()
        self.progress.flush(
            self.load, self.outbox, full=full, may_wait=may_wait, is_heard_later=is_still
        )
        for after_flush in self.hooks.after_flush:
            after_flush()

    def _only_makes_calls(self) -> bool:
        """Whether the fibers here wait for what threads of this process hand in, and no others."""
        runs = self.runs.values()
        is_few = 0 < len(runs) <= _FEW_RUNS
        return is_few and not self.unoffered and all(run.makes_calls for run in runs)

    def take_outbox(self) -> list[m.MemberMessage]:
        """Take out what is to be sent."""
        if not self.outbox:
            return []  # most often
        taken, self.outbox = self.outbox, []
        self.said += len(taken)
        self.said_bytes += sum(map(_size_of, taken))
        is_much = self.said_bytes - self.asked_at_bytes >= ASK_EVERY_BYTES
        if is_much or self.said - self.asked_at >= ASK_EVERY:
            self.asked_at, self.asked_at_bytes = self.said, self.said_bytes
            self.questions.append((self.said, self.said_bytes))
            taken.append(AwaitHeard(self.said))
        return taken

    def note_heard(self, said: int) -> None:
        """The coordinator has heard so many of the messages."""
        while self.questions and self.questions[0][0] <= said:
            self.heard, self.heard_bytes = self.questions.popleft()

    def begin_to_say(self) -> None:
        """Another coordinator begins anew, and has heard all that it is to hear."""
        self.said = self.asked_at = self.heard = 0
        self.said_bytes = self.asked_at_bytes = self.heard_bytes = 0
        self.questions.clear()

    @property
    def is_pressed(self) -> bool:
        """Whether too much of what the member has said is unheard, for all it knows."""
        return self.said - self.heard > MOST_UNHEARD or self.is_full

    def post(self, fiber: int, outcome: Leaving) -> None:
        """An outcome for others; it counts as said at once."""
        self.said_bytes += bytes_to_send(outcome.payload)
        self.progress.post(fiber, outcome)

    @property
    def is_full(self) -> bool:
        """Whether so much is unheard that nothing large is to be said."""
        return self.said_bytes - self.heard_bytes > MOST_UNHEARD_BYTES

    @property
    def load(self) -> int:
        """How many fibers are ready or being stepped."""
        return len(self.ready) + self.in_chunks + self.stepping


def _size_of(message: m.MemberMessage) -> int:
    """The bytes that a message adds to `said_bytes` when it leaves: outcomes were counted
    before."""
    return MESSAGE_BYTES if type(message) is m.OutcomesReady else size_of(message)
