"""A thread that starts and stops workers, as the load of a cluster changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, final

from distio.coordination.roster.scaling import Bounds, Decision, Scaling
from distio.errors import ClusterClosed
from distio.protocol.messages.roster import (
    ListedMember,
    ListMembers,
    MembersListed,
    WithdrawListing,
)
from distio.runtime.logs import log
from distio.runtime.threads import start_thread
from distio.runtime.workers import Worker

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["Adapting", "StartsWorkers", "bounds_for"]

_PAUSE_SECONDS: Final = 0.2
"""Decisions are no closer to each other: a load may change thousands of times a second."""


class StartsWorkers(Protocol):
    """Starts and stops workers of one kind: processes here, jobs of a batch system, machines."""

    @property
    def worker(self) -> Worker:
        """The options of each worker that it starts."""

    def start(self, count: int) -> None:
        """Begin to start so many workers; return without waiting for them."""

    def stop(self, names: Sequence[str]) -> None:
        """Have the workers of these names leave, and not come back; return without waiting."""


def bounds_for(
    minimum: int, maximum: int, idle_seconds: float, start_seconds: float, worker: Worker
) -> Bounds:
    """The bounds that the policy has to know."""
    tags, resources = dict(worker.tags), dict(worker.resources)
    like = ListedMember(0, "", "worker", "", 0, worker.threads, tags, resources, 0, 0, 0.0, False)
    return Bounds(minimum, maximum, idle_seconds, start_seconds, like)


@final
class Adapting:
    """Asks the coordinator for the load, each time when it has changed; decides; and does it."""

    def __init__(self, host: LinkedHost, provider: StartsWorkers, bounds: Bounds) -> None:
        self._host = host
        self._provider = provider
        self._scaling = Scaling(bounds)
        self._is_stopped = threading.Event()
        self._process = os.getpid()
        self._thread = start_thread("distio-adapt", self._adapt)

    def stop(self) -> None:
        """Decide nothing any more; the thread ends when the cluster closes, or with an answer."""
        self._is_stopped.set()

    def _adapt(self) -> None:
        mark, timeout = "", 0.0
        while not self._is_stopped.wait(_PAUSE_SECONDS if mark else 0.0):
            try:
                answer = self._ask(mark if timeout != 0.0 else "", timeout)
            except ClusterClosed:
                return
            if answer is None:  # the time has come to decide anew
                timeout = 0.0
                continue
            if self._is_stopped.is_set():
                return
            now = time.monotonic()
            decision = self._scaling.decide(now, answer)
            self._do(decision)
            mark = answer.mark
            timeout = -1.0 if decision.look_at is None else max(0.001, decision.look_at - now)

    def _ask(self, mark: str, timeout: float) -> MembersListed | None:
        answer = self._host.questions.ask(
            lambda number: ListMembers(number, 0, mark),
            timeout=timeout if timeout > 0 else None,
            withdraw=WithdrawListing,
        )
        assert answer is None or isinstance(answer, MembersListed)
        return answer

    def _do(self, decision: Decision) -> None:
        if decision.start:
            log.info("%d more workers are started, for fibers wait", decision.start)
            self._provider.start(decision.start)
        if decision.stop:
            log.info("idle workers are stopped: %s", ", ".join(decision.stop))
            self._provider.stop(decision.stop)
