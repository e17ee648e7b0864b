"""Everything that distio raises, or puts into a panic.

::

    BaseException
    ├── Cancelled               a fiber was cancelled
    └── BasePanicGroup          a BaseExceptionGroup: the same as PanicGroup, with Cancelled in it

    Exception
    ├── MatchError              a TypeError: a value is of another kind than expected
    ├── MultipleExceptions      raised for a Panic: all its exceptions and errors
    ├── DomainErrors            raised for Errors: expected failures that nobody handled
    ├── WrongOutcome            an AttributeError: this kind of Result has no such field
    ├── PanicGroup              an ExceptionGroup: raised for several failures at once
    └── DistioError
        ├── Deadlock            nothing can ever wake a run again
        ├── TimedOut            the time limit of a program is over
        ├── Closed              a queue, a topic or a subscription was closed
        ├── WorkerLost          a fiber ended with the process that hosted it, not to go on
        ├── InDoubt             nobody knows whether a call of io.once was made
        ├── TooManyRestarts     a supervisor gives up: a child ended again and again
        ├── FiberUnreachable    a handle was waited for whose run is over
        ├── MainThreadAway      the main thread makes no calls, for it does something else
        ├── NotPicklable        something that has to travel can't be pickled
        ├── NotImportable       a name in a pickle is nowhere to be found in this process
        ├── NotDeterministic    a function of io.do did something else when it was repeated
        ├── ForeignException    stands for an exception that didn't survive its journey
        ├── ClusterError        a cluster can't be started, reached or used
        │   ├── HandshakeRefused    the coordinator doesn't accept this process
        │   ├── KeyRefused          the coordinator doesn't accept its key, or asks for none
        │   ├── RunUnknown          no run has this name
        │   ├── RunRefused          the name of a run is taken, or the run goes on
        │   └── ClusterClosed       the cluster ended while it was in use
        ├── SimulationLimit     a simulated run took more steps, or time, than it may
        └── DistioBug           a mistake in distio itself
            └── InvariantBroken     a rule that always must hold doesn't, and the story of it

All of them can be pickled: `args` is always what their class has to be called with. Those that
carry data are equal if they are of one class and carry the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from distio._equality import ComparedByValue
from distio._public import publish
from distio._traces import NOWHERE, Where, trace_here, trace_of

__all__ = [
    "BasePanicGroup",
    "Cancelled",
    "Closed",
    "ClusterClosed",
    "ClusterError",
    "Deadlock",
    "DistioBug",
    "DistioError",
    "DomainErrors",
    "FiberUnreachable",
    "ForeignException",
    "HandshakeRefused",
    "InDoubt",
    "InvariantBroken",
    "JournalError",
    "KeyRefused",
    "MainThreadAway",
    "MatchError",
    "MultipleExceptions",
    "NotDeterministic",
    "NotImportable",
    "NotPicklable",
    "PanicGroup",
    "ProcessExit",
    "RunRefused",
    "RunUnknown",
    "SimulationLimit",
    "TimedOut",
    "TooManyRestarts",
    "TracedException",
    "Where",
    "WorkerLost",
    "WrongOutcome",
]

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    E = TypeVarWithDefault("E", covariant=True, default=Any)
else:
    E = TypeVar("E", covariant=True)
"""What the errors are; Any where nobody knows, as in an `except` clause."""
E2 = TypeVar("E2")


@final
@dataclass(slots=True, eq=False)
class TracedException:
    """An exception with its traceback as text, which can travel.

    Two of them are equal if their exceptions and their tracebacks are equal, wherever they failed.

    >>> try:
    ...     1 / 0
    ... except ZeroDivisionError as error:
    ...     traced = TracedException.in_except_clause(error)
    >>> traced.stack_trace.splitlines()[-1]
    'ZeroDivisionError: division by zero'
    """

    exception: BaseException
    stack_trace: str
    """The lines of `where`, and the traceback, which begins in user code."""
    where: Where = field(default=NOWHERE, repr=False)
    """The lines above the traceback: items of parallel work, the fiber, the worker."""
    raised_at: TracebackType | EllipsisType | None = field(default=..., init=False, repr=False)
    """What `Result.get` has found as the exception's own traceback; it stays in its process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return TracedException, (self.exception, self.stack_trace, self.where)

    def with_where(self, where: Where) -> TracedException:
        """The same exception, with other lines above its traceback."""
        return TracedException(self.exception, f"{where}{self._traceback()}", where)

    def replaced_by(self, other: BaseException | TracedException, how: str) -> TracedException:
        """Another exception in the place of this one; it keeps the way here.

        Args:
            other: with its own traceback, if it has been raised; else that of this one is kept.
            how: a line between both, like "It was raised again by an await:".
        """
        if isinstance(other, BaseException) and other.__traceback__ is None:
            text = "".join(traceback.format_exception_only(other))
            trace = f"{self.stack_trace.rstrip()}\n\n{how}\n\n{text}"
            return TracedException(other, trace, self.where)
        traced = TracedException.ensure_traced(other)
        return traced.with_where(self.where) if traced.where == NOWHERE else traced

    def _traceback(self) -> str:
        return self.stack_trace.removeprefix(str(self.where))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TracedException):
            return NotImplemented
        mine, others = self._traceback(), other._traceback()
        return self.exception == other.exception and mine == others

    @classmethod
    def in_except_clause(cls, exn: BaseException | TracedException) -> TracedException:
        """Keep an exception that was just caught, with its traceback.

        The frames of distio that interpret a program, above user code, are left out.
        """
        if isinstance(exn, TracedException):
            return exn
        # a mistake in a program has its place in its message, and none of ours helps
        return cls(exn, trace_of(exn, has_own_frames=not isinstance(exn, MatchError)))

    @classmethod
    def with_stack_trace(cls, exn: BaseException | TracedException) -> TracedException:
        """Keep an exception that was never raised, with the place in user code that we are at."""
        if isinstance(exn, TracedException):
            return exn
        if not isinstance(exn, BaseException):
            raise MatchError(
                f"expected an exception, but got {exn!r}; give one, like ValueError('why')"
            )
        return cls(exn, trace_here(exn))

    @classmethod
    def ensure_traced(cls, exception: BaseException | TracedException) -> TracedException:
        """Keep an exception with its traceback if it was raised, else with the place we are at."""
        if isinstance(exception, BaseException) and exception.__traceback__ is not None:
            return cls.in_except_clause(exception)
        return cls.with_stack_trace(exception)

    @classmethod
    def ensure_list_traced(
        cls, exceptions: Iterable[BaseException | TracedException]
    ) -> list[TracedException]:
        """Apply `ensure_traced` to each of them."""
        return [cls.ensure_traced(exn) for exn in exceptions]

    def __str__(self) -> str:
        # not str(exception): the text of a broken exception must not raise another one
        head = "".join(traceback.format_exception_only(self.exception))
        return head + self.stack_trace.rstrip("\n")


@dataclass(eq=False)
class MatchError(ComparedByValue, TypeError):
    """A value is of another kind than the one that was expected."""

    message: str

    def __post_init__(self) -> None:
        super().__init__(self.message)


@final
@dataclass(eq=False)
class MultipleExceptions(ComparedByValue, Exception, Generic[E]):
    """Raised for a Panic: all its exceptions, and the errors that came with them."""

    exceptions: list[TracedException]
    errors: list[E]

    def __post_init__(self) -> None:
        super().__init__(self.exceptions, self.errors)

    @classmethod
    def merge(
        cls,
        *exceptions: BaseException | TracedException | Iterable[Any],
        errors: Iterable[E2] | None = None,
    ) -> MultipleExceptions[E2]:
        """Gather exceptions, lists of them, and what other MultipleExceptions hold.

        Args:
            exceptions: from left to right, which is the order that they keep.
            errors: come before the errors that are found in `exceptions`.
        """
        found: list[TracedException] = []
        all_errors: list[Any] = [] if errors is None else list(errors)
        pending: list[Any] = [*reversed(exceptions)]
        while pending:
            item = pending.pop()
            inner = item.exception if isinstance(item, TracedException) else item
            if isinstance(inner, MultipleExceptions):
                all_errors += inner.errors
                pending += reversed(inner.exceptions)
            elif isinstance(inner, Iterable) and not isinstance(inner, str | BaseException):
                pending += reversed([*inner])
            else:
                found.append(TracedException.ensure_traced(item))
        return MultipleExceptions(found, all_errors)

    def __str__(self) -> str:
        parts = [str(traced) for traced in self.exceptions]
        parts += [f"Error: {error}" for error in self.errors]
        return "\n".join(["", *parts]) if parts else "no exceptions, no errors"


@final
@dataclass(eq=False)
class DomainErrors(ComparedByValue, Exception, Generic[E]):
    """Raised for Errors: expected failures that nobody handled."""

    errors: list[E]

    def __post_init__(self) -> None:
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "; ".join(map(str, self.errors)) or "no errors"


@final
@dataclass(eq=False)
class WrongOutcome(ComparedByValue, AttributeError):
    """A field was read that this kind of Result hasn't, as `success` of a Panic.

    Its cause is the exception that `get` raises for that Result.
    """

    message: str

    def __post_init__(self) -> None:
        super().__init__(self.message)


@final
class PanicGroup(ComparedByValue, ExceptionGroup[Exception]):
    """Raised for several failures at once, by an await or by `Result.get`.

    Expected errors that are no exceptions are in a `DomainErrors`.
    """

    def _data(self) -> object:
        return self.message, self.exceptions

    def derive(self, excs: Sequence[Any]) -> Any:
        """What `except*` makes of a part of it."""
        return PanicGroup(self.message, excs)


@final
class BasePanicGroup(ComparedByValue, BaseExceptionGroup[BaseException]):
    """The same if one of them is no Exception: a cancellation."""

    def _data(self) -> object:
        return self.message, self.exceptions

    def derive(self, excs: Sequence[Any]) -> Any:
        """What `except*` makes of a part of it."""
        is_group = all(isinstance(exception, Exception) for exception in excs)
        return PanicGroup(self.message, excs) if is_group else BasePanicGroup(self.message, excs)


class DistioError(ComparedByValue, Exception):
    """Base of what distio itself raises, or puts into a panic."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


@final
class Deadlock(DistioError):
    """Nothing can ever wake a run again; the message names who waits for whom."""


@final
class Cancelled(ComparedByValue, BaseException):
    """A fiber was cancelled. Not an Exception: nobody is to handle it by mistake."""

    def __init__(self, fiber: str) -> None:
        super().__init__(fiber)
        self.fiber = fiber

    def __str__(self) -> str:
        return f"fiber {self.fiber} was cancelled"


@final
class Closed(DistioError):
    """A queue, a topic or a subscription was closed: it takes no more items, or has none left.

    Args:
        primitive: "queue", "topic" or "subscription".
    """

    def __init__(self, primitive: str = "queue") -> None:
        super().__init__(f"the {primitive} was closed")
        self.args = (primitive,)
        self.primitive = primitive


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
class TimedOut(DistioError):
    """The time limit that `timeout` has set for a program is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"timed out after {seconds:g} s")
        self.args = (seconds,)
        self.seconds = seconds


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


@final
class TooManyRestarts(DistioError):
    """A supervisor has given up: a child ended again after the largest number of restarts."""

    def __init__(self, child: str, restarts: int, seconds: float) -> None:
        super().__init__(
            f"the supervisor gives up: child {child!r} has ended again, "
            f"after {restarts} restarts within {seconds:g} s"
        )
        self.args = (child, restarts, seconds)
        self.child = child
        self.restarts = restarts
        self.seconds = seconds


@final
class FiberUnreachable(DistioError):
    """The outcome of a fiber can't be had: its run is over, or is another one."""


@final
class MainThreadAway(DistioError):
    """The main thread of the process can't make a call: it runs no program and waits for none."""

    def __init__(self) -> None:
        super().__init__(
            "on_main_thread: expected the main thread of this process to run a program or to wait "
            "for one, but it does something else; call run, run_async or RunHandle.result on it"
        )
        self.args = ()


@final
class NotPicklable(DistioError):
    """Something that has to travel can't be pickled; the message is the path to it."""


@final
class NotImportable(DistioError):
    """A pickle names a function, class or module that this process can't import."""


@final
class NotDeterministic(DistioError):
    """A function of `io.do` has moved, was repeated, and did something else than before."""


@final
class ForeignException(DistioError):
    """Stands for an exception that could not be made again in this process."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(message)
        self.args = (type_name, message)
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class ClusterError(DistioError):
    """A cluster can't be started, reached or used."""


@final
class JournalError(ClusterError):
    """The journal of a coordinator can't be used, or is damaged."""


@final
class HandshakeRefused(ClusterError):
    """The coordinator doesn't accept this process."""


@final
class KeyRefused(ClusterError):
    """The coordinator doesn't accept the key of this process, or one of them lacks keys."""


@final
class RunUnknown(ClusterError):
    """No run has this name: none was submitted under it, or the outcome was forgotten."""


@final
class RunRefused(ClusterError):
    """The coordinator refuses to start a run under this name, or to forget it.

    The name is that of another program, or the run goes on, or there are too many names.
    """


@final
class ClusterClosed(ClusterError):
    """The cluster ended while it was in use."""


@final
class SimulationLimit(DistioError):
    """A simulated run took more steps, or more virtual time, than it was allowed to."""


class DistioBug(DistioError):
    """A mistake in distio itself, whatever the program does: please report it."""

    def __str__(self) -> str:
        return f"{self.message} (this is a bug in distio: please report it)"


@final
class InvariantBroken(DistioBug):
    """A rule that always must hold doesn't; `story` tells the life of the fiber concerned."""

    def __init__(self, message: str, story: Sequence[str]) -> None:
        super().__init__(message)
        self.args = (message, story)
        self.story = story

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.story])


publish(__name__, globals())
