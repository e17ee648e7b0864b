"""How worker processes have exited, as the client that started them tells.

The word may come before the worker's link is known to be broken, or even before the worker is
known at all: what it had said was still on its way.
"""

from __future__ import annotations

from distio.coordination.coordinator.placement import Member

__all__ = ["Exits"]

Place = tuple[str, int]
"""Host and process."""


class Exits:
    """The exits that are known and not used yet, and those that are of no use."""

    def __init__(self) -> None:
        self._reasons: dict[Place, tuple[str, int]] = {}
        """How it exited, and who told."""
        self._leavers: dict[Place, str] = {}
        """The family of those that have taken their leave, and whose exit is still to be told."""

    def left(self, member: Member) -> None:
        """A watched worker has taken its leave: its exit, when it is told, is no news."""
        self._leavers[_place_of(member)] = member.hello.family

    def told(self, watcher: Member, pid: int, reason: str) -> bool:
        """A process has exited; False if it had left before."""
        place = watcher.hello.host, pid
        if self._leavers.pop(place, None) is not None:
            return False
        self._reasons[place] = reason, watcher.id
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
            self._reasons = {
                p: known for p, known in self._reasons.items() if known[1] != member.id
            }
            self._leavers = {p: of for p, of in self._leavers.items() if of != family}


def _place_of(member: Member) -> Place:
    return member.hello.host, member.hello.pid
