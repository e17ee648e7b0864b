"""Awaits of programs outside of the functions of `io.do`: in tasks of asyncio or trio.

An await in a function of `io.do` gives the program to the fiber that runs the function. A loop of
asyncio or trio knows nothing of programs, and refuses what it is given. There the await runs the
program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from typing import Any, ClassVar, Final

from distio.core.raising import exception_of
from distio.result import Ok

__all__ = ["is_in_trio", "is_outside", "loops", "value_of"]

_OF_AWAITS: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR
"""A function with one of these flags may stand between an await and what runs it all."""
_DRIVERS: Final = __name__.rpartition(".")[0] + "."
"""The modules that have functions of `io.do` go on."""


class loops:
    """The loops of asyncio, which is imported by the program, or never."""

    running: ClassVar[Callable[[], Any]]
    """The one that runs in this thread, or None. It is asked at each call between functions of
    `io.do`, so asyncio's own function takes this place as soon as there is one."""


def _running_loop() -> Any:
    found = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    if found is None:  # it is just being imported
        return None
    loops.running = found
    return found()


loops.running = staticmethod(_running_loop)


def is_outside() -> bool:
    """Whether the caller of this, an `__await__`, is awaited in a task of a loop."""
    if not (loops.running() or is_in_trio()):
        return False
    # `run` may have been called in a task, and steps fibers in the thread of the loop
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_flags & _OF_AWAITS:
        frame = frame.f_back
    return frame is None or not str(frame.f_globals.get("__name__")).startswith(_DRIVERS)


def is_in_trio() -> bool:
    """Whether a task of trio calls this."""
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel is None:  # trio isn't imported, or just being
        return False
    if hasattr(lowlevel, "in_trio_task"):  # quick; trio has it from 0.29 on
        return bool(lowlevel.in_trio_task())
    try:
        lowlevel.current_task()
    except RuntimeError:
        return False
    return True


async def value_of(io: Any) -> Any:
    """The value of a program that is awaited outside of functions of `io.do`.

    Raises:
        BaseException: the failure of the program, as a function of `io.do` would get it.
    """
    result = await io.run_async(None)
    if isinstance(result, Ok):
        return result.success
    raise exception_of(result)
