"""A member's part in asking after fibers: it answers for those that are here.

Rules
-----
- Who asks after a fiber that is here, or has ended here, is answered at once.
- Else it is parked, and the coordinator is asked. Each question has a number, so that an answer
  that comes when its asker has been cancelled means nothing, though it may ask again by then.
- A member says of a fiber that isn't here just that: the coordinator knows what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from distio.coordination.state.location import LocalFiber
from distio.coordination.status.words import state_of
from distio.core.fiber import Fiber, Handle
from distio.core.status import Status
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import QueryStatus
from distio.protocol.text import as_given, sendable
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.member import Member

__all__ = ["StatusQueries"]


@final
class StatusQueries:
    """Answers for the fibers of one member, and asks after others."""

    __slots__ = ("_member", "_questions")

    def __init__(self, member: Member) -> None:
        self._member = member
        self._questions = 0
        """How many the coordinator was asked."""

    # -- asking ---------------------------------------------------------------------------

    def ask(self, fiber: Fiber, request: QueryStatus) -> bool:
        """Answer a fiber, or park it until the coordinator does.

        Returns:
            Whether it was answered at once.
        """
        stated: Handle[Any, Any, Any] = request.handle
        state, name = self._known(stated)
        if state:
            where = self._member.incarnation if state not in ("ended", "lost") else 0
            fiber.value = _status(stated.id, name, state, where)
            return True
        self._questions += 1
        request.question = self._questions
        question = m.QueryStatus(fiber.run, fiber.id, request.question, stated.id)
        self._member.outbox.append(question)
        self._member.park(fiber)
        return False

    def hear(self, message: m.StatusReply) -> None:
        """The coordinator has answered."""
        fiber = self._member.parked.get(message.fiber)
        request = None if fiber is None else fiber.request
        if (
            fiber is None
            or type(request) is not QueryStatus
            or request.question != message.question
        ):
            self._member.stale += 1
            return
        name = None if message.name is None else as_given(message.name)
        fiber.value = _status(request.handle.id, name, message.state, message.member)
        self._member.unpark(fiber)

    def _known(self, stated: Handle[Any, Any, Any]) -> tuple[str, str | None]:
        """What this member knows by itself of this fiber: its state, empty if nothing, and name."""
        location = stated.location
        if isinstance(location, LocalFiber):
            run = self._member.runs.get(location.run)
            if (
                run is None or run.location is not location
            ):  # what was left of it was dropped with its run
                return "ended", None
            return self._at(stated)
        if stated.outcome is not None:  # one that came as it is was made of its loss
            return "lost" if isinstance(stated.outcome, Panic) else "ended", None
        hosted = self._member.hosted.get(stated.id)
        return ("", None) if hosted is None else self._at(hosted)

    def _at(self, handle: Handle[Any, Any, Any]) -> tuple[str, str | None]:
        """The state and the name of a fiber that is here, or has ended here."""
        if handle.outcome is not None:
            return "ended", None
        fiber = self._member.parked.get(handle.id)
        return "running" if fiber is None else state_of(fiber), handle.name

    # -- answering others -----------------------------------------------------------------

    def answer(self, message: m.DescribeFiber) -> None:
        """Somebody elsewhere asks after a fiber that is here, or was."""
        handle = self._member.hosted.get(message.fiber)
        state, name = ("", None) if handle is None else self._at(handle)
        name = None if name is None else sendable(name)
        self._member.outbox.append(m.FiberDescribed(message.question, state, name))


def _status(fiber: int, name: str | None, state: str, member: int) -> Status:
    return Status(name_of(fiber), name, state, f"member {member}" if member else None)
