"""A member's part in asking after fibers: it answers for those that are here.

Rules
-----
- A fiber that asks after one that is here, or has ended here, is answered at once.
- Else it is parked, and the coordinator is asked. Each query has a number, so that an answer
  that comes when its asker has been cancelled means nothing, though it may ask again by then.
- A member says of a fiber that isn't here just that: the coordinator knows what follows.
"""

from __future__ import annotations

from typing import Any, final

from distio.coordination.dispatch import answers, handles
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.location import LocalFiber
from distio.coordination.state.member import MemberState
from distio.coordination.status.words import state_of
from distio.core.fiber import Fiber, Handle
from distio.core.status import Status
from distio.protocol.ids import name_of
from distio.protocol.messages import status as m
from distio.protocol.requests.status import QueryStatus
from distio.protocol.text import as_given, sendable
from distio.result import Panic

__all__ = ["StatusQueries"]


@final
class StatusQueries(MemberFeature):
    """Answers for the fibers of one member, and asks after others."""

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self._queries = 0
        """How many the coordinator was asked."""

    # -- asking ---------------------------------------------------------------------------

    @answers
    def query(self, fiber: Fiber, request: QueryStatus) -> Fiber | None:
        """Answer a fiber, or park it until the coordinator does."""
        stated: Handle[Any, Any, Any] = request.handle
        state, name = self._known(stated)
        if state:
            where = self._state.incarnation if state not in ("ended", "lost") else 0
            run = self._state.runs.get(fiber.run)
            restored = (0, "") if run is None else run.restored.get(stated.id, (0, ""))
            fiber.value = _status(stated.id, name, state, where, *restored, self._state.name)
            return fiber
        self._queries += 1
        request.query_id = self._queries
        self._state.send(m.QueryStatus(fiber.run, fiber.id, request.query_id, stated.id))
        self._state.park(fiber)
        return None

    @handles
    def replied(self, message: m.StatusReply) -> None:
        """The coordinator has answered."""
        fiber = self._state.parked.get(message.fiber)
        request = None if fiber is None else fiber.request
        if (
            fiber is None
            or type(request) is not QueryStatus
            or request.query_id != message.query_id
        ):
            self._state.stale += 1
            return
        name = None if message.name is None else as_given(message.name)
        rest = message.restored, message.last_loss, message.member_name
        fiber.value = _status(request.handle.id, name, message.state, message.member, *rest)
        self._state.unpark(fiber)

    def _known(self, stated: Handle[Any, Any, Any]) -> tuple[str, str | None]:
        """The state of a fiber, empty if this member doesn't know it by itself, and its name."""
        location = stated.location
        if isinstance(location, LocalFiber):
            run = self._state.runs.get(location.run)
            if run is None or run.location is not location:  # it was dropped with its run
                return "ended", None
            return self._at(stated)
        if stated.outcome is not None:  # one that came as it is was made of its loss
            return "lost" if isinstance(stated.outcome, Panic) else "ended", None
        hosted = self._state.hosted.get(stated.id)
        return ("", None) if hosted is None else self._at(hosted)

    def _at(self, handle: Handle[Any, Any, Any]) -> tuple[str, str | None]:
        """The state and the name of a fiber that is here, or has ended here."""
        if handle.outcome is not None:
            return "ended", None
        fiber = self._state.parked.get(handle.id)
        return "running" if fiber is None else state_of(fiber), handle.name

    # -- answering others -----------------------------------------------------------------

    @handles
    def describe(self, message: m.DescribeFiber) -> None:
        """A fiber elsewhere asks after one that is here, or was."""
        handle = self._state.hosted.get(message.fiber)
        state, name = ("", None) if handle is None else self._at(handle)
        name = None if name is None else sendable(name)
        self._state.send(m.FiberDescribed(message.query_id, state, name))

    def coordinator_lost(self, reason: str) -> None:
        """Fibers elsewhere are lost."""
        for fiber in self._state.parked_on(QueryStatus):
            assert isinstance(fiber.request, QueryStatus)
            self.replied(m.StatusReply(fiber.id, fiber.request.query_id, "lost", None, 0))


def _status(
    fiber: int,
    name: str | None,
    state: str,
    member: int,
    restored: int,
    loss: str,
    member_name: str,
) -> Status:
    called = f" ({member_name})" if member_name else ""
    where = f"member {member}{called}" if member else None
    return Status(name_of(fiber), name, state, where, restored, loss or None)
