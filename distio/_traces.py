"""Where something has failed, in words: item, fiber, worker, and the frames of the user.

The frames of distio that run a program are nobody's business: a trace begins in user code.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import Final, final

__all__ = [
    "NOWHERE",
    "Where",
    "is_ours",
    "own_traceback",
    "trace_here",
    "trace_of",
    "trace_of_thread",
    "user_frames",
]

_OWN_DIRECTORY: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_RUNS_PROGRAMS: Final = (
    "distio.core.interpreter",
    "distio.coordination.",
    "distio.runtime.",
    "distio.testing.",
    "distio.cli.",
)
"""Modules whose frames lead to user code, but were not called by it on the way to a failure."""


@final
@dataclass(frozen=True, slots=True)
class Where:
    """The lines that stand above the frames of a failure.

    >>> failed = NOWHERE.in_fiber("2.17 (fetch)", "worker 2 (process 4711 on alpha)")
    >>> print(failed.in_item("index 3 of zip_par"), end="")
    at index 3 of zip_par
    in fiber 2.17 (fetch)
    on worker 2 (process 4711 on alpha)
    """

    items: tuple[str, ...] = ()
    """Items of parallel work, the outermost first."""
    fiber: str | None = None
    """The label of the innermost fiber; None for the root of a run."""
    worker: str | None = None
    """The name of the process that hosted it; None for that of the program."""

    def in_item(self, item: str) -> Where:
        """The same, inside of this item."""
        return replace(self, items=(item, *self.items))

    def in_fiber(self, fiber: str, worker: str | None) -> Where:
        """The same, in this fiber on this worker, unless it was in another one before."""
        return self if self.fiber is not None else replace(self, fiber=fiber, worker=worker)

    def __str__(self) -> str:
        lines = [f"at {item}\n" for item in self.items]
        if self.fiber is not None:
            lines.append(f"in fiber {self.fiber}\n")
        if self.worker is not None:
            lines.append(f"on {self.worker}\n")
        return "".join(lines)


NOWHERE: Final = Where()


def trace_of(exception: BaseException, *, has_own_frames: bool) -> str:
    """The traceback of an exception that was raised, and of those that led to it.

    If it has no frame of the user, the place in user code that we are at comes first.

    Args:
        exception: which.
        has_own_frames: whether frames of distio are of use if it has no others.
    """
    told = traceback.TracebackException(type(exception), exception, exception.__traceback__)
    pending: list[traceback.TracebackException | None] = [told]
    while pending:
        each = pending.pop()
        if each is not None:
            each.stack = _without_ours(each.stack)
            pending += [each.__cause__, each.__context__, *(each.exceptions or ())]
    if all(is_ours(frame.filename) for frame in told.stack):
        ours = told.stack if has_own_frames else []
        told.stack = traceback.StackSummary.from_list([*_stack_here(), *ours])
        if not told.stack:
            told.stack = None  # type: ignore[assignment]  # then there is no headline either
    return "".join(told.format())


def _without_ours(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Leave out our frames after an await, or the beginning, up to the next frame of the user."""
    kept: list[traceback.FrameSummary] = []
    ours: list[traceback.FrameSummary] = []
    is_interpreter = True
    for frame in stack:
        if is_ours(frame.filename):
            is_interpreter |= frame.name == "__await__"
            ours.append(frame)
        else:
            kept += [frame] if is_interpreter else [*ours, frame]
            ours, is_interpreter = [], False
    has_end = not (is_interpreter and kept)
    return traceback.StackSummary.from_list([*kept, *ours] if has_end else kept)


def own_traceback(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the user on; None if there is none."""
    while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def trace_here(exception: BaseException) -> str:
    """The trace of an exception that was never raised: the place in user code that we are at."""
    stack = _stack_here()
    headline = ["Traceback (most recent call last):\n"] if stack else []
    return "".join([*headline, *stack.format(), *traceback.format_exception_only(exception)])


def _stack_here() -> traceback.StackSummary:
    frames = reversed(list(user_frames(sys._getframe(1))))
    return traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)


def trace_of_thread(innermost: FrameType) -> str:
    """The stack of another thread that runs code of the user, which begins in that code."""
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None and not _is_interpreter(frame):
        frames.append(frame)
        frame = frame.f_back
    while frames and is_ours(frames[-1].f_code.co_filename):
        frames.pop()
    outermost_first = ((frame, frame.f_lineno) for frame in reversed(frames))
    return "".join(traceback.StackSummary.extract(outermost_first).format())


def _is_interpreter(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_RUNS_PROGRAMS[:2])


def user_frames(innermost: FrameType) -> Iterator[FrameType]:
    """The user's frames since distio began to run the program, the innermost first."""
    frame: FrameType | None = innermost
    between: list[FrameType] = []
    is_user = False
    while frame is not None and not _runs_programs(frame):
        if is_ours(frame.f_code.co_filename):
            between.append(frame)
        else:
            yield from between if is_user else ()
            yield frame
            between, is_user = [], True
        frame = frame.f_back


def _runs_programs(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_RUNS_PROGRAMS)


def is_ours(filename: str) -> bool:
    """Whether a file is one of distio's own."""
    return filename.startswith(_OWN_DIRECTORY)
