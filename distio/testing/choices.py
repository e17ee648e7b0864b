"""The choices of a simulation: drawn from a seed, or played back from a schedule.

Every choice is a number below a count, and 0 is always the tamest: go on with whoever acted last,
take the oldest, deliver at once. A schedule is the list of the choices that were not tame, so a
short one is one that a person can follow.

A number that the simulated program draws by `io.random` is no choice: it comes from a generator of
its own, so that a program which draws makes the same choices as one that doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, Protocol, final

from distio.errors import MatchError

__all__ = ["Choices", "Drawn", "Played", "parse_schedule", "show_schedule"]

_TEMPERS: Final = (1.0, 1.0, 1.0, 0.1, 8.0)
"""How eager an actor may be: most are like each other, some drag their feet, some hurry."""


class Choices(Protocol):
    """The choices that a simulation asks for."""

    def pick(self, count: int) -> int:
        """A number below `count`, any as likely as another; 0 is the tamest."""

    def pick_actor(self, actors: Sequence[int]) -> int:
        """Choose who acts next: an index into the numbers of those who could; 0 acted last."""

    def random(self) -> float:
        """A number that the program draws."""

    @property
    def has_drawn(self) -> bool:
        """Whether the program has drawn anything."""


class _Chances:
    """The numbers that the program draws under a seed."""

    def __init__(self, seed: int) -> None:
        # of a text: the numbers have nothing to do with those that the choices are made from
        self._draw = Random(f"the program draws, under seed {seed}").random
        self.has_drawn = False

    def random(self) -> float:
        self.has_drawn = True
        return self._draw()


@final
class Drawn(_Chances):
    """Choices drawn from a seed; they can be read off as a schedule afterwards."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        # `random()` is the one method whose sequence Python promises to keep
        self._random = Random(seed).random
        self._weights: dict[int, float] = {}
        self._made = 0
        self.schedule: dict[int, int] = {}
        """By how many choices came before it: the choices that weren't tame."""

    def pick(self, count: int) -> int:
        choice = int(self._random() * count)
        self._keep(choice)
        return choice

    def pick_actor(self, actors: Sequence[int]) -> int:
        tempers = self._weights
        total = 0.0
        for actor in actors:
            temper = tempers.get(actor)
            if temper is None:
                temper = tempers[actor] = _TEMPERS[int(self._random() * len(_TEMPERS))]
            total += temper
        left = self._random() * total
        choice = 0
        while choice < len(actors) - 1 and left >= tempers[actors[choice]]:
            left -= tempers[actors[choice]]
            choice += 1
        self._keep(choice)
        return choice

    def _keep(self, choice: int) -> None:
        if choice:
            self.schedule[self._made] = choice
        self._made += 1


class Played(_Chances):
    """Choices played back; what the schedule doesn't say is tame. The program draws by the seed."""

    def __init__(self, schedule: Mapping[int, int], seed: int) -> None:
        super().__init__(seed)
        self.schedule = dict(schedule)
        self._made = 0

    def pick(self, count: int) -> int:
        choice = min(self.schedule.get(self._made, 0), count - 1)
        self._made += 1
        return choice

    def pick_actor(self, actors: Sequence[int]) -> int:
        return self.pick(len(actors))


def show_schedule(schedule: Mapping[int, int]) -> str:
    """A schedule as text.

    >>> show_schedule({3: 1, 9: 2})
    '3:1 9:2'
    """
    return " ".join(f"{place}:{choice}" for place, choice in sorted(schedule.items()))


def parse_schedule(text: Any) -> dict[int, int]:
    """A schedule from text.

    Raises:
        MatchError: it isn't one.

    >>> parse_schedule("3:1 9:2")
    {3: 1, 9: 2}
    """
    schedule = {}
    for entry in text.split() if isinstance(text, str) else [text]:
        place, _, choice = str(entry).partition(":")
        if not (place.isdecimal() and choice.isdecimal()):
            raise MatchError(
                f"a schedule is a list like '3:1 9:2' (which choice, what was chosen), "
                f"but it has {entry!r}"
            )
        schedule[int(place)] = int(choice)
    return schedule
