"""Failures that nobody can ask for any more are logged, each with its traceback.

Log handlers are code of the user. Threads of the pool call them, or other threads that may be held
up: never with a mutex of distio held, never in `__del__`, never a link thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

from distio.coordination.failures.deduplication import Deduplicator, Omitted
from distio.coordination.state.failure import Failure
from distio.coordination.state.local_run import LocalRun
from distio.core.fiber import Fiber
from distio.core.interrupts import is_interrupt
from distio.core.ops.values import Pure
from distio.protocol.ids import label_of, name_of
from distio.protocol.text import repr_of
from distio.result import Errors, Panic
from distio.runtime.current import Hosting, call_on_behalf_of
from distio.runtime.logs import log

__all__ = ["FailureLog", "log_unreleased"]

_logger: Final = logging.getLogger("distio")
_last_resort: Final = logging.StreamHandler()
"""Tells on standard error which record could not be handled, and why."""


class FailureLog:
    """The log of the failures in one host; may be used by many threads."""

    def __init__(self, host: Hosting) -> None:
        self._host = host
        self._guard = threading.Lock()
        self._deduplicator = Deduplicator()

    def report(self) -> None:
        """Log what the member hands over, until there is no more.

        Raises:
            KeyboardInterrupt: a log handler has raised it.
        """
        while (failure := self._host.member.take_failure()) is not None:
            like = _short(failure)
            with self._guard:
                now, place = time.monotonic(), _place_of(failure)
                omitted = self._deduplicator.note(now, failure.run, place, like)
            if omitted is not None:
                more = f"\n… and {_told(omitted)}" if omitted.number else ""
                text = "fiber %s failed, and nobody waited for it:%s%s"
                self._say(failure.run, failure, text, self._label(failure), _story(failure), more)

    def has_to_tell_of(self, runs: Iterable[int]) -> bool:
        """Whether `runs_ended` would log anything of these runs, or forget anything."""
        return self._host.member.has_failures or any(run in self._deduplicator for run in runs)

    def runs_ended(self, runs: Iterable[int]) -> None:
        """Log what is left of these runs."""
        self.report()
        for run in runs:
            with self._guard:
                omitted = self._deduplicator.run_ended(run)
            for each in omitted:
                self._say(run, None, "%s: %s", _told(each), each.like)

    def _label(self, failure: Failure) -> str:
        worker = self._host.member.worker
        label = label_of(failure.fiber, failure.name)
        return f"{label} on {worker}" if worker else label

    def _say(self, run: int, failure: Failure | None, text: str, *args: object) -> None:
        """Log a line; the record belongs to the fiber, or to the root of its run."""
        fiber = Fiber(run if failure is None else failure.fiber, run, _NO_PROGRAM, None)
        fiber.name = None if failure is None else failure.name
        call_on_behalf_of(fiber, self._host, lambda: _handle(text, args))


_NO_PROGRAM: Final = Pure(None)


def _handle(text: str, args: tuple[object, ...]) -> None:
    if not _logger.isEnabledFor(logging.ERROR):
        return
    record = _logger.makeRecord(
        _logger.name, logging.ERROR, __file__, 0, text, args, None, "report"
    )
    try:
        _logger.handle(record)
    except BaseException as error:
        if is_interrupt(error):
            raise
        # a broken handler must not keep a fiber from its end
        _last_resort.handleError(record)


def _told(omitted: Omitted) -> str:
    """The number of failures that were not logged, and since when."""
    since = time.time() - (time.monotonic() - omitted.since)
    clock = time.strftime("%H:%M:%S", time.localtime(since))
    return f"{omitted.number:,} more like it since {clock}"


def _place_of(failure: Failure) -> Hashable:
    """A key that failures from the same place of a program share."""
    result = failure.result
    if isinstance(result, Errors):
        return failure.name, *sorted({type(error).__qualname__ for error in result.errors})
    return tuple(
        (type(traced.exception), _last_place(traced.stack_trace)) for traced in result.exceptions
    )


def _last_place(trace: str) -> str:
    """The line of a traceback that names the file and line where it was raised."""
    start = trace.rfind('\n  File "')
    return trace[start : trace.find("\n", start + 1)] if start >= 0 else ""


def _short(failure: Failure) -> str:
    """The failure in one line."""
    result = failure.result
    if isinstance(result, Panic) and result.exceptions:
        return result.exceptions[-1].stack_trace.rstrip().rpartition("\n")[2]
    return f"{len(result.errors)} expected errors"


def _story(failure: Failure) -> str:
    result: Any = failure.result
    if isinstance(result, Panic):
        traces = "".join(f"\n{traced.stack_trace}" for traced in result.exceptions)
        return f"{traces}\nerrors: {repr_of(result.errors)}" if result.errors else traces
    return f" {repr_of(result)}"


def log_unreleased(runs: Sequence[LocalRun]) -> None:
    """Log which fibers were dropped before they had released what they hold."""
    for run in runs:
        if run.unreleased:
            log.error(
                "run %s ended before all its fibers had released what they hold: %s",
                name_of(run.id),
                run.unreleased,
            )
