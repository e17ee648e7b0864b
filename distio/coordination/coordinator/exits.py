"""How worker processes have exited, as the client that started them tells.

The word may come before the worker's link is known to be broken, or even before the worker is
known at all: what it had said was still on its way. The client may have started another process in
its place by then, to which the system may even have given the same pid. So a process is known by
its family and serial, which are given once.
"""

from __future__ import annotations

from typing import Final

from distio.coordination.coordinator.placement import Member

__all__ = ["Exits", "process_of"]

Process = tuple[str, int]
"""Family and serial."""

_MOST_KEPT: Final = 1_000
"""So many exits of processes that aren't known here are kept; each may still be heard of."""


class Exits:
    """The exits that are known and not used yet, and those that are of no use."""

    def __init__(self) -> None:
        self._reasons: dict[Process, tuple[str, int]] = {}
        """How it exited, and who told."""
        self._leavers: set[Process] = set()
        """Those that have taken their leave, and whose exit is still to be told."""

    def left(self, member: Member) -> None:
        """A watched worker has taken its leave: its exit, when it is told, is no news."""
        self._leavers.add(process_of(member))

    def told(self, watcher: Member, serial: int, reason: str) -> bool:
        """A process has exited; False if it had left before."""
        process = watcher.hello.family, serial
        if process in self._leavers:
            self._leavers.remove(process)
            return False
        self._reasons[process] = reason, watcher.id
        if len(self._reasons) > _MOST_KEPT:
            del self._reasons[next(iter(self._reasons))]
        return True

    def reason_of(self, member: Member) -> str | None:
        """How this member's process has exited, if that was told."""
        known = self._reasons.get(process_of(member))
        return None if known is None else known[0]

    def forget(self, member: Member) -> None:
        """This member is lost, and what it had told is of no use any more."""
        if member.is_worker:
            self._reasons.pop(process_of(member), None)
        else:
            family = member.hello.family
            self._reasons = {
                process: known for process, known in self._reasons.items() if known[1] != member.id
            }
            self._leavers = {process for process in self._leavers if process[0] != family}


def process_of(member: Member) -> Process:
    """Which process of those that its family has started a worker is."""
    return member.hello.family, member.hello.serial
