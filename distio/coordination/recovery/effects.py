"""The effects of requests that others see, in words.

A request whose type `is_visible` is here, so that a fiber is saved before it is answered; or its
fiber is saved when what it does leaves the process. Else the import fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from distio.coordination.state.location import LocalFiber
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol import requests as rq

__all__ = ["EFFECTS", "Effect", "require_all"]

Effect = Callable[[Fiber, Any, MemberState], str]
"""A function of a request of a fiber in a tree: the effect that others see, in words; empty:
none."""


def _of_a_call(fiber: Fiber, request: rq.CallPrimitive, state: MemberState) -> str:
    return "" if fiber.failure is not None else f"has called {request}"


def _of_a_release(fiber: Fiber, request: rq.Release, state: MemberState) -> str:
    if request.payload is not None:
        return "has changed a variable"
    is_held = fiber.tree.head is fiber and request.lock.key in fiber.tree.held
    return "has given back a lock that it had brought along" if is_held else ""


def _of_a_cancellation(fiber: Fiber, request: rq.CancelFibers, state: MemberState) -> str:
    run = state.runs[fiber.run]
    is_seen = any(
        handle.outcome is None
        and (
            not isinstance(handle.location, LocalFiber)
            or handle.id in run.trees
            or handle.id in run.unopened
        )
        for handle in request.handles
    )
    return "has cancelled others" if is_seen else ""


def _of_an_end(fiber: Fiber, request: rq.Finished, state: MemberState) -> str:
    return "has ended" if fiber.tree.head is fiber and fiber.tree.rest else ""


EFFECTS: Final[dict[type, Effect]] = {
    rq.CallPrimitive: _of_a_call,
    rq.Release: _of_a_release,
    rq.CancelFibers: _of_a_cancellation,
    rq.Finished: _of_an_end,
}
_SAVED_WHEN_IT_LEAVES: Final = {rq.CallActor}


def require_all() -> None:
    """Check that nothing is missing, or raise a TypeError."""
    visible = {kind for kind in rq.Request.__subclasses__() if kind.is_visible}
    unknown = visible ^ {*EFFECTS, *_SAVED_WHEN_IT_LEAVES}
    if unknown:
        names = ", ".join(sorted(kind.__name__ for kind in unknown))
        raise TypeError(f"{names}: is_visible, and what is said of it here, don't agree")


require_all()
