"""The moments at which a program is due, and which of them are made up for.

Rules:

1. Moments are numbers of seconds as `time.time` shows them. Those that a schedule has decided on
   are behind it for good. `after` is the last of them; there is no other progress.
2. A moment that has come, and isn't behind, is due. Under "all" the first due moment is next. Under
   "once" and "skip" the last one is, and those before it are behind with it.
3. Under "skip", moments that have come while a run was going on are behind, without a run.
4. A due moment that is more than `max_late_seconds` ago is behind, without a run.

So a clock that goes back, or a machine whose clock is behind, repeats nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from types import ModuleType
from typing import Final, Literal, NamedTuple, final
from zoneinfo import ZoneInfo

import msgspec

__all__ = [
    "CATCH_UPS",
    "CatchUp",
    "Cron",
    "Every",
    "Policy",
    "Run",
    "Wait",
    "decide",
    "just_before",
]

CatchUp = Literal["all", "once", "skip"]
CATCH_UPS: Final = ("all", "once", "skip")

_FIRST_WINDOW_SECONDS: Final = 60.0
_GROWTH: Final = 8.0


@final
class Every(msgspec.Struct, frozen=True):
    """Moments with always the same time between them.

    Each is computed from the first one, so that no error of rounding grows.

    >>> quarters = Every(0.25, start=100.0)
    >>> quarters.after(100.3), quarters.latest(100.0, now=107.1)
    (100.5, 107.0)
    """

    seconds: float
    start: float
    """The first moment."""

    def after(self, moment: float) -> float:
        """The first moment that is later."""
        return self._at(self._last_until(moment) + 1)

    def latest(self, after: float, now: float) -> float | None:
        """The last moment until now, if it is later than `after`."""
        number = self._last_until(now)
        found = self._at(number)
        return found if number >= 0 and found > after else None

    def shown(self, moment: float) -> datetime:
        """A moment for people, and for programs."""
        return datetime.fromtimestamp(moment, UTC)

    def _at(self, number: int) -> float:
        return self.start + number * self.seconds

    def _last_until(self, moment: float) -> int:
        """The number of the last moment that isn't later, from 0; -1 before the first one."""
        number = max(-1, math.floor((moment - self.start) / self.seconds))
        while self._at(number + 1) <= moment:  # the quotient was rounded
            number += 1
        while number >= 0 and self._at(number) > moment:
            number -= 1
        return number


@final
class Cron(msgspec.Struct, frozen=True):
    """The moments of a cron expression in a time zone.

    All is computed forwards, so that there is one list of moments, also where clocks are changed.

    >>> nightly = Cron("0 2 * * *", "Europe/Berlin")
    >>> str(nightly.shown(nightly.after(0.0)))
    '1970-01-01 02:00:00+01:00'
    """

    expression: str
    zone: str
    """The key of a time zone; its rules are those of the machine that computes."""

    def after(self, moment: float) -> float:
        """The first moment that is later."""
        return next(self._since(moment))

    def latest(self, after: float, now: float) -> float | None:
        """The last moment until now, if it is later than `after`.

        The search begins with a short time before now. Each time in which there was no moment is
        followed by a longer one. So it takes about as long when much was missed as when little was.
        """
        window = _FIRST_WINDOW_SECONDS
        while True:
            begin = max(after, now - window)
            found = None
            for moment in self._since(begin):
                if moment > now:
                    break
                found = moment
            if found is not None or begin == after:
                return found
            window *= _GROWTH

    def shown(self, moment: float) -> datetime:
        """A moment for people, and for programs."""
        return datetime.fromtimestamp(moment, self._zone())

    def check(self) -> str | None:
        """The mistake in the expression; None: the expression has moments."""
        bad = _cronsim().CronSimError
        try:
            self.after(0.0)
        except bad as error:
            return str(error)
        except StopIteration:
            return "no such moment comes within 50 years"
        return None

    def _zone(self) -> tzinfo:
        # UTC needs no database of time zones
        return UTC if self.zone == "UTC" else ZoneInfo(self.zone)

    def _since(self, moment: float) -> Iterator[float]:
        """All later moments, each once, in order."""
        # In an hour that comes twice, cronsim begins in the first one of them. When an hour is left
        # out, all that would have come in it comes at one moment, several times.
        begin = self.shown(math.floor(moment))  # a datetime is rounded, and so may be later
        for found in _cronsim().CronSim(self.expression, begin):
            seconds = found.timestamp()
            if seconds > moment:
                moment = seconds
                yield seconds


Moments = Every | Cron


def _cronsim() -> ModuleType:
    try:
        import cronsim
    except ImportError as error:
        advice = "pip install 'distio[cron]', here and wherever there are workers"
        raise ImportError(f"cron expressions need the package cronsim: {advice}") from error
    return cronsim


@final
class Policy(msgspec.Struct, frozen=True):
    """The rule for moments that have passed without a run."""

    catch_up: CatchUp
    max_late_seconds: float


class Run(NamedTuple):
    """The run of a moment begins now; all moments until this one are behind."""

    moment: float


class Wait(NamedTuple):
    """The decision to wait until a moment; all moments until `after` are behind."""

    until: float
    after: float


def decide(
    moments: Moments, policy: Policy, after: float, now: float, was_busy: bool
) -> Run | Wait:
    """Decide what is next.

    Args:
        moments: all moments.
        policy: which are made up for.
        after: the last moment that is behind.
        now: what the clock shows.
        was_busy: whether a run was going on until now.

    >>> hourly, once = Every(3600.0, start=0.0), Policy("once", 600.0)
    >>> decide(hourly, once, after=3600.0, now=3700.0, was_busy=True)
    Wait(until=7200.0, after=3600.0)
    >>> decide(hourly, once, after=3600.0, now=36000.0, was_busy=True)
    Run(moment=36000.0)
    >>> decide(hourly, Policy("skip", 600.0), after=3600.0, now=36000.0, was_busy=True)
    Wait(until=39600.0, after=36000.0)
    """
    latest = moments.latest(after, now)
    if latest is None:
        return Wait(moments.after(after), after)
    is_too_late = now - latest > policy.max_late_seconds
    if is_too_late or (was_busy and policy.catch_up == "skip"):
        return Wait(moments.after(latest), latest)
    if policy.catch_up == "all":
        earliest = just_before(now - policy.max_late_seconds)
        return Run(moments.after(max(after, earliest)))
    return Run(latest)


def just_before(moment: float) -> float:
    """The last moment before this one that a float can hold."""
    return math.nextafter(moment, -math.inf)
