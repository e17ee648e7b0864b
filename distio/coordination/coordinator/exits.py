"""How worker processes have exited, as the client that started them tells.

The word may come before the worker's link is known to be broken, or even before the worker is
known at all: what it had said was still on its way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from distio.coordination.coordinator.placement import Member
from distio.protocol.messages import WorkerExited

__all__ = ["Departed", "Exits"]

Place = tuple[str, int]
"""Host and process."""

_MOST_KNOWN: Final = 10_000
"""So many exits are kept of processes that aren't known yet; the oldest are forgotten first."""
_LONGEST_REASON: Final = 1_000
"""Characters that are kept of how a process exited."""
_MOST_DEPARTED: Final = 1_000


class Departed:
    """The members lost last, and why: fibers of theirs may be asked for, or still be sent there."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def note(self, id: int, name: str, reason: str) -> None:
        """A member is lost."""
        self._known[id] = name, reason
        if len(self._known) > _MOST_DEPARTED:
            self._known.popitem(last=False)

    def who(self, id: int) -> tuple[str, str]:
        """Its name, and why it is lost."""
        return self._known.get(id, (f"member {id}", "it is gone"))


class Exits:
    """The exits that are known and not used yet, and those that are of no use."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[Place, tuple[str, int]] = OrderedDict()
        """How it exited, and who told."""
        self._leavers: OrderedDict[Place, str] = OrderedDict()
        """The family of those that have taken their leave, and whose exit is still to be told."""

    def left(self, member: Member) -> None:
        """A watched worker has taken its leave: its exit, when it is told, is no news."""
        self._leavers[_place_of(member)] = member.hello.family
        if len(self._leavers) > _MOST_KNOWN:
            self._leavers.popitem(last=False)

    def whose(
        self, watcher: Member, message: WorkerExited, members: Iterable[Member]
    ) -> Member | None:
        """The member of this client's family that is gone, and that had this process."""
        place, family = (watcher.hello.host, message.pid), watcher.hello.family
        for member in members:
            if member.is_gone and _place_of(member) == place and member.hello.family == family:
                return member
        return None

    def told(self, watcher: Member, pid: int, reason: str) -> bool:
        """A process has exited; False if it had left before, or isn't this member's to watch."""
        if watcher.is_worker or not watcher.hello.family:
            return False
        place = watcher.hello.host, pid
        if self._leavers.pop(place, None) is not None:
            return False
        self._reasons[place] = reason[:_LONGEST_REASON], watcher.id
        if len(self._reasons) > _MOST_KNOWN:
            self._reasons.popitem(last=False)
        return True

    def reason_of(self, member: Member) -> str | None:
        """How this member's process has exited, if that was told."""
        known = self._reasons.get(_place_of(member))
        return None if known is None else known[0]

    def forget(self, member: Member) -> None:
        """This member is lost, and what it had told is of no use any more."""
        self._reasons.pop(_place_of(member), None)
        if not member.is_worker:
            family = member.hello.family
            for place in [p for p, known in self._reasons.items() if known[1] == member.id]:
                del self._reasons[place]
            for place in [p for p, of in self._leavers.items() if of == family]:
                del self._leavers[place]


def _place_of(member: Member) -> Place:
    return member.hello.host, member.hello.pid
