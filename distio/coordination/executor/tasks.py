"""What a pool thread takes from a member's queue.

Stepping, pickling and unpickling run user code, so each piece of work has two halves: `perform`,
without the mutex, and `settle`, which tells the machine under the mutex. Fibers, by far the most
frequent work, have theirs in `hand.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from distio.coordination.calls.callbacks import Callback
from distio.coordination.executor.discarding import DropObjects
from distio.coordination.failures.reporting import ReportFailures
from distio.core import expect
from distio.core.fiber import Fiber, Handle
from distio.core.interrupts import is_interrupt, is_user_call
from distio.core.ops.failures import Fail
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.references import keys_of
from distio.core.snapshot import (
    Leaving,
    Packed,
    dump_chunk,
    dump_outcome,
    load_fibers,
    why_it_cannot_ship,
)
from distio.errors import MainThreadAway, NotPicklable, TracedException
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.messages.logs import LogLevels
from distio.protocol.text import readable_exception
from distio.result import Ok, Panic, Result

if TYPE_CHECKING:
    from distio.coordination.member import Member
    from distio.coordination.references.member import Claim
    from distio.coordination.state.local_run import LocalRun

__all__ = [
    "CancelBlockingCall",
    "FinishFiber",
    "HostServices",
    "OfferFibers",
    "PickleFibers",
    "PickleOutcome",
    "StartBlockingCall",
    "StartCallback",
    "Task",
    "UnpickleChunk",
    "Work",
]

_CHUNKS: Final = 64
"""Into how many pieces the children of one `parallel` are split, so that all cores get some."""
_MOST_IN_CHUNK: Final = 256


class HostServices(Protocol):
    """What work needs from the process around it; never called with the mutex held."""

    def wall_clock(self) -> float:
        """What `time.time` shows, or is made to show."""

    def random(self) -> float:
        """A random number from 0 up to, but not, 1."""

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        """A callback was called, by any thread."""

    def on_callback_dropped(self, callback: Callback) -> None:
        """A callback has died without being called.

        The garbage collector may say so at any time, even in a thread that holds the mutex.
        """

    def run_in_thread(
        self, call: Callable[[], None], withdrawn: Callable[[], None], fiber: Fiber
    ) -> Callable[[], None]:
        """Call this for a fiber on a thread that isn't one of the pool's; returns at once.

        Args:
            call: what is called, perhaps later, when a thread is free.
            withdrawn: what is called instead if the call is withdrawn.
            fiber: on whose behalf.

        Returns:
            What withdraws the call if it hasn't begun.
        """

    def on_main_thread(
        self, call: Callable[[], None], refuse: Callable[[], None], fiber: Fiber
    ) -> Callable[[], bool]:
        """Call this for a fiber on the main thread of the process; returns at once.

        Args:
            call: what is called.
            refuse: what is called instead, on any thread, if the main thread doesn't take calls.
            fiber: on whose behalf.

        Returns:
            What withdraws the call; it returns whether neither of the two is called any more.
        """

    def begin_task(self, fiber: Fiber) -> Callable[[Result[Any, Any]], None]:
        """What this task of asyncio does from now on is the fiber's business.

        Returns:
            What ends that, and is told what came of the task.
        """

    def on_loop(self, run: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """Run this for a fiber on the event loop of the process; returns at once.

        Returns:
            What cancels it.
        """

    def use_log_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Fibers are about to come; these are the log levels of the clients they belong to."""

    def on_unpicklable(self, fiber: Fiber) -> None:
        """This fiber was to travel, but it can't be pickled."""

    def copied(self, fibers: Sequence[Fiber], generators: Sequence[Any]) -> None:
        """These fibers take along copies of these generators of random numbers."""

    def report_failures(self) -> None:
        """There are failures that nobody can ask for any more: see `Member.failures`."""

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        """User code has raised what is to end the run (see `is_interrupt`).

        Args:
            interrupt: what it has raised.
            fiber: the fiber in hand that has called it; None if that is parked.

        Returns:
            Whether the fiber is to go on, with this as its panic.
        """


@final
class UnpickleChunk:
    """Fibers that came in one pickle; opening it puts them into `ready`."""

    __slots__ = ("_claims", "_fibers", "_handles", "_log_levels", "_run", "chunk")

    def __init__(
        self,
        chunk: m.Chunk,
        run: LocalRun,
        log_levels: Mapping[int, LogLevels],
        handles: Sequence[Handle[Any, Any, Any]],
        claims: Sequence[Claim],
    ) -> None:
        self.chunk = chunk
        self._run = run
        self._handles = handles
        self._claims = claims
        self._fibers: list[Fiber] = []
        self._log_levels = log_levels
        """Those of all clients when it came."""

    @property
    def run_id(self) -> int:
        """The run that the fibers belong to."""
        return self.chunk.run

    def run(self, host: HostServices) -> None:
        """Unpickle it."""
        chunk = self.chunk
        try:
            host.use_log_levels(self._log_levels)
            shared = self._run.bundles, self._run.attachments
            self._fibers = load_fibers(
                chunk.run, chunk.fibers, chunk.payload, *shared, self._claims
            )
        except BaseException as exception:  # noqa: BLE001 (each of them ends in this panic)
            traced = TracedException.in_except_clause(exception)
            failure = Fail([], [traced])
            self._fibers = [Fiber(id, chunk.run, failure, None) for id, _ in chunk.fibers]
            for fiber, (_, epoch) in zip(self._fibers, chunk.fibers):
                fiber.epoch = epoch

    def commit(self, member: Member) -> Fiber | Task | None:
        """Its fibers are ready."""
        member.opened(self.chunk, self._fibers, self._handles)
        return None


@final
class OfferFibers:
    """So many fibers are to be offered to others; becomes a `PickleFibers` when it is taken."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


@final
class PickleFibers:
    """Fibers of one run that are to travel, chunk by chunk; what can't be pickled is kept."""

    __slots__ = ("_chunks", "_dumped", "_packed", "_target", "_writer", "then")

    def __init__(
        self, fibers: Sequence[Fiber], then: Fiber | PickleFibers | None = None, target: int = 0
    ) -> None:
        size = max(1, min(len(fibers) // _CHUNKS, _MOST_IN_CHUNK))
        starts = range((len(fibers) - 1) // size * size, -1, -size)
        self._chunks = [fibers[start : start + size] for start in starts]
        """The last one goes first."""
        self._packed: Sequence[Fiber] = ()
        self._dumped: Dumped | None = None
        """Those of `_packed`; None: they can't be pickled."""
        self._target = target
        """The member that they are for; 0: any."""
        self._writer = Writer(attaches=True)
        self.then = then
        """What the same thread goes on with."""

    @property
    def run_id(self) -> int:
        """The run they belong to."""
        return self._packed[0].run if self._packed else self._chunks[-1][0].run

    @property
    def fibers(self) -> list[Fiber]:
        """Those that haven't left yet, and the one that goes on then, if it is of the same run."""
        fibers = [*self._packed, *[fiber for chunk in self._chunks for fiber in chunk]]
        return [*fibers, self.then] if isinstance(self.then, Fiber) else fibers

    def run(self, host: HostServices) -> None:
        """Pickle the next chunk; halve it until it is clear which of them can't be pickled."""
        while True:
            self._packed = fibers = self._chunks.pop()
            try:
                self._dumped = dump_chunk(fibers, writer=self._writer)
            except BaseException:  # noqa: BLE001 (what can't be pickled stays, for whatever reason)
                if len(fibers) > 1:
                    middle = len(fibers) // 2
                    self._chunks += [fibers[middle:], fibers[:middle]]
                    continue
                self._dumped = None
                if self._target:
                    _refuse(fibers[0])
                else:
                    host.on_unpicklable(fibers[0])
            else:
                copied = self._dumped.generators
                if copied and not any(fiber.epoch for fiber in fibers):
                    host.copied(fibers, copied)  # who moves once more was looked at before
            return

    def commit(self, member: Member) -> Fiber | Task | None:
        """They leave, or are kept."""
        if not member.is_running(self._packed[0].run):
            return self.then if isinstance(self.then, PickleFibers) else None
        if self._dumped is None:
            member.keep(self._packed)
        else:
            member.shipped(self._packed, self._dumped, self._target)
        self._packed, self._dumped = (), None
        return self if self._chunks else self.then


def _refuse(fiber: Fiber) -> None:
    """It belongs elsewhere and can't travel: it fails here."""
    refusal = NotPicklable(f"a call of a located object can't travel: {why_it_cannot_ship(fiber)}")
    fiber.next = Fail([], [TracedException(refusal, str(refusal))])


def _dump_outcome(outcome: Any) -> Leaving:
    """Pickle an outcome; if there is no memory for it, for one, a panic that says so."""
    try:
        return dump_outcome(outcome)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        refusal = NotPicklable(
            f"the fiber ended, but its outcome can't leave its process: {readable_exception(error)}"
        )
    return dump_outcome(Panic([TracedException(refusal, str(refusal))], []))


@final
class PickleOutcome:
    """The outcome of this fiber is to be sent to whoever waits for it elsewhere."""

    __slots__ = ("_outcome", "handle", "run_id")

    def __init__(self, run: int, handle: Handle[Any, Any, Any]) -> None:
        self.run_id = run
        self.handle = handle
        self._outcome = Leaving(b"")

    def run(self, host: HostServices) -> None:
        """Pickle it, unless it came as bytes."""
        outcome = self.handle.outcome
        if isinstance(outcome, Packed):
            self._outcome = Leaving(outcome.payload, (), keys_of(outcome.references))
        else:
            self._outcome = _dump_outcome(outcome)

    def commit(self, member: Member) -> Fiber | Task | None:
        """It leaves."""
        if member.is_running(self.run_id):
            member.runs[self.run_id].posting -= 1
            member.posted(self.handle.id, self._outcome)
        return None


@final
class FinishFiber:
    """A fiber has ended that somebody elsewhere waits for: its outcome leaves before its end."""

    __slots__ = ("_outcome", "fiber")

    def __init__(self, fiber: Fiber) -> None:
        self.fiber = fiber
        self._outcome = Leaving(b"")

    def run(self, host: HostServices) -> None:
        """Pickle the outcome."""
        self._outcome = _dump_outcome(self.fiber.outcome())

    def commit(self, member: Member) -> Fiber | Task | None:
        """The outcome leaves, and the fiber has ended."""
        fiber = self.fiber
        if member.is_running(fiber.run):
            member.posted(fiber.id, self._outcome)
            member.finish(fiber, is_observed=True)
        return None


@final
class StartCallback:
    """A fiber is parked until its callback is called; this calls the function that gets it."""

    __slots__ = ("_variables", "fiber", "request")

    def __init__(self, fiber: Fiber, request: rq.AwaitCallback, variables: Context) -> None:
        self.fiber = fiber
        self.request = request
        self._variables = variables
        """The context in which the function is called."""

    def run(self, host: HostServices) -> None:
        """Call the function; what it raises is the outcome, unless the callback came first."""
        fiber, request = self.fiber, self.request
        callback = Callback(host, fiber, request)
        try:
            started = self._variables.run(_started, fiber, request, callback)
            expect.no_coroutine(started, "async_", request.f)
        except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
            if not is_interrupt(exception) or host.interrupted(exception, None):
                callback(Panic([TracedException.in_except_clause(exception)], []))

    def commit(self, member: Member) -> Fiber | Task | None:
        """The rest is the callback's."""
        return None


@is_user_call
def _started(fiber: Fiber, request: rq.AwaitCallback, callback: Callback) -> Any:
    return request.f(fiber.context, callback, *request.args, **request.kwargs)


@final
class StartBlockingCall:
    """A fiber is parked until a call that may block has returned; this has it called elsewhere."""

    __slots__ = ("_stop", "_variables", "fiber", "request")

    def __init__(self, fiber: Fiber, request: rq.AwaitBlocking, variables: Context) -> None:
        self.fiber = fiber
        self.request = request
        self._variables = variables
        """The context in which it is called."""
        self._stop: Callable[[], None] | None = None

    def run(self, host: HostServices) -> None:
        """Hand the call over."""
        callback = Callback(host, self.fiber, self.request)
        try:
            self._hand_over(host, callback)
        except Exception as error:  # noqa: BLE001 (the system has no thread left, for one)
            callback(Panic([TracedException.in_except_clause(error)], []))

    def _hand_over(self, host: HostServices, callback: Callback) -> None:
        fiber, request = self.fiber, self.request
        call = partial(_call, host, fiber, request, self._variables, callback)
        if request.place == "loop":
            begin = partial(host.begin_task, fiber)
            self._stop = host.on_loop(partial(_await, request, self._variables, begin, callback))
        elif request.place == "main thread":
            withdraw = host.on_main_thread(call, partial(_refuse_call, callback), fiber)
            self._stop = partial(_withdraw, withdraw, callback)
        else:
            self._stop = host.run_in_thread(call, partial(callback, Ok(None)), fiber)

    def commit(self, member: Member) -> Fiber | Task | None:
        """The rest is the callback's, unless the fiber was cancelled meanwhile."""
        fiber, request, stop = self.fiber, self.request, self._stop
        is_waiting = fiber.request is request
        if stop is None or not (is_waiting or request.is_abandoned):
            return None
        request.stop = stop
        return (
            None
            if is_waiting and not fiber.can_be_cancelled_now(waits=True)
            else CancelBlockingCall(request)
        )


def _call(
    host: HostServices,
    fiber: Fiber,
    request: rq.AwaitBlocking,
    variables: Context,
    callback: Callback,
) -> None:
    is_on_main_thread = request.place == "main thread"
    try:
        value = variables.run(_made, fiber, request)
        called = "on_main_thread" if is_on_main_thread else "blocking"
        expect.no_coroutine(value, called, request.f)
        result: Result[Any, Any] = Ok(value)
    except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
        if is_on_main_thread and is_interrupt(exception):
            host.interrupted(exception, None)
        result = Panic([TracedException.in_except_clause(exception)], [])
    callback(result)


@is_user_call
def _made(fiber: Fiber, request: rq.AwaitBlocking) -> Any:
    return request.f(*request.args, **request.kwargs)


def _refuse_call(callback: Callback) -> None:
    away = MainThreadAway()
    callback(Panic([TracedException(away, str(away))], []))


def _withdraw(withdraw: Callable[[], bool], callback: Callback) -> None:
    """The fiber is cancelled: a call that the main thread hasn't begun is never made."""
    if withdraw():
        callback(Ok(None))


Begin = Callable[[], Callable[[Result[Any, Any]], None]]
"""`HostServices.begin_task`, for one fiber."""


async def _await(
    request: rq.AwaitBlocking,
    variables: Context,
    begin: Begin,
    callback: Callback,
) -> None:
    from asyncio import CancelledError, create_task  # takes long to import, and is there by now

    # a task of its own: the context must have been left when the fiber goes on
    try:
        result = await create_task(_awaited(request, begin), context=variables)
    except CancelledError as exception:  # it was cancelled before it had begun
        result = _failed(request, exception)
    callback(result)


async def _awaited(request: rq.AwaitBlocking, begin: Begin) -> Result[Any, Any]:
    end = begin()
    try:
        made = request.f(*request.args, **request.kwargs)
        if not isawaitable(made):
            advice = "for other functions there are io.defer and io.blocking"
            raise expect.returned("from_coroutine", request.f, "a coroutine", made, advice)
        result: Result[Any, Any] = Ok(await made)
    except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
        result = _failed(request, exception)
    end(result)
    return result


def _failed(request: rq.AwaitBlocking, exception: BaseException) -> Result[Any, Any]:
    from asyncio import CancelledError

    if request.is_stopped and isinstance(exception, CancelledError):
        return Ok(None)  # as it was to: the fiber is cancelled
    return Panic([TracedException.in_except_clause(exception)], [])


@final
class CancelBlockingCall:
    """A call of a fiber that is cancelled is to be stopped."""

    __slots__ = ("_request",)

    def __init__(self, request: rq.AwaitBlocking) -> None:
        self._request = request

    def run(self, host: HostServices) -> None:
        """Stop it; the fiber goes on when it has ended."""
        self._request.is_stopped = True
        if self._request.stop is not None:
            self._request.stop()

    def commit(self, member: Member) -> Fiber | Task | None:
        """The rest is the callback's."""
        return None


Task = (
    StartBlockingCall
    | DropObjects
    | UnpickleChunk
    | PickleFibers
    | PickleOutcome
    | FinishFiber
    | ReportFailures
    | StartCallback
    | CancelBlockingCall
)
"""What a pool thread does besides stepping fibers."""

Work = Fiber | Task | OfferFibers
"""What a member's queue holds."""
