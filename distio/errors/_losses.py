"""The loss of a worker: the errors that follow, and how its process has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from distio.errors._base import DistioError

__all__ = ["InDoubt", "ProcessExit", "WorkerLost"]


@final
@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How the process of a worker ended, as far as the program that had started it can tell.

    >>> print(ProcessExit(signal="SIGKILL", out_of_memory=True, memory=2**30, running=("3.7",)))
    out of memory, with 1024 MB; it ran fiber 3.7
    """

    exit_code: int | None = None
    """The exit code; None: a signal has ended the process."""
    signal: str | None = None
    """The name of that signal, like "SIGSEGV"."""
    out_of_memory: bool | None = None
    """Whether the system has killed a process of the worker's control group for want of memory
    meanwhile, and this one was killed; None: the system doesn't tell."""
    memory: int | None = None
    """The resident memory of the process, in bytes, when it was last noted; None: it never was."""
    running: tuple[str, ...] = ()
    """The fibers that the process was stepping, like "3.7 (fetch)"."""
    stack: str = ""
    """The lines in which Python's faulthandler told where a crash was; empty if it wasn't one."""
    output: tuple[str, ...] = ()
    """The last lines that the process had printed, 20 at most."""

    def __str__(self) -> str:
        facts = ["out of memory"] if self.out_of_memory else []
        if self.memory is not None:
            facts.append(f"with {self.memory / 2**20:.0f} MB")
        text = ", ".join(facts)
        if self.running:
            word = "fiber" if len(self.running) == 1 else "fibers"
            text += f"{'; ' if text else ''}it ran {word} {', '.join(self.running)}"
        for title, lines in (("crash", self.stack.splitlines()), ("last output", self.output)):
            if lines:
                text += f"\n  {title}:" + "".join(f"\n    {line}" for line in lines)
        return text


@final
class WorkerLost(DistioError):
    """A fiber ended with the process that hosted it, for a reason like "killed by SIGKILL".

    Args:
        worker: the worker, as messages show it.
        reason: why it was lost, and why the fiber didn't go on elsewhere.
        exit: how its process ended; None if nobody has seen that.
    """

    def __init__(self, worker: str, reason: str, exit: ProcessExit | None = None) -> None:
        details = str(exit or "")
        separator = "" if not details or details.startswith("\n") else " ("
        closing = ")" if separator else ""
        head, newline, lines = details.partition("\n")
        super().__init__(
            f"{worker} was lost, and this fiber with it: {reason}"
            f"{separator}{head}{closing}{newline}{lines}"
        )
        self.args = (worker, reason, exit)
        self.worker = worker
        self.reason = reason
        self.exit = exit


@final
class InDoubt(DistioError):
    """The worker was lost around a call of `io.once`: nobody knows whether the call was made."""

    def __init__(self, function: str, fiber: str) -> None:
        super().__init__(
            f"nobody knows whether fiber {fiber} has called {function}, which io.once calls at "
            f"most once: its worker was lost meanwhile; look whether it has happened, and call it "
            f"again only if it hasn't"
        )
        self.args = (function, fiber)
        self.function = function
        self.fiber = fiber
