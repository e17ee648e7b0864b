"""Which of a member's threads listens to the coordinator.

A thread of the pool that has no work listens itself: so what it hears wakes nobody, and it goes on
with that at once. The link thread is the guard: it listens while all threads of the pool are busy.

Rules
-----
- The leader listens, and no other thread touches the socket. There is one at most.
- A thread of the pool that is idle leads, unless another thread does. When it has found work, it
  gives the lead up, and wakes nobody for that.
- A thread of the pool that is busy listens for a moment now and then, between two pieces of work,
  unless another thread leads.
- The guard looks every `LOOK_SECONDS` as long as something changes. It leads if nobody has led
  since its last look, until it hears something while a thread is idle: that one leads next.
- If one thread of the pool has led ever since the last look, nothing happens, and the guard sleeps.
  The thread that gives the lead up then rouses it.
- While the link thread needs the socket, as it makes other connections, no thread of the pool
  leads.

It is all plain data, which the host's mutex guards.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, final

__all__ = ["LOOK_SECONDS", "Lead", "Plan"]

LOOK_SECONDS: Final = 0.002
"""A batch for a busy pool may wait for so long, if it comes when the pool was idle before."""


class Plan(Enum):
    """The plan of the guard until it looks again."""

    LEAD = "it listens"
    LOOK = "it looks again soon"
    SLEEP = "it waits until it is roused"


class _Leader(Enum):
    POOL = "a thread of the pool"
    GUARD = "the link thread"


@final
class Lead:
    """The lead: says which thread has it."""

    def __init__(self) -> None:
        self._leader: _Leader | None = None
        self._term = 0
        """The number of times that a thread of the pool has begun or ceased to lead."""
        self._seen = -1
        """The term at the guard's last look."""
        self._plan = Plan.LOOK
        self.is_reserved = False
        """Whether the link thread needs the socket: no thread of the pool begins to lead then."""

    @property
    def is_with_pool(self) -> bool:
        """Whether a thread of the pool leads."""
        return self._leader is _Leader.POOL

    @property
    def is_with_guard(self) -> bool:
        """Whether the link thread leads."""
        return self._leader is _Leader.GUARD

    @property
    def is_free(self) -> bool:
        """Whether a thread of the pool that is idle would lead."""
        return self._leader is None and not self.is_reserved

    @property
    def guard_waits(self) -> bool:
        """Whether the guard doesn't look again by itself: it is to be roused for what is urgent."""
        return self._plan is not Plan.LOOK

    # -- threads of the pool --------------------------------------------------------------

    def take(self) -> bool:
        """A thread of the pool is idle: whether it leads from now on."""
        if not self.is_free:
            return False
        self._leader = _Leader.POOL
        self._term += 1
        return True

    def give_up(self) -> bool:
        """The thread of the pool that leads has found work, or waits no more.

        Returns:
            Whether it is to rouse the guard.
        """
        self._leader = None
        self._term += 1
        return self._plan is Plan.SLEEP

    # -- the guard ------------------------------------------------------------------------

    def look(self) -> Plan:
        """The guard looks; return what it does next."""
        has_changed, self._seen = self._term != self._seen, self._term
        if has_changed:
            self._plan = Plan.LOOK
        elif self._leader is _Leader.POOL:
            self._plan = Plan.SLEEP
        else:
            self._leader = _Leader.GUARD
            self._plan = Plan.LEAD
        return self._plan

    def guard_heard(self, *, is_pool_idle: bool) -> None:
        """The guard, which leads, has heard something: a thread that is idle leads next."""
        if is_pool_idle:
            self._leader, self._seen = None, -1

    def rouse(self) -> None:
        """The guard is being roused: it looks again."""
        self._plan = Plan.LOOK
