"""Placement policy: the member for the next chunk, and the victim of a steal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from distio.coordination.state.members import MemberRecord
from distio.coordination.state.places import Places
from distio.protocol.messages.placement import Needs, Thief

__all__ = ["choose_host", "choose_victim", "least_suited", "thieves"]

_MOST_THIEVES: Final = 16


def choose_host(
    members: Iterable[MemberRecord], *, needs_room: bool = True, code: bytes = b""
) -> MemberRecord | None:
    """The worker with the most room, or None if none has any.

    Args:
        members: all members.
        needs_room: whether fibers are to step there; else any worker will do that stays.
        code: the manifest of the code that the fibers need; a worker that has refused it gets none.
    """
    takers = [
        member
        for member in members
        if member.is_worker
        and (member.has_room if needs_room else member.takes_fibers)
        and not (member.refused and code in member.refused)
    ]
    return min(
        takers, key=lambda member: (member.load / member.hello.threads, member.id), default=None
    )


def least_suited(member: MemberRecord, needs: Needs) -> tuple[int, float, int]:
    """Orders the workers that would do for a placed fiber: the least is the best.

    The one with the most tags that are preferred comes first, then the one with the most room.
    """
    tags = member.hello.tags
    wishes = sum(tags.get(name) == value for name, value in needs.prefer.items())
    return -wishes, member.load / member.hello.threads, member.id


def thieves(members: Iterable[MemberRecord], places: Places) -> list[Thief]:
    """What the workers that have nothing to do can give to placed fibers."""
    idle = [each for each in members if each.is_worker and each.takes_fibers and not each.load]
    return [
        Thief(each.hello.tags, places.free(each))
        for each in idle
        if (each.hello.tags or each.hello.resources) and not each.refused
    ][:_MOST_THIEVES]


def choose_victim(members: Iterable[MemberRecord]) -> tuple[MemberRecord, int] | None:
    """The worker that should give fibers away, and how many, if another has nothing to do.

    A worker that has refused some, for its code is another, gets none of these: they might well be
    refused again, and go to and fro for ever.
    """
    has_idle, victim, most = False, None, 0
    for member in members:
        if not member.is_worker or member.gone_because:
            continue
        load = member.load
        can_give = not (member.was_asked_to_share or member.nothing_to_steal)
        if not load:
            has_idle = has_idle or (member.takes_fibers and not member.refused)
        elif load > max(most, member.hello.threads) and can_give:
            victim, most = member, load
    if victim is None or not has_idle:
        return None
    return victim, (most - victim.hello.threads + 1) // 2
