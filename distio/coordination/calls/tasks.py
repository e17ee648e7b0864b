"""Tasks that start and cancel the calls for which fibers wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from inspect import isawaitable
from typing import Any, final

from distio.coordination.calls.callbacks import Callback
from distio.coordination.executor.hands import NotedCoroutine
from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.core import expect
from distio.core.fiber import Fiber
from distio.core.interrupts import is_interrupt, is_user_call
from distio.errors import MainThreadAway, TracedException
from distio.protocol import requests as rq
from distio.result import Ok, Panic, Result

__all__ = ["CancelBlockingCall", "StartBlockingCall", "StartCallback"]


@final
class StartCallback(Task):
    """A fiber is parked until its callback is called; this calls the function that gets it.

    Args:
        fiber: the fiber.
        request: what it is parked on.
        variables: the context in which the function is called.
    """

    __slots__ = ("_variables", "fiber", "request")

    def __init__(self, fiber: Fiber, request: rq.AwaitCallback, variables: Context) -> None:
        self.fiber = fiber
        self.request = request
        self._variables = variables

    def run(self, host: HostServices) -> None:
        """Call the function; what it raises is the outcome, unless the callback came first."""
        fiber, request = self.fiber, self.request
        if not host.may_call(fiber):
            return
        callback = Callback(host, fiber, request)
        try:
            started = self._variables.run(_started, fiber, request, callback)
            expect.no_coroutine(started, "async_", request.f)
        except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
            if not is_interrupt(exception) or host.interrupted(exception, None):
                callback(Panic([TracedException.in_except_clause(exception)], []))


@is_user_call
def _started(fiber: Fiber, request: rq.AwaitCallback, callback: Callback) -> Any:
    return request.f(fiber.context, callback, *request.args, **request.kwargs)


@final
class StartBlockingCall(Task):
    """A fiber is parked until a call that may block has returned; this has it called elsewhere.

    Args:
        fiber: the fiber.
        request: what it is parked on.
        variables: the context in which the call is made.
    """

    __slots__ = ("_stop", "_variables", "fiber", "request")

    def __init__(self, fiber: Fiber, request: rq.AwaitBlocking, variables: Context) -> None:
        self.fiber = fiber
        self.request = request
        self._variables = variables
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
            begin = partial(_begin, host, fiber)
            hand = host.loop_hand()
            noted = None if hand is None else partial(NotedCoroutine, fiber=fiber, hand=hand)
            awaiting = partial(_await, request, self._variables, begin, callback, noted)
            self._stop = host.on_loop(awaiting)
        elif request.place == "main thread":
            withdraw = host.on_main_thread(call, partial(_refuse_call, callback), fiber)
            self._stop = partial(_withdraw, withdraw, callback)
        else:
            self._stop = host.run_in_thread(call, partial(callback, Ok(None)), fiber)

    def commit(self) -> Task | None:
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
    if not host.may_call(fiber):
        return
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


Begin = Callable[[], Callable[[Result[Any, Any]], None] | None]
"""`HostServices.begin_task`, for one fiber; None: the fiber goes on elsewhere."""


def _begin(host: HostServices, fiber: Fiber) -> Callable[[Result[Any, Any]], None] | None:
    return host.begin_task(fiber) if host.may_call(fiber) else None


async def _await(
    request: rq.AwaitBlocking,
    variables: Context,
    begin: Begin,
    callback: Callback,
    noted: Callable[[Coroutine[Any, Any, Any]], NotedCoroutine] | None,
) -> None:
    from asyncio import CancelledError, create_task  # takes long to import, and is there by now

    # a task of its own: the context must have been left when the fiber goes on
    awaited: Coroutine[Any, Any, Result[Any, Any]] = _awaited(request, begin)
    try:
        result = await create_task(noted(awaited) if noted else awaited, context=variables)
    except CancelledError as exception:  # it was cancelled before it had begun
        result = _failed(request, exception)
    callback(result)


async def _awaited(request: rq.AwaitBlocking, begin: Begin) -> Result[Any, Any]:
    end = begin()
    if end is None:
        return Ok(None)
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
class CancelBlockingCall(Task):
    """A call of a fiber that is cancelled is to be stopped."""

    __slots__ = ("_request",)

    def __init__(self, request: rq.AwaitBlocking) -> None:
        self._request = request

    def run(self, host: HostServices) -> None:
        """Stop it; the fiber goes on when it has ended."""
        self._request.is_stopped = True
        if self._request.stop is not None:
            self._request.stop()
