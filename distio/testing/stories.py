"""What fibers ask and processes say, as lines of a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from distio.core.fiber import Fiber
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.result import Errors, Panic

__all__ = ["story_of_batch", "story_of_request"]

_MOST_NAMED: Final = 8

Story = tuple[str, Sequence[int]]


def story_of_request(fiber: Fiber) -> Story:
    """What a fiber asked for when it was stepped."""
    request = fiber.request
    story = _ASKS.get(type(request))
    if story is not None:
        return story, (fiber.id,)
    if isinstance(request, rq.AwaitFibers):
        awaited = [handle.id for handle in request.handles]
        some = f"{request.enough} of " if request.enough < len(awaited) else ""
        return f"steps fiber {{}}, which waits for {some}{_named(awaited)}", [fiber.id, *awaited]
    if isinstance(request, rq.Sleep):
        return f"steps fiber {{}}, which sleeps for {request.seconds:g} s", (fiber.id,)
    if isinstance(request, rq.Random):
        return f"steps fiber {{}}, which draws {fiber.value:g}", (fiber.id,)
    if isinstance(request, rq.Finished):
        return _ENDS[type(fiber.failure)], (fiber.id,)
    return f"steps fiber {{}}, which asks for {type(request).__name__}", (fiber.id,)


_ENDS: Final[dict[type, str]] = {
    type(None): "steps fiber {}, which ends",
    Errors: "steps fiber {}, which ends on Errors",
    Panic: "steps fiber {}, which ends on a Panic",
}
_ASKS: Final[dict[type, str]] = {
    rq.Acquire: "steps fiber {}, which waits for a lock",
    rq.QueryStatus: "steps fiber {}, which asks after a fiber",
    rq.AwaitBlocking: "steps fiber {}, which calls what may block",
    rq.AwaitCallback: "steps fiber {}, which waits for a callback",
    rq.CancelFibers: "steps fiber {}, which cancels fibers",
    rq.FindObject: "steps fiber {}, which looks for an object",
    rq.KeepObject: "steps fiber {}, which locates an object",
    rq.MakeLock: "steps fiber {}, which makes a lock",
    rq.Release: "steps fiber {}, which gives a lock back",
    rq.Now: "steps fiber {}, which reads the clock",
    rq.Spawn: "steps fiber {}, which starts fibers",
    rq.SpawnAt: "steps fiber {}, which starts a fiber on a certain member",
    rq.Switched: "steps fiber {}, which goes on in another context of variables",
    rq.Yielded: "steps fiber {}, which yields",
}


def story_of_batch(method: str, batch: Sequence[Any]) -> Story:
    """What was said in one batch: the names of the messages, and the fibers they are about."""
    if len(batch) == 1:
        fibers = _fibers_of(batch[0])
        return f"{method} {type(batch[0]).__name__}{_in_brackets(fibers)}", fibers
    texts, all_fibers = [], []
    for message in batch:
        fibers = _fibers_of(message)
        named = fibers[:_MOST_NAMED]
        texts.append(type(message).__name__ + _in_brackets(named, len(fibers) - len(named)))
        all_fibers += named
    for message in batch:
        all_fibers += _fibers_of(message)[_MOST_NAMED:]
    return f"{method} {', '.join(texts)}", all_fibers


def _in_brackets(fibers: Sequence[int], more: int = 0) -> str:
    return f"({_named(fibers, more)})" if fibers else ""


def _named(fibers: Sequence[int], more: int = 0) -> str:
    names = " ".join(["{}"] * min(len(fibers), _MOST_NAMED))
    more += max(0, len(fibers) - _MOST_NAMED)
    return f"{names} and {more} more" if more else names


def _fibers_of(message: Any) -> list[int]:
    if isinstance(message, m.Offer):
        return [fiber for chunk in message.chunks for fiber, _ in chunk.fibers]
    if isinstance(message, m.Place):
        return [fiber for fiber, _ in message.chunk.fibers]
    if isinstance(message, m.CancelFibers | m.FibersCancelled):
        return [fiber for fiber, _ in message.pending_cancels]
    if isinstance(message, m.SendOutcomes | m.DropOutcomes):
        return [fiber for fiber, _ in message.fibers]
    if isinstance(message, m.GiveBack):
        return [key for key, _ in message.counts]
    if isinstance(message, m.Progress):
        return [fiber for run in message.runs for fiber, _ in run.ended]
    if isinstance(
        message,
        m.AwaitOutcomes | m.Expose | m.Outcomes | m.OutcomesReady,
    ):
        return list(message.fibers)
    if isinstance(message, _OF_ONE_FIBER):
        return [message.fiber]
    return []


_OF_ONE_FIBER: Final = (
    m.FiberLost,
    m.OutcomeUnknown,
    m.StartTimer,
    m.StopTimer,
    m.TimerFired,
)
