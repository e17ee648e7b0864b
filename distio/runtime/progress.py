"""The progress of a whole run, shown while a thread waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from distio._display.display import Display, shared
from distio._display.meter import Counts, Meter
from distio._display.progress import Progress
from distio._display.surface import Calls
from distio.core.fiber import Fiber
from distio.protocol.messages import RunWatched

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator
    from distio.runtime.host import Host
    from distio.runtime.link import LinkedHost

__all__ = ["CountsHere", "Watched", "showing", "watching"]

_MOST_NAMES: Final = 3
"""How many names of fibers are shown that are being stepped."""


@contextmanager
def showing(progress: Progress, look: Callable[[], Counts | None]) -> Iterator[None]:
    """Show progress meanwhile.

    Args:
        progress: how.
        look: says how much is done; called by another thread.
    """
    label = progress if isinstance(progress, str) else ""
    meter = Meter(label, look)
    if callable(progress):
        calls = Calls(progress)
        display, patience = Display(lambda: calls, shows_all=True), None
    else:
        display, patience = shared, 1.0
    try:
        display.begin(meter)
        yield
    finally:
        display.end(meter, patience)


class CountsHere:
    """The counts of a run all of whose fibers are in this process.

    Args:
        host: that of the fibers.
        coordinator: the machine that decides for the run.
    """

    def __init__(self, host: Host, coordinator: Coordinator) -> None:
        self._host = host
        self._coordinator = coordinator
        self._run = 0
        self._last: Counts | None = None

    def begin(self, run: int) -> None:
        """The run begins (mutex held)."""
        self._run = run
        self._host.member.features.watches.begin(run)

    def end(self) -> None:
        """The run is over, and forgotten but for what was told last."""
        with self._host.mutex:
            if not self._run:
                return  # it has never begun
            watches = self._host.member.features.watches
            if (told := watches.told(self._run)) is not None:
                self._last = Counts(told.ended, told.ended + told.alive)
            watches.end(self._run, is_over=True)
            self._run = 0

    def counts(self) -> Counts | None:
        """The counts of items that have ended, now."""
        with self._host.mutex:
            here = self._host.member.state.runs.get(self._run)
            if here is None:
                return self._last
            known = self._coordinator.runs.get(self._run)
            ended = here.unreported_ends + (0 if known is None else known.ended)
            return Counts(ended, ended + here.alive, _names_in_hand(self._host))


def _names_in_hand(host: Host) -> str:
    """The names of fibers that are being stepped (mutex held)."""
    works = [executor.work for executor in host.pool.executors.values()]
    names = {work.name for work in works if isinstance(work, Fiber) and work.name}
    return ", ".join(sorted(names)[:_MOST_NAMES])


class Watched:
    """The counts of a run elsewhere, as the coordinator tells them.

    Args:
        host: that of this process.
        run: which.
    """

    def __init__(self, host: LinkedHost, run: int) -> None:
        self._host = host
        self._run = run
        self._last: RunWatched | None = None

    def begin(self) -> None:
        """Have the coordinator tell of the run."""
        with self._host.fail_stop:
            self._host.member.features.watches.begin(self._run)
            self._host.send_outbox()

    def end(self, *, is_over: bool) -> None:
        """Have the coordinator tell no more of the run."""
        with self._host.fail_stop:
            self._last = self._told()
            self._host.member.features.watches.end(self._run, is_over=is_over)
            self._host.send_outbox()

    def counts(self) -> Counts | None:
        """The counts that the coordinator has told last."""
        with self._host.mutex:
            told = self._told()
        if told is None:
            return None
        doing = []
        if told.workers:
            doing.append("on 1 worker" if told.workers == 1 else f"on {told.workers} workers")
        if told.waiting:
            doing.append(f"{told.waiting} waiting")
        return Counts(told.ended, told.ended + told.alive, ", ".join(doing))

    def _told(self) -> RunWatched | None:
        return self._host.member.features.watches.told(self._run) or self._last


@contextmanager
def watching(
    host: LinkedHost, run: int, progress: Progress, is_over: Callable[[], bool]
) -> Iterator[None]:
    """Show the progress of a run of a cluster while this thread waits for it.

    Args:
        host: that of this process.
        run: which.
        progress: how to show it.
        is_over: whether the run has ended.
    """
    watched = Watched(host, run)
    watched.begin()
    try:
        with showing(progress, watched.counts):
            yield
    finally:
        watched.end(is_over=is_over())
