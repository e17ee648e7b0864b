"""A fiber is plain data: a stack of frames, the current outcome, a context.

`Fiber` is the running thing and belongs to the runtime. `Handle` is what a program holds of it:
small, picklable, good for waiting.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from distio.errors import MatchError, TracedException
from distio.protocol.ids import name_of
from distio.result import Errors, Ok, Panic, Result

if TYPE_CHECKING:
    from distio.core.ops.base import IO, Frame
    from distio.protocol.requests import Request

__all__ = ["Fiber", "Handle", "Held"]

R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)


@final
class Handle(Generic[R, E, A]):
    """One fiber as `io.parallel` gives it to you; pass it to `io.wait`.

    In the process where the fiber was started the handle is also the place where its outcome
    is kept, so an outcome lives no longer than the handles to it. Pickled, it is only an id.
    """

    __slots__ = ("id", "outcome", "tie", "waiters")

    def __init__(self, id: int) -> None:
        self.id = id
        self.outcome: Any = None
        """The fiber's Result, or the bytes of it (a `Packed`), or None while it goes on."""
        self.waiters: dict[Any, int] | None = None
        """Who is to be told of the outcome, and how often each has named it; None: nobody has ever
        waited for it in this process (the member's business)."""
        self.tie: object | None = None
        """What ties it to its member (the member's business); None for an unpickled copy, and when
        its run was cut short."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Handle, (self.id,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Fiber {name_of(self.id)}>"


@final
class Held:
    """A lock in the hands of a fiber."""

    __slots__ = ("count", "is_changed", "value")

    def __init__(self, value: Any) -> None:
        self.count = 1
        """How often it was taken and not given back yet."""
        self.value = value
        """The value of the variable that it guards, or the bytes of it (a `PackedValue`)."""
        self.is_changed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _held, (self.count, self.value, self.is_changed)


def _held(count: int, value: Any, is_changed: bool) -> Held:
    held = Held(value)
    held.count, held.is_changed = count, is_changed
    return held


@final
class Fiber:
    """One running IO."""

    __slots__ = (
        "context",
        "epoch",
        "failure",
        "handle",
        "holds",
        "id",
        "is_pinned",
        "next",
        "request",
        "run",
        "stack",
        "value",
    )

    def __init__(self, id: int, run: int, io: IO[Any, Any, Any], context: Any) -> None:
        self.id = id
        self.run = run
        self.epoch = 0
        self.next: IO[Any, Any, Any] | None = io
        """The IO to evaluate when stepping goes on; None: hand the outcome to a frame."""
        self.stack: list[Frame] = []
        self.context = context
        self.value: Any = None
        self.failure: Errors[Any, Any] | Panic[Any, Any] | None = None
        self.request: Request | None = None
        """What the fiber is suspended on."""
        self.handle: Handle[Any, Any, Any] | None = None
        """Where the outcome is to be put, if it is wanted in this process."""
        self.holds: dict[int | str, Held] | None = None
        """By key, the locks that it holds."""
        self.is_pinned = False
        """Whether it can't leave its member, for it uses what is kept there."""

    def go_on(self) -> IO[Any, Any, Any] | None:
        """Leave the suspension behind; return what to evaluate next."""
        io = self.next
        self.next = self.request = None
        return io

    def outcome(self) -> Result[Any, Any]:
        """The Result of a fiber that has ended."""
        return Ok(self.value) if self.failure is None else self.failure

    def answer(self, result: Result[Any, Any]) -> None:
        """Let the fiber go on with this Result as the outcome of what it was waiting for."""
        if isinstance(result, Ok):
            self.value = result.success
        elif isinstance(result, Errors | Panic):
            self.failure = result
        else:
            self.crash(
                MatchError(
                    f"the callback given by async_ takes a Result (Ok, Errors or Panic), "
                    f"but it was called with {reprlib.repr(result)} of type "
                    f"{type(result).__name__}; give it Ok(value)"
                )
            )

    def crash(self, exception: BaseException) -> None:
        """Turn the current outcome into a panic on `exception`, keeping earlier failures."""
        traced = TracedException.in_except_clause(exception)
        failure = self.failure
        if failure is None:
            self.failure = Panic([traced], [])
        elif isinstance(failure, Errors):
            self.failure = Panic([traced], failure.errors)
        else:
            self.failure = Panic([*failure.exceptions, traced], failure.errors)

    def __repr__(self) -> str:
        return f"<running fiber {name_of(self.id)}>"
