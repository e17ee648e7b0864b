"""The interpreter: one loop that steps one fiber until the fiber has a request.

The interpreter knows no scheduler. Each operation evaluates itself (`_evaluate`), and pushes a
frame that will take the outcome. When an outcome is there, the innermost frame is popped and gets
it (`_succeeded` or `_failed`). Each of the three returns the IO to evaluate next, or None when the
outcome is in the fiber. The shape is that of a CEK machine whose continuation is a list: depth
is bounded by memory, and the continuation is data.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, Protocol

from distio.core.interrupts import is_interrupt
from distio.core.ops.arguments import no_io
from distio.core.ops.base import IO
from distio.errors import MatchError
from distio.protocol.requests import FINISHED, YIELDED, Request

if TYPE_CHECKING:
    from distio.core.fiber import Fiber

__all__ = ["FUEL", "Tank", "step"]

FUEL: Final = 5_000
"""Turns of the loop after which a fiber has to let others on: about a millisecond."""


class Tank(Protocol):
    """Gives out the fuel of steps in portions, for a host that looks around in between."""

    left: int
    """The fuel of this step that was not given out."""
    turns: Iterator[None]
    """The rest of the last portion: the next step uses it up."""

    def more(self) -> Iterator[None] | None:
        """Another portion; None: the step is to end here."""


def step(fiber: Fiber, fuel: int = FUEL, tank: Tank | None = None) -> Request:
    """Step `fiber` until it ends, yields, runs out of fuel, or asks for something.

    Args:
        fiber: the fiber; its previous request, if any, was answered.
        fuel: how many turns the loop may take.
        tank: gives them out; None: the step gets all of them at once.

    Returns:
        FINISHED, YIELDED (also when the fuel is used up), or the request to answer.

    Raises:
        BaseException: an interrupt (see `is_interrupt`): all else that user code raises is a panic.
    """
    if fiber.pending_cancels and fiber.can_be_cancelled_now():
        fiber.unwind()
    stack = fiber.stack
    pop = stack.pop
    at: Any = None  # the operation or frame that has returned the node
    node: Any = fiber.next  # Any: user functions may have returned anything
    resumed: Any = fiber  # Any: type checkers would take it that this stays None
    resumed.next = resumed.request = None
    turns: Iterator[None] | None = repeat(None, fuel)
    if tank is not None:
        tank.left, turns = fuel, tank.turns
    while True:
        try:
            while turns is not None:
                for _ in turns:
                    if node is not None:
                        node, at = node._evaluate(fiber), node
                    elif fiber.request is not None:
                        return fiber.request
                    elif not stack:
                        return FINISHED
                    elif fiber.failure is None:
                        at = pop()
                        node = at._succeeded(fiber)
                    else:
                        at = pop()
                        node = at._failed(fiber)
                turns = None if tank is None else tank.more()
            if not _is_io(node):
                raise _not_an_io(node, at)  # in the next step nobody knows who returned it
            fiber.next = node
            return YIELDED if fiber.request is None else fiber.request
        except BaseException as exception:
            if is_interrupt(exception):
                raise
            fiber.crash(exception if _is_io(node) else _not_an_io(node, at))
            node = None


def _is_io(node: Any) -> bool:
    return node is None or isinstance(node, IO)


def _not_an_io(node: Any, at: Any) -> MatchError:
    # operations call no other function of the user last than their own
    return no_io(node, getattr(at, "_called", "a fiber"), getattr(at, "f", None))
