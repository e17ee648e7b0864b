"""Programs that run again and again, at moments of the clock.

The machine in `distio/core/moments.py` decides which moment is next. The program here waits for it.

>>> from distio import io, recurring
>>> report = io.defer(print, "report")
>>> hourly = recurring.every(3600, report)
>>> io.race(hourly, io.sleep(0.2)).run(None)
report
Ok(success=None)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Never, TypeVar, final
from zoneinfo import ZoneInfo

import distio.io as io
from distio._public import publish
from distio.core import expect
from distio.core.moments import (
    CATCH_UPS,
    CatchUp,
    Cron,
    Every,
    Moments,
    Policy,
    Wait,
    decide,
    just_before,
)
from distio.core.ops.base import IO, require_io
from distio.errors import MatchError
from distio.result import Ok, Result
from distio.supervision import child, supervise, with_tracebacks

__all__ = ["CatchUp", "cron", "every"]

R = TypeVar("R")

Program = IO[Any, Any, Any]
Outcome = Result[Any, Any]
OnFailure = Callable[[datetime, Outcome], Program]

log: Final = logging.getLogger("distio")

_LEAST_SECONDS: Final = 0.001
_SKIP_SECONDS: Final = 60.0
"""The default lateness with which a run may begin, with "skip": a lost worker is replaced
sooner."""


# -- what users write -------------------------------------------------------------------------


def every(
    seconds: float,
    program: IO[R, Any, Any] | Callable[[datetime], IO[R, Any, Any]],
    *,
    start: datetime | None = None,
    catch_up: CatchUp = "once",
    max_late_seconds: float | None = None,
    on_failure: OnFailure | None = None,
) -> IO[R, Any, Never]:
    """Run a program again and again, with always the same time from one moment to the next.

    The moments are `start`, `start` + `seconds`, `start` + 2 `seconds` and so on; those before the
    schedule was started don't count. They don't depend on how long the runs take. Runs never
    overlap. Each runs in a fiber of its own, whose name is the moment. A run that fails doesn't end
    the schedule. A cancellation does: it cancels the run that is going on, and waits until that has
    released what it holds.

    Args:
        seconds: the time from one moment to the next, in seconds, from 0.001.
        program: the program; or a function that is called with the moment, an aware datetime (of
            UTC here), and returns the program.
        start: the first moment, an aware datetime; by default when the schedule is started.
        catch_up: what becomes of the moments that passed while a run was going on, or while nothing
            was there to run. "once": one run, of the last of them. "all": a run of each of them,
            one after another. "skip": no run.
        max_late_seconds: how many seconds after its moment a run may begin at most, from 0. By
            default any number; 60 with "skip".
        on_failure: a function that is called as `on_failure(moment, result)` when a run has failed.
            The schedule runs the returned program, and goes on. If that program fails, the schedule
            ends with its failure. By default the failure is logged with its traceback, as an error.

    Returns:
        A program that never ends by itself.

    Raises:
        MatchError: an argument is of another kind.
        ValueError: a number is less than it may be, or `start` is a datetime without a time zone.

    >>> from distio import io, recurring
    >>> tick = recurring.every(0.2, io.defer(print, "tick"))
    >>> io.race(tick, io.sleep(0.3)).run(None)
    tick
    tick
    Ok(success=None)
    """
    where = "every"
    expected = f"{where}: seconds is a number from {_LEAST_SECONDS}"
    if not expect.is_time(seconds):
        raise MatchError(f"{expected}, finite, but got {expect.shown(seconds)}")
    if seconds < _LEAST_SECONDS:
        raise ValueError(f"{expected}, but got {seconds}")
    first = None if start is None else _first(start)
    policy = _policy(where, catch_up, max_late_seconds)
    runs = _Runs(_program(where, program), policy, _told(where, on_failure))
    return io.now.flat_map(partial(_begin_every, runs, float(seconds), first))


def cron(
    expression: str,
    program: IO[R, Any, Any] | Callable[[datetime], IO[R, Any, Any]],
    *,
    timezone: str = "UTC",
    catch_up: CatchUp = "once",
    max_late_seconds: float | None = None,
    on_failure: OnFailure | None = None,
) -> IO[R, Any, Never]:
    """Run a program again and again, at the moments of a cron expression.

    It needs the package cronsim, here and at the workers: `pip install 'distio[cron]'`. When clocks
    are put forward, a run at a time that is left out begins at once after it. When they are put
    back, a run at a time that comes twice is at the first one. That holds for times of day; an
    expression whose minutes or hours begin with `*` goes by the time that really passes.

    Args:
        expression: minute, hour, day of the month, month, and day of the week, as in
            "0 2 * * mon-fri"; seconds may come before them.
        program: the program; or a function that is called with the moment, an aware datetime of
            that time zone, and returns the program.
        timezone: the key of a time zone, as in "Europe/Berlin".
        catch_up: see `every`.
        max_late_seconds: see `every`.
        on_failure: see `every`.

    Returns:
        A program that never ends by itself; see `every` for how it runs the other one.

    Raises:
        ImportError: the package isn't there.
        MatchError: an argument is of another kind.
        ValueError: there is no such expression, no such time zone, or no such moment in 50 years;
            or `max_late_seconds` is less than 0.

    >>> from distio import io, recurring
    >>> from distio.testing import simulate
    >>> noon = recurring.cron("0 12 * * *", lambda moment: io.defer(print, moment))
    >>> simulate(io.race(noon, io.sleep(2 * 24 * 3600))).result
    2000-01-01 12:00:00+00:00
    2000-01-02 12:00:00+00:00
    Ok(success=None)
    """
    where = "cron"
    for name, text in [("the expression", expression), ("timezone", timezone)]:
        if not isinstance(text, str):
            raise MatchError(f"{where}: {name} is a str, but got {expect.shown(text)}")
    moments = Cron(expression, _zone(timezone))
    if wrong := moments.check():
        expected = "minute, hour, day of the month, month, day of the week, as in '0 2 * * mon-fri'"
        raise ValueError(f"{where}: expected {expected}, but got {expression!r}: {wrong}")
    policy = _policy(where, catch_up, max_late_seconds)
    runs = _Runs(_program(where, program), policy, _told(where, on_failure))
    return io.now.flat_map(partial(_begin, runs, moments))


# -- arguments --------------------------------------------------------------------------------


def _program(where: str, found: Any) -> Program | Callable[[datetime], Program]:
    takes_moment: bool = callable(found) and not isinstance(found, IO)
    return expect.function(found, where) if takes_moment else require_io(found, where)


def _first(start: Any) -> float:
    expected = "every: start is a datetime with a time zone"
    if not isinstance(start, datetime):
        raise MatchError(f"{expected}, or None, but got {expect.shown(start)}")
    if start.utcoffset() is None:
        raise ValueError(f"{expected}, but {start!r} has none; give it a tzinfo")
    return start.timestamp()


def _zone(key: str) -> str:
    try:
        if key != "UTC":
            ZoneInfo(key)
    except (OSError, ValueError, KeyError) as error:  # a KeyError: there is none of that name
        expected = "the key of a time zone that this machine knows, as 'Europe/Berlin'"
        raise ValueError(f"cron: timezone is {expected}, but got {key!r}") from error
    return key


def _policy(where: str, catch_up: Any, max_late_seconds: Any) -> Policy:
    word: CatchUp = expect.one_of(CATCH_UPS, catch_up, where, "catch_up")
    if max_late_seconds is None or max_late_seconds == math.inf:
        is_short = word == "skip" and max_late_seconds is None
        return Policy(word, _SKIP_SECONDS if is_short else math.inf)
    if not expect.is_time(max_late_seconds):
        expected = f"{where}: max_late_seconds is a number of seconds from 0, or None"
        raise MatchError(f"{expected}, but got {expect.shown(max_late_seconds)}")
    if max_late_seconds < 0:
        raise ValueError(f"{where}: max_late_seconds is at least 0, but got {max_late_seconds}")
    return Policy(word, float(max_late_seconds))


def _told(where: str, on_failure: OnFailure | None) -> OnFailure:
    return _log if on_failure is None else expect.function(on_failure, f"{where}, on_failure")


def _log(moment: datetime, result: Outcome) -> Program:
    return io.defer(_write, moment, result)


def _write(moment: datetime, result: Outcome) -> None:
    log.error(
        "the run of %s has failed, and the schedule goes on: %s",
        moment.isoformat(),
        with_tracebacks(result),
    )


# -- the program ------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class _Runs:
    """The program that runs at the moments, and the rules for its runs."""

    program: Program | Callable[[datetime], Program]
    policy: Policy
    on_failure: OnFailure


def _begin_every(runs: _Runs, seconds: float, start: float | None, now: float) -> Program:
    return _begin(runs, Every(seconds, now if start is None else start), now)


def _begin(runs: _Runs, moments: Moments, now: float) -> Program:
    return _Loop(runs, moments).go_on(just_before(now), False, now)


@final
@dataclass(frozen=True, slots=True)
class _Loop:
    """A schedule that was started; it is plain data, and so is its progress."""

    runs: _Runs
    moments: Moments

    def go_on(self, after: float, was_busy: bool, now: float) -> Program:
        """Run what is due, or wait for the next moment; and so on."""
        decided = decide(self.moments, self.runs.policy, after, now, was_busy)
        if isinstance(decided, Wait):
            waited = io.sleep_until(decided.until)
            return waited.then(io.now).flat_map(partial(self.go_on, decided.after, False))
        ran = self._run(decided.moment)
        return ran.then(io.now).flat_map(partial(self.go_on, decided.moment, True))

    def _run(self, seconds: float) -> Program:
        moment = self.moments.shown(seconds)
        found = self.runs.program
        program = found if isinstance(found, IO) else io.defer_io(found, moment)
        # The program begins when its fiber is saved, and with it what was decided. So a run isn't
        # given up for a later moment; and one that ends each worker is lost, but not the schedule.
        program = io.checkpoint.then(program)
        run = supervise(child(program, moment.isoformat(), restart="temporary"))
        return run.flat_map(partial(self._has_ended, moment))

    def _has_ended(self, moment: datetime, results: list[Outcome]) -> Program:
        [result] = results
        if isinstance(result, Ok):
            return io.pure(None)
        told = self.runs.on_failure(moment, result)
        return require_io(told, "on_failure", self.runs.on_failure)


publish(__name__, globals())
