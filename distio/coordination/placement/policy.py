"""Placement policy: the member for the next chunk, and the victim of a steal."""

from __future__ import annotations

from collections.abc import Iterable

from distio.coordination.state.members import MemberRecord

__all__ = ["choose_host", "choose_victim"]


def choose_host(
    members: Iterable[MemberRecord], *, needs_room: bool = True, code: bytes = b""
) -> MemberRecord | None:
    """The worker with the most room, or None if none has any.

    Args:
        members: all members.
        needs_room: whether fibers are to step there; else any worker will do that takes some.
        code: the manifest of the code that the fibers need; a worker that has refused it gets none.
    """
    takers = [
        member
        for member in members
        if member.is_worker
        and (member.has_room if needs_room else member.is_taking)
        and not (member.refused and code in member.refused)
    ]
    return min(
        takers, key=lambda member: (member.load / member.hello.threads, member.id), default=None
    )


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
            has_idle = has_idle or (member.is_staying and not member.refused)
        elif load > max(most, member.hello.threads) and can_give:
            victim, most = member, load
    if victim is None or not has_idle:
        return None
    return victim, (most - victim.hello.threads + 1) // 2
