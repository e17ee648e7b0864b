"""How worker processes have exited, as the client that started them reports.

A report may come before the worker's link is known to be broken, or even before the worker is
known at all: its messages were still on their way. The client may have started another process in
its place by then, to which the system may even have given the same pid. So a process is known by
its family and serial, which are given once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

import msgspec

from distio.coordination.state.members import MemberRecord
from distio.protocol.messages import WorkerExited

__all__ = ["ProcessExits", "cut_short", "process_of"]

Process = tuple[str, int]
"""Family and serial."""

_MOST_KEPT: Final = 1_000
"""How many exits of unknown processes are kept: their first messages may still come."""
_LONGEST_REASON: Final = 1_000
"""Characters that are kept of how a process exited."""
_LONGEST_STACK: Final = 4_000
_LONGEST_LINE: Final = 500
_MOST_LINES: Final = 20
_MOST_RUNNING: Final = 100
_MOST_IN_HAND: Final = 4_096


class ProcessExits:
    """The exits that are known and not used yet, and those that are of no use."""

    def __init__(self) -> None:
        self._reports: OrderedDict[Process, tuple[WorkerExited, int]] = OrderedDict()
        """By process: how it exited, and which member has reported it."""
        self._departed: OrderedDict[Process, None] = OrderedDict()
        """Processes that have said goodbye, and whose exit is still to be reported."""

    def note_goodbye(self, member: MemberRecord) -> None:
        """A watched worker has left, or is lost: its exit, when it is reported, is no news."""
        self._departed[process_of(member)] = None
        if len(self._departed) > _MOST_KEPT:
            self._departed.popitem(last=False)

    def record_exit(self, watcher: MemberRecord, report: WorkerExited) -> bool:
        """A process has exited.

        Returns:
            False if it had said goodbye before, or isn't this member's to watch.
        """
        if watcher.is_worker or not watcher.hello.family:
            return False
        process = watcher.hello.family, report.serial
        if process in self._departed:
            del self._departed[process]
            return False
        self._reports[process] = cut_short(report), watcher.id
        if len(self._reports) > _MOST_KEPT:
            self._reports.popitem(last=False)
        return True

    def report_of(self, member: MemberRecord) -> WorkerExited | None:
        """How this member's process has exited, if that was reported."""
        known = self._reports.get(process_of(member))
        return None if known is None else known[0]

    def forget(self, member: MemberRecord) -> None:
        """Forget the reports of this member, which is lost."""
        if member.is_worker:
            self._reports.pop(process_of(member), None)
        else:
            family = member.hello.family
            for process in [p for p, known in self._reports.items() if known[1] == member.id]:
                del self._reports[process]
            for process in [each for each in self._departed if each[0] == family]:
                del self._departed[process]


def process_of(member: MemberRecord) -> Process:
    """The process of a worker, by its family and serial."""
    return member.hello.family, member.hello.serial


def cut_short(report: WorkerExited) -> WorkerExited:
    """The report, no longer than what is worth keeping of it."""
    exit = report.exit
    if exit is not None:
        exit = replace(
            exit,
            signal=None if exit.signal is None else exit.signal[:_LONGEST_LINE],
            stack=exit.stack[:_LONGEST_STACK],
            running=tuple(each[:_LONGEST_LINE] for each in exit.running[:_MOST_RUNNING]),
            output=tuple(each[:_LONGEST_LINE] for each in exit.output[-_MOST_LINES:]),
        )
    reason = report.reason[:_LONGEST_REASON]
    in_hand = None if report.in_hand is None else report.in_hand[:_MOST_IN_HAND]
    return msgspec.structs.replace(report, reason=reason, exit=exit, in_hand=in_hand)
