"""The requests of a fiber to its runtime: the whole waist between programs and runtimes.

`step` returns a request when a fiber stops stepping. The runtime answers by giving the
fiber a value (or a failure) and stepping it again. Requests are plain data, so a fiber that is
parked on one can be pickled together with it.

There is one file for each conversation. All of them are imported here, so that the tables of
answers know all types. No request has to be named here: a conversation may import the file of its
own, as `status` does.
"""

from __future__ import annotations

from distio.protocol.importing import import_modules
from distio.protocol.requests.actors import (
    CallActor,
    FindObject,
    KeepObject,
    LeaveObject,
    TakeObject,
)
from distio.protocol.requests.base import NOTHING, Nothing, Request
from distio.protocol.requests.calls import AwaitBlocking, AwaitCallback, Place
from distio.protocol.requests.cancellation import CancelFibers
from distio.protocol.requests.endings import FINISHED, Finished
from distio.protocol.requests.executor import (
    NOW,
    RANDOM,
    SWITCHED,
    YIELDED,
    Now,
    Random,
    Switched,
    Yielded,
)
from distio.protocol.requests.locks import Acquire, Lock, MakeLock, Release, conflict
from distio.protocol.requests.outcomes import AwaitFibers, TellEnds
from distio.protocol.requests.placement import AwaitPlace, Spawn, SpawnHere
from distio.protocol.requests.primitives import CallPrimitive, MakePrimitive, PrimitiveRef
from distio.protocol.requests.timers import Sleep

__all__ = [
    "FINISHED",
    "NOTHING",
    "NOW",
    "RANDOM",
    "SWITCHED",
    "YIELDED",
    "Acquire",
    "AwaitBlocking",
    "AwaitCallback",
    "AwaitFibers",
    "AwaitPlace",
    "CallActor",
    "CallPrimitive",
    "CancelFibers",
    "FindObject",
    "Finished",
    "KeepObject",
    "LeaveObject",
    "Lock",
    "MakeLock",
    "MakePrimitive",
    "Nothing",
    "Now",
    "Place",
    "PrimitiveRef",
    "Random",
    "Release",
    "Request",
    "Sleep",
    "Spawn",
    "SpawnHere",
    "Switched",
    "TakeObject",
    "TellEnds",
    "Yielded",
    "conflict",
]

import_modules(__name__, __path__)
