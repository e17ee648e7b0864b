"""The post-mortem of a process: its exit code, its black box, and what the system tells."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Final, final

from distio.errors import ProcessExit
from distio.protocol.messages import InHand
from distio.runtime.black_box import BlackBox

__all__ = ["MemoryWatch", "examine"]

_CGROUPS: Final = "/sys/fs/cgroup"
_COUNT: Final = "oom_kill"


@final
class MemoryWatch:
    """Tells whether processes of this one's control group were killed for want of memory.

    The system counts such kills (`memory.events`). A process that this one starts is in the same
    group, unless somebody moves it.
    """

    def __init__(self) -> None:
        self._path = _counter_of_own_group()
        self._seen = self._count() or 0

    def has_killed(self) -> bool | None:
        """Whether there was one more since the last one that was told; None: nobody counts."""
        count = self._count()
        if count is None:
            return None
        if count <= self._seen:
            return False
        self._seen += 1
        return True

    def _count(self) -> int | None:
        with suppress(OSError, ValueError), open(self._path, encoding="ascii") as lines:
            for line in lines:
                name, _, number = line.partition(" ")
                if name == _COUNT:
                    return int(number)
        return None


def _counter_of_own_group() -> str:
    """The file of the count; one that doesn't exist if there is none."""
    with suppress(OSError), open("/proc/self/cgroup", encoding="utf-8") as groups:
        for line in groups:
            _, controllers, group = line.rstrip("\n").split(":", 2)
            if not controllers:  # version 2: one hierarchy for all
                path = f"{_CGROUPS}{group.rstrip('/')}/memory.events"
            elif "memory" in controllers.split(","):
                path = f"{_CGROUPS}/memory{group.rstrip('/')}/memory.oom_control"
            else:
                continue
            if os.path.exists(path):
                return path
    return ""


def examine(
    code: int, box: BlackBox | None, memory: MemoryWatch
) -> tuple[ProcessExit, list[InHand] | None]:
    """How a process has ended, and what it had in hand.

    Args:
        code: as `subprocess.Popen.returncode`.
        box: its black box, if it has one.
        memory: the watch over its control group.
    """
    is_killed = code == -signal.SIGKILL
    out_of_memory = memory.has_killed() if is_killed else False
    name = None if code >= 0 else _name_of(-code)
    ended = None if code < 0 else code
    if box is None:
        return ProcessExit(ended, name, out_of_memory), None
    noted = box.read()
    what = noted.memory, noted.running, noted.stack, noted.output
    return ProcessExit(ended, name, out_of_memory, *what), noted.in_hand


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
