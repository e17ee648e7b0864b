"""How fibers and programs end, apart from what they raise."""

from __future__ import annotations

from typing import final

from distio._equality import ComparedByValue
from distio.errors._base import DistioError

__all__ = [
    "Cancelled",
    "Closed",
    "Deadlock",
    "FiberUnreachable",
    "MainThreadAway",
    "TimedOut",
    "TooManyRestarts",
]


@final
class Deadlock(DistioError):
    """Nothing can ever wake a run again; the message names who waits for whom."""


@final
class Cancelled(ComparedByValue, BaseException):
    """A fiber was cancelled. Not an Exception: nobody is to handle it by mistake."""

    def __init__(self, fiber: str) -> None:
        super().__init__(fiber)
        self.fiber = fiber

    def __str__(self) -> str:
        return f"fiber {self.fiber} was cancelled"


@final
class Closed(DistioError):
    """A queue, a topic or a subscription was closed: it takes no more items, or has none left.

    Args:
        primitive: "queue", "topic" or "subscription".
    """

    def __init__(self, primitive: str = "queue") -> None:
        super().__init__(f"the {primitive} was closed")
        self.args = (primitive,)
        self.primitive = primitive


@final
class TimedOut(DistioError):
    """The time limit that `timeout` has set for a program is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"timed out after {seconds:g} s")
        self.args = (seconds,)
        self.seconds = seconds


@final
class TooManyRestarts(DistioError):
    """A supervisor has given up: a child ended again after the largest number of restarts."""

    def __init__(self, child: str, restarts: int, seconds: float) -> None:
        super().__init__(
            f"the supervisor gives up: child {child!r} has ended again, "
            f"after {restarts} restarts within {seconds:g} s"
        )
        self.args = (child, restarts, seconds)
        self.child = child
        self.restarts = restarts
        self.seconds = seconds


@final
class FiberUnreachable(DistioError):
    """The outcome of a fiber can't be had: its run is over, or is another one."""


@final
class MainThreadAway(DistioError):
    """The main thread of the process can't make a call: it runs no program and waits for none."""

    def __init__(self) -> None:
        super().__init__(
            "on_main_thread: expected the main thread of this process to run a program or to wait "
            "for one, but it does something else; call run, run_async or RunHandle.result on it"
        )
        self.args = ()
