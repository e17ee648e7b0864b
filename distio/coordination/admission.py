"""Admission: the common part of the rules that say what a member can truthfully say.

A rule, which stands beside a handler, raises `Inadmissible` if this member can't send the message,
and `Late` if the message has no effect. Each message has a rule, or its handler says by
`@unchecked` that it needs none; one that has neither fails at import. Before the rule the role of
the member is looked at: a type of messages says which roles send it.

A rule lets through whatever an honest member can say, however late that comes: a false alarm costs
an honest member its membership.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import Run
from distio.protocol.ids import home_of, name_of
from distio.protocol.messages import Chunk, MemberMessage

__all__ = [
    "Inadmissible",
    "Late",
    "cut_short",
    "part_of",
    "require",
    "require_attachments",
    "require_host",
    "require_places",
    "require_role",
]


_LONGEST_TEXT: Final = 2_000
"""The most characters of a text, which may be told to many others, and kept as long as they are
there."""


class Inadmissible(Exception):
    """A member said what it can't truthfully say."""


class Late(Exception):
    """A message is about a run that is over, and nothing follows from it."""


def require(holds: bool, what: str) -> None:
    """Raise Inadmissible, with what is wrong, unless this holds."""
    if not holds:
        raise Inadmissible(what)


def cut_short(text: str) -> str:
    """A text of a member, no longer than what is worth telling others."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def require_role(member: MemberRecord, kind: type[MemberMessage]) -> None:
    """Raise Inadmissible unless members of this role say such messages."""
    if member.role not in kind.roles:
        raise Inadmissible(f"a {kind.__name__} is not for the role {member.role!r}")


def part_of(state: CoordinatorState, member: MemberRecord, id: int) -> Run | None:
    """The run, of which this member has hosted something.

    Returns:
        None if the run is over, or if the coordinator has lost track of it.

    Raises:
        Inadmissible: the member has no part in it.
    """
    run = state.runs.get(id)
    if run is not None and member.id not in run.members:
        raise Inadmissible(f"the member has no part in run {name_of(id)}")
    return None if run is not None and run.mistakes else run


def require_host(state: CoordinatorState, member: MemberRecord, run: int, fiber: int) -> None:
    """Raise Inadmissible unless this member hosts a living fiber of this run."""
    record = state.fibers.get(fiber)
    if record is None:
        is_there = home_of(fiber) == member.id
    else:
        is_there = record.host == member.id and record.run == run and not record.ended
    if not is_there:
        raise Inadmissible(f"fiber {name_of(fiber)} isn't there")


def require_places(chunk: Chunk) -> None:
    """Raise Inadmissible unless a chunk says of each of its fibers where that lies, or of none."""
    has_all = len(chunk.places) in (0, len(chunk.fibers))
    require(has_all, "a chunk doesn't say where its fibers lie")


def require_attachments(run: Run, chunks: Iterable[Chunk]) -> None:
    """Raise Inadmissible unless each attachment of these chunks is there, or comes with one."""
    came: set[bytes] = set()
    for chunk in chunks:
        for digest, data in chunk.attachments:
            is_there = bool(data) or digest in came or digest in run.attachments
            require(is_there, "an attachment is missing")
            came.add(digest)
