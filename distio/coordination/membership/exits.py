"""How worker processes have exited, as the client that started them tells.

The word may come before the worker's link is known to be broken, or even before the worker is
known at all: what it had said was still on its way. The client may have started another process in
its place by then, to which the system may even have given the same pid. So a process is known by
its family and serial, which are given once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from distio.coordination.placement.coordinator import MemberRecord

__all__ = ["Departed", "ProcessExits", "process_of"]

Process = tuple[str, int]
"""Family and serial."""

_MOST_KEPT: Final = 1_000
"""So many exits of processes that aren't known here are kept; each may still be heard of."""

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
        return self._known.get(id, (f"member {id}", "gone from the cluster"))


class ProcessExits:
    """The exits that are known and not used yet, and those that are of no use."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[Process, tuple[str, int]] = OrderedDict()
        """How it exited, and who told."""
        self._departed: OrderedDict[Process, None] = OrderedDict()
        """Those that have taken their leave, and whose exit is still to be told."""

    def left(self, member: MemberRecord) -> None:
        """A watched worker has taken its leave: its exit, when it is told, is no news."""
        self._departed[process_of(member)] = None
        if len(self._departed) > _MOST_KEPT:
            self._departed.popitem(last=False)

    def told(self, watcher: MemberRecord, serial: int, reason: str) -> bool:
        """A process has exited; False if it had left before, or isn't this member's to watch."""
        if watcher.is_worker or not watcher.hello.family:
            return False
        process = watcher.hello.family, serial
        if process in self._departed:
            del self._departed[process]
            return False
        self._reasons[process] = reason[:_LONGEST_REASON], watcher.id
        if len(self._reasons) > _MOST_KEPT:
            self._reasons.popitem(last=False)
        return True

    def reason_of(self, member: MemberRecord) -> str | None:
        """How this member's process has exited, if that was told."""
        known = self._reasons.get(process_of(member))
        return None if known is None else known[0]

    def forget(self, member: MemberRecord) -> None:
        """This member is lost, and what it had told is of no use any more."""
        if member.is_worker:
            self._reasons.pop(process_of(member), None)
        else:
            family = member.hello.family
            for process in [p for p, known in self._reasons.items() if known[1] == member.id]:
                del self._reasons[process]
            for process in [each for each in self._departed if each[0] == family]:
                del self._departed[process]


def process_of(member: MemberRecord) -> Process:
    """Which process of those that its family has started a worker is."""
    return member.hello.family, member.hello.serial
