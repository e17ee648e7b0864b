"""Advice in place of names that distio doesn't have: guesses of users of other libraries.

Each guess has the words that follow "use". Nothing here costs anything before a name is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

__all__ = [
    "OF_CAPACITY",
    "OF_LIMIT",
    "OF_RETRY",
    "OF_RUN",
    "OF_TOKENS",
    "hint_at",
    "missing",
    "missing_from",
    "says_instead",
]

P = ParamSpec("P")
X = TypeVar("X")
Class = TypeVar("Class", bound=type)

_ZIP_PAR: Final = "io.zip_par(...), which runs programs at the same time and waits for all"
_TRAVERSE_PAR: Final = "io.traverse_par(items, f, at_most=n), where f(item) returns a program"
_PARALLEL: Final = "io.parallel(program), which starts fibers; io.wait(fibers) waits for them"
_WAIT: Final = "io.wait(fibers), a program that computes the Results of fibers"
_RUN: Final = "program.run(context), a method: a context of None if the program reads none"
_DEFER: Final = "io.defer(f, *args), the program that calls f(*args)"
_SCOPE: Final = "io.scope(f), which ends after all fibers that f(scope) starts in the scope"
_LOCAL: Final = "Cluster.local(workers=4), or Cluster.connect(url) if a cluster is there already"
_MEMOIZE: Final = "io.memoize(program), which computes a program that runs once"
_LOCK: Final = "resource.reentrant_lock, a program that makes a lock"
_SEMAPHORE: Final = "resource.semaphore(n), a program that makes a semaphore"
_BLOCKING: Final = "io.blocking(f, *args)"
_COROUTINE: Final = "io.from_coroutine(f, *args), where f is an async function"
_DEFERRED: Final = "Deferred.create(), a program that makes a value which is set once"
_AS_COMPLETED: Final = "distio.as_completed(f, items), which yields (index, value) pairs"
_RECURS: Final = "give a schedule, like schedule.recurs(3)"
_SPACED: Final = "give a schedule, like schedule.spaced(0.5).times(3)"

OF_RETRY: Final = {
    "attempts": _RECURS,
    "backoff": "give a schedule, like schedule.exponential(0.1).times(3)",
    "delay": _SPACED,
    "max_attempts": _RECURS,
    "max_retries": _RECURS,
    "retries": _RECURS,
    "times": _RECURS,
    "tries": _RECURS,
    "wait": _SPACED,
}
"""By the argument that other libraries have for trying again."""

_AT_MOST: Final = "use at_most=8"

OF_LIMIT: Final = {
    "concurrency": _AT_MOST,
    "limit": _AT_MOST,
    "max_concurrency": _AT_MOST,
    "max_concurrent": _AT_MOST,
    "max_workers": _AT_MOST,
    "n_jobs": _AT_MOST,
    "parallelism": _AT_MOST,
    "return_exceptions": "give program.attempt() for each, which computes its Result",
    "workers": _AT_MOST,
}
"""By the argument that other libraries have for programs that run at the same time."""

_ON_WORKERS: Final = "use on=cluster, with one of Cluster.local(workers=4)"

OF_RUN: Final = {
    "cluster": "use on=cluster",
    "max_workers": _ON_WORKERS,
    "n_workers": _ON_WORKERS,
    "seed": "use program.seeded(seed), or distio.testing.simulate(program, None, seed=1)",
    "threads": "use pool_size=4",
    "timeout": "use program.timeout(seconds).run(context)",
    "workers": _ON_WORKERS,
}
"""By the argument that other libraries have for running."""

OF_CAPACITY: Final = dict.fromkeys(
    ("bound", "max_buffer_size", "max_size", "maxlen", "maxsize", "size"), "use capacity=10"
)
"""By the argument that other libraries have for the size of a queue."""

OF_TOKENS: Final = dict.fromkeys(
    ("count", "initial_value", "limit", "n", "permits", "value"), "use tokens=3"
)
"""By the argument that other libraries have for the size of a semaphore."""

_GET: Final = "result.get(), which returns the value or raises the failure"

_OF_PROGRAMS: Final = {
    "all": _ZIP_PAR,
    "any": "io.first_ok(...), or io.race(...)",
    "attempt": "program.attempt(), a method; " + _DEFER,
    "cache": _MEMOIZE,
    "cached": _MEMOIZE,
    "collect_all": "io.sequence(...), or io.zip_par(...) to run them at the same time",
    "create_task": _PARALLEL,
    "delay": "io.sleep(seconds).then(program), or io.defer(f, *args)",
    "delayed": "distio.submit(f, *args), or " + _DEFER,
    "effect": _DEFER,
    "ensure_future": _PARALLEL,
    "fail": "io.error(e), or io.panic(exception)",
    "for_each": "io.traverse(items, f), or io.traverse_par(items, f)",
    "fork": _PARALLEL,
    "gather": _ZIP_PAR,
    "map_par": _TRAVERSE_PAR,
    "memo": _MEMOIZE,
    "nursery": _SCOPE,
    "open_nursery": _SCOPE,
    "par_traverse": _TRAVERSE_PAR,
    "parallel_map": _TRAVERSE_PAR,
    "run": _RUN,
    "run_coroutine": _COROUTINE,
    "run_in_executor": _BLOCKING,
    "run_sync": _BLOCKING,
    "run_async": "await program.run_async(context), a method",
    "shield": "io.uncancelable(program)",
    "spawn": _PARALLEL,
    "start": _PARALLEL,
    "start_soon": _PARALLEL,
    "succeed": "io.pure(value)",
    "suspend": "io.defer_io(f, *args), where f returns a program",
    "sync": _DEFER,
    "task_group": _SCOPE,
    "TaskGroup": _SCOPE,
    "thread": _BLOCKING,
    "to_thread": _BLOCKING,
    "unit": "io.pure(None)",
    "wait_all": _WAIT,
    "wait_for": "program.timeout(seconds)",
}

GUESSES: Final[Mapping[str, Mapping[str, str]]] = {
    "distio": {
        **_OF_PROGRAMS,
        "Client": _LOCAL,
        "ProcessPoolExecutor": "distio.Executor()",
        "ThreadPoolExecutor": "distio.Executor(threads=8)",
        "imap": "distio.map(f, items), which is lazy",
        "imap_unordered": _AS_COMPLETED,
        "map_unordered": _AS_COMPLETED,
        "pmap": "distio.map(f, items)",
        "Event": _DEFERRED,
        "Future": "io.Fiber, the handle of a fiber",
        "Hub": "PubSub",
        "LocalCluster": _LOCAL,
        "Lock": _LOCK,
        "Parallel": "distio.map(f, items), or import distio.joblib",
        "Pool": "distio.map(f, items), or distio.Executor()",
        "Promise": _DEFERRED,
        "RLock": _LOCK,
        "Ref": "Var.create(value), a program that makes a variable",
        "Semaphore": _SEMAPHORE,
        "Task": "io.Fiber, the handle of a fiber",
        "compute": _RUN,
        "connect": "Cluster.connect(url)",
        "get": _RUN,
        "init": _LOCAL,
        "put": "Var.create(value), or let the program capture the value",
        "remote": "io.defer(f, *args) for a call elsewhere, or io.actor(make) for an object",
    },
    "distio.io": {
        **_OF_PROGRAMS,
        "as_completed": "a Queue that the fibers of io.traverse_par put their values into",
        "map": "distio.map(f, items), or " + _TRAVERSE_PAR,
        "Event": _DEFERRED,
        "Future": _DEFERRED,
        "Lock": _LOCK,
        "Queue": "distio.Queue.create(capacity), a program that makes a queue",
        "Semaphore": _SEMAPHORE,
        "from_awaitable": _COROUTINE,
        "lock": _LOCK,
        "semaphore": _SEMAPHORE,
    },
    "distio.resource": {
        "Lock": _LOCK,
        "RLock": _LOCK,
        "Semaphore": "resource.semaphore(n)",
        "make": "resource.from_open_close_io(open, close)",
        "mutex": _LOCK,
    },
    "distio.schedule": {
        "fixed": "schedule.spaced(seconds)",
        "jittered": "the method jittered() of a schedule",
        "times": "schedule.recurs(n), or the method times(n) of a schedule",
    },
    "Fiber": {
        "add_done_callback": "io.wait(fiber).flat_map(f)",
        "await_": _WAIT,
        "done": "fiber.status(), or io.wait(fiber)",
        "get": _WAIT,
        "interrupt": "fiber.cancel()",
        "join": _WAIT,
        "result": _WAIT,
        "wait": _WAIT,
    },
    "IO": {
        "and_then": "program.flat_map(f), or program.then(other)",
        "bind": "program.flat_map(f)",
        "cached": "program.memoize()",
        "catch_all": "program.catch(f)",
        "compute": _RUN,
        "either": "program.attempt()",
        "ensuring": "program.finally_(f)",
        "flatMap": "program.flat_map(f)",
        "fork": _PARALLEL,
        "get": "await program in a function of io.do, or program.run(context)",
        "guarantee": "program.finally_(f)",
        "join": _RUN,
        "memo": "program.memoize()",
        "on_error": "program.on_failure(f)",
        "or_else": "program.catch(lambda errors: other)",
        "race": "io.race(program, other)",
        "result": _RUN,
        "start": _PARALLEL,
        "tap": "program.flat_map(lambda value: f(value).then(io.pure(value)))",
        "unsafe_run": _RUN,
        "unsafe_run_sync": _RUN,
    },
    "Result": {
        "exception": "result.exceptions of a Panic, or result.errors",
        "is_err": "result.is_error(), or result.is_panic()",
        "is_success": "result.is_ok()",
        "ok": "result.is_ok()",
        "result": _GET,
        "unwrap": _GET,
        "value": _GET,
    },
    "Queue": {
        "empty": "queue.size()",
        "full": "queue.offer(item), which says whether there was room",
        "get": "queue.take()",
        "get_nowait": "queue.poll(), which takes all that is there",
        "pop": "queue.take()",
        "push": "queue.put(item)",
        "put_nowait": "queue.offer(item), which says whether there was room",
        "qsize": "queue.size()",
        "receive": "queue.take()",
        "send": "queue.put(item)",
    },
    "Deferred": {
        "await_": "deferred.get()",
        "complete": "deferred.set(value)",
        "done": "deferred.is_set()",
        "result": "deferred.get()",
        "set_result": "deferred.set(value)",
        "succeed": "deferred.set(value)",
        "wait": "deferred.get()",
    },
    "Cluster": {
        "gather": _ZIP_PAR,
        "map": "distio.map(f, items, on=cluster)",
        "scale": "cluster.adapt(...)",
        "shutdown": "cluster.close(), or `with` it",
        "stop": "cluster.close(), or `with` it",
        "terminate": "cluster.close(), or `with` it",
    },
}
"""By module or class, and by the name that is missed."""


def missing(where: str, name: str, known: Iterable[str]) -> str:
    """The replacement for a name that a module doesn't have: " (use …)", or an empty text."""
    if name.startswith("_"):
        return ""
    guess = GUESSES.get(where, {}).get(name)
    if guess is None and where == "distio.io":
        guess = _of_the_standard_library(name)
    if guess is None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, 1)
        guess = f"{where}.{close[0]}" if close else None
    return "" if guess is None else f"; use {guess}"


def _of_the_standard_library(name: str) -> str | None:
    import io

    if not hasattr(io, name):
        return None
    return (
        f"`import distio as d` and d.pure, d.defer, … here, so that `io` stays the module of the "
        f"standard library, which has {name}"
    )


def missing_from(where: str, name: str, known: Iterable[str]) -> Exception:
    """The error for a name that a module doesn't have.

    `from distio import name` would put its own words in place of those of an AttributeError.
    """
    message = f"module {where!r} has no attribute {name!r}{missing(where, name, known)}"
    frame = sys._getframe(2)
    if _is_importing(frame.f_code.co_code, frame.f_lasti):
        return ImportError(message, name=where)
    return AttributeError(message)


def _is_importing(code: bytes, at: int) -> bool:
    from opcode import opmap

    return code[at] == opmap["IMPORT_FROM"]


# -- classes ----------------------------------------------------------------------------------


class _Guess:
    """Stands in a class for a name that it doesn't have; to all but its reader it isn't there.

    A method `__getattr__` would make each use of any other name slower.
    """

    __slots__ = ("_hint", "_name")

    def __init__(self, name: str, hint: str) -> None:
        self._name = name
        self._hint = hint

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"{owner.__name__!r} has no attribute {self._name!r}; {self._hint}")


def hint_at(where: str) -> Callable[[Class], Class]:
    """Decorate a class: a name that it doesn't have and that users guess says what to use."""

    def decorate(decorated: Class) -> Class:
        for name, guess in GUESSES[where].items():
            if not hasattr(decorated, name):
                setattr(decorated, name, _Guess(name, f"use {guess}"))
        return decorated

    return decorate


def says_instead(**instead: str) -> Callable[[Callable[P, X]], Callable[P, X]]:
    """Decorate a function: of an argument that it doesn't have, say which one is meant."""

    def decorate(f: Callable[P, X]) -> Callable[P, X]:
        @wraps(f)
        def checked(*args: P.args, **kwargs: P.kwargs) -> X:
            for name in kwargs:
                if name in instead:
                    raise TypeError(f"{f.__qualname__} has no argument {name}; {instead[name]}")
            return f(*args, **kwargs)

        return checked

    return decorate
