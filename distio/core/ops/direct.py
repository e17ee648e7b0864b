"""Direct style: functions that await programs.

`Do` is the program of such a function; its frame, `Awaiting`, holds the function while it awaits.
The awaited IO is evaluated like any other, above that frame. A function that another one awaits
directly is no business of the interpreter: there Python itself goes from one to the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import wraps
from operator import attrgetter
from types import FunctionType, GeneratorType
from typing import Any, Final, final

from distio.core.context_vars import carried_in, put
from distio.core.fiber import Fiber
from distio.core.interrupts import is_interrupt, runs_user_code
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.resources import UNSHIELD
from distio.core.ops.unary import UnaryOp
from distio.core.outside import advise, is_outside, loops, value_of
from distio.core.raising import Raised, failure_of
from distio.core.replay import AwaitHistory, SuspendedFrame, dispose, repeat, variables_of
from distio.errors import Cancelled, MatchError, NotDeterministic
from distio.protocol.ids import name_of
from distio.protocol.text import readable_exception
from distio.result import Errors, Ok, Panic, Result, sequence

__all__ = ["Do", "Enter", "Leave", "RestartFrom"]

Release = Callable[[Any, Result[Any, Any]], Any]

_modules: Final = sys.modules


@final
class Do(IO[Any, Any, Any]):
    """Call an async function and go through what it awaits; what it returns is the value."""

    __slots__ = ("args", "call", "f", "kwargs")
    _names = ("f", "args", "kwargs")
    _called = "await"

    def __init__(self, f: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.f = f
        """The object that `io.do` has returned; a module has it by name, unlike the function."""
        self.call = f.__wrapped__
        """The function, at hand: an await of a recursion is some percent quicker."""
        self.args = args
        self.kwargs = kwargs

    def start(self) -> Coroutine[Any, Any, Any]:
        """Call the function."""
        f = self.f.__wrapped__
        made: Coroutine[Any, Any, Any]
        made = f(*self.args, **self.kwargs) if self.kwargs else f(*self.args)  # quicker
        return made

    def __await__(self) -> Generator[Any, Any, Any]:
        if (("asyncio" in _modules and loops.running()) or "trio" in _modules) and is_outside():
            return value_of(self).__await__()
        # `start` once more, for each turn of a recursion goes through here
        if self.kwargs:
            return self.call(*self.args, **self.kwargs).__await__()  # type: ignore[no-any-return]  # of a coroutine
        return self.call(*self.args).__await__()  # type: ignore[no-any-return]  # the same

    def _evaluate(self, fiber: Fiber) -> Next:
        log = None if fiber.is_pinned else AwaitHistory(carried_in(fiber.variables))
        awaiting = Awaiting(self, log)
        coroutine = awaiting.coroutine = self.start()
        return awaiting.drive(fiber, coroutine.send, None)


def starter(f: Any) -> Any:
    """Wrap a function for `io.do`; a pickle has nothing of the wrapper but that function."""

    @wraps(f)
    def start(*args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
        # Do(start, args, kwargs), but a recursion that awaits itself is a tenth quicker like this
        program = _new(_Do)
        program.f, program.args, program.kwargs = start, args, kwargs
        program.call = f
        return program

    return start


_Do = Do
_new = Do.__new__
_STARTER: Final = starter(lambda: None).__code__


def is_starter(f: FunctionType) -> bool:
    """Whether `starter` has made this function, and nobody has changed it."""
    if f.__code__ is not _STARTER or f.__defaults__ or f.__kwdefaults__:
        return False
    made_of = getattr(f, "__wrapped__", None)
    if type(made_of) is not FunctionType:
        return False
    is_named = _wrapped_of(f) == _wrapped_of(made_of)
    return is_named and vars(f) == {**vars(made_of), "__wrapped__": made_of}


_HINTS: Final = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
_wrapped_of: Final = attrgetter("__name__", "__qualname__", "__module__", "__doc__", _HINTS)


class _Restarting(BaseException):
    """Leaves a function that is to begin anew; a function must not catch it."""


@final
class Awaiting(Frame):
    """A function that awaits something."""

    __slots__ = (
        "awaited",
        "cancelled",
        "coroutine",
        "io",
        "log",
        "opened",
        "place",
        "raised",
        "restart",
    )
    _called = "await"

    def __init__(self, io: Do, log: AwaitHistory | None) -> None:
        self.io = io
        self.log = log
        """The history of its awaits; None if the function can't leave its process anyway."""
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        """None: it has moved, and is to be brought to where it was."""
        self.awaited = ""
        """The operation that it awaits."""
        self.place: list[SuspendedFrame] = []
        """The place of the function before it moved, if it has moved."""
        self.opened: list[tuple[Any, Release]] = []
        """The resources in whose `async with` it is, the innermost last."""
        self.raised: Raised | None = None
        """The last exception that an await in the function has raised."""
        self.cancelled: Panic[Any, Any] | None = None
        """While the function is cancelled: its final failure; the fiber is shielded meanwhile."""
        self.restart: Do | None = None
        """The program as which the function begins anew, if it does."""

    @property
    def f(self) -> Any:
        """The function under its name for messages."""
        return self.io.f

    def __del__(self) -> None:
        if self.coroutine is not None and self.awaited:  # Python would complain if it awaits now
            dispose(self.coroutine)

    # -- as a frame -----------------------------------------------------------------------

    def _succeeded(self, fiber: Fiber) -> Next:
        coroutine = self.coroutine
        if coroutine is None:
            return self._catch_up(fiber)
        if self.log is not None:
            self.log.goes_on(fiber.variables)
            self.log.note(self.awaited, fiber.value, is_failure=False)
        return self.drive(fiber, coroutine.send, fiber.value)

    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        coroutine = self.coroutine
        if coroutine is None:
            return self._catch_up(fiber)
        if self.log is not None:
            self.log.goes_on(fiber.variables)
            self.log.note(self.awaited, failure, is_failure=True)
        if fiber.is_unwinding_cancel:
            assert isinstance(failure, Panic)
            self.cancelled = failure
            fiber.shield += 1
        fiber.failure = None
        self.raised = Raised(failure)
        return self.drive(fiber, coroutine.throw, self.raised.exception)

    def _catch_up(self, fiber: Fiber) -> Next:
        """Bring the function, after a move, to the place before; then give it the outcome.

        The function is replayed in a context of its own, in which it goes on. There it sets its
        variables once more, since a token is of use only in the context in which it was made.
        """
        io, log = self.io, self.log
        assert log is not None
        variables = log.starting_context()
        try:
            again = variables.run(repeat, io.f, io.start, log, self.awaited, self.place)
            self.coroutine, self.raised = again
        except NotDeterministic as exception:
            fiber.crash(exception.with_traceback(None))  # its text says it all
            return self._ended(fiber)
        except Exception as exception:  # noqa: BLE001 (whatever unpickling user data may raise)
            fiber.crash(exception)
            return self._ended(fiber)
        changed = log.changed_since(fiber.variables)
        log.awaits(variables)  # with objects that are the function's own again
        variables.run(put, changed)
        if not (variables or fiber.variables):
            return self._succeeded(fiber) if fiber.failure is None else self._failed(fiber)
        fiber.stack.append(self)
        fiber.switch(variables)
        return None

    def why_not_again(self) -> str:
        """Why the function, which has moved, can't be brought to its place; empty if it can.

        Nothing that it awaits is done, and it is not brought there.
        """
        return self.look()[1]

    def look(self) -> tuple[list[tuple[str, str, dict[str, Any]]], str]:
        """Repeat the function, which has moved, to look at its variables.

        Returns:
            Of the function, and those that it awaits: name, file and line, variables; and why it
            can't be repeated, if it can't.
        """
        log = self.log
        if self.coroutine is not None or log is None:
            return [], ""
        variables = log.starting_context()
        try:
            coroutine, _ = variables.run(
                repeat, self.io.f, self.io.start, log, self.awaited, self.place
            )
        except Exception as exception:  # noqa: BLE001 (whatever unpickling user data may raise)
            return [], readable_exception(exception)
        found = variables_of(coroutine)
        dispose(coroutine)
        return found, ""

    def _require_leave(self) -> None:
        if self.coroutine is not None and self.log is not None:
            self.log.require_no_loss()

    def _as_frame(self) -> Frame:
        if self.coroutine is None:
            return self
        log = (
            AwaitHistory.lost("the function was not to leave its process")
            if self.log is None
            else self.log
        )
        place = [] if log.why_lost else log.place_of(self.coroutine)
        return _awaiting(self.io, log, self.awaited, place, self.opened, self.cancelled)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.io, self.log, self.awaited, self.place, self.opened, self.cancelled
        return _awaiting, fields

    # -- the function itself --------------------------------------------------------------

    @runs_user_code
    def drive(self, fiber: Fiber, give: Callable[[Any], Any], outcome: Any) -> Next:
        """Let the function go on until it awaits something, or ends."""
        while True:
            try:
                io = give(outcome)
            except StopIteration as returned:
                fiber.value = returned.value
                return self._ended(fiber)
            except _Restarting:
                return self._restarted(fiber)
            except BaseException as exception:
                if is_interrupt(exception):
                    self._end(fiber)
                    raise
                if self.raised is None or exception is not self.raised.exception:
                    advise(exception)
                fiber.failure = failure_of(exception, self.raised)
                return self._ended(fiber)
            kind = type(io)
            self.awaited = kind.__name__
            if kind is RestartFrom:
                assert self.coroutine is not None
                give, outcome = self.coroutine.throw, self._to_restart(io)
                continue
            if self.log is not None:
                self.log.awaits(fiber.variables)
            fiber.stack.append(self)
            # nothing may come between the end of `async with` and the release
            return io._leave(fiber, self) if kind is Leave else io  # type: ignore[no-any-return]  # its type shows when it is evaluated

    def _to_restart(self, io: RestartFrom) -> BaseException:
        assert self.coroutine is not None
        if not isinstance(self.coroutine.cr_await, GeneratorType):  # type: ignore[attr-defined]  # of coroutines of `async def`
            return MatchError(
                "io.restart_from: only the function that a fiber runs can begin anew, but this "
                "one is awaited by another; await io.defer_io(f, ...) in place of f(...) there"
            )
        self.restart = Do(self.io.f, io.args, io.kwargs)
        return _Restarting()

    def _restarted(self, fiber: Fiber) -> Next:
        again = None if self.cancelled else self.restart
        self._end(fiber)
        return again

    def _ended(self, fiber: Fiber) -> Next:
        cancelled, failure = self.cancelled, fiber.failure
        if cancelled is not None and failure is not None and not _has_own(failure, fiber):
            fiber.failure = _merged(failure, cancelled)
        self._end(fiber)
        return None

    def _end(self, fiber: Fiber) -> None:
        """Leave to other frames what is still to be done."""
        self.coroutine = self.raised = None
        if self.cancelled is not None:
            fiber.stack.append(UNSHIELD)
        if self.opened:
            fiber.stack.append(_Leftovers(self.opened))


def _awaiting(
    io: Do,
    log: AwaitHistory,
    awaited: str,
    place: list[SuspendedFrame],
    opened: list[tuple[Any, Release]],
    cancelled: Panic[Any, Any] | None,
) -> Awaiting:
    awaiting = Awaiting(io, log)
    awaiting.awaited, awaiting.place = awaited, place
    awaiting.opened, awaiting.cancelled = opened, cancelled
    return awaiting


def _has_own(failure: Errors[Any, Any] | Panic[Any, Any], fiber: Fiber) -> bool:
    """Whether the failure tells that this very fiber was cancelled."""
    own = name_of(fiber.id)
    return isinstance(failure, Panic) and any(
        isinstance(traced.exception, Cancelled) and traced.exception.fiber == own
        for traced in failure.exceptions
    )


def _merged(first: Result[Any, Any], second: Result[Any, Any]) -> Any:
    return sequence(first, second)


@final
class RestartFrom(IO[Any, Any, Any]):
    """Begin the function that awaits this anew."""

    __slots__ = _names = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def _evaluate(self, fiber: Fiber) -> Next:
        raise MatchError(
            "io.restart_from: the function that is to begin anew has to await it: "
            "`await io.restart_from(state)` in a function of io.do"
        )


# -- async with -------------------------------------------------------------------------------


@final
class Enter(UnaryOp):
    """Open a resource for the function that awaits this."""

    __slots__ = ("release", "value_of")
    _names = ("io", "value_of", "release")

    def __init__(self, io: Any, value_of: Callable[[Any], Any], release: Release) -> None:
        super().__init__(io)
        self.value_of = value_of
        self.release = release

    def _evaluate(self, fiber: Fiber) -> Next:
        if not (fiber.stack and type(fiber.stack[-1]) is Awaiting):
            raise MatchError(
                "async with: a resource is opened so in functions of io.do; in other coroutines, "
                "`await resource.use(f)` opens and closes it, f being a function of io.do"
            )
        fiber.acquiring += 1
        return super()._evaluate(fiber)

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.acquiring -= 1
        created = fiber.value
        fiber.value = self.value_of(created)
        awaiting = fiber.stack.pop()
        assert isinstance(awaiting, Awaiting)
        awaiting.opened.append((created, self.release))
        return awaiting._succeeded(fiber)  # in this very step: nothing comes between

    def _failed(self, fiber: Fiber) -> Next:
        fiber.acquiring -= 1
        return None


@final
class Leave(IO[Any, Any, Any]):
    """Release the resource that was opened last; the value is whether that swallows the failure."""

    __slots__ = _names = ("exception",)

    def __init__(self, exception: BaseException | None) -> None:
        self.exception = exception

    def _leave(self, fiber: Fiber, awaiting: Awaiting) -> Next:
        failure = None
        if self.exception is not None:
            failure = failure_of(self.exception, awaiting.raised)
        created, release = awaiting.opened.pop()
        fiber.shield += 1
        fiber.stack += [_Left(failure), UNSHIELD]
        result: Result[Any, Any] = Ok(None) if failure is None else failure
        return require_io(release(created, result), "async with", release)


@final
class _Left(Frame):
    """Takes the outcome of a release, and tells whether the function's failure remains."""

    __slots__ = ("failure",)

    def __init__(self, failure: Errors[Any, Any] | Panic[Any, Any] | None) -> None:
        self.failure = failure

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.value = self.failure is not None
        return None

    def _failed(self, fiber: Fiber) -> Next:
        if fiber.failure == self.failure and not fiber.is_unwinding_cancel:
            fiber.failure, fiber.value = None, False  # Python raises it again by itself
        return None


@final
class _Leftovers(Frame):
    """Resources that are open though their function is over: it was stopped in between."""

    __slots__ = ("opened",)

    def __init__(self, opened: list[tuple[Any, Release]]) -> None:
        self.opened = opened

    def _succeeded(self, fiber: Fiber) -> Next:
        return self._release(fiber, Ok(fiber.value))

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        return self._release(fiber, fiber.failure)

    def _release(self, fiber: Fiber, result: Result[Any, Any]) -> Next:
        created, release = self.opened[-1]
        rest = self.opened[:-1]
        if rest:
            fiber.stack.append(_Leftovers(rest))
        fiber.failure = None
        fiber.shield += 1
        fiber.stack.append(UNSHIELD)
        return require_io(release(created, result), "async with", release)
