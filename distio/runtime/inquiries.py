"""The questions of a process about the whole cluster, and the answers for which a thread waits.

Rules
-----
- These answers concern no fiber, so the machine of the member doesn't see them.
- One thread asks at a time. The answers wait in a queue, and none gets lost while the thread looks
  at the one before.
- When the link has closed, the queue says so to each further wait.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, final, get_args

from distio.errors import ClusterClosed
from distio.protocol import messages as m
from distio.protocol.messages.overview import CancelTold, FibersTold, OverviewTold, SavedTold

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["ANSWERS", "Inquiries", "Told"]

Told = OverviewTold | FibersTold | SavedTold | CancelTold
"""The answers to a process that looks at the cluster."""
ANSWERS: Final = (m.MemberDrained, *get_args(Told))


@final
class Inquiries:
    """The answers that one process has got."""

    def __init__(self, host: LinkedHost) -> None:
        self._host = host
        self._drained: SimpleQueue[m.MemberDrained | None] = SimpleQueue()
        """The answers to `drain`; None: there will be none any more."""
        self._told: SimpleQueue[Told | None] = SimpleQueue()
        """The answers to an observer, likewise."""

    def take_up(self, answer: m.MemberDrained | Told) -> None:
        """An answer has come."""
        if isinstance(answer, m.MemberDrained):
            self._drained.put(answer)
        else:
            self._told.put(answer)

    def cut_short(self) -> None:
        """Give None to the threads that wait: no answer comes any more."""
        self._drained.put(None)
        self._told.put(None)

    def drain(self, worker: str, seconds: float) -> m.MemberDrained:
        """Have a worker leave, and wait until it has.

        Args:
            worker: its number, or its name.
            seconds: how long its fibers may take.

        Raises:
            ClusterClosed: the coordinator is lost.
            KeyRefused: the role of this process doesn't let it.
        """
        message = m.DrainMember(worker, seconds)
        self._host.require_role(message)
        self._host.say(message)
        drained: m.MemberDrained = self._next(self._drained)
        return drained

    def next_told(self, until: float) -> Told | None:
        """Wait for the next answer to an observer.

        Args:
            until: the time at which to give up, as `time.monotonic` counts.

        Returns:
            The answer; None: there was none by then.

        Raises:
            ClusterClosed: the link has closed.
        """
        try:
            told: Told = self._next(self._told, max(0.0, until - time.monotonic()))
        except Empty:
            return None
        return told

    def _next(self, answers: SimpleQueue[Any], seconds: float | None = None) -> Any:
        answer = answers.get(timeout=seconds)
        if answer is None:
            answers.put(None)
            raise ClusterClosed(self._host.closed_because or "the cluster was closed")
        return answer
