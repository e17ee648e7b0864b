"""Where a fiber stands: the function of the user's, and its line, to which it returns next.

The fiber may be stepped meanwhile by another thread. Nothing here runs code of the user.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, Final, NamedTuple

from distio._traces import is_ours, user_frames
from distio.core.fiber import Fiber
from distio.core.ops.direct import Awaiting
from distio.core.replay import frames_of

__all__ = ["NOWHERE_KNOWN", "Standing", "stands_at", "thread_stands_at"]

_MOST_FRAMES: Final = 200
"""The most frames of a stack that are looked at."""
_MOST_WRAPPED: Final = 5


class Standing(NamedTuple):
    """A place in the code of a user."""

    function: str
    where: str
    """The file and the line."""


NOWHERE_KNOWN: Final = Standing("", "")


def stands_at(fiber: Fiber) -> Standing:
    """Where a fiber stands, that no thread is stepping.

    A function that is to be called is told by its first line, a function of `io.do` that awaits
    something by the line of its `await`.
    """
    for part in (fiber.next, *islice(reversed(fiber.stack), _MOST_FRAMES)):
        found = _in_function(part) if type(part) is Awaiting else _calls(part)
        if found is not None:
            return found
    return NOWHERE_KNOWN


def thread_stands_at(innermost: FrameType | None) -> Standing:
    """Where a thread stands that runs code of the user, by its innermost frame."""
    frame = None if innermost is None else next(user_frames(innermost), None)
    return NOWHERE_KNOWN if frame is None else _standing(frame.f_code, frame.f_lineno)


def _in_function(awaiting: Awaiting) -> Standing | None:
    """The place of the innermost function, of a function of `io.do` and those that it awaits."""
    found = None
    coroutine = awaiting.coroutine
    if coroutine is None:
        for stop in awaiting.place:
            if stop.is_of_user:
                found = Standing(stop.function, f"line {stop.line}")
        return found or _calls(awaiting)
    for frame in islice(frames_of(coroutine), _MOST_FRAMES):
        if not is_ours(frame.f_code.co_filename):
            found = _standing(frame.f_code, frame.f_lineno)
    return found


def _calls(part: Any) -> Standing | None:
    """The function of the user's that an operation or frame is to call."""
    code = _code_of(getattr(part, "f", None))
    if code is None or is_ours(code.co_filename):
        return None
    return _standing(code, code.co_firstlineno)


def _code_of(f: Any) -> CodeType | None:
    for _ in range(_MOST_WRAPPED):
        if type(f) is FunctionType:
            wrapped = f.__dict__.get("__wrapped__")
            if type(wrapped) is not FunctionType:
                return f.__code__
            f = wrapped
        elif type(f) is MethodType:
            f = f.__func__
        elif type(f) is partial:
            f = f.func
        else:
            return None
    return None


def _standing(code: CodeType, line: int | None) -> Standing:
    return Standing(code.co_qualname, f"{code.co_filename}:{line or code.co_firstlineno}")
