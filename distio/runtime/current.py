"""The fiber whose code a thread, or a task of asyncio, is running; asked for each log record.

A pool thread has an executor, whose work names the fiber: so to step a fiber costs nothing here.
Other threads, and the event loop, note on behalf of which fiber they make a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, final

from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.core.fiber import Fiber
from distio.protocol.ids import label_of, name_of

__all__ = [
    "Hosting",
    "Origin",
    "begin_task",
    "call_on_behalf_of",
    "executors_here",
    "held_fiber",
    "on_behalf_of",
    "origin",
]


class Hosting(Protocol):
    """A host, or a simulated process, that has fibers stepped."""

    @property
    def member(self) -> Member: ...
    @property
    def within(self) -> Origin | None:
        """The fiber whose code has started the host: a fiber may run programs of its own."""


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """The fiber whose code runs."""

    host: Hosting
    run: int
    fiber: Fiber | None
    """None: it concerns several fibers of the run, like opening their pickle."""

    def tags(self) -> dict[str, str | None]:
        """The tags of a log record of this fiber."""
        fiber = self.fiber
        return {
            "distio_fiber": "-" if fiber is None else label_of(fiber.id, fiber.name),
            "distio_name": None if fiber is None else fiber.name,
            "distio_run": name_of(self.run),
            "distio_worker": self.host.member.label,
        }


class _Here(threading.local):
    """The fibers whose code this thread runs, each called by code of the one before."""

    def __init__(self) -> None:
        self.sources: list[tuple[Any, Executor | Fiber]] = []
        """Hosts, and what they have this thread work for."""


_here: Final = _Here()
_task: Final[ContextVar[tuple[Fiber, Hosting] | None]] = ContextVar("distio fiber", default=None)
"""The fiber of a coroutine: the event loop runs many coroutines in one thread."""


def origin() -> Origin | None:
    """The fiber whose code calls this; None if no fiber's does."""
    if _here.sources:
        host, source = _here.sources[-1]
        work = source.work if isinstance(source, Executor) else source
        return None if work is None else _origin(work, host)
    found = _task.get()
    return None if found is None else _origin(*found)


def _origin(work: Any, host: Hosting) -> Origin | None:
    fiber = work if isinstance(work, Fiber) else getattr(work, "fiber", None)
    run = getattr(work, "run_id", None) if fiber is None else fiber.run
    return None if run is None else Origin(host, run, fiber)


def executors_here() -> list[tuple[Any, Executor]]:
    """The hosts of whose pools this thread is, each called by a fiber of the one before."""
    return [(host, source) for host, source in _here.sources if isinstance(source, Executor)]


def held_fiber(host: Hosting) -> tuple[Fiber | None, bool]:
    """The fiber of this host whose function this thread calls, and whether an executor has it.

    The fiber is None if the thread works for none, or for one of another host.
    """
    found, source = _here.sources[-1] if _here.sources else (None, None)
    is_executing = isinstance(source, Executor)
    work = source.work if isinstance(source, Executor) else source
    return (work if found is host and type(work) is Fiber else None), is_executing


class on_behalf_of:
    """In it, this thread runs the code of a fiber, or of the work of an executor."""

    __slots__ = ("_source",)

    def __init__(self, source: Executor | Fiber, host: Hosting) -> None:
        self._source = host, source

    def __enter__(self) -> None:
        _here.sources.append(self._source)

    def __exit__(self, *_: object) -> None:
        _here.sources.pop()


def call_on_behalf_of(fiber: Fiber, host: Hosting, call: Callable[[], None]) -> None:
    """Call something that is a fiber's business."""
    with on_behalf_of(fiber, host):
        call()


def begin_task(fiber: Fiber, host: Hosting) -> Callable[[], None]:
    """Let this task of asyncio, and the tasks that it starts, run on behalf of a fiber.

    Returns:
        A function that ends this: the context of the task is the fiber's, and is left as it was.
    """
    return partial(_task.reset, _task.set((fiber, host)))
