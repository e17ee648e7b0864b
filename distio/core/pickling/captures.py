"""Large values that functions take along, in words for the programmer."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple

from distio.core.explain import parts_of
from distio.core.fiber import Fiber
from distio.core.pickling.dumping import dump
from distio.core.pickling.payloads import Writer

__all__ = ["LARGE_CAPTURE", "Capture", "large_capture", "why_it_is_large"]

LARGE_CAPTURE: Final = 10_000_000
"""The program is told of a captured value from this number of bytes on."""
_DEEPEST: Final = 12
_SMALL: Final = (type(None), bool, int, float)


class Capture(NamedTuple):
    """A value that a function takes along."""

    name: str
    """The function, and its variable."""
    size: int
    """The number of bytes of its pickle."""


def large_capture(fiber: Fiber) -> Capture | None:
    """Find a large value that a function of this fiber takes along, if there is one; takes long.

    A function takes along its global and captured variables, its defaults and, if it is a method,
    its object. Arguments are no captures: each fiber has its own.
    """
    found: Capture | None = None
    part: Any = fiber
    for _ in range(_DEEPEST):
        holder = part
        larges = ((step, each, size_of(each)) for step, each in parts_of(holder))
        large = next((each for each in larges if each[2] >= LARGE_CAPTURE), None)
        if large is None:
            break
        step, part, size = large
        if isinstance(holder, FunctionType | MethodType):
            found = Capture(step, size)
        if found is not None and not isinstance(part, FunctionType | MethodType):
            break
    return found


def size_of(value: Any) -> int:
    """The number of bytes of a pickle; 0 for a value that can't be pickled."""
    if isinstance(value, _SMALL):
        return 0
    writer = Writer(attaches=False, is_trial=True)
    try:
        dump(value, is_trial=True, writer=writer)
    except Exception:  # noqa: BLE001 (that it can't be pickled is said elsewhere)
        return 0
    return writer.size


def why_it_is_large(capture: Capture) -> str:
    """The price of a large capture, and the ways around it, in a sentence for the program."""
    return (
        f"{capture.name}, takes along {capture.size / 1_000_000:,.0f} MB, which each worker gets; "
        f"pass what a call needs as an argument, open the data on the worker, or keep it in an "
        f"actor"
    )
