"""What is told of a fiber to who asks after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Status"]


@final
@dataclass(frozen=True, slots=True)
class Status:
    """What a fiber was at, at some moment since somebody asked: by now it may be at something else.

    >>> Status("1.3", "fetch", "sleeps", "member 2").state
    'sleeps'
    """

    fiber: str
    """As it is called in messages to people, like "1.3"."""
    name: str | None
    """What the program that it runs calls it, if it runs one and that has named it."""
    state: str
    """"running" (or ready to be: it waits for nothing but a thread), "sleeps", "waits for fibers",
    "waits for a lock" (or a semaphore, a limit, a variable), "waits for a callback", "waits for a
    call on another thread" (or a coroutine), "waits for a status", "on its way" (it has no member
    yet), "ended", or "lost" (with its member)."""
    where: str | None
    """The member of the cluster where it runs or waits, like "member 2"; None: nowhere."""
