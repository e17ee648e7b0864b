"""Mistakes of the coordinator that tests plant in recovery."""

from __future__ import annotations

from typing import Any

import pytest

from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m
from distio.testing import exploration, world

__all__ = ["find_soon", "frees_what_is_held", "stores_late"]

_MOST_IDLE_EVENTS = 5_000


def find_soon(patch: pytest.MonkeyPatch) -> None:
    """Have a simulation find a mistake soon.

    How a failure is made smaller is tested elsewhere, and takes most of the time. Processes that
    talk for ever are found out after fewer events: the programs of these tests end after hundreds.
    """
    patch.setattr(exploration, "_MOST_TRIES", 0)
    patch.setattr(world, "_MOST_IDLE_EVENTS", _MOST_IDLE_EVENTS)


def stores_late(patch: pytest.MonkeyPatch) -> None:
    """A snapshot is stored when its member says more, so effects count before it."""

    def save(recovery: Recovery, sender: MemberRecord, message: m.SaveFibers) -> None:
        for late in waiting.pop(sender.id, []):
            right(recovery, sender, late)
        waiting[sender.id] = [message]

    waiting: dict[int, list[m.SaveFibers]] = {}
    right = Recovery.save
    patch.setattr(Recovery, "save", save)


def frees_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """The locks that a fiber holds in its snapshot are free when its worker is lost."""

    def place_again(recovery: Recovery, *args: Any) -> None:
        recovery._move_tokens = lambda held, origin, target: None
        right(recovery, *args)

    right = Recovery._place_again
    patch.setattr(Recovery, "_place_again", place_again)
