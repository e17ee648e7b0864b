"""Mistakes of the coordinator that tests plant in recovery."""

from __future__ import annotations

from typing import Any

import pytest

from distio.coordination.recovery.coordinator import Recovery
from distio.coordination.state.members import MemberRecord
from distio.protocol import messages as m

__all__ = ["frees_what_is_held", "stores_late"]


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
