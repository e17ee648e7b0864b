"""What is said between a member and the coordinator.

Members ask in the imperative and report in the past tense; the coordinator does the same. User
data is opaque: `payload` holds bytes that only members open.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from distio.protocol.domains import (
    Count,
    Epoch,
    Id,
    Key,
    MemberKind,
    Number,
    Positive,
    Seconds,
    Sequence,
    Threads,
    Token,
    Tokens,
)
from distio.protocol.endings import Cause
from distio.protocol.logs import LogLevelsSet, LogsRelayed, RelayLogs, SetLogLevels
from distio.protocol.message import Message
from distio.protocol.sharing import (
    AcquireTokens,
    CallWithdrawn,
    DelegatedPut,
    DelegationReturned,
    GiveBack,
    LockRefused,
    MakePrimitive,
    PrimitiveCall,
    PrimitivesFreed,
    RecallDelegation,
    RecallTokens,
    Replied,
    ReturnTokens,
    StoreValue,
    TokensGranted,
    WithdrawAcquire,
    WithdrawCall,
)

__all__ = [
    "UNCOUNTED",
    "AcquireTokens",
    "AwaitOutcomes",
    "CallWithdrawn",
    "CancelFibers",
    "CancelRun",
    "Chunk",
    "CoordinatorMessage",
    "DelegatedPut",
    "DelegationReturned",
    "DescribeFiber",
    "DropOutcomes",
    "Expose",
    "FiberDescribed",
    "FiberLost",
    "FibersCancelled",
    "GiveBack",
    "Goodbye",
    "Hello",
    "Leaving",
    "Listen",
    "LockRefused",
    "LogLevelsSet",
    "LogsRelayed",
    "MakePrimitive",
    "MemberMessage",
    "Message",
    "Offer",
    "OutcomeUnknown",
    "Outcomes",
    "OutcomesReady",
    "Place",
    "PrimitiveCall",
    "PrimitivesFreed",
    "Progress",
    "QueryStatus",
    "RecallDelegation",
    "RecallTokens",
    "Refused",
    "RelayLogs",
    "Replied",
    "RequestWaitGraph",
    "ReturnTokens",
    "RunCancelled",
    "RunEnded",
    "RunProgress",
    "SendOutcomes",
    "SetLogLevels",
    "Shutdown",
    "StartRun",
    "StartTimer",
    "StatusReply",
    "StealRequest",
    "StopTimer",
    "StoreValue",
    "TimerFired",
    "TokensGranted",
    "WaitGraph",
    "Welcome",
    "WithdrawAcquire",
    "WithdrawCall",
    "WorkerExited",
]


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Some fibers of one run in one pickle; they move together."""

    run: Id
    fibers: Annotated[list[tuple[Id, Epoch]], Meta(min_length=1)]
    """(fiber, epoch) of each, in the order in which they lie in the payload."""
    payload: bytes
    held: list[tuple[Key, Number, Tokens]] = []
    """What they hold together: (lock, its tokens as in `Lock`, how many of them)."""
    target: Id = 0
    """The member where they belong and stay; 0: anywhere."""
    attachments: list[tuple[bytes, bytes]] = []
    """By digest, what the payload refers to. There are no bytes for what whoever gets the chunk has
    got before, in the same run."""
    references: list[Id] = []
    """The keys of the queues, variables, … that it refers to."""


class RunProgress(msgspec.Struct, frozen=True, gc=False):
    """What became of one run on one member since it last told."""

    run: Id
    started: list[tuple[Sequence, Positive]]
    """Children made here: ranges of sequence numbers, (first, how many)."""
    finished: Count
    """How many of the fibers that were made here ended here."""
    ended: list[tuple[Id, Epoch]]
    """(fiber, epoch) of the fibers that were placed here and have ended."""
    blocked: Count
    """How many fibers here wait, now, for other fibers or for locks that are here."""


# -- from a member ----------------------------------------------------------------------------


References = list[tuple[Count, list[Id]]]
"""(index of a payload, the keys of what it refers to) of each that refers to something."""


class Hello(Message, frozen=True, gc=False):
    """The first message of a member's sending socket."""

    protocol: Count
    python: Annotated[str, Meta(max_length=100)]
    kind: MemberKind
    threads: Threads
    host: Annotated[str, Meta(max_length=1_000)]
    pid: Count
    token: Token
    """Random; pairs the sending socket with the listening one."""
    family: Annotated[str, Meta(max_length=100)] = ""
    """Shared by a client and the worker processes that it started: it sees how they exit."""
    serial: Count = 0
    """Which of these processes it is. The system gives a pid to one process after another, a client
    gives each serial once."""


class Listen(Message, frozen=True, gc=False):
    """The first and only message of a member's listening socket."""

    token: Token


class StartRun(Message, frozen=True, gc=False):
    """A run begins: its root lives at this member, which wants to know when the run ends."""

    run: Id


class Offer(Message, frozen=True, gc=False):
    """Fibers that may go elsewhere; an empty offer answers a `StealRequest` in vain."""

    chunks: list[Chunk]


class Progress(Message, frozen=True, gc=False):
    """How a member fares; sent when it runs dry or has something to tell."""

    received: Count
    """How many messages it had handled when it said so, but for those that are UNCOUNTED."""
    ready: Count
    """How many fibers could run at once, or do."""
    runs: list[RunProgress]


class AwaitOutcomes(Message, frozen=True, gc=False):
    """Some fiber here, of this run, waits for these fibers, which are elsewhere."""

    run: Id
    fibers: list[Id]


class OutcomesReady(Message, frozen=True, gc=False):
    """Outcomes that somebody elsewhere waits for."""

    fibers: list[Id]
    payloads: list[bytes]
    """One for each fiber, so that each finds its own way."""
    references: References = msgspec.field(default_factory=list)


class OutcomeUnknown(Message, frozen=True, gc=False):
    """An outcome was asked for that isn't here."""

    fiber: Id
    epoch: Epoch
    """As it was asked for."""
    run: Id = 0
    """In which it was asked for."""


class Expose(Message, frozen=True, gc=False):
    """Handles of these fibers, which are or were here, leave: count me for each once."""

    run: Id
    fibers: list[Id]


class CancelFibers(Message, frozen=True, gc=False):
    """Cancel these fibers, wherever they are."""

    run: Id
    """That of the fiber which asks for it."""
    pending_cancels: list[tuple[Id, Id]]
    """(fiber, region) of each; region 0 is all of it."""


class CancelRun(Message, frozen=True, gc=False):
    """Cancel all fibers of this run, wherever they are."""

    run: Id
    cause: Cause = Cause.CANCELLED
    reason: str = ""
    """What its Result is to say, unless that is for its root to say."""


class QueryStatus(Message, frozen=True, gc=False):
    """A fiber here, of this run, asks after one that isn't here."""

    run: Id
    fiber: Id
    """Who asks."""
    question: Count
    """The number that this member gives it."""
    of: Id
    """After whom."""


class FiberDescribed(Message, frozen=True, gc=False):
    """What a fiber is at; answers a `DescribeFiber`."""

    question: Count
    state: str
    """In words; empty: it isn't here."""
    name: str | None


class StartTimer(Message, frozen=True, gc=False):
    """Wake this fiber in so many seconds, not earlier."""

    run: Id
    fiber: Id
    timer: Count
    """The number that this member gives it: no later sleep of the fiber has the same."""
    seconds: Seconds


class StopTimer(Message, frozen=True, gc=False):
    """This fiber sleeps no longer."""

    fiber: Id
    timer: Count


class WaitGraph(Message, frozen=True, gc=False):
    """Which fibers of a run wait for which, on this member."""

    run: Id
    question: Count
    is_quiet: bool
    """Whether all fibers of the run that are here wait for fibers, and nothing is on its way."""
    edges: list[tuple[Id, list[Id]]]
    for_locks: list[tuple[Id, Key]] = msgspec.field(default_factory=list)
    """(fiber, lock) of each that waits for a lock."""
    held: list[tuple[Key, list[Id]]] = msgspec.field(default_factory=list)
    """Which fibers of the run hold which locks; of a semaphore, once for each token."""
    talks: list[tuple[Id, str]] = msgspec.field(default_factory=list)
    """(fiber, what it waits for, in words) of each that waits to be answered by an entry."""
    woken: Count = 0
    """How many times fibers of the run have ceased to wait here."""


class WorkerExited(Message, frozen=True, gc=False):
    """How a worker process that this member had started came to its end."""

    serial: Count
    reason: str


class Leaving(Message, frozen=True, gc=False):
    """I am about to leave: place nothing here any more. My fibers release what they hold."""

    seconds: Seconds
    """After so many I am to be lost, whether they have or not."""


class Goodbye(Message, frozen=True, gc=False):
    """This member leaves; it hosts nothing any more."""

    reason: str = ""
    """Why it can't go on; empty: it leaves of its own will."""


# -- from the coordinator ---------------------------------------------------------------------


class Welcome(Message, frozen=True, gc=False):
    """You are this incarnation."""

    incarnation: Id


class Refused(Message, frozen=True, gc=False):
    """You can't join, and why."""

    reason: str


class Place(Message, frozen=True, gc=False):
    """Host these fibers."""

    chunk: Chunk


class SendOutcomes(Message, frozen=True, gc=False):
    """Send the outcome of each of these fibers as soon as it is there."""

    run: Id
    fibers: list[tuple[Id, Epoch]]
    """(fiber, epoch) of each."""


class Outcomes(Message, frozen=True, gc=False):
    """Outcomes that you wait for."""

    fibers: list[Id]
    payloads: list[bytes]
    references: References = msgspec.field(default_factory=list)


class FiberLost(Message, frozen=True, gc=False):
    """The fiber that you wait for has no outcome and never will."""

    fiber: Id
    worker: str
    reason: str
    run: Id = 0
    """The run whose fibers are told; 0: all who wait for it."""


class DropOutcomes(Message, frozen=True, gc=False):
    """Don't keep the outcomes of these fibers."""

    fibers: list[tuple[Id, Count]]
    """Of each, how many times it was told that its handle leaves."""


class FibersCancelled(Message, frozen=True, gc=False):
    """These fibers of a run, which are here, have been cancelled, or regions of them."""

    run: Id
    pending_cancels: list[tuple[Id, Id]]


class RunCancelled(Message, frozen=True, gc=False):
    """This run has been cancelled: all fibers of it that are here."""

    run: Id


class TimerFired(Message, frozen=True, gc=False):
    """The time is over."""

    fiber: Id
    timer: Count


class StealRequest(Message, frozen=True, gc=False):
    """Others have nothing to do: offer up to so many of your oldest ready fibers."""

    count: Count


class DescribeFiber(Message, frozen=True, gc=False):
    """Tell what this fiber is at, which is or was there: somebody asks after it."""

    question: Count
    """Comes back with the answer."""
    fiber: Id


class StatusReply(Message, frozen=True, gc=False):
    """What the fiber is at that you asked after."""

    fiber: Id
    """Who has asked."""
    question: Count
    """The number that you gave it."""
    state: str
    """In words; see `distio.core.status`."""
    name: str | None
    member: Id
    """Where it is; 0: nowhere."""


class RequestWaitGraph(Message, frozen=True, gc=False):
    """Tell which fibers of this run wait for which: it seems to be deadlocked."""

    run: Id
    question: Count
    """Comes back with the answer."""


class RunEnded(Message, frozen=True, gc=False):
    """Nothing of this run is left, or nothing of it may be left: drop what you hold of it."""

    run: Id
    cause: Cause = Cause.FINISHED
    reason: str = ""
    """What its Result is to say; empty if that is for its root to say."""
    overdue: str = ""
    """If not empty: why fibers that are left are dropped before they have released."""


class Shutdown(Message, frozen=True, gc=False):
    """This process is no member any more: end."""

    reason: str = ""
    is_for_all: bool = True
    """The cluster closes; False: it goes on, without this member."""


MemberMessage = (
    Hello
    | Listen
    | StartRun
    | Offer
    | Progress
    | AwaitOutcomes
    | OutcomesReady
    | OutcomeUnknown
    | Expose
    | CancelFibers
    | CancelRun
    | QueryStatus
    | FiberDescribed
    | StartTimer
    | StopTimer
    | AcquireTokens
    | WithdrawAcquire
    | ReturnTokens
    | StoreValue
    | MakePrimitive
    | PrimitiveCall
    | WithdrawCall
    | GiveBack
    | DelegatedPut
    | DelegationReturned
    | SetLogLevels
    | RelayLogs
    | WaitGraph
    | WorkerExited
    | Leaving
    | Goodbye
)
UNCOUNTED: Final = (TokensGranted, RecallTokens, LockRefused, LogLevelsSet, LogsRelayed)
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
    | TokensGranted
    | RecallTokens
    | LockRefused
    | StealRequest
    | DescribeFiber
    | StatusReply
    | Replied
    | CallWithdrawn
    | PrimitivesFreed
    | RecallDelegation
    | LogLevelsSet
    | LogsRelayed
    | RequestWaitGraph
    | RunEnded
    | Shutdown
)
