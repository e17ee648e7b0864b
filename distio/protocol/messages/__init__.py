"""The messages between members and the coordinator, one file for each conversation.

Members ask in the imperative and report in the past tense; the coordinator does the same. User
data is opaque: a `Payload` holds bytes that only members open.

All files of the folder are imported here, so that the codec knows all types. No message has to be
named here: a conversation may import the file of its own, as `status` does.
"""

from distio.protocol.base import CoordinatorMessage, MemberMessage, Message
from distio.protocol.importing import import_modules
from distio.protocol.messages.cancellation import CancelFibers, FibersCancelled, RunCancelled
from distio.protocol.messages.deadlock import RequestWaitGraph, WaitGraph
from distio.protocol.messages.durable import (
    ActOnNamedRun,
    ListNamedRuns,
    NamedRun,
    NamedRunEnded,
    NamedRunFound,
    NamedRunRefused,
    NamedRunsListed,
    RootEnded,
    SubmitNamedRun,
)
from distio.protocol.messages.endings import (
    CancelRun,
    DrainMember,
    Leave,
    Leaving,
    MemberDrained,
    RunEnded,
)
from distio.protocol.messages.locks import (
    AcquireTokens,
    LockRefused,
    RecallTokens,
    ReturnTokens,
    StoreValue,
    TokensGranted,
    WithdrawAcquire,
)
from distio.protocol.messages.logs import (
    LogLevels,
    LogLevelsSet,
    LogsRelayed,
    RelayLogs,
    SetLogLevels,
)
from distio.protocol.messages.membership import (
    HANDSHAKE,
    Goodbye,
    Hello,
    InHand,
    LeaseRenewed,
    LinkBroke,
    Listen,
    Refused,
    RenewLease,
    Resume,
    Resumed,
    Shutdown,
    Welcome,
    WorkerExited,
)
from distio.protocol.messages.outcomes import (
    AwaitOutcomes,
    DropOutcomes,
    Expose,
    FiberLost,
    Outcomes,
    OutcomesReady,
    OutcomeUnknown,
    SendOutcomes,
    WorkerEnded,
)
from distio.protocol.messages.placement import (
    Chunk,
    Needs,
    NoWorkerFits,
    Offer,
    Place,
    StealRequest,
    TakesFibers,
    Thief,
)
from distio.protocol.messages.primitives import (
    CallWithdrawn,
    DelegatedPut,
    DelegationReturned,
    MakePrimitive,
    PrimitiveCall,
    PrimitivesFreed,
    RecallDelegation,
    RepeatCall,
    Replied,
    TakenAhead,
    WithdrawCall,
)
from distio.protocol.messages.recovery import FibersSaved, LossReported, SaveFibers, Unsaved
from distio.protocol.messages.references import GiveBack
from distio.protocol.messages.runs import Progress, RunProgress, StartRun
from distio.protocol.messages.timers import StartTimer, StopTimer, TimerFired
from distio.protocol.messages.watches import RunWatched, WatchRun

__all__ = [
    "HANDSHAKE",
    "AcquireTokens",
    "ActOnNamedRun",
    "AwaitOutcomes",
    "CallWithdrawn",
    "CancelFibers",
    "CancelRun",
    "Chunk",
    "CoordinatorMessage",
    "DelegatedPut",
    "DelegationReturned",
    "DrainMember",
    "DropOutcomes",
    "Expose",
    "FiberLost",
    "FibersCancelled",
    "FibersSaved",
    "GiveBack",
    "Goodbye",
    "Hello",
    "InHand",
    "LeaseRenewed",
    "Leave",
    "Leaving",
    "LinkBroke",
    "ListNamedRuns",
    "Listen",
    "LockRefused",
    "LogLevels",
    "LogLevelsSet",
    "LogsRelayed",
    "LossReported",
    "MakePrimitive",
    "MemberDrained",
    "MemberMessage",
    "Message",
    "NamedRun",
    "NamedRunEnded",
    "NamedRunFound",
    "NamedRunRefused",
    "NamedRunsListed",
    "Needs",
    "NoWorkerFits",
    "Offer",
    "OutcomeUnknown",
    "Outcomes",
    "OutcomesReady",
    "Place",
    "PrimitiveCall",
    "PrimitivesFreed",
    "Progress",
    "RecallDelegation",
    "RecallTokens",
    "Refused",
    "RelayLogs",
    "RenewLease",
    "RepeatCall",
    "Replied",
    "RequestWaitGraph",
    "Resume",
    "Resumed",
    "ReturnTokens",
    "RootEnded",
    "RunCancelled",
    "RunEnded",
    "RunProgress",
    "RunWatched",
    "SaveFibers",
    "SendOutcomes",
    "SetLogLevels",
    "Shutdown",
    "StartRun",
    "WatchRun",
    "StartTimer",
    "StealRequest",
    "StopTimer",
    "StoreValue",
    "SubmitNamedRun",
    "TakenAhead",
    "TakesFibers",
    "Thief",
    "TimerFired",
    "TokensGranted",
    "Unsaved",
    "WaitGraph",
    "Welcome",
    "WithdrawAcquire",
    "WithdrawCall",
    "WorkerEnded",
    "WorkerExited",
]

import_modules(__name__, __path__)
