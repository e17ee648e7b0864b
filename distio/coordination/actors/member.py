"""A member's part in objects that stay where they are: it keeps them, and calls come to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distio.coordination.state.children import inherit
from distio.core.actors import Actor
from distio.core.fiber import Fiber
from distio.core.ops.base import IO
from distio.errors import MatchError, TracedException
from distio.protocol.ids import sequence_of
from distio.protocol.requests import HERE
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["find_object", "keep_object", "spawn_at"]


def spawn_at(member: Member, parent: Fiber, home: int, io: IO[Any, Any, Any]) -> Fiber | None:
    """Make a child that belongs to one member and answer `parent` with its handle.

    It gets no context, so that nothing has to travel that it doesn't use, but what locals and
    context variables its parent has.

    Returns:
        The child, if it is to be shipped there.
    """
    run, id = member.runs[parent.run], member.next_ids(1)
    child = member.make(run, id, io, None)
    inherit([child], parent)
    run.started(sequence_of(id), 1)
    parent.value = [child.handle]
    if home not in (HERE, member.incarnation):
        return child
    child.is_pinned = True
    member.ready.append(child)
    return None


def keep_object(member: Member, fiber: Fiber, obj: Any) -> None:
    """Answer with a actor of an object, which is kept here until the run ends."""
    key = member.new_key()
    member.objects[key] = obj
    member.runs[fiber.run].objects.append(key)
    fiber.value = Actor(member.incarnation, key, type(obj).__name__)


def find_object(member: Member, fiber: Fiber, key: int) -> None:
    """Answer with an object that is kept here."""
    if key in member.objects:
        fiber.value = member.objects[key]
        return
    gone = MatchError("the run of this actor is over, and its object is gone")
    fiber.failure = Panic([TracedException(gone, str(gone))], [])
