"""The operations: one class each, holding its fields, its evaluation and its frame.

No operation has to be named here: a chapter of `distio.io` may import the file of its own.
CONTRIBUTING says how to add one.
"""

from distio.core.ops.actors import MakeActor, call_actor
from distio.core.ops.base import IO, Frame
from distio.core.ops.bounded import Chunk, TraversePar
from distio.core.ops.cancellation import Cancel, OnCancel, ReleaseOnFailure, Uncancelable, on_cancel
from distio.core.ops.context import ContraMapRead, DeferRead, DeferReadIO, Read
from distio.core.ops.direct import Do, Enter, Leave, RestartFrom
from distio.core.ops.failures import (
    Attempt,
    Catch,
    Fail,
    Finally,
    MapError,
    MapPanic,
    OnFailure,
    Recover,
)
from distio.core.ops.fibers import Parallel, Wait, WaitSome, Yield
from distio.core.ops.first import TraverseAll
from distio.core.ops.interop import Async, Blocking, Coroutine, OnMainThread
from distio.core.ops.lists import AsTuple, Sequence, ThenKeep, Zip
from distio.core.ops.locals import GetLocal, SetLocal, WithLocal
from distio.core.ops.locks import Acquire, Locked, MakeLock, ReadVar, Release, WriteVar
from distio.core.ops.memoized import Memoized, memoize
from distio.core.ops.names import Named, named
from distio.core.ops.parallel import Race
from distio.core.ops.primitives import CallPrimitive, MakePrimitive
from distio.core.ops.random_streams import InGroup, OfGroup, Random, RandomSeed, Seeded, Substream
from distio.core.ops.regions import CurrentFiber, timeout
from distio.core.ops.resources import Bracket
from distio.core.ops.retry import Repeat, Retry, RetryPanic
from distio.core.ops.scopes import StartIn, scope, zip_par
from distio.core.ops.timers import Now, Sleep, SleepUntil
from distio.core.ops.values import (
    Defer,
    DeferIO,
    FlatMap,
    Flatten,
    Map,
    Pure,
    Rec,
    Traversed,
    TraversedPar,
)

__all__ = [
    "IO",
    "Acquire",
    "AsTuple",
    "Async",
    "Attempt",
    "Blocking",
    "Bracket",
    "CallPrimitive",
    "Cancel",
    "Catch",
    "Chunk",
    "ContraMapRead",
    "Coroutine",
    "CurrentFiber",
    "Defer",
    "DeferIO",
    "DeferRead",
    "DeferReadIO",
    "Do",
    "Enter",
    "Fail",
    "Finally",
    "FlatMap",
    "Flatten",
    "Frame",
    "GetLocal",
    "InGroup",
    "Leave",
    "Locked",
    "MakeActor",
    "MakeLock",
    "MakePrimitive",
    "Map",
    "MapError",
    "MapPanic",
    "Memoized",
    "Named",
    "Now",
    "OfGroup",
    "OnCancel",
    "OnFailure",
    "OnMainThread",
    "Parallel",
    "Pure",
    "Race",
    "Random",
    "RandomSeed",
    "Read",
    "ReadVar",
    "Rec",
    "Recover",
    "Release",
    "ReleaseOnFailure",
    "Repeat",
    "RestartFrom",
    "Retry",
    "RetryPanic",
    "Seeded",
    "Sequence",
    "SetLocal",
    "Sleep",
    "SleepUntil",
    "StartIn",
    "Substream",
    "ThenKeep",
    "TraverseAll",
    "TraversePar",
    "Traversed",
    "TraversedPar",
    "Uncancelable",
    "Wait",
    "WaitSome",
    "WithLocal",
    "WriteVar",
    "Yield",
    "Zip",
    "call_actor",
    "memoize",
    "named",
    "on_cancel",
    "scope",
    "timeout",
    "zip_par",
]
