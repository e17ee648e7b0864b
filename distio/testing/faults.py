"""Faults that a simulation can inject.

A fault happens to one process: `"client"`, `"worker-1"`, `"worker-2"`, …, or a worker of the seed's
choice. The fault comes at a virtual time, at an event, or at a moment of the seed's choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

from distio.core import expect
from distio.errors import MatchError

__all__ = [
    "Crash",
    "Disconnect",
    "Fail",
    "Fault",
    "FullDisk",
    "Interrupt",
    "Leave",
    "Partition",
    "Pause",
    "Restart",
    "Shutdown",
    "SlowDisk",
    "Stop",
]


@dataclass(frozen=True)
class _Fault:
    process: str | None = None
    """The name of a process; None: a worker of the seed's choice."""
    at: float | None = None
    """The moment, in virtual seconds; None: at `event`, or at a moment of the seed's choice."""
    event: int | None = field(default=None, kw_only=True)
    """The number of the event, from 1, in whose place it comes; None: it comes at a moment."""

    def __post_init__(self) -> None:
        process: Any = self.process
        if not isinstance(process, str | None):
            kind = type(self).__name__
            raise MatchError(
                f"{kind}: process is a name like 'worker-1', or None, but got {process!r}"
            )
        if process == "coordinator" and not isinstance(self, _OfCoordinator | Shutdown):
            raise MatchError(
                f"{type(self).__name__}: the 'coordinator' can't suffer this, only a 'client' or a "
                f"'worker-1', 'worker-2' and so on can; Shutdown() tells the coordinator to end, "
                f"and Restart() kills it"
            )
        event: Any = self.event
        if event is not None and (not expect.is_count(event) or self.at is not None):
            raise MatchError(
                f"{type(self).__name__}: event is a number from 1, in place of `at`, "
                f"but got {event!r} and at={self.at!r}"
            )
        for name in ("at", "seconds", "commit_seconds", "returns_after"):
            number: Any = getattr(self, name, 0)
            if number is None and name not in ("seconds", "commit_seconds"):
                continue
            if not expect.is_time(number) or number < 0:
                raise MatchError(
                    f"{type(self).__name__}: {name} is a number of seconds from 0, "
                    f"but got {number!r}"
                )


@final
@dataclass(frozen=True)
class Crash(_Fault):
    """The process ends at once, as by kill -9; its last messages may be lost."""

    returns_after: float | None = None
    """The seconds after which a worker is started anew, as another member; None: never."""
    fiber: str | None = None
    """The name of a fiber that does this to each worker that steps it; then the fault befalls no
    other process, and comes at no other moment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name: Any = self.fiber
        if name is None:
            return
        if not isinstance(name, str) or (self.process, self.at) != (None, None):
            raise MatchError(
                f"Crash: fiber is the name of a fiber, with neither process nor at, but got {self}"
            )


@final
@dataclass(frozen=True)
class Fail(_Fault):
    """The machinery of the process fails, as without memory: the process says goodbye, and ends.

    Its fibers release nothing.
    """

    returns_after: float | None = None
    """The seconds after which a worker is started anew, as another member; None: never."""


@final
@dataclass(frozen=True)
class Pause(_Fault):
    """The process stands still for a while, as when C code holds the GIL; its connections stay."""

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Partition(_Fault):
    """The network holds all messages to and from the process for a while.

    No message is lost, unless that takes longer than the patience with a silent peer (30 s). Then
    the process is held for lost. It holds the coordinator for lost as well, or is told when it is
    reached again, as the seed says.
    """

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Stop(_Fault):
    """The process stands still for a while, as by SIGSTOP, and goes on as if nothing had been.

    If that takes longer than the patience with a silent peer (30 s), the process is held for lost
    meanwhile.
    """

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Disconnect(_Fault):
    """One or both connections of the process break; messages under way may be lost, or be late.

    The process makes others as soon as it can, and goes on: no message is lost, and none comes
    twice. If it can't within the time that a member may be absent (10 s), it is lost.
    """

    returns_after: float | None = None
    """The seconds after which a worker is started anew, as another member; None: never."""
    seconds: float = 0.0
    """The seconds for which the process can't make other connections."""
    repeats: bool = False
    """Whether what is said on the other connections comes twice at times, also late."""


@final
@dataclass(frozen=True)
class Interrupt(_Fault):
    """Somebody presses Ctrl-C in the client: its run is cancelled."""

    process: str | None = "client"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.process != "client":
            raise MatchError(
                f"Interrupt: only the 'client' can be interrupted, but got {self.process!r}"
            )


@final
@dataclass(frozen=True)
class Leave(_Fault):
    """A worker is told to end: the worker leaves when its fibers are saved, and go on elsewhere.

    Those that can't release what they hold; to other fibers, they are lost with their worker.
    """

    returns_after: float | None = None
    """The seconds after which a worker is started anew, as another member; None: never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.process == "client":
            raise MatchError("Leave: only workers are told to end, but got 'client'; see Interrupt")


@final
@dataclass(frozen=True)
class Shutdown(_Fault):
    """The coordinator is told to end: all runs are cancelled, and release what they hold."""

    process: str | None = "coordinator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.process != "coordinator":
            raise MatchError(
                f"Shutdown: only the 'coordinator' is shut down, but got {self.process!r}"
            )


@dataclass(frozen=True)
class _OfCoordinator(_Fault):
    """A fault of the coordinator and its journal; a simulation with such a fault has a journal."""

    process: str | None = "coordinator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.process != "coordinator":
            raise MatchError(
                f"{type(self).__name__}: only the 'coordinator' has a journal, "
                f"but got {self.process!r}; see Crash"
            )


@final
@dataclass(frozen=True)
class Restart(_OfCoordinator):
    """The coordinator's process ends at once, as by kill -9, and another goes on from its journal.

    The last inputs of the coordinator may be in the journal or not; if they are, the coordinator's
    answers to them may be lost.
    """

    seconds: float = 0.0
    """How many seconds later the other process begins."""
    lost_turns: int = 0
    """How many turns at the end of the journal are lost with the process, as by a loss of power;
    none of those that a checkpoint includes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lost: Any = self.lost_turns
        if not expect.is_count(lost) and (type(lost), lost) != (int, 0):
            raise MatchError(f"Restart: lost_turns is a number from 0, but got {lost!r}")


@final
@dataclass(frozen=True)
class FullDisk(_OfCoordinator):
    """The disk of the coordinator's journal has no room for a while.

    The coordinator stands still: it takes nothing up and says nothing until there is room.
    """

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class SlowDisk(_OfCoordinator):
    """The disk of the coordinator's journal is slow for a while."""

    seconds: float = 10.0
    """The seconds for which the fault lasts."""
    commit_seconds: float = 1.0
    """The time that each commit takes meanwhile."""


Fault = (
    Disconnect
    | Crash
    | Partition
    | Fail
    | FullDisk
    | Interrupt
    | Leave
    | Pause
    | Restart
    | Shutdown
    | SlowDisk
    | Stop
)
