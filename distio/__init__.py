"""distio: concurrent Python as a value, on threads, on all cores, on many machines.

The functions of `distio.io` are here as well, so that `io` may stay the standard library's:

>>> import distio as d
>>> d.zip_par(d.pure(1), d.pure(2)).run(None)
Ok(success=(1, 2))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distio import errors, io, recurring, resource, result, schedule
    from distio._display.settings import show_progress
    from distio._plain._executor import Executor, submit
    from distio._plain._map import as_completed, starmap
    from distio._plain._map import map as map
    from distio.core.actors import Actor
    from distio.core.context_vars import carry
    from distio.core.ops.base import IO
    from distio.core.pickling.code_records import stands_in_for
    from distio.errors import (
        Closed,
        DomainErrors,
        MatchError,
        MultipleExceptions,
        TimedOut,
        TracedException,
    )
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

    # isort: off
    from distio.io import (
        Fiber as Fiber,
        Local as Local,
        Scope as Scope,
        Status as Status,
        actor as actor,
        async_ as async_,
        blocking as blocking,
        bracket as bracket,
        checkpoint as checkpoint,
        current_fiber as current_fiber,
        defer as defer,
        defer_io as defer_io,
        defer_read as defer_read,
        defer_read_io as defer_read_io,
        do as do,
        error as error,
        first_ok as first_ok,
        from_coroutine as from_coroutine,
        from_future as from_future,
        from_result as from_result,
        memoize as memoize,
        named as named,
        now as now,
        on_cancel as on_cancel,
        on_main_thread as on_main_thread,
        once as once,
        panic as panic,
        parallel as parallel,
        placed as placed,
        pure as pure,
        race as race,
        random as random,
        random_generator as random_generator,
        random_seed as random_seed,
        read as read,
        rec as rec,
        restart_from as restart_from,
        safe as safe,
        scope as scope,
        seeded as seeded,
        sequence as sequence,
        sleep as sleep,
        sleep_until as sleep_until,
        step as step,
        timeout as timeout,
        traverse as traverse,
        traverse_par as traverse_par,
        uncancelable as uncancelable,
        wait as wait,
        yield_ as yield_,
        zip as zip,
        zip_par as zip_par,
    )
    # isort: on

    __version__: str

# without `map` and the functions of `io`: `from distio import *` must not hide Python's own
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
    "TimedOut",
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
    "recurring",
    "resource",
    "result",
    "schedule",
    "seq",
    "show_progress",
    "stands_in_for",
    "starmap",
    "submit",
    "supervise",
]


# a process imports what it needs: a coordinator no programs, a script no cluster
_MODULES = {
    "_display.settings": ["show_progress"],
    "_plain._executor": ["Executor", "submit"],
    "_plain._map": ["as_completed", "map", "starmap"],
    "core.actors": ["Actor"],
    "core.context_vars": ["carry"],
    "core.ops.base": ["IO"],
    "core.pickling.code_records": ["stands_in_for"],
    "io": [
        "Fiber",
        "Local",
        "Scope",
        "Status",
        "actor",
        "async_",
        "blocking",
        "bracket",
        "checkpoint",
        "current_fiber",
        "defer",
        "defer_io",
        "defer_read",
        "defer_read_io",
        "do",
        "error",
        "first_ok",
        "from_coroutine",
        "from_future",
        "from_result",
        "memoize",
        "named",
        "now",
        "on_cancel",
        "on_main_thread",
        "once",
        "panic",
        "parallel",
        "placed",
        "pure",
        "race",
        "random",
        "random_generator",
        "random_seed",
        "read",
        "rec",
        "restart_from",
        "safe",
        "scope",
        "seeded",
        "sequence",
        "sleep",
        "sleep_until",
        "step",
        "timeout",
        "traverse",
        "traverse_par",
        "uncancelable",
        "wait",
        "yield_",
        "zip",
        "zip_par",
    ],
    "errors": [
        "Closed",
        "DomainErrors",
        "MatchError",
        "MultipleExceptions",
        "TimedOut",
        "TracedException",
    ],
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
_OF_FIRST_CALLS = {"_plain._executor", "_plain._map"}
"""Modules that import the rest when something of them is called."""
_CHAPTERS = {"errors", "io", "recurring", "resource", "result", "schedule"}


def _find(name: str) -> Any:
    """Import a public name when it is used for the first time."""
    if name == "__version__":
        from distio.protocol.version import VERSION

        return VERSION
    if name not in _HOMES and name not in _CHAPTERS:
        from distio._hints import missing_from

        raise missing_from(__name__, name, __dir__())
    from distio._imports import imported, imported_alone

    if name in _CHAPTERS:
        return imported(f"distio.{name}")
    home = _HOMES[name]
    importer = imported_alone if home in _OF_FIRST_CALLS else imported
    value = globals()[name] = getattr(importer(f"distio.{home}"), name)
    return value


if not TYPE_CHECKING:  # to type checkers, a name that isn't there would be there
    __getattr__ = _find


def __dir__() -> list[str]:
    return sorted({*_HOMES, *__all__, "__version__"})
