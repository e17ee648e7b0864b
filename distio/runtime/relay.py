"""Logging on a worker: the records of fibers go to the program that the fibers belong to.

A handler at the root takes the records, makes bytes of them, and leaves these where the link finds
them. The handler takes no lock under which user code runs, and waits for no other thread.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Final, final

from distio.coordination.logs.member import LogBuffer
from distio.protocol.ids import home_of
from distio.protocol.messages.logs import LogLevels, RelayLogs
from distio.runtime.current import Hosting, Origin, origin
from distio.runtime.deliveries import levels_now
from distio.runtime.records import NOBODY, pack, tagging

__all__ = ["Relay"]

log: Final = logging.getLogger("distio")


@final
class Relay(logging.Handler):
    """The handler, what waits to be sent, and the levels that hold in this process.

    Args:
        host: whose fibers log.
        wake: has the link look for what waits; may be called by any thread at any time.
        takes_all: whether also what no fiber logs goes to a program: that which has started this
            process. Otherwise it is for the log of this process.
    """

    def __init__(self, host: Hosting, wake: Callable[[], None], *, takes_all: bool) -> None:
        super().__init__()
        self._host = host
        self._wake = wake
        self._takes_all = takes_all
        self._buffer = LogBuffer()
        # reentrant: a collector of garbage may call what logs in the midst of it
        self._guard = threading.RLock()
        self._is_closed = False
        self._levels = _Levels()

    def install(self) -> None:
        """Take what is logged from now on."""
        tagging.__enter__()  # for good: this process belongs to distio
        if not self._takes_all:
            # the handlers that there are write this process's own log, which tells of itself
            for handler in logging.root.handlers:
                handler.addFilter(_is_own)
        logging.root.addHandler(self)
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Close the relay in a forked child, which has no link."""
        self._is_closed = True

    def use_levels(self, levels: Mapping[int, LogLevels]) -> None:
        """Let loggers have these levels of clients whose fibers are here."""
        self._levels.use(levels)

    # -- what is logged -------------------------------------------------------------------

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record; what the base class does, but with no lock held."""
        if self._is_closed:
            is_written = not self._takes_all and _is_own(record)  # by this process's own log
            return is_written or self._write(record)
        found = origin()
        of_host = self._in_host(found)
        if of_host is None and not self._takes_all:
            return True
        run = 0 if of_host is None else of_host.run
        levels = self._host.member.log_levels.get(home_of(run))
        if levels is not None and not levels.let_through(record.name, record.levelno):
            return True
        try:
            packed = pack(record, NOBODY if found is None else found.tags())
        except Exception:  # noqa: BLE001 (as handlers do: it is told on standard error)
            self.handleError(record)
            return True
        with self._guard:
            is_first = not self._buffer
            self._buffer.put(run, packed)
        if is_first:
            self._wake()
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record as `handle` does, which does all of it."""
        self.handle(record)

    def _in_host(self, found: Origin | None) -> Origin | None:
        """The fiber of this host that logs, also if it does so in a program of its own."""
        while found is not None and found.host is not self._host:
            found = found.host.within
        return found

    def _write(self, record: logging.LogRecord) -> bool:
        """Write a record whose program is gone to the handler of last resort."""
        if not self._takes_all and _is_own(record):
            return True  # this process has a log of its own
        last = logging.lastResort
        if last is not None and record.levelno >= last.level:
            last.handle(record)
        return True

    # -- the link -------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self._buffer)

    def take(self) -> list[RelayLogs]:
        """Take out the messages that are to be sent."""
        with self._guard:
            return self._buffer.take()

    def stop(self) -> list[RelayLogs]:
        """The link closes: the last that is to be said."""
        self._is_closed = True
        return self.take()


def _is_own(record: logging.LogRecord) -> bool:
    return origin() is None or record.name.partition(".")[0] == log.name


class _Levels:
    """The levels of this process: for each logger the lowest that a client has for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._own = levels_now()
        """The levels while there are no clients; and those of distio's own loggers, by which this
        process reports on itself."""
        self._pinned = {
            name: level
            for name, level in self._own.levels.items()
            if name.partition(".")[0] == log.name
        }
        self._used: Mapping[int, LogLevels] = {}
        self._set: set[str] = set()

    def use(self, levels: Mapping[int, LogLevels]) -> None:
        if levels is self._used:
            return
        with self._guard:
            if levels is not self._used:
                self._apply([*levels.values()] or [self._own])
                self._used = levels

    def _apply(self, clients: list[LogLevels]) -> None:
        names = {name for each in clients for name in each.levels} | self._pinned.keys()
        for name in self._set - names:
            _set_level(name, self._own.levels.get(name, logging.NOTSET))
        for name in names:
            level = min(each.of(name) for each in clients)
            _set_level(name, min(level, self._pinned.get(name, level)))
        self._set = names
        logging.disable(min(each.disabled for each in clients))


def _set_level(name: str, level: int) -> None:
    logger = logging.getLogger(name or None)
    if logger.level != level:
        logger.setLevel(level)
