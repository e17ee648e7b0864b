"""The snapshot of a fiber that `handle.status()` computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

__all__ = ["Status"]


@final
@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of a fiber, taken after `handle.status()` began: the fiber goes on meanwhile.

    >>> Status("1.3", "fetch", "sleeps", "member 2").state
    'sleeps'
    """

    fiber: str
    """The id of the fiber, as messages show it, like "1.3"."""
    name: str | None
    """The name that the program of the fiber has given to it; None: no name."""
    state: str
    """"running" (or ready: the fiber waits for nothing but a thread), "sleeps", "waits for fibers",
    "waits for a lock" (or a semaphore, a limit, a variable), "waits for a callback", "waits for a
    call on another thread" (or a coroutine), "waits for a status", "on its way" (no
    member has it yet), "waits for a worker with its code" (those that are there have other code),
    "waits for a fiber that needs gpu=1" (which may have its place), "waits for a worker with
    gpu=1", "ended", or "lost" (with its member)."""
    where: str | None
    """The member of the cluster that hosts the fiber, like "member 2", or "member 2 (gpu-1)" if
    it has been given a name; None: no member does."""
    restored: int = field(default=0, repr=False)
    """The number of times that the fiber has gone on elsewhere because its worker was lost."""
    last_loss: str | None = field(default=None, repr=False)
    """The last of these losses, and its reason; None: there was none."""
