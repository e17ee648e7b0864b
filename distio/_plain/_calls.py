"""The work of one fiber for callers of plain functions: some calls of one function, in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import replace
from functools import partial
from types import CoroutineType, FunctionType, MethodType
from typing import Any, Final, NamedTuple, final

from distio._plain._process_state import Changes
from distio.core import expect
from distio.core.context_vars import carried_in, is_as_copied, of_the_caller, put, reset_to
from distio.core.ops import Blocking
from distio.core.ops.base import IO
from distio.core.ops.bounded import ChunkResult
from distio.core.ops.elsewhere import CallElsewhere
from distio.core.where import in_item
from distio.errors import MatchError, TracedException, WorkerLost
from distio.result import Panic, Result
from distio.result._exceptions import exception_of
from distio.runtime.nesting import stopped_with_its_fiber

__all__ = ["Calls", "Setup", "exception_in"]

_SAYS_ITSELF: Final = (FunctionType, MethodType, partial)
"""Functions whose parts are named with the function."""


@final
class Setup(NamedTuple):
    """A call that each process makes once, before other calls of the same executor."""

    key: str
    """Unique among all processes."""
    f: Callable[..., object]
    args: tuple[Any, ...]
    is_for_threads: bool
    """Whether the call is made in each thread instead."""


@final
class Calls(NamedTuple):
    """Calls of one function, one after another.

    They stop at the first failure. Those that may be cut stop when they have taken too long, or are
    cancelled, too: whoever has asked for them gives the rest to others.
    """

    f: Callable[..., Any]
    items: Sequence[Any]
    is_spread: bool
    """Whether an item is a tuple of arguments."""
    called: str = ""
    """The function of distio that the items were given to; empty: nobody counts them."""
    first: int = 0
    """The index of the first item."""
    goes_on: bool = False
    """Whether calls follow one that has failed."""
    longest: float | None = None
    """How many seconds the calls may take before they are cut; None: they aren't."""
    setup: Setup | None = None
    variables: Mapping[ContextVar[Any], Any] | None = None
    """The context variables of the caller, of which each call finds the values."""

    def elsewhere(self, changes: Changes | None) -> IO[Any, Any, ChunkResult]:
        """The program that makes the calls in the process of a worker.

        Args:
            changes: what the worker takes over before.
        """
        options = *self[2:-1], carried_in(self.variables), changes
        return _CallsElsewhere(_call_each, self.f, list(self.items), options)

    def on_a_thread(self, here: Callable[[Calls], ChunkResult]) -> IO[Any, Any, ChunkResult]:
        """The program that makes the calls on a thread of this process, where `here` is called."""
        return Blocking(here, (self,), {}, False)

    def make(self) -> ChunkResult:
        """Make the calls."""
        return _call_each(*self)


@final
class _CallsElsewhere(CallElsewhere):
    """Calls that travel: why they can't is told in the words of whoever has asked for them."""

    __slots__ = ()

    def _named_parts(self) -> Iterator[tuple[str, Any]]:
        calls = Calls(self.f, self.items, *self.options[:-1])
        yield ("" if isinstance(self.f, _SAYS_ITSELF) else "the function"), self.f
        for index, item in enumerate(calls.items, calls.first):
            name = f"item {index}" if calls.called else ""
            if not calls.is_spread:
                yield name, item
                continue
            of = f" of {name}" if name else ""
            for place, argument in enumerate(item, 1):
                yield f"argument {place}{of}", argument
        yield "", calls.variables


def _call_each(
    f: Callable[..., Any],
    items: Sequence[Any],
    is_spread: bool,
    called: str,
    first: int,
    goes_on: bool,
    longest: float | None,
    setup: Setup | None,
    variables: Mapping[ContextVar[Any], Any] | None,
    changes: Changes | None = None,
) -> ChunkResult:
    start = time.perf_counter()
    values: list[Any] = []
    failures: list[tuple[int, Any]] = []
    if changes is not None:
        changes.take_over()
    if setup is not None:
        _set_up(setup)
    put(variables or {})
    before = of_the_caller()
    cancelled = threading.Event()
    may_be_cut = longest is not None and len(items) > 1
    with stopped_with_its_fiber(cancelled.set) if may_be_cut else nullcontext():
        for item in items:
            try:
                value = f(*item) if is_spread else f(item)
                if type(value) is CoroutineType or isinstance(value, IO):
                    _refuse(value)
                values.append(value)
            except BaseException as exception:  # noqa: BLE001 (whatever it is, the caller gets it)
                panic: Panic[Any, Any] = Panic([TracedException.in_except_clause(exception)], [])
                place = len(values)
                if called:
                    panic = in_item(panic, called, first + place, item)
                failures.append((place, panic))
                values.append(None)
                if not goes_on:
                    break
            if not is_as_copied(copy_context(), before):
                reset_to(before)  # the next call doesn't see what this one has set
            is_late = longest is not None and time.perf_counter() - start > longest
            if is_late or cancelled.is_set():
                break
    return ChunkResult(values, failures, time.perf_counter() - start)


def _refuse(returned: CoroutineType[Any, Any, Any] | IO[Any, Any, Any]) -> None:
    """A function has returned what nobody would await or run.

    Raises:
        MatchError: always.
    """
    if isinstance(returned, IO):
        raise MatchError(
            f"expected a value, but the function returned a program, {expect.shown(returned)}, "
            "which nobody would run; write io.traverse_par(items, f) for a function that returns "
            "programs, or give one that calls .run(None).get()"
        )
    returned.close()
    raise MatchError(
        f"expected a value, but the function returned a coroutine of {returned.__qualname__}, "
        "which nobody would await; give a function that calls asyncio.run"
    )


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.setups: dict[str, Future[None]] = {}


_of_process: Final[dict[str, Future[None]]] = {}
"""By key, those that were called in this process, with what came of it."""
_of_thread: Final = _OfThread()


def _set_up(setup: Setup) -> None:
    """Make the call, unless that was done before; calls on other threads wait for its end.

    Raises:
        BrokenExecutor: it has failed, now or before.
    """
    mine: Future[None] = Future()
    setups = _of_thread.setups if setup.is_for_threads else _of_process
    done = setups.setdefault(setup.key, mine)
    if done is mine:
        try:
            setup.f(*setup.args)
        except BaseException as exception:  # noqa: BLE001 (it is raised below)
            mine.set_exception(exception)
        else:
            mine.set_result(None)
    if (failure := done.exception()) is not None:
        raise BrokenExecutor(f"the initializer has failed: {failure!r}") from failure


def exception_in(failure: Result[Any, Any]) -> BaseException:
    """The exception of the user's function, with notes that say where it came about.

    They don't name the fiber of the call, of which the user knows nothing.
    """
    assert isinstance(failure, Panic), "plain functions have no expected errors"
    return exception_of([_told_of_a_call(each) for each in failure.exceptions], failure.errors)


def _told_of_a_call(traced: TracedException) -> TracedException:
    where, lost = replace(traced.where, fiber=None), traced.exception
    if not isinstance(lost, WorkerLost):
        return traced.with_where(where)
    exit = lost.exit and replace(lost.exit, running=())
    told = WorkerLost(lost.worker, lost.reason.replace("the fiber", "the call"), exit)
    told.message = told.message.replace("this fiber", "this call", 1)
    return TracedException(told, str(where), where)
