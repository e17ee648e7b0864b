"""distio: concurrent Python as a value, on threads, on all cores, on many machines."""

from typing import TYPE_CHECKING, Any

import distio.runtime.run  # noqa: F401 (`IO.run` finds it, also in a child forked amid its import)
from distio import errors, io, resource, result, schedule
from distio.core.actors import Actor
from distio.core.context_vars import carry
from distio.core.ops.base import IO
from distio.errors import Closed, DomainErrors, MatchError, MultipleExceptions, TracedException
from distio.primitives import Barrier, CountDownLatch, Deferred, PubSub, Queue, Subscription
from distio.resource import Resource
from distio.result import ComputationStatus, Errors, Ok, Panic, Result, seq
from distio.schedule import Schedule
from distio.supervision import Child, child, supervise
from distio.val import Val
from distio.var import UpdateResult, Var

if TYPE_CHECKING:
    from distio.runtime.blocking import limit_blocking_threads
    from distio.runtime.cluster import Cluster, RunHandle

__all__ = [
    "IO",
    "Actor",
    "Barrier",
    "Child",
    "Closed",
    "Cluster",
    "ComputationStatus",
    "CountDownLatch",
    "Deferred",
    "DomainErrors",
    "Errors",
    "MatchError",
    "MultipleExceptions",
    "Ok",
    "Panic",
    "PubSub",
    "Queue",
    "Resource",
    "Result",
    "RunHandle",
    "Schedule",
    "Subscription",
    "TracedException",
    "UpdateResult",
    "Val",
    "Var",
    "carry",
    "child",
    "errors",
    "io",
    "limit_blocking_threads",
    "resource",
    "result",
    "schedule",
    "seq",
    "supervise",
]


_RUNTIME = {
    "Cluster": "cluster",
    "RunHandle": "cluster",
    "limit_blocking_threads": "blocking",
}


def __getattr__(name: str) -> Any:
    """What belongs to a runtime is imported when it is needed: sockets take long to import."""
    if name not in _RUNTIME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from distio.runtime.forks import without_forks

    with without_forks():  # in a child that another thread forks it would stay half imported
        return getattr(import_module(f"distio.runtime.{_RUNTIME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
