"""Handles of submitted runs, as a program sees them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar, final

from distio._display.html import table
from distio._display.progress import Progress
from distio.core import expect
from distio.errors import MatchError, NotPicklable
from distio.protocol import messages as m
from distio.protocol.domains import NamedRunState
from distio.protocol.ids import name_of
from distio.result import Result
from distio.runtime.pending_runs import PendingRun
from distio.runtime.questions import wait_for

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["NamedRun", "RunHandle", "RunStatus", "status_of"]

E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)

_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class RunHandle(Generic[E, A]):
    """A run that `Cluster.submit` started."""

    def __init__(self, host: LinkedHost, pending: PendingRun, progress: Progress = None) -> None:
        self._host = host
        self._pending = pending
        self._progress = progress

    def done(self) -> bool:
        """Whether the run has ended: its root, and all fibers that were started."""
        return self._pending.is_over

    def cancel(self) -> None:
        """Cancel all fibers of the run, wherever they are; return at once.

        The fibers release what they hold. If the root is cancelled, the Result of the run is a
        Panic that holds `Cancelled`.

        Raises:
            ClusterClosed: this process was forked from the one that has submitted the run.
        """
        self._host.refuse_in_child()
        self._host.cancel_run(self._pending.run)

    def result(self, timeout: float | None = None, *, progress: Progress = None) -> Result[E, A]:
        """Wait for the end of the run.

        Args:
            timeout: the longest time to wait, in seconds; None: no limit.
            progress: what to show meanwhile, as for `IO.run`; None: what `submit` was told.

        Returns:
            The Result of the run's root.

        Raises:
            MatchError: `timeout` is no number of seconds, or `progress` something else.
            TimeoutError: the time is over. The run goes on, and can be waited for again.
            BaseException: a signal handler has raised it meanwhile on the main thread, like
                KeyboardInterrupt at Ctrl-C, or SystemExit at SIGTERM or SIGHUP. The run goes
                on.
        """
        expected = "a number of seconds"
        if timeout is not None and (wrong := expect.no_time(timeout, "result", expected)):
            raise MatchError(wrong)
        self._wait(timeout, expect.progress(progress, "result"))
        if not self._pending.is_over:
            raise TimeoutError(f"the run has not ended within {timeout:g} seconds")
        return self._pending.result()

    def _label(self) -> str:
        return name_of(self._pending.run)

    def __repr__(self) -> str:
        return f"<run {self._label()}, {self._pending.standing()}>"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows; nobody is asked for it."""
        where = f"the cluster at {self._host.url}"
        rows = [("state", self._pending.standing()), ("at", where)]
        return table(f"run {self._label()}", rows)

    def _wait(self, timeout: float | None, progress: Progress) -> None:
        progress = self._progress if progress is None else progress
        if not progress or self._pending.is_over or self._host.is_inherited:
            wait_for(self._pending, timeout)
            return
        from distio.runtime.progress import watching  # few need it

        with watching(self._host, self._pending.run, progress, lambda: self._pending.is_over):
            wait_for(self._pending, timeout)

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
            "a RunHandle belongs to the process that has submitted the run; wait for the result "
            "there, and pass that"
        )


@final
@dataclass(frozen=True)
class RunStatus:
    """The state of a named run, or its end."""

    name: str
    state: NamedRunState
    """`"running"`, `"ending"` (it is cancelled, and releases what it holds), or how it has ended:
    `"ok"`, `"errors"`, `"panic"`."""
    started: datetime
    """By the clock of this machine, as all times here."""
    ended: datetime | None
    kept_until: datetime | None
    """The time at which the outcome will be forgotten."""
    fibers: int
    """The number of the run's fibers that are alive."""
    waiting: int
    """How many of these wait for a worker that has room."""
    asleep: int
    """How many of these sleep, and cost no worker anything."""
    clients: tuple[str, ...]
    """The processes that are attached."""
    log_records: int
    """The number of the run's log records that are kept; a client that attaches hears them."""
    left_out: int
    """How many log records were older, and are kept no more."""


def status_of(run: m.NamedRun) -> RunStatus:
    """The status that the coordinator has told of a run, by the clock of this machine."""
    now = datetime.fromtimestamp(time.time(), UTC)
    ended, kept = run.ended_seconds, run.kept_seconds
    return RunStatus(
        name=run.name,
        state=run.state,
        started=_later(now, -run.age_seconds),
        ended=None if ended is None else _later(now, -ended),
        kept_until=None if kept is None else _later(now, kept),
        fibers=run.fibers,
        waiting=run.waiting,
        asleep=run.asleep,
        clients=tuple(run.clients),
        log_records=run.records,
        left_out=run.left_out,
    )


def _later(now: datetime, seconds: float) -> datetime:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:  # it is kept for ever
        return _LATEST


@final
class NamedRun(RunHandle[E, A]):
    """A run that outlives its clients: `Cluster.submit` started it under a name.

    Another process gets hold of it by `Cluster.attach`.
    """

    def __init__(
        self, host: LinkedHost, pending: PendingRun, name: str, progress: Progress = None
    ) -> None:
        super().__init__(host, pending, progress)
        self._name = name

    @property
    def name(self) -> str:
        """The name of the run, unique among those that the coordinator knows."""
        return self._name

    def status(self) -> RunStatus:
        """Ask the coordinator how the run fares.

        Raises:
            RunUnknown: its outcome was forgotten.
            ClusterClosed: the cluster is closed, or its coordinator lost.
        """
        self._host.refuse_in_child()
        name, run = self._name, self._pending.run
        found = self._host.named_runs.act(lambda n: m.ActOnNamedRun(n, name, "describe", run))
        return status_of(found)

    def cancel(self) -> None:
        """Cancel all fibers of the run, wherever they are; return when the coordinator knows.

        The fibers release what they hold. If the root is cancelled, the Result of the run is a
        Panic that holds `Cancelled`. A run that has ended isn't changed.

        Raises:
            RunUnknown: the run has ended, and its outcome was forgotten.
            ClusterClosed: the cluster is closed, or its coordinator lost.
        """
        self._host.refuse_in_child()
        name, run = self._name, self._pending.run
        self._host.named_runs.act(lambda n: m.ActOnNamedRun(n, name, "cancel", run))

    def _label(self) -> str:
        return repr(self._name)

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
            "a NamedRun belongs to the process that is attached to the run; pass its name, and "
            "call Cluster.attach where it is needed"
        )
