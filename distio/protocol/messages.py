"""What is said between a member and the coordinator.

Members ask in the imperative and report in the past tense; the coordinator does the same. User
data is opaque: `payload` holds bytes that only members open.
"""

from __future__ import annotations

from typing import Final

import msgspec

from distio.protocol.logs import LogLevelsSet, LogsRelayed, RelayLogs, SetLogLevels
from distio.protocol.message import Message
from distio.protocol.sharing import (
    Answered,
    AwaitTurns,
    EntriesFreed,
    ForgoAnswer,
    ForgoneAnswer,
    ForgoTurns,
    GiveBack,
    LoanReturned,
    LockRefused,
    MakeEntry,
    PutAlone,
    RecallLoan,
    RecallTokens,
    ReturnTokens,
    StoreValue,
    Talk,
    TokensLent,
)

__all__ = [
    "AskStatus",
    "Answered",
    "AwaitOutcomes",
    "AwaitTurns",
    "CancelFibers",
    "CancelRun",
    "Chunk",
    "CoordinatorMessage",
    "DescribeFiber",
    "DescribeWaits",
    "DropOutcomes",
    "EntriesFreed",
    "FiberDescribed",
    "FiberLost",
    "FibersCancelled",
    "ForgoTurns",
    "Forget",
    "ForgoAnswer",
    "ForgoneAnswer",
    "GiveBack",
    "Goodbye",
    "Hello",
    "Listen",
    "LoanReturned",
    "LockRefused",
    "LogLevelsSet",
    "LogsRelayed",
    "MakeEntry",
    "MemberMessage",
    "Message",
    "Offer",
    "OutcomeUnknown",
    "Outcomes",
    "OutcomesReady",
    "Place",
    "PutAlone",
    "Progress",
    "RecallLoan",
    "RecallTokens",
    "Refused",
    "RelayLogs",
    "ReturnTokens",
    "RunCancelled",
    "RunEnded",
    "RunProgress",
    "SendOutcomes",
    "SetLogLevels",
    "Shutdown",
    "Solicit",
    "StartRun",
    "StartTimer",
    "StatusTold",
    "StopTimer",
    "StoreValue",
    "Talk",
    "TimerFired",
    "TokensLent",
    "UNCOUNTED",
    "Waits",
    "Welcome",
    "WorkerExited",
]


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Some fibers of one run in one pickle; they move together."""

    run: int
    fibers: list[tuple[int, int]]
    """(fiber, epoch) of each, in the order in which they lie in the payload."""
    payload: bytes
    held: list[tuple[int | str, int, int]] = []
    """What they hold together: (lock, its tokens as in `Lock`, how many of them)."""
    target: int = 0
    """The member where they belong and stay; 0: anywhere."""
    attachments: list[tuple[bytes, bytes]] = []
    """By digest, what the payload refers to. There are no bytes for what whoever gets the chunk has
    got before, in the same run."""
    references: list[int] = []
    """The keys of the queues, variables, … that it refers to."""


class RunProgress(msgspec.Struct, frozen=True, gc=False):
    """What became of one run on one member since it last told."""

    run: int
    started: list[tuple[int, int]]
    """Children made here: ranges of sequence numbers, (first, how many)."""
    finished: int
    """How many of the fibers that were made here ended here."""
    ended: list[tuple[int, int]]
    """(fiber, epoch) of the fibers that were placed here and have ended."""
    blocked: int
    """How many fibers here wait, now, for other fibers or for locks that are here."""


# -- from a member ----------------------------------------------------------------------------


class Hello(Message, frozen=True, gc=False):
    """The first message of a member's sending socket."""

    protocol: int
    python: str
    kind: str
    threads: int
    host: str
    pid: int
    token: bytes
    """Random; pairs the sending socket with the listening one."""
    family: str = ""
    """Shared by a client and the worker processes that it started: it sees how they exit."""


class Listen(Message, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    token: bytes


class StartRun(Message, frozen=True, gc=False):
    """A run begins: its root lives at this member, which wants to know when the run ends."""

    run: int


class Offer(Message, frozen=True, gc=False):
    """Fibers that may go elsewhere; an empty offer answers a `Solicit` in vain."""

    chunks: list[Chunk]


class Progress(Message, frozen=True, gc=False):
    """How a member fares; sent when it runs dry or has something to tell."""

    received: int
    """How many messages it had handled when it said so, but for those that are UNCOUNTED."""
    ready: int
    """How many fibers could run at once, or do."""
    runs: list[RunProgress]


class AwaitOutcomes(Message, frozen=True, gc=False):
    """Some fiber here, of this run, waits for these fibers, which are elsewhere."""

    run: int
    fibers: list[int]


class OutcomesReady(Message, frozen=True, gc=False):
    """Outcomes that somebody elsewhere waits for."""

    fibers: list[int]
    payloads: list[bytes]
    """One for each fiber, so that each finds its own way."""


class OutcomeUnknown(Message, frozen=True, gc=False):
    """An outcome was asked for that isn't here."""

    fiber: int
    epoch: int
    """As it was asked for."""


class Forget(Message, frozen=True, gc=False):
    """Nobody will ever ask for the outcomes of these fibers."""

    fibers: list[int]


class CancelFibers(Message, frozen=True, gc=False):
    """Cancel these fibers, wherever they are."""

    run: int
    """That of the fiber which asks for it."""
    cuts: list[tuple[int, int]]
    """(fiber, region) of each; region 0 is all of it."""


class CancelRun(Message, frozen=True, gc=False):
    """Cancel all fibers of this run, wherever they are."""

    run: int


class AskStatus(Message, frozen=True, gc=False):
    """A fiber here, of this run, asks after one that isn't here."""

    run: int
    fiber: int
    """Who asks."""
    question: int
    """The number that this member gives it."""
    of: int
    """After whom."""


class FiberDescribed(Message, frozen=True, gc=False):
    """What a fiber is at; answers a `DescribeFiber`."""

    question: int
    state: str
    """In words; empty: it isn't here."""
    name: str | None


class StartTimer(Message, frozen=True, gc=False):
    """Wake this fiber in so many seconds, not earlier."""

    run: int
    fiber: int
    timer: int
    """The number that this member gives it: no later sleep of the fiber has the same."""
    seconds: float


class StopTimer(Message, frozen=True, gc=False):
    """This fiber sleeps no longer."""

    fiber: int
    timer: int


class Waits(Message, frozen=True, gc=False):
    """Which fibers of a run wait for which, on this member."""

    run: int
    question: int
    is_quiet: bool
    """Whether all fibers of the run that are here wait for fibers, and nothing is on its way."""
    edges: list[tuple[int, list[int]]]
    for_locks: list[tuple[int, int | str]] = msgspec.field(default_factory=list)
    """(fiber, lock) of each that waits for a lock."""
    held: list[tuple[int | str, list[int]]] = msgspec.field(default_factory=list)
    """Which fibers of the run hold which locks; of a semaphore, once for each token."""
    talks: list[tuple[int, str]] = msgspec.field(default_factory=list)
    """(fiber, what it waits for, in words) of each that waits to be answered by an entry."""


class WorkerExited(Message, frozen=True, gc=False):
    """How a worker process that this member had started came to its end."""

    pid: int
    reason: str


class Goodbye(Message, frozen=True, gc=False):
    """This member leaves of its own will; it hosts nothing any more."""


# -- from the coordinator ---------------------------------------------------------------------


class Welcome(Message, frozen=True, gc=False):
    """You are this incarnation."""

    incarnation: int


class Refused(Message, frozen=True, gc=False):
    """You can't join, and why."""

    reason: str


class Place(Message, frozen=True, gc=False):
    """Host these fibers."""

    chunk: Chunk


class SendOutcomes(Message, frozen=True, gc=False):
    """Send the outcome of each of these fibers as soon as it is there."""

    run: int
    fibers: list[tuple[int, int]]
    """(fiber, epoch) of each."""


class Outcomes(Message, frozen=True, gc=False):
    """Outcomes that you wait for."""

    fibers: list[int]
    payloads: list[bytes]


class FiberLost(Message, frozen=True, gc=False):
    """The fiber that you wait for has no outcome and never will."""

    fiber: int
    worker: str
    reason: str


class DropOutcomes(Message, frozen=True, gc=False):
    """Don't keep the outcomes of these fibers."""

    fibers: list[int]


class FibersCancelled(Message, frozen=True, gc=False):
    """These fibers, which are here, have been cancelled, or regions of them."""

    cuts: list[tuple[int, int]]


class RunCancelled(Message, frozen=True, gc=False):
    """This run has been cancelled: all fibers of it that are here."""

    run: int


class TimerFired(Message, frozen=True, gc=False):
    """The time is over."""

    fiber: int
    timer: int


class Solicit(Message, frozen=True, gc=False):
    """Others have nothing to do: offer up to so many of your oldest ready fibers."""

    count: int


class DescribeFiber(Message, frozen=True, gc=False):
    """Tell what this fiber is at, which is or was there: somebody asks after it."""

    question: int
    """Comes back with the answer."""
    fiber: int


class StatusTold(Message, frozen=True, gc=False):
    """What the fiber is at that you asked after."""

    fiber: int
    """Who has asked."""
    question: int
    """The number that you gave it."""
    state: str
    """In words; see `distio.core.status`."""
    name: str | None
    member: int
    """Where it is; 0: nowhere."""


class DescribeWaits(Message, frozen=True, gc=False):
    """Tell which fibers of this run wait for which: it seems to be deadlocked."""

    run: int
    question: int
    """Comes back with the answer."""


class RunEnded(Message, frozen=True, gc=False):
    """Nothing of this run is left, or nothing of it may be left: drop what you hold of it."""

    run: int
    deadlock: str = ""
    """If not empty: the run could never have gone on, and why."""


class Shutdown(Message, frozen=True, gc=False):
    """The cluster closes: end."""

    reason: str = ""


MemberMessage = (
    Hello
    | Listen
    | StartRun
    | Offer
    | Progress
    | AwaitOutcomes
    | OutcomesReady
    | OutcomeUnknown
    | Forget
    | CancelFibers
    | CancelRun
    | AskStatus
    | FiberDescribed
    | StartTimer
    | StopTimer
    | AwaitTurns
    | ForgoTurns
    | ReturnTokens
    | StoreValue
    | MakeEntry
    | Talk
    | ForgoAnswer
    | GiveBack
    | PutAlone
    | LoanReturned
    | SetLogLevels
    | RelayLogs
    | Waits
    | WorkerExited
    | Goodbye
)
UNCOUNTED: Final = (TokensLent, RecallTokens, LockRefused, LogLevelsSet, LogsRelayed)
"""What the coordinator says that isn't counted as `Progress.received`: it changes no load."""

CoordinatorMessage = (
    Welcome
    | Refused
    | Place
    | SendOutcomes
    | Outcomes
    | FiberLost
    | DropOutcomes
    | FibersCancelled
    | RunCancelled
    | TimerFired
    | TokensLent
    | RecallTokens
    | LockRefused
    | Solicit
    | DescribeFiber
    | StatusTold
    | Answered
    | ForgoneAnswer
    | EntriesFreed
    | RecallLoan
    | LogLevelsSet
    | LogsRelayed
    | DescribeWaits
    | RunEnded
    | Shutdown
)
