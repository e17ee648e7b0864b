"""Which workers do for placed fibers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from distio.coordination.state.members import MemberRecord
from distio.coordination.state.places import Places
from distio.protocol.messages.placement import Needs, Thief

__all__ = ["least_suited", "thieves"]

_MOST_THIEVES: Final = 16


def least_suited(member: MemberRecord, needs: Needs) -> tuple[int, float, int]:
    """Orders the workers that would do for a placed fiber: the least is the best.

    The one with the most tags that are preferred comes first, then the one with the most room.
    """
    tags = member.hello.tags
    wishes = sum(tags.get(name) == value for name, value in needs.prefer.items())
    return -wishes, member.load / member.hello.threads, member.id


def thieves(members: Iterable[MemberRecord], places: Places) -> list[Thief]:
    """The workers that have nothing to do, with the tags and amounts that placed fibers can get."""
    idle = [each for each in members if each.is_worker and each.takes_fibers and not each.load]
    return [
        Thief(each.hello.tags, places.free(each))
        for each in idle
        if (each.hello.tags or each.hello.resources) and not each.refused
    ][:_MOST_THIEVES]
