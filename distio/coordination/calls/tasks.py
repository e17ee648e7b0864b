"""Tasks that start and cancel the calls for which fibers wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from inspect import isasyncgen, isawaitable
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

__all__ = ["AwaitedCall", "CancelBlockingCall", "StartBlockingCall", "StartCallback"]


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
            awaited = AwaitedCall(host, fiber, request, self._variables, callback)
            self._stop = host.on_loop(fiber, awaited)
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


@final
class AwaitedCall:
    """A coroutine of a fiber, for the event loop that is to run it.

    Args:
        host: the services of the process.
        fiber: the fiber.
        request: what it is parked on.
        variables: the context in which the coroutine runs.
        callback: gets the Result.
    """

    __slots__ = ("_callback", "_fiber", "_host", "_request", "variables")

    def __init__(
        self,
        host: HostServices,
        fiber: Fiber,
        request: rq.AwaitBlocking,
        variables: Context,
        callback: Callback,
    ) -> None:
        self._host = host
        self._fiber = fiber
        self._request = request
        self._callback = callback
        self.variables = variables

    def coroutine(self, *, is_noted: bool = False) -> Coroutine[Any, Any, Result[Any, Any]]:
        """The coroutine that the loop runs, in a context of these variables; it never raises.

        Args:
            is_noted: whether the loop is the one for which the host has a hand.
        """
        hand = self._host.loop_hand() if is_noted else None
        awaited = _awaited(self._host, self._fiber, self._request)
        return awaited if hand is None else NotedCoroutine(awaited, self._fiber, hand)

    def failed(self, exception: BaseException) -> Result[Any, Any]:
        """The Result of a coroutine that has raised; called in an `except` clause."""
        return _failed(self._request, exception)

    def ended(self, result: Result[Any, Any]) -> None:
        """Let the fiber go on; not to be called in a context of these variables."""
        self._callback(result)


async def _awaited(host: HostServices, fiber: Fiber, request: rq.AwaitBlocking) -> Result[Any, Any]:
    # it doesn't know the callback, which a traceback would keep from dying uncalled
    if not host.may_call(fiber):
        return Ok(None)  # the fiber goes on elsewhere
    end = host.begin_task(fiber)
    try:
        made = request.f(*request.args, **request.kwargs)
        if not isawaitable(made):
            advice = "for other functions there are io.defer and io.blocking"
            if isasyncgen(made):
                advice = "read it by `async for` in an async function, and give that"
            raise expect.returned("from_coroutine", request.f, "a coroutine", made, advice)
        result: Result[Any, Any] = Ok(await made)
    except BaseException as exception:  # noqa: BLE001 (whatever user code does is a panic)
        result = _failed(request, exception)
    end(result)
    return result


def _failed(request: rq.AwaitBlocking, exception: BaseException) -> Result[Any, Any]:
    if request.is_stopped and _is_cancellation(exception):
        return Ok(None)  # as it was to: the fiber is cancelled
    return Panic([TracedException.in_except_clause(exception)], [])


def _is_cancellation(exception: BaseException) -> bool:
    """Whether an event loop, of whichever library, has raised this to cancel a task."""
    if isinstance(exception, BaseExceptionGroup):
        return all(map(_is_cancellation, exception.exceptions))
    return not isinstance(exception, Exception | KeyboardInterrupt | SystemExit | GeneratorExit)


@final
class CancelBlockingCall(Task):
    """A call of a fiber that is cancelled is to be stopped."""

    __slots__ = ("_request",)

    def __init__(self, request: rq.AwaitBlocking) -> None:
        self._request = request

    def run(self, host: HostServices) -> None:
        """Stop the call; the fiber goes on when the call has ended."""
        self._request.is_stopped = True
        if self._request.stop is not None:
            self._request.stop()
