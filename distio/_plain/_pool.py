"""A pool: calls whose outcomes are futures.

Rules
-----
- A future is cancelled as long as its call waits in this process, and runs from then on.
- Callbacks of futures are code of the user: a thread of the pool calls them, and nothing of distio
  waits for that thread but the pool.
- The end of the main thread shuts a pool, and is awaited by it: calls that were submitted are made.
- A call of a lost worker is made by another one. Only if it ends worker after worker, its future
  fails, alone. A cluster that is lost, or an initializer that fails, breaks the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, final

from distio._plain._calls import Calls, Setup, exception_in
from distio._plain._exits import at_end_of_main, no_more_at_end_of_main
from distio._plain._places import Where, own_session, session_for
from distio._plain._session import Errand, Session, waiting_for_errands
from distio.core.context_vars import of_the_caller
from distio.core.ops.bounded import ChunkResult
from distio.errors import ClusterClosed, WorkerLost
from distio.result import Ok, Result
from distio.runtime.cores import usable_cores
from distio.runtime.pending_runs import closed
from distio.runtime.threads import start_thread

__all__ = ["Pool"]

_ABORTED: Final = closed("the calls were cancelled")


@final
class _Future(Future[Any]):
    """A future for which a call of the same pool may wait."""

    def result(self, timeout: float | None = None) -> Any:
        if self.done():
            return super().result()
        with waiting_for_errands():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self.done():
            return super().exception()
        with waiting_for_errands():
            return super().exception(timeout)


@final
class _Call(Errand):
    """Calls of one future."""

    __slots__ = ("_has_started", "_tell", "future", "is_single", "result")

    def __init__(self, calls: Calls, is_single: bool, tell: Callable[[_Call], None]) -> None:
        super().__init__(calls)
        self.future = _Future()
        self._has_started = False
        self.is_single = is_single
        """Whether the value of the future is that of the only call, no list."""
        self.result: Result[Any, ChunkResult] | None = None
        """None: the future was cancelled."""
        self._tell = tell

    def starts(self) -> bool:
        self._has_started = True
        is_wanted = self.future.set_running_or_notify_cancel()
        if not is_wanted:
            self._tell(self)
        return is_wanted

    def ended(self, result: Result[Any, ChunkResult]) -> None:
        if self._has_started or self.starts():
            self.result = result
            self._tell(self)

    def settle(self) -> BrokenExecutor | None:
        """Set the outcome of the future, which calls its callbacks; return what breaks the pool."""
        result, self.result = self.result, None
        if result is None or self.future.done():  # it may have been abandoned
            return None
        if isinstance(result, Ok):
            made: ChunkResult = result.success
            if made.failures:
                self.future.set_exception(exception_in(made.failures[0][1]))
            else:
                self.future.set_result(made.values[0] if self.is_single else made.values)
            return None
        exception = exception_in(result)
        breaks = isinstance(exception, BrokenExecutor | ClusterClosed)
        if isinstance(exception, ClusterClosed | WorkerLost):
            exception, why = BrokenExecutor(str(exception)), exception
            exception.__cause__ = why
        self.future.set_exception(exception)
        return exception if breaks and isinstance(exception, BrokenExecutor) else None


@final
class Pool:
    """A pool that has calls made at a place.

    Args:
        where: the place.
        setup: what is called first in each process there.
        is_shared: whether others use the place as well, which so outlives the pool.
        variables: tells the context variables of a call; without it, they are the submitter's.
    """

    def __init__(
        self,
        where: Where,
        setup: Setup | None,
        *,
        is_shared: bool,
        variables: Callable[[], Context | None] = of_the_caller,
    ) -> None:
        self._where = where
        self._setup = setup
        self._variables = variables
        self._is_shared = is_shared
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._held = ExitStack()
        """The contexts that end when the session isn't needed any more."""
        self._pending: dict[_Call, None] = {}
        """The calls whose futures have no outcome yet."""
        self._is_shut = False
        self._broken: BrokenExecutor | None = None
        self._told: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    # -- calls ----------------------------------------------------------------------------

    def submit(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Future[Any]:
        """Have one call made.

        Raises:
            RuntimeError: the pool is shut.
            BrokenExecutor: the pool is broken.
            ClusterError: the workers can't be started.
        """
        whole = partial(f, **kwargs) if kwargs else f
        calls = Calls(whole, [args], True, setup=self._setup, variables=self._variables())
        return self._start(calls, True)

    def submit_each(self, f: Callable[..., Any], items: Sequence[Any]) -> Future[list[Any]]:
        """Have calls made by one worker, one after another."""
        calls = Calls(f, items, True, setup=self._setup, variables=self._variables())
        return self._start(calls, False)

    def _start(self, calls: Calls, is_single: bool) -> Future[Any]:
        call = _Call(calls, is_single, self._told.put)
        with self._guard:
            self._require_open()
            session = self._session or self._open()
            self._pending[call] = None
        session.refresh()
        session.start(call)
        return call.future

    def _require_open(self) -> None:
        if self._broken is not None:
            raise BrokenExecutor(str(self._broken)) from self._broken
        if self._is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown of the executor")
        if not threading.main_thread().is_alive():
            raise RuntimeError("cannot schedule new futures after shutdown of the interpreter")

    def _open(self) -> Session:
        """Begin to use the place (the guard is held)."""
        with ExitStack() as held:
            self._session = held.enter_context(self._place())
            if self._thread is None:
                self._thread = start_thread("distio-futures", self._settle)
                at_end_of_main(self._finish)
            self._held = held.pop_all()
        return self._session

    def _place(self) -> AbstractContextManager[Session]:
        return session_for(self._where) if self._is_shared else own_session(self._where)

    # -- outcomes -------------------------------------------------------------------------

    def _settle(self) -> None:
        """Set the outcomes of futures, until the pool is shut and all are set."""
        is_over = False
        while not is_over:
            call = self._told.get()
            broken = None if call is None else call.settle()
            with self._guard:
                if call is not None:
                    self._pending.pop(call, None)
                del call  # its values must not live until the next one
                if broken is not None and not self._is_shared:
                    self._broken = broken
                is_over = self._is_shut and not self._pending
                held = None
                if is_over or (self._is_shared and not self._pending):
                    held, self._held, self._session = self._held, ExitStack(), None
            if held is not None:
                held.close()
        no_more_at_end_of_main(self._finish)

    def shut(self, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end when all were made."""
        with self._guard:
            self._is_shut = True
            session = self._session
        if cancel_futures and session is not None:
            for call in session.take_waiting():
                assert isinstance(call, _Call)
                call.future.cancel()
                call.starts()
        self._told.put(None)

    def abort(self) -> None:
        """Take no more calls; cancel those that were submitted, also where they have begun.

        A function that runs is left to itself: its future fails, and nobody waits for its end.
        """
        with self._guard:
            session, pending = self._session, list(self._pending)
        self.shut(cancel_futures=True)
        if session is not None:
            begun = [call for call in pending if not call.future.cancelled()]
            session.cancel(*begun)
            for call in begun:
                call.ended(_ABORTED)

    def join(self) -> None:
        """Wait for the end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            with waiting_for_errands():
                thread.join()

    def _finish(self) -> None:
        self.shut()
        self.join()

    def __str__(self) -> str:
        on, threads, workers = self._where
        if on is not None:
            place = "on a cluster"
        elif threads is not None:
            place = f"of {threads} threads"
        else:
            place = f"of {workers or usable_cores()} worker processes"
        state = "broken, " if self._broken else "shut, " if self._is_shut else ""
        return f"{place}, {state}{len(self._pending)} calls pending"
