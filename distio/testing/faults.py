"""What may go wrong in a simulation.

Each fault befalls one process: `"client"`, `"worker-1"`, `"worker-2"`, …, or one of the workers,
at the seed's choice. It comes at a virtual time, or at a moment of the seed's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from distio.core import expect
from distio.errors import MatchError

__all__ = [
    "Crash",
    "Disconnect",
    "Fail",
    "Fault",
    "Interrupt",
    "Leave",
    "Partition",
    "Pause",
    "Shutdown",
]


@dataclass(frozen=True)
class _Fault:
    who: str | None = None
    """The name of a process; None: a worker of the seed's choice."""
    at: float | None = None
    """Virtual seconds; None: at the seed's choice."""

    def __post_init__(self) -> None:
        who: Any = self.who
        if not isinstance(who, str | None):
            raise MatchError(
                f"{type(self).__name__}: who is a name like 'worker-1', or None, but got {who!r}"
            )
        for name in ("at", "seconds", "returns_after"):
            number: Any = getattr(self, name, 0)
            if number is None and name != "seconds":
                continue
            if not expect.is_time(number) or number < 0:
                raise MatchError(
                    f"{type(self).__name__}: {name} is a number of seconds from 0, "
                    f"but got {number!r}"
                )


@final
@dataclass(frozen=True)
class Crash(_Fault):
    """The process is gone at once, as by kill -9; its last words may be lost."""

    returns_after: float | None = None
    """After so many seconds the process, if it is a worker, is started anew: another member."""


@final
@dataclass(frozen=True)
class Fail(_Fault):
    """The machinery of the process fails, as it does without memory: it says goodbye, and ends.

    What its fibers hold isn't released.
    """

    returns_after: float | None = None
    """After so many seconds the process, if it is a worker, is started anew: another member."""


@final
@dataclass(frozen=True)
class Pause(_Fault):
    """The process stands still for a while, as when C code holds the GIL; its links live on."""

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Partition(_Fault):
    """Nothing comes through to it or from it for a while.

    Nothing is lost either, unless it takes longer than a silent peer is waited for (30 s): then
    both sides hold the other for lost.
    """

    seconds: float = 1.0


@final
@dataclass(frozen=True)
class Disconnect(_Fault):
    """One of its connections breaks, or both do, and what was under way may be lost."""

    returns_after: float | None = None
    """After so many seconds the process, if it is a worker, is started anew: another member."""


@final
@dataclass(frozen=True)
class Interrupt(_Fault):
    """Somebody presses Ctrl-C where the run was started: it is cancelled."""

    who: str | None = "client"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.who != "client":
            raise MatchError(
                f"Interrupt: only the 'client' can be interrupted, but got {self.who!r}"
            )


@final
@dataclass(frozen=True)
class Leave(_Fault):
    """The process, a worker, is told to end: it leaves when its fibers have released.

    Fibers that end only for this reason are lost to others, with their worker.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.who == "client":
            raise MatchError("Leave: only workers are told to end, but got 'client'; see Interrupt")


@final
@dataclass(frozen=True)
class Shutdown(_Fault):
    """The coordinator is told to end: all runs are cancelled, and release."""

    who: str | None = "coordinator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.who != "coordinator":
            raise MatchError(f"Shutdown: only the 'coordinator' is shut down, but got {self.who!r}")


Fault = Disconnect | Crash | Partition | Fail | Interrupt | Leave | Pause | Shutdown
