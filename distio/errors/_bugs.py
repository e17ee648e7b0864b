"""Mistakes in distio itself, and the limits of the simulation that looks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from distio.errors._base import DistioError

__all__ = ["DistioBug", "InvariantBroken", "SimulationLimit"]


@final
class SimulationLimit(DistioError):
    """A simulated run took more steps, or more virtual time, than it was allowed to."""


class DistioBug(DistioError):
    """A mistake in distio itself, whatever the program does: please report it."""

    def __str__(self) -> str:
        return f"{self.message} (this is a bug in distio: please report it)"


@final
class InvariantBroken(DistioBug):
    """A rule that always must hold doesn't; `story` tells the life of the fiber concerned."""

    def __init__(self, message: str, story: Sequence[str]) -> None:
        super().__init__(message)
        self.args = (message, story)
        self.story = story

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.story])
