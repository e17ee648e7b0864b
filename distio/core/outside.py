"""Awaits in the wrong place: of programs in tasks of asyncio or trio, of their coroutines here.

An await in a function of `io.do` gives the program to the fiber that runs the function. A loop of
asyncio or trio knows nothing of programs, and refuses what it is given. There the await runs the
program. The fiber, for its part, has no loop: a coroutine that needs one fails in such a function,
and its exception is given a note that says what to write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from typing import Any, ClassVar, Final, NoReturn

from distio.errors import DomainErrors, TracedException
from distio.result import Errors, Ok, Panic
from distio.result._exceptions import raise_failure

__all__ = ["advise", "is_in_trio", "is_on_a_loop", "is_outside", "loops", "value_of"]

_NAMED: Final = re.compile(r"'(\w+)'|\bnot (\w+)$|(\w+) object")
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


def is_on_a_loop() -> bool:
    """Whether a loop of asyncio or trio runs in this thread, and waits for this."""
    return bool(loops.running()) or is_in_trio()


def is_outside() -> bool:
    """Whether the caller of this, an `__await__`, is awaited in a task of a loop."""
    if not is_on_a_loop():
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
        BaseException: the failure of the program, as a function of `io.do` would get it, with what
            `get` tells of it.
    """
    result = await io.run_async(None)
    if not isinstance(result, Ok):
        _raise(result)
    return result.success


def _raise(failure: Errors[Any, Any] | Panic[Any, Any]) -> NoReturn:
    if isinstance(failure, Errors):
        raise DomainErrors(failure.errors)
    exceptions = failure.exceptions
    if failure.errors:
        exceptions = [*exceptions, TracedException(DomainErrors(failure.errors), "")]
    raise_failure(exceptions, ())


# -- the other way round ----------------------------------------------------------------------

_LIBRARIES: Final = frozenset(["anyio", "asyncio", "sniffio", "trio"])
_NO_LOOP: Final = "no running event loop"
_ON_A_LOOP: Final = (
    "A function of io.do runs on no event loop. Put what needs one into an async function f, and "
    "write `await io.from_coroutine(f, *args)`; for `async with` see resource.from_async_with."
)
_FORGOTTEN: Final = "If the {} here is a program, `await` is missing before it."


def advise(exception: BaseException) -> None:
    """Note at an exception that a function of `io.do` has raised itself what may be missing."""
    if isinstance(exception, RuntimeError | AttributeError) and _is_for_a_loop(exception):
        note = _ON_A_LOOP
    elif isinstance(exception, TypeError | AttributeError):
        program = _program_in(str(exception))
        note = _FORGOTTEN.format(program) if program else ""
    else:
        return
    if note and note not in getattr(exception, "__notes__", ()):
        exception.add_note(note)


def _is_for_a_loop(exception: BaseException) -> bool:
    """Whether a library of loops has raised it, since there is none in this thread."""
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__")) if trace is not None else ""
    return module.partition(".")[0] in _LIBRARIES or str(exception) == _NO_LOOP


def _program_in(message: str) -> str:
    """The name of a class of programs in what Python says of its operators; empty: there is none.

    Python tells no more of the object: "unsupported operand type(s) for +: 'Pure' and 'int'".
    """
    from distio.core.ops.base import IO  # which asks for this module

    named = {name for names in _NAMED.findall(message) for name in names}
    pending: list[type] = [IO]
    while pending:
        kind = pending.pop()
        if kind.__name__ in named:
            return kind.__name__
        pending += kind.__subclasses__()
    return ""
