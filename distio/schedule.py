"""Schedules say whether a program is run again, and after how many seconds.

`main.retry(schedule)`, `main.retry_panic(schedule, ...)` and `main.repeat(schedule)` take one. A
schedule is plain data: it reads no clock, draws no number and knows no program.

>>> from distio import io, schedule
>>> patient = schedule.exponential(0.1, factor=2, max_seconds=30).jittered().times(5)
>>> io.pure("there").retry(patient).run(None)
Ok(success='there')
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from distio._public import publish

__all__ = [
    "Schedule",
    "delays",
    "exponential",
    "forever",
    "linear",
    "recurs",
    "spaced",
]

_LONGEST: Final = sys.float_info.max
"""The longest delay, in seconds: a delay that grows without end stays a number that can be
slept."""

Step = tuple[float, Any] | None
"""The delay in seconds, and the next state; None: the schedule is done."""


class Schedule(msgspec.Struct, frozen=True):
    """A rule for recurrences: whether there is one more, and after which delay.

    The functions of `distio.schedule` make schedules. A schedule never changes. The progress along
    a schedule is a state, which is plain data and never None. A schedule that is done is never
    asked again, nor is a part of one.

    >>> recurs(3).jittered().up_to(10)
    UpTo(schedule=Jittered(schedule=Recurs(n=3), least=0.8, most=1.2), seconds=10.0)
    """

    def start(self) -> Any:
        """The state before the first recurrence."""
        return ()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        """Decide on one recurrence.

        Args:
            state: the state that `start` or the last `step` returned.
            elapsed_seconds: the time since the program was started for the first time.
            input: the outcome of this time: the value, the list of errors, or the list of
                exceptions.
            random: a number from 0 to 1, by which all jitter in the schedule goes.

        Returns:
            The delay in seconds, and the next state; None if the schedule is done.

        >>> twice = delays(1, 5)
        >>> twice.step(twice.start(), 0.0, None, 0.5)
        (1.0, 1)
        """
        raise NotImplementedError

    def jittered(self, least: float = 0.8, most: float = 1.2) -> Schedule:
        """This schedule, with each delay times a random factor, so that not all come back at once.

        Args:
            least: the smallest factor, from 0.
            most: the largest factor, from `least`.

        Raises:
            TypeError: one of them is no number.
            ValueError: one of them is less than it may be, or not finite.
        """
        least = _number("jittered, least", least, "a number from 0", 0.0)
        most = _number("jittered, most", most, f"a number from least ({least:g})", least)
        return Jittered(self, least, most)

    def times(self, n: int) -> Schedule:
        """This schedule, but with at most `n` recurrences.

        Raises:
            TypeError: `n` is no int.
            ValueError: `n` is less than 0.
        """
        return Both(self, Recurs(_count("times", n)))

    def while_(self, predicate: Callable[[Any], object]) -> Schedule:
        """This schedule, but only as long as `predicate(input)` holds.

        The input is the value for `repeat`, the list of errors for `retry`, and the list of
        exceptions for `retry_panic`. A predicate that raises is a panic.

        Raises:
            TypeError: `predicate` is no function.
        """
        if not callable(predicate):
            raise TypeError(_complaint("while_", "a function", predicate))
        return Both(self, While(predicate))

    def up_to(self, seconds: float) -> Schedule:
        """This schedule, but without recurrences that are due later than `seconds`.

        A recurrence is due after the time since the very first start of the program, plus the delay
        that this schedule says, before further methods change that delay. If the sum is more than
        `seconds`, the schedule is done at once, without the delay. A program that runs is never cut
        short.

        Raises:
            TypeError: `seconds` is no number.
            ValueError: `seconds` is less than 0, or nan.
        """
        return UpTo(self, _seconds("up_to", seconds, most=math.inf))

    def then(self, other: Schedule) -> Schedule:
        """This schedule until it is done, and from then on the other.

        Raises:
            TypeError: `other` is no schedule.
        """
        return Then(self, require_schedule("then", other))

    def __and__(self, other: Schedule) -> Schedule:
        """A schedule that goes on while both do, after the longer delay.

        Raises:
            TypeError: `other` is no schedule.

        >>> recurs(5) & spaced(10)
        Both(left=Recurs(n=5), right=Spaced(seconds=10.0))
        """
        return Both(self, require_schedule("&", other))

    def __or__(self, other: Schedule) -> Schedule:
        """A schedule that goes on while one of them does, after the shorter delay of those that do.

        Raises:
            TypeError: `other` is no schedule.
        """
        return Either(self, require_schedule("|", other))


# -- how they are made ------------------------------------------------------------------------


def recurs(n: int) -> Schedule:
    """A number of recurrences without delay.

    Raises:
        TypeError: `n` is no int.
        ValueError: `n` is less than 0.
    """
    return Recurs(_count("recurs", n))


def spaced(seconds: float) -> Schedule:
    """Recurrences with always the same delay, without end.

    Raises:
        TypeError: `seconds` is no number.
        ValueError: `seconds` is less than 0, or not finite.
    """
    return Spaced(_seconds("spaced", seconds))


def linear(seconds: float) -> Schedule:
    """Recurrences after `seconds`, twice, three times as many and so on, without end.

    Raises:
        TypeError: `seconds` is no number.
        ValueError: `seconds` is less than 0, or not finite.
    """
    return Linear(_seconds("linear", seconds))


def exponential(seconds: float, factor: float = 2, max_seconds: float = math.inf) -> Schedule:
    """Recurrences with delays that grow by a factor each time, without end.

    Args:
        seconds: the first delay.
        factor: above 0.
        max_seconds: no delay is longer than that.

    Raises:
        TypeError: one of them is no number.
        ValueError: one of them is less than it may be, or not finite (`max_seconds` may be inf).
    """
    return Exponential(
        _seconds("exponential, seconds", seconds),
        _number("exponential, factor", factor, "a number above 0", math.ulp(0.0)),
        _seconds("exponential, max_seconds", max_seconds, most=math.inf),
    )


def delays(*seconds: float) -> Schedule:
    """Recurrences with these delays, one after another.

    Raises:
        TypeError: one of them is no number.
        ValueError: one of them is less than 0, or not finite.
    """
    return Delays(tuple([_seconds("delays", each) for each in seconds]))


def require_schedule(where: str, schedule: Any) -> Schedule:
    """Return the schedule, or raise a TypeError that says which function was given something
    else."""
    if isinstance(schedule, Schedule):
        return schedule
    raise TypeError(_complaint(where, "a schedule, made by distio.schedule", schedule))


def _seconds(where: str, value: Any, most: float = _LONGEST) -> float:
    expected = "a number of seconds from 0" + (", or inf" if most == math.inf else "")
    return _number(where, value, expected, 0.0, most)


def _number(where: str, value: Any, expected: str, least: float, most: float = _LONGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(_complaint(where, expected, value))
    if not (least <= value <= _LONGEST or value == most):
        raise ValueError(_complaint(where, expected, value))
    return float(value)


def _count(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(_complaint(where, "a whole number from 0", value))
    if value < 0:
        raise ValueError(_complaint(where, "a whole number from 0", value))
    return value


def _complaint(where: str, expected: str, value: Any) -> str:
    return f"{where}: expected {expected}, but got {reprlib.repr(value)}"


# -- what they are ----------------------------------------------------------------------------


@final
class Recurs(Schedule, frozen=True):
    """A schedule of so many recurrences; the state is how many are left."""

    n: int

    def start(self) -> int:
        return self.n

    def step(self, state: int, elapsed_seconds: float, input: Any, random: float) -> Step:
        return (0.0, state - 1) if state > 0 else None


@final
class Spaced(Schedule, frozen=True):
    """A schedule with always the same delay."""

    seconds: float

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        return self.seconds, state


@final
class Linear(Schedule, frozen=True):
    """Delays that grow by the same number of seconds; the state is how many there were."""

    seconds: float

    def start(self) -> int:
        return 0

    def step(self, state: int, elapsed_seconds: float, input: Any, random: float) -> Step:
        return min((state + 1) * self.seconds, _LONGEST), state + 1


@final
class Exponential(Schedule, frozen=True):
    """Delays that grow by the same factor; the state is the next one, however long."""

    seconds: float
    factor: float
    max_seconds: float

    def start(self) -> float:
        return self.seconds

    def step(self, state: float, elapsed_seconds: float, input: Any, random: float) -> Step:
        return min(state, self.max_seconds, _LONGEST), state * self.factor


@final
class Delays(Schedule, frozen=True):
    """A list of delays; the state is how many there were."""

    seconds: tuple[float, ...]

    def start(self) -> int:
        return 0

    def step(self, state: int, elapsed_seconds: float, input: Any, random: float) -> Step:
        return (self.seconds[state], state + 1) if state < len(self.seconds) else None


@final
class While(Schedule, frozen=True):
    """Recurrences without delay, as long as a predicate holds."""

    predicate: Callable[[Any], object]

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        return (0.0, state) if self.predicate(input) else None


@final
class Jittered(Schedule, frozen=True):
    """A schedule whose delays are each times a random factor; the state is that of the schedule."""

    schedule: Schedule
    least: float
    most: float

    def start(self) -> Any:
        return self.schedule.start()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        following = self.schedule.step(state, elapsed_seconds, input, random)
        if following is None:
            return None
        delay, state = following
        factor = self.least + (self.most - self.least) * random
        return min(delay * factor, _LONGEST), state


@final
class UpTo(Schedule, frozen=True):
    """A schedule as long as it isn't too late; the state is that of the schedule."""

    schedule: Schedule
    seconds: float

    def start(self) -> Any:
        return self.schedule.start()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        following = self.schedule.step(state, elapsed_seconds, input, random)
        is_in_time = following is not None and elapsed_seconds + following[0] <= self.seconds
        return following if is_in_time else None


@final
class Both(Schedule, frozen=True):
    """Two schedules as long as both go on; the state is both of theirs."""

    left: Schedule
    right: Schedule

    def start(self) -> tuple[Any, Any]:
        return self.left.start(), self.right.start()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        left = self.left.step(state[0], elapsed_seconds, input, random)
        if left is None:
            return None
        right = self.right.step(state[1], elapsed_seconds, input, random)
        if right is None:
            return None
        return max(left[0], right[0]), (left[1], right[1])


@final
class Either(Schedule, frozen=True):
    """Two schedules as long as one goes on; the state is both of theirs, None of one that is done.

    The other then goes on alone.
    """

    left: Schedule
    right: Schedule

    def start(self) -> tuple[Any, Any]:
        return self.left.start(), self.right.start()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        left, right = [
            None if mine is None else schedule.step(mine, elapsed_seconds, input, random)
            for schedule, mine in zip((self.left, self.right), state)
        ]
        if left is None:
            return None if right is None else (right[0], (None, right[1]))
        if right is None:
            return left[0], (left[1], None)
        return min(left[0], right[0]), (left[1], right[1])


@final
class Then(Schedule, frozen=True):
    """Two schedules, one after the other; the state is whether the second has begun, and its
    own."""

    first: Schedule
    second: Schedule

    def start(self) -> tuple[bool, Any]:
        return False, self.first.start()

    def step(self, state: Any, elapsed_seconds: float, input: Any, random: float) -> Step:
        is_second, mine = state
        if not is_second:
            following = self.first.step(mine, elapsed_seconds, input, random)
            if following is not None:
                return following[0], (False, following[1])
            mine = self.second.start()
        following = self.second.step(mine, elapsed_seconds, input, random)
        return None if following is None else (following[0], (True, following[1]))


forever: Final[Schedule] = Spaced(0.0)
"""Recurrences without delay and without end."""


publish(__name__, globals())
