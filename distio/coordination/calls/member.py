"""A member's part in calls for which fibers wait: callbacks, calls that may block, coroutines.

Rules
-----
- A fiber is parked before its function is called: its callback may be called before the function
  returns, by any thread. The first call of the callback counts.
- A callback that dies uncalled is a deadlock of its fiber.
- A call on another thread that is under way can't be cancelled: its fiber waits for the end, unless
  the call may be abandoned.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any, final

from distio.coordination.calls.callbacks import nobody_calls
from distio.coordination.calls.tasks import CancelBlockingCall, StartBlockingCall, StartCallback
from distio.coordination.dispatch import answers
from distio.coordination.executor.tasks import Task
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.core.context_vars import copied
from distio.core.fiber import Fiber
from distio.protocol import requests as rq
from distio.protocol.requests import AwaitBlocking, AwaitCallback, Request
from distio.result import Ok, Result

__all__ = ["Calls"]


@final
class Calls(MemberFeature):
    """The calls for which fibers of one member wait."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    @answers
    def await_callback(self, fiber: Fiber, request: rq.AwaitCallback) -> Task:
        """Park the fiber until the callback of its function is called."""
        self._state.park(fiber)
        # a copy: the fiber may go on while the function is still running
        return StartCallback(fiber, request, copied(fiber.variables) or Context())

    @answers
    def await_blocking(self, fiber: Fiber, request: rq.AwaitBlocking) -> Task:
        """Park the fiber until the call has returned."""
        self._state.park(fiber)
        if request.is_abandoned:  # the same
            return StartBlockingCall(fiber, request, copied(fiber.variables) or Context())
        fiber.variables = fiber.variables or Context()
        return StartBlockingCall(fiber, request, fiber.variables)

    def called_back(self, fiber: Fiber, request: Request, result: Result[Any, Any]) -> None:
        """The callback of this fiber's request was called, for the first time or again."""
        if self._state.parked.get(fiber.id) is not fiber or fiber.request is not request:
            self._state.stale += 1
            return
        fiber.answer(result)
        self._state.unpark(fiber)

    def callback_dropped(self, fiber: Fiber, request: AwaitCallback | AwaitBlocking) -> None:
        """The callback of this fiber's request has died without being called."""
        if fiber.can_be_cancelled_now(waits=True):  # the call was stopped before it had begun
            self.called_back(fiber, request, Ok(None))
        else:
            self.called_back(fiber, request, nobody_calls(fiber, request))

    def withdraw(self, fiber: Fiber, request: AwaitCallback | AwaitBlocking) -> bool:
        if isinstance(request, AwaitCallback):
            return True
        if request.stop is not None:
            self._state.queue(CancelBlockingCall(request))
        return request.is_abandoned
