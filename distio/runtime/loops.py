"""Event loops of the user's: asyncio's, and trio's.

A program that a task awaits runs its coroutines on the loop of that task, where the locks, events
and clients are at home that they use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from distio.coordination.executor.services import OnLoop
from distio.core.outside import is_in_trio
from distio.errors import MatchError, TracedException
from distio.result import Panic, Result
from distio.runtime.blocking import helpers, in_background
from distio.runtime.forks import without_forks
from distio.runtime.logs import log
from distio.runtime.messenger import hand_over

__all__ = ["EventLoop", "call_elsewhere", "explained", "running_loop", "warn_of_closed"]


class EventLoop(Protocol):
    """A loop that runs tasks on one thread; any thread may call `soon` and `start`."""

    def soon(self, call: Callable[[], object]) -> None:
        """Have this called on the thread of the loop; without effect if the loop is closed."""

    def start(self, call: OnLoop) -> Callable[[], None]:
        """Run the coroutine of a fiber.

        Returns:
            A function that cancels it.

        Raises:
            RuntimeError: the loop is closed.
        """

    async def wait(
        self, begin: Callable[[Callable[[], None]], None], cancel: Callable[[], None]
    ) -> None:
        """In a task of the loop: begin something, and wait until it is over.

        If the task is cancelled, it waits all the same, and is cancelled then.

        Args:
            begin: begins it; is given what any thread calls when it is over.
            cancel: has it end soon.
        """


def running_loop() -> EventLoop:
    """The loop whose task calls this.

    Raises:
        RuntimeError: it is no task of a loop that is known.
    """
    if is_in_trio() and not _is_in_asyncio():
        with without_forks():  # in a child that another thread forks it would stay half imported
            from distio.runtime.trio_loop import TrioLoop
        return TrioLoop()
    with without_forks():
        from distio.runtime.asyncio_loop import AsyncioLoop
    try:
        return AsyncioLoop()
    except RuntimeError as error:
        raise RuntimeError(
            "run_async: expected to be awaited in a task of asyncio or trio, but no loop of these "
            "runs here; elsewhere, call run"
        ) from error


def _is_in_asyncio() -> bool:
    """Whether a task of asyncio calls this, whose loop may itself be run by trio."""
    asyncio: Any = sys.modules.get("asyncio")
    return (
        asyncio is not None
        and asyncio._get_running_loop() is not None
        and asyncio.current_task() is not None
    )


async def call_elsewhere(call: Callable[[], None]) -> None:
    """Make a call of distio's own that may block, from a task; the loop goes on meanwhile.

    Raises:
        BaseException: what the call has raised.
    """
    raised: list[BaseException] = []

    def make(over: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as exception:  # noqa: BLE001 (it is the caller's)
            raised.append(exception)
        over()

    def begin(over: Callable[[], None]) -> None:
        helpers.call(partial(make, over))

    await running_loop().wait(begin, lambda: None)
    if raised:
        raise raised[0]


def explained(result: Result[Any, Any], library: str) -> Result[Any, Any]:
    """The Result of a coroutine; one that failed because it is of another library is told so.

    Args:
        result: the Result.
        library: the one whose loop has run the coroutine.
    """
    if not isinstance(result, Panic) or len(result.exceptions) != 1:
        return result
    traced = result.exceptions[0]
    exception = traced.exception
    other = {"asyncio": "trio", "trio": "asyncio"}[library]
    if not isinstance(exception, RuntimeError | TypeError) or other not in sys.modules:
        return result
    is_raised_there = _innermost_module(exception).partition(".")[0] == other
    if not is_raised_there and str(exception) != "no running event loop":
        return result
    wrong = MatchError(
        f"from_coroutine: the function is one of {other}, but it runs on a loop of {library}; let "
        f"a task of {other} run the program, `await program.run_async(context)`, or write the "
        f"function with anyio"
    )
    wrong.__cause__ = exception
    return Panic([TracedException(wrong, traced.stack_trace, traced.where)], [])


def _innermost_module(exception: BaseException) -> str:
    """The module of the function that has raised it."""
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))


def warn_of_closed(error: RuntimeError) -> None:
    """A loop was closed in whose tasks somebody awaits a run: nobody gets its Result."""
    warn = partial(log.warning, "an event loop was closed while a task awaited a run: %s", error)
    hand_over(partial(in_background, warn))  # the caller may hold a mutex
