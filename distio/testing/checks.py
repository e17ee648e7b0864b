"""When a machine of a simulation checks itself, and what no process may drop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from distio.coordination.state.local_run import LocalRun
from distio.errors import InvariantBroken
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.testing.history import History

__all__ = ["CheckRate", "check_released"]

_CHECKED_AT_ONCE: Final = 8
"""A machine with at most so many fibers is checked after every event, one with more as often as
keeps the cost of an event the same."""


@final
class CheckRate:
    """How often a machine is to be checked."""

    __slots__ = ("_unchecked",)

    def __init__(self) -> None:
        self._unchecked = 0
        """Events since the last check."""

    def is_due(self, fibers: int) -> bool:
        """Whether the machine, which has so many fibers, is to be checked after this event."""
        self._unchecked += 1
        if self._unchecked * _CHECKED_AT_ONCE < fibers:
            return False
        self._unchecked = 0
        return True


def check_released(
    ended: Sequence[tuple[LocalRun, m.RunEnded]], process: str, history: History
) -> None:
    """A run drops fibers of a process only after their time to release is over.

    Raises:
        InvariantBroken: one drops some before.
    """
    for run, message in ended:
        if run.alive and not message.overdue:
            raise InvariantBroken(
                f"run {name_of(run.id)} drops {run.alive} fibers at {process}, "
                f"which could have released what they hold",
                history.of(run.id),
            )
