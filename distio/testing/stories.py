"""The lines of a history: requests of fibers, and messages of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.base import FIBER
from distio.protocol.fields import marked
from distio.result import Errors, Panic

__all__ = ["story_of_batch", "story_of_request"]

_MOST_NAMED: Final = 8

Story = tuple[str, Sequence[int]]


def story_of_request(fiber: Fiber) -> Story:
    """The line for the request of a fiber that was stepped."""
    request = fiber.request
    if request is not None and request.action:
        return f"steps fiber {{}}, which {request.action}", (fiber.id,)
    if isinstance(request, rq.AwaitFibers):
        awaited = [handle.id for handle in request.handles]
        some = f"{request.enough} of " if request.enough < len(awaited) else ""
        return f"steps fiber {{}}, which waits for {some}{_named(awaited)}", [fiber.id, *awaited]
    if isinstance(request, rq.Sleep):
        return f"steps fiber {{}}, which sleeps for {request.seconds:g} s", (fiber.id,)
    if isinstance(request, rq.Random):
        return f"steps fiber {{}}, which draws {fiber.value:g}", (fiber.id,)
    if isinstance(request, rq.CallPrimitive):
        return f"steps fiber {{}}, which calls {request}", (fiber.id,)
    if isinstance(request, rq.Finished):
        return _ENDS[type(fiber.failure)], (fiber.id,)
    return f"steps fiber {{}}, which asks for {type(request).__name__}", (fiber.id,)


_ENDS: Final[dict[type, str]] = {
    type(None): "steps fiber {}, which ends",
    Errors: "steps fiber {}, which ends on Errors",
    Panic: "steps fiber {}, which ends on a Panic",
}


def story_of_batch(method: str, batch: Sequence[Any]) -> Story:
    """The line for the messages of one batch: their names, and the fibers they are about."""
    if len(batch) == 1:
        fibers = _fibers_of(batch[0])
        return f"{method} {type(batch[0]).__name__}{_in_brackets(fibers)}", fibers
    texts: list[str] = []
    all_named: list[int] = []
    others: list[int] = []
    for message in batch:
        fibers = _fibers_of(message)
        named = fibers[:_MOST_NAMED]
        texts.append(type(message).__name__ + _in_brackets(named, len(fibers) - len(named)))
        all_named += named
        others += fibers[_MOST_NAMED:]
    return f"{method} {', '.join(texts)}", all_named + others


def _in_brackets(fibers: Sequence[int], more: int = 0) -> str:
    return f"({_named(fibers, more)})" if fibers else ""


def _named(fibers: Sequence[int], more: int = 0) -> str:
    names = " ".join(["{}"] * min(len(fibers), _MOST_NAMED))
    more += max(0, len(fibers) - _MOST_NAMED)
    return f"{names} and {more} more" if more else names


def _fibers_of(message: m.Message) -> list[int]:
    fibers = marked(type(message), FIBER)
    return [] if fibers is None else fibers.values(message)
