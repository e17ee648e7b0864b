"""distio: concurrent Python as a value, on threads, on all cores, on many machines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distio import errors, io, recurring, resource, result, schedule
    from distio._plain._executor import Executor, submit
    from distio._plain._map import as_completed, map, starmap
    from distio.core.actors import Actor
    from distio.core.context_vars import carry
    from distio.core.ops.base import IO
    from distio.core.pickling.code_records import stands_in_for
    from distio.errors import Closed, DomainErrors, MatchError, MultipleExceptions, TracedException
    from distio.primitives import Barrier, CountDownLatch, Deferred, PubSub, Queue, Subscription
    from distio.resource import Resource
    from distio.result import ComputationStatus, Errors, Ok, Panic, Result, seq
    from distio.runtime.blocking import limit_blocking_threads
    from distio.runtime.cluster import Cluster
    from distio.runtime.roster import MemberStatus
    from distio.runtime.run_handles import NamedRun, RunHandle, RunStatus
    from distio.runtime.workers import Worker
    from distio.schedule import Schedule
    from distio.supervision import Child, child, supervise
    from distio.val import Val
    from distio.var import UpdateResult, Var

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
    "Executor",
    "MatchError",
    "MemberStatus",
    "MultipleExceptions",
    "NamedRun",
    "Ok",
    "Panic",
    "PubSub",
    "Queue",
    "Resource",
    "Result",
    "RunHandle",
    "RunStatus",
    "Schedule",
    "Subscription",
    "TracedException",
    "UpdateResult",
    "Val",
    "Var",
    "Worker",
    "as_completed",
    "carry",
    "child",
    "errors",
    "io",
    "limit_blocking_threads",
    "map",
    "recurring",
    "resource",
    "result",
    "schedule",
    "seq",
    "stands_in_for",
    "starmap",
    "submit",
    "supervise",
]


# a process imports what it needs: a coordinator no programs, a script no cluster
_MODULES = {
    "_plain._executor": ["Executor", "submit"],
    "_plain._map": ["as_completed", "map", "starmap"],
    "core.actors": ["Actor"],
    "core.context_vars": ["carry"],
    "core.ops.base": ["IO"],
    "core.pickling.code_records": ["stands_in_for"],
    "errors": ["Closed", "DomainErrors", "MatchError", "MultipleExceptions", "TracedException"],
    "primitives": ["Barrier", "CountDownLatch", "Deferred", "PubSub", "Queue", "Subscription"],
    "resource": ["Resource"],
    "result": ["ComputationStatus", "Errors", "Ok", "Panic", "Result", "seq"],
    "runtime.blocking": ["limit_blocking_threads"],
    "runtime.cluster": ["Cluster"],
    "runtime.roster": ["MemberStatus"],
    "runtime.run_handles": ["NamedRun", "RunHandle", "RunStatus"],
    "runtime.workers": ["Worker"],
    "schedule": ["Schedule"],
    "supervision": ["Child", "child", "supervise"],
    "val": ["Val"],
    "var": ["UpdateResult", "Var"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
_CHAPTERS = {"errors", "io", "recurring", "resource", "result", "schedule"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used for the first time."""
    if name not in _HOMES and name not in _CHAPTERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from distio.runtime.forks import without_forks

    with without_forks():  # in a child that another thread forks it would stay half imported
        import_module("distio.runtime.run")  # by `IO.run`, in such a child
        if name in _CHAPTERS:
            return import_module(f"distio.{name}")
        value = globals()[name] = getattr(import_module(f"distio.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
