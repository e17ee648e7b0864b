"""The report on a fiber at a member, in words."""

from __future__ import annotations

from typing import Any, Final

from distio.coordination.status.words import state_of
from distio.core.fiber import Fiber
from distio.core.standing import NOWHERE_KNOWN, Standing, stands_at
from distio.protocol import requests as rq
from distio.protocol.ids import name_of
from distio.protocol.messages.overview import FiberTold
from distio.protocol.text import readable

__all__ = ["READY", "RUNS", "tell_fiber", "tell_id"]

RUNS: Final = "runs"
READY: Final = "is ready"

_LONGEST: Final = 300
"""Characters of a name or of a place."""
_MOST_FIBERS: Final = 100
"""The most fibers that are told of those for which one waits."""
_MOST_LOCKS: Final = 100


def tell_fiber(fiber: Fiber, state: str = "", standing: Standing | None = None) -> FiberTold:
    """Tell of a fiber.

    Args:
        fiber: the fiber, which no thread is stepping unless its standing is given.
        state: its state in words; empty: it is parked, and its request says so.
        standing: where it stands, if that isn't to be found out here.
    """
    function, where = stands_at(fiber) if standing is None else standing
    waits = None if state else fiber.request
    fibers, more = _fibers(waits)
    return FiberTold(
        fiber=fiber.id,
        run=fiber.run,
        name=_text(fiber.name or ""),
        owner=fiber.owner,
        state=state or _wait(fiber, waits),
        function=_text(function),
        where=_text(where),
        fibers=fibers,
        more=more,
        lock=waits.lock.key if type(waits) is rq.Acquire else None,
        holds=[*(fiber.holds or ())][:_MOST_LOCKS],
    )


def tell_id(fiber: int, run: int, state: str, name: str = "") -> FiberTold:
    """Tell of a fiber that is bytes, so that nothing else is known of it."""
    return FiberTold(fiber, run, _text(name), 0, state, *NOWHERE_KNOWN, [], 0, None, [])


def _wait(fiber: Fiber, request: Any) -> str:
    said = state_of(fiber)
    if type(request) is rq.CallPrimitive:
        return f"{said}: {request.primitive.kind} {name_of(request.primitive.key)}"
    if type(request) is rq.Sleep:
        return f"{said} for {request.seconds:g} s"
    return said


def _fibers(request: Any) -> tuple[list[int], int]:
    if type(request) is not rq.AwaitFibers:
        return [], 0
    handles = request.handles
    awaited = [each.id for each in handles[:_MOST_FIBERS] if each.outcome is None]
    return awaited, max(0, len(handles) - _MOST_FIBERS)


def _text(text: str) -> str:
    if text.isascii() and len(text) <= _LONGEST:
        return text  # nearly always
    return readable(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
