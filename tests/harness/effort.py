"""How much an action computes, without a clock: the bytecodes of Python that it executes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["bytecodes"]


def bytecodes(action: Callable[[], object]) -> int:
    """How many bytecodes an action executes: the same each time, whatever the machine does."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            count += 1
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # others may have functions that are called when the collector runs
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count
