"""Log records of fibers elsewhere, handled by the loggers of this program.

Handlers are user code: a thread of their own calls them, in the order in which the records came.
Calls that have to come after them, like the end of their run, wait in the same queue.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec

from distio.coordination.logs.member import records_in
from distio.protocol.ids import name_of
from distio.protocol.messages.logs import LogLevels, LogsRelayed
from distio.runtime.blocking import in_background
from distio.runtime.logs import log
from distio.runtime.records import unpack

__all__ = ["Deliveries", "deliver", "levels_now"]

_MOST_WAITING_BYTES: Final = 64 * 1024**2
"""Bytes of records that may wait for the handlers; further records are omitted, and counted."""


class Deliveries:
    """A queue of records, and of what is to be done after them."""

    def __init__(self, most_bytes: int = _MOST_WAITING_BYTES) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[LogsRelayed | Callable[[], None]] = deque()
        self._bytes = 0
        self._most_bytes = most_bytes
        self._left_out: dict[tuple[int, int], int] = {}
        """By member and run: how many records since the queue was full."""
        self._is_working = False

    def put(self, messages: Iterable[LogsRelayed]) -> None:
        """Have these records handled; returns at once."""
        with self._changed:
            for message in messages:
                self._put(message)
            if self._is_working or not (self._waiting or self._left_out):
                return
            self._is_working = True
        in_background(self._work)

    def _put(self, message: LogsRelayed) -> None:
        size = len(message.records)
        if self._bytes + size > self._most_bytes:
            key = message.member, message.run
            count = message.omitted
            with suppress(msgspec.DecodeError):  # of a member that sends what it likes
                count += len(records_in(message))
            self._left_out[key] = self._left_out.get(key, 0) + count
            return
        self._bytes += size
        self._waiting.append(message)

    def do(self, call: Callable[[], None]) -> None:
        """Have this called after all that was put before; returns at once."""
        with self._changed:
            self._waiting.append(call)
            if self._is_working:
                return
            self._is_working = True
        in_background(self._work)

    def when_handled(self, then: Callable[[], None]) -> None:
        """Call this when all that was put before has been handled; now if it has."""
        with self._changed:
            if self._is_working:
                self._waiting.append(then)
                return
        then()

    def finish(self, timeout: float) -> None:
        """Wait until all is handled, for so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_working, timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                left_out, self._left_out = self._left_out, {}
                if not (self._waiting or left_out):
                    self._is_working = False
                    self._changed.notify_all()
                    return
                batch, self._waiting = self._waiting, deque()
            for item in batch:
                if not isinstance(item, LogsRelayed):
                    item()
                    continue
                deliver(item)
                with self._changed:
                    self._bytes -= len(item.records)
            for (member, run), count in left_out.items():
                _tell_omitted(member, run, count)


def deliver(message: LogsRelayed) -> None:
    """Handle the records of one message, as if they had been logged here."""
    try:
        all_packed = records_in(message)
    except msgspec.DecodeError as error:
        log.error("log records of member %d can't be read", message.member, exc_info=error)
        return
    for packed in all_packed:
        record: logging.LogRecord | None = None
        try:
            record = unpack(packed, message.member)
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        except BaseException as error:  # noqa: BLE001 (nothing may keep a run from its end)
            if record is None:
                log.error("a log record of member %d is lost", message.member, exc_info=error)
            else:
                _last_resort.handleError(record)
    if message.omitted:
        _tell_omitted(message.member, message.run, message.omitted)


_last_resort: Final = logging.StreamHandler()
"""Tells on standard error which record could not be handled, and why."""


def _tell_omitted(member: int, run: int, count: int) -> None:
    whose = f"run {name_of(run)}" if run else "no run"
    records = "1 log record" if count == 1 else f"{count} log records"
    log.warning("%s of %s on member %d left out: too much was waiting", records, whose, member)


def levels_now() -> LogLevels:
    """The levels of the loggers of this process."""
    manager = logging.root.manager
    levels = {
        str.__str__(name): _sendable(logger.level)
        for name, logger in list(manager.loggerDict.items())
        # a value that isn't printable can't travel either
        if isinstance(logger, logging.Logger) and logger.level and name.isprintable()
    }
    levels[""] = _sendable(logging.root.level)
    return LogLevels(_sendable(manager.disable), levels)


def _sendable(level: int) -> int:
    """The level as a plain int, or the nearest level that a message can carry."""
    return int.__index__(max(-sys.maxsize, min(level, sys.maxsize)))
