"""Where calls of plain functions run: on threads, on a cluster, or on workers of this program.

Rules
-----
- A caller that names no place gets worker processes, one for each core. They start with the first
  call, serve all later ones, and end with the program. So the second call needs no start. What the
  program changes of its own process meanwhile goes with the calls: see `ChangingState`.
- A caller that asks for another number of workers gets a cluster of that size, which is kept
  instead.
- If a call was cancelled while its function ran, and still runs, the next one gets fresh workers.
- In a worker the place is a thread of that worker: its cores have work already.
- Calls with the same place share a session while they go on. Arrays that it has sent stay with the
  workers until it ends. So a session that was used for a while ends when nobody uses it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, final

from distio._plain._calls import Calls
from distio._plain._exits import at_end_of_main
from distio._plain._process_state import ChangingState
from distio._plain._session import Place, Session
from distio.core import expect
from distio.core.ops.base import IO
from distio.core.pickling.once import once
from distio.core.pickling.spaces import current_space
from distio.errors import ClusterClosed, MatchError
from distio.result import Result
from distio.runtime.blocking import in_background
from distio.runtime.cluster import Cluster
from distio.runtime.cores import usable_cores
from distio.runtime.forks import renew_in_children
from distio.runtime.threads import CannotStartThread

__all__ = ["Where", "own_session", "place_asked_for", "session_for", "slots_of"]

_ALL: Final = {"threads": "", "workers": ", or left out for all cores"}
_GRACE_SECONDS: Final = 0.5
"""The time that a function, cancelled but still running, gets when the program ends."""
_SESSION_SECONDS: Final = 0.1
"""How long a session is used at least: a new one costs a fiftieth of that."""
_FRESH_SECONDS: Final = 1.0
"""The time for which the number of workers of a cluster is believed."""


@final
class OnThreads:
    """Threads of this process."""

    sends_ahead = False

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def slots(self) -> int:
        return self._threads

    def refresh(self) -> None:
        """The number of threads stays as it was."""

    def run(self, program: IO[Any, Any, Any]) -> Result[Any, Any]:
        return program.run(None)

    def programs_of(self, all_calls: list[Calls], session: Session) -> list[IO[Any, Any, Any]]:
        return [calls.on_a_thread(session.make) for calls in all_calls]

    def prepared(self, f: Callable[..., Any]) -> Any:
        return f


@final
class OnCluster:
    """The workers of a cluster.

    Args:
        cluster: which.
        workers: how many there are; None: the cluster says, and it may change.
        state: this process, whose later changes the workers take over; None: they don't.
    """

    sends_ahead = True

    def __init__(
        self, cluster: Cluster, workers: int | None = None, state: ChangingState | None = None
    ) -> None:
        self._cluster = cluster
        self._state = state
        self._is_fixed = workers is not None
        processes = cluster._processes
        self._least = 1 if processes is None else max(1, processes.threads)
        """The least number of workers: some may be about to join."""
        self._slots = workers or self._least
        self._asked_at = -_FRESH_SECONDS

    def slots(self) -> int:
        return self._slots

    def refresh(self) -> None:
        """Ask how many workers there are, unless that was asked a moment ago."""
        now = time.monotonic()
        if self._is_fixed or now - self._asked_at < _FRESH_SECONDS:
            return
        self._asked_at = now
        with suppress(ClusterClosed):  # the session hears that, too
            members = self._cluster.members()
            there = sum(each.threads for each in members if each.kind == "worker")
            self._slots = max(self._least, there)

    def run(self, program: IO[Any, Any, Any]) -> Result[Any, Any]:
        return program.run(None, on=self._cluster)

    def programs_of(self, all_calls: list[Calls], session: Session) -> list[IO[Any, Any, Any]]:
        changes = None if self._state is None else self._state.changes()
        return [calls.elsewhere(changes) for calls in all_calls]

    def prepared(self, f: Callable[..., Any]) -> Any:
        return once(f)


Where = tuple[Cluster | None, int | None, int | None]
"""A cluster, a number of threads, or a number of workers."""


def place_asked_for(on: Any, threads: Any, workers: Any, where: str) -> Where:
    """Check by which arguments a caller has named a place.

    Raises:
        MatchError: there are several, or one is of another kind.
    """
    given = {"on": on, "threads": threads, "workers": workers}
    named = [name for name, each in given.items() if each is not None]
    if len(named) > 1:
        raise MatchError(f"{where}: expected one place, but got {' and '.join(named)}; give one")
    if on is not None and not isinstance(on, Cluster):
        raise MatchError(
            f"{where}: `on` takes a Cluster, but got {expect.shown(on)}; make one with "
            f"Cluster.local() or Cluster.connect(url)"
        )
    for name in ("threads", "workers"):
        if given[name] is not None:
            expect.whole(given[name], where, f"{name} is a whole number from 1{_ALL[name]}")
    return on, threads, workers


def slots_of(where: Where) -> int:
    """How many calls run at a time at a place, as far as that is known before the first one."""
    on, threads, workers = where
    if on is not None:
        place = OnCluster(on)
        place.refresh()
        return place.slots()
    if threads is not None:
        return threads
    return 1 if current_space().is_worker else workers or usable_cores()


@final
class _Workers:
    """A cluster of this program, and those who use it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.users = 0
        self._state = ChangingState()
        self.cluster = Cluster.local(workers=count, grace=_GRACE_SECONDS)
        self.session = self._new_session()
        self._used_since = 0.0
        self._used_seconds = 0.0
        """The time for which this session was in use, but for now."""

    def _new_session(self) -> Session:
        return Session(OnCluster(self.cluster, self.count, self._state))

    @property
    def is_fit(self) -> bool:
        """Whether a call that begins now finds all workers at its disposal."""
        return not self.session.is_over and (self.users > 0 or not self.session.orphans)

    def enter(self) -> None:
        """Count one more user of the workers."""
        if not self.users:
            self._used_since = time.monotonic()
        self.users += 1

    def leave(self) -> None:
        """Count one user less of the workers."""
        self.users -= 1
        if not self.users:
            self._used_seconds += time.monotonic() - self._used_since

    def renew(self) -> None:
        """Begin a new session if it is time to: the workers free what came with the last one."""
        is_due = self._used_seconds > _SESSION_SECONDS
        if is_due and not self.session.is_over and not self.session.orphans:
            with suppress(CannotStartThread):  # then the old one goes on
                old, self.session = self.session, self._new_session()
                self._used_seconds = 0.0
                old.close()

    def close(self) -> None:
        _end(self.session)
        self.cluster.close()


def _end(session: Session) -> None:
    """Close a session, and wait for its end: with the cluster it would end in the midst of it."""
    session.close()
    session.join(_GRACE_SECONDS)


class _Shared:
    """The workers and sessions that the calls of this process share."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.workers: _Workers | None = None
        """The workers that the next call gets, if they fit."""
        self.sessions: dict[Where, _InUse] = {}
        """The sessions on threads and on clusters of the caller, as long as somebody uses them."""


@final
class _InUse:
    """A session, and how many use it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.users = 0


_shared = _Shared()


def _renew() -> None:
    global _shared
    _shared = _Shared()


renew_in_children(_renew)


@contextmanager
def session_for(where: Where) -> Iterator[Session]:
    """The session of a place, which serves at least until the end of the block.

    Raises:
        ClusterError: the workers can't be started, or the cluster is closed.
    """
    on, threads, workers = where
    if on is None and threads is None and current_space().is_worker:
        where = None, 1, None
    if where[:2] != (None, None):
        with _in_use(where) as session:
            yield session
    else:
        mine = _enter(workers or usable_cores())
        try:
            yield mine.session
        finally:
            _leave(mine)


@contextmanager
def _in_use(where: Where) -> Iterator[Session]:
    on, threads, _ = where
    if on is not None:
        on._require_open()
    shared = _shared
    with shared.guard:
        mine = shared.sessions.get(where)
        if mine is None or mine.session.is_over:
            place = OnThreads(threads or 1) if on is None else OnCluster(on)
            mine = shared.sessions[where] = _InUse(Session(place))
        mine.users += 1
    try:
        mine.session.refresh()
        yield mine.session
    finally:
        with shared.guard:
            mine.users -= 1
            is_last = not mine.users
            if is_last and shared.sessions.get(where) is mine:
                del shared.sessions[where]
        if is_last:
            mine.session.close()


@contextmanager
def own_session(where: Where) -> Iterator[Session]:
    """A session of one's own, and workers of one's own, until the end of the block.

    Raises:
        ClusterError: the workers can't be started, or the cluster is closed.
    """
    on, threads, workers = where
    with ExitStack() as held:
        if on is not None:
            on._require_open()
            place: Place = OnCluster(on)
        elif threads is not None or current_space().is_worker:
            place = OnThreads(threads or 1)
        else:
            count = workers or usable_cores()
            cluster = held.enter_context(Cluster.local(workers=count, grace=_GRACE_SECONDS))
            place = OnCluster(cluster, count)
        session = Session(place)
        held.callback(_end, session)
        yield session


def _enter(count: int) -> _Workers:
    unused = None
    with _shared.guard:  # a caller that comes meanwhile waits for the same
        mine = _shared.workers
        if mine is None or mine.count != count or not mine.is_fit:
            old, mine = mine, _Workers(count)
            unused = old if old is not None and not old.users else None
            _shared.workers = mine
            at_end_of_main(_close_workers)
        mine.enter()
    if unused is not None:
        in_background(unused.close)
    return mine


def _leave(mine: _Workers) -> None:
    with _shared.guard:
        mine.leave()
        is_last = not mine.users and _shared.workers is not mine
        if not mine.users and not is_last:
            mine.renew()
    if is_last:
        in_background(mine.close)


def _close_workers() -> None:
    workers = _shared.workers
    if workers is not None:
        workers.close()
