"""The names of members: each is unique among the members that live.

Rules
-----
- A process that asks for the name of a living member is refused. It may try again if that member
  is absent, since a name is free when its member is lost.
- A process of the same family takes the name of an earlier one, which has certainly ended: whoever
  starts them starts the next one when the one before is gone.
- A process that asks for no name gets one of its host and pid, and of its number if that is in use.
"""

from __future__ import annotations

from collections.abc import Iterable

from distio.coordination.state.members import MemberRecord
from distio.protocol.ids import default_name
from distio.protocol.messages import Hello

__all__ = ["holder_of", "name_for"]


def holder_of(name: str, hello: Hello, members: Iterable[MemberRecord]) -> MemberRecord | None:
    """The living member that has this name, if it stands in the way of a process.

    Args:
        name: the name.
        hello: that of the process.
        members: all members.
    """
    for member in members:
        if member.hello.name == name and not _has_ended_before(hello, member):
            return member
    return None


def name_for(incarnation: int, hello: Hello, members: Iterable[MemberRecord]) -> str:
    """The name of a process that joins: the one it asks for, which is free, or a default."""
    if hello.name:
        return hello.name
    name = default_name(hello.pid, hello.host)
    return name if holder_of(name, hello, members) is None else f"{name}-{incarnation}"


def _has_ended_before(hello: Hello, member: MemberRecord) -> bool:
    other = member.hello
    is_earlier = 0 < other.serial < hello.serial
    return member.is_gone or (is_earlier and hello.family == other.family != "")
