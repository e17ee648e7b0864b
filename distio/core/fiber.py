"""A fiber is plain data: a stack of frames, the current outcome, a context.

`Fiber` is the running thing and belongs to the runtime. A program holds a `Handle` of it, which is
small and picklable.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Never, TypeVar, final

from distio._hints import hint_at
from distio.errors import Cancelled, MatchError, TracedException
from distio.protocol.ids import label_of, name_of
from distio.protocol.requests import SWITCHED
from distio.result import Errors, Ok, Panic, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from distio.core.ops.base import IO, Frame
    from distio.core.random_stream import Stream
    from distio.core.status import Status
    from distio.protocol.messages.placement import Needs
    from distio.protocol.requests import Request

__all__ = ["WHOLE", "Fiber", "Handle", "HeldLock", "Region", "as_cancelled"]


R = TypeVar("R", contravariant=True)
E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)


@final
@hint_at("Fiber")
class Handle(Generic[R, E, A]):
    """The handle of a fiber: `io.parallel` computes handles, `io.wait` takes them.

    In the process where the fiber was started, the handle also keeps the outcome of the fiber. So
    an outcome lives no longer than the handles. A pickled handle is only an id.

    >>> from distio import io
    >>> io.parallel(io.pure(5)).run(None)
    Ok(success=[<Fiber 1.1>])
    """

    __slots__ = ("id", "location", "name", "outcome", "waiters")

    def __init__(self, id: int) -> None:
        self.id = id
        self.name: str | None = None
        """The name of the fiber, as long as the fiber is in this process."""
        self.outcome: Any = None
        """The fiber's Result, or the bytes of it (a `Packed`), or None while it goes on."""
        self.waiters: dict[Any, int] | None = None
        """The waits that end with the outcome, and how often each names the fiber; None: no fiber
        of this process has ever waited for it (managed by the member)."""
        self.location: object | None = None
        """Ties the handle to its member (managed by the member); None for an unpickled copy, and
        when the run was cut short."""

    def __reduce__(self) -> tuple[Any, ...]:
        # a copy that distio doesn't make itself: nobody will tell where it goes
        pin = getattr(self.location, "pin", None)
        if pin is not None:
            pin()
        return Handle, (self.id,)

    def cancel(self) -> IO[Any, Never, Result[E, A]]:
        """The program that cancels the fiber, and waits until the fiber has ended.

        The fiber releases its resources, runs its `finally_`s, and ends in a Panic that holds
        `Cancelled`. A fiber that has ended before keeps its Result. An uncancelable part of the
        fiber's program goes on to its end first.

        Returns:
            A program that computes the Result of the fiber.

        >>> from distio import io
        >>> stopped = io.parallel(io.sleep(1000)).flat_map(lambda fibers: fibers[0].cancel())
        >>> stopped.map(lambda result: str(result.exceptions[0].exception)).run(None)
        Ok(success='fiber 1.1 was cancelled')
        """
        from distio.core.ops.cancellation import cancel

        return cancel(self)

    def cancel_soon(self) -> IO[Any, Never, None]:
        """The program that cancels the fiber, without waiting for its end.

        Returns:
            A program that computes None.
        """
        from distio.core.ops.cancellation import Cancel

        return Cancel((self,))

    def status(self) -> IO[Any, Never, Status]:
        """The program that asks for the status of the fiber, wherever the fiber is.

        Returns:
            A program that computes a `Status`. The program never fails, not even for a fiber that
            has ended, is lost, or belonged to another run.

        >>> from distio import io
        >>> io.current_fiber.flat_map(lambda fiber: fiber.status()).run(None)
        Ok(success=Status(fiber='1.0', name=None, state='running', where='member 1'))
        """
        from distio.core.ops.status import QueryStatus

        return QueryStatus(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Fiber {label_of(self.id, self.name)}>"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: all that this process knows of the fiber."""
        from distio._display.html import table  # notebooks alone need it

        if self.outcome is None:
            state = "not known to be over"
        elif isinstance(self.outcome, Result):
            state = f"over: {type(self.outcome).__name__}"
        else:
            state = "over"
        return table(f"fiber {label_of(self.id, self.name)}", [("state", state)])


@final
class HeldLock:
    """A lock in the hands of a fiber."""

    __slots__ = ("count", "is_changed", "value")

    def __init__(self, value: Any) -> None:
        self.count = 1
        """How often the fiber has taken the lock, and not given it back yet."""
        self.value = value
        """The value of the variable that the lock guards, or its bytes (a `PackedValue`)."""
        self.is_changed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _held, (self.count, self.value, self.is_changed)


def _held(count: int, value: Any, is_changed: bool) -> HeldLock:
    held = HeldLock(value)
    held.count, held.is_changed = count, is_changed
    return held


FEW: Final = 64
"""A scope keeps up to so many children without looking which have ended."""


@final
class Region:
    """A part of a fiber's program that can be cancelled on its own."""

    __slots__ = ("acquiring", "children", "interrupted", "key", "look_at", "shield")

    def __init__(self, key: int, shield: int, acquiring: int) -> None:
        self.key = key
        self.shield = shield
        """`Fiber.shield` where the region begins: the region can be cancelled only there."""
        self.acquiring = acquiring
        """`Fiber.acquiring` where the region begins."""
        self.interrupted: Region | None = None
        """The region that the fiber was unwinding when this one was cancelled."""
        self.children: list[Handle[Any, Any, Any]] | None = None
        """The fibers that were started in the region, if it is a scope."""
        self.look_at = FEW
        """The number of children at which ended ones are dropped."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self.key:
            return "WHOLE"
        rest = self.interrupted, self.children, self.look_at
        return _region, (self.key, self.shield, self.acquiring, *rest)


def _region(key: int, shield: int, acquiring: int, *rest: Any) -> Region:
    region = Region(key, shield, acquiring)
    region.interrupted, region.children, region.look_at = rest
    return region


WHOLE: Final = Region(0, 0, 0)
"""The region of a fiber's whole program."""


@final
class Fiber:
    """A running IO: a stack of frames, an outcome, a context."""

    __slots__ = (
        "acquiring",
        "context",
        "epoch",
        "exempt_from_run_cancel",
        "failure",
        "handle",
        "holds",
        "id",
        "is_pinned",
        "limits",
        "locals",
        "name",
        "needs",
        "next",
        "owner",
        "pending_cancels",
        "regions",
        "request",
        "run",
        "scope",
        "shield",
        "stack",
        "stream",
        "tree",
        "unwinding",
        "value",
        "variables",
    )

    on_rename: ClassVar[Callable[[Fiber], None] | None] = None
    """Called in this process when a fiber that is being stepped has another name."""

    def __init__(self, id: int, run: int, io: IO[Any, Any, Any], context: Any) -> None:
        self.id = id
        self.run = run
        self.epoch = 0
        self.next: IO[Any, Any, Any] | None = io
        """The IO to evaluate when stepping goes on; None: hand the outcome to a frame."""
        self.stack: list[Frame] = []
        self.context = context
        self.needs: Needs | None = None
        """The needs of the fiber, if it is placed (managed by the member)."""
        self.name: str | None = None
        """The name that the program gives to the fiber."""
        self.locals: dict[str, Any] | None = None
        """Values by name; fibers share the dict, so it is never changed."""
        self.stream: Stream | None = None
        """Decides the random numbers of the fiber; None: no seed does."""
        self.variables: Context | None = None
        """The context in which the fiber steps; None if it has set no context variable."""
        self.value: Any = None
        self.failure: Errors[Any, Any] | Panic[Any, Any] | None = None
        self.request: Request | None = None
        """The request on which the fiber is suspended."""
        self.handle: Handle[Any, Any, Any] | None = None
        """The handle that gets the outcome, if this process wants the outcome."""
        self.holds: dict[int | str, HeldLock] | None = None
        """By key, the locks that the fiber holds."""
        self.owner = 0
        """The fiber that ends after this one, as long as this one is where it was made: if the
        owner is lost, nobody else cancels this one. 0: none."""
        self.scope = 0
        """The region of the owner that nobody else cancels if this fiber is lost; 0: none."""
        self.tree: Any = None
        """The fibers that are restored, or started again, with it (the member's business)."""
        self.is_pinned = False
        """Whether the fiber can't leave its member, since it uses objects that are kept there."""
        self.regions: list[Region] | None = None
        """The regions that the fiber is in, each inside the one before: parts of its program that
        can be cancelled on their own."""
        self.limits = 0
        """How many time limits the fiber has had: each is a region of its own."""
        self.pending_cancels: list[Region] | None = None
        """The regions (or all of the fiber) that are to be cancelled, the outermost first."""
        self.unwinding: Region | None = None
        """The region that fails by its cancellation; the fiber runs releases until it has left."""
        self.shield = 0
        """How many uncancelable programs the fiber is in."""
        self.acquiring = 0
        """How many acquiring programs the fiber is in, whose values are to be released: it is
        cancelled only where these wait."""
        self.exempt_from_run_cancel = False
        """Whether the cancellation of its run leaves the fiber alone: an uncancelable program has
        started it."""

    def outcome(self) -> Result[Any, Any]:
        """The Result of a fiber that has ended."""
        return Ok(self.value) if self.failure is None else self.failure

    def answer(self, result: Result[Any, Any]) -> None:
        """Let the fiber go on with this Result as the outcome of what it was waiting for."""
        if isinstance(result, Ok):
            self.value = result.success
        elif isinstance(result, Errors | Panic):
            self.failure = result
        else:  # the caller is a function of the user
            self.crash(  # type: ignore[unreachable]
                MatchError(
                    f"the callback given by async_ takes a Result (Ok, Errors or Panic), "
                    f"but it was called with {reprlib.repr(result)} of type "
                    f"{type(result).__name__}; give it Ok(value)"
                )
            )

    def crash(self, exception: BaseException) -> None:
        """Turn the current outcome into a panic on `exception`, keeping earlier failures."""
        self._add(TracedException.in_except_clause(exception))

    def switch(self, variables: Context | None) -> None:
        """Leave the context in which the fiber is being stepped, and go on in this one.

        The operation that calls this returns None; its next frame is told of the same outcome.
        """
        self.variables, self.request = variables, SWITCHED

    # -- cancellation ---------------------------------------------------------------------

    def cancel(self, key: int) -> None:
        """Cancel a region, unless the fiber has left it; key 0 is all of the fiber."""
        region, pending_cancels = self._region(key), self.pending_cancels
        if region is None or region is self.unwinding:
            return
        if pending_cancels is None:
            self.pending_cancels = [region]
        elif region not in pending_cancels:
            outer = [WHOLE, *(self.regions or ())]
            self.pending_cancels = sorted([*pending_cancels, region], key=outer.index)

    def _region(self, key: int) -> Region | None:
        if not key:
            return WHOLE
        return next((region for region in self.regions or () if region.key == key), None)

    def can_be_cancelled_now(self, *, waits: bool = False) -> bool:
        """Whether something of it is to be cancelled, and can be, where it is.

        Args:
            waits: whether it waits for something that it hasn't got yet.
        """
        return bool(self.pending_cancels) and self._exposed(waits) is not None

    def can_be_cancelled_by(self, key: int) -> bool:
        """Whether the fiber could be cancelled, if it waited where it is, in the region of this
        key."""
        region = self._region(key)
        if region is None or region is self.unwinding or self.is_unwinding_cancel:
            return False
        return self.shield == region.shield

    def _exposed(self, waits: bool) -> Region | None:
        if self.unwinding is not None and self.is_unwinding_cancel:
            return None
        if not waits and self.request is not None and self.request.must_be_seen:
            return None
        for region in self.pending_cancels or ():
            is_whole = waits or self.acquiring == region.acquiring
            if self.shield == region.shield and is_whole:
                return region
        return None

    def unwind(self, *, waits: bool = False) -> None:
        """Fail with `Cancelled` where the fiber stands; only if it `can_be_cancelled_now`."""
        region = self._exposed(waits)
        assert region is not None
        assert self.pending_cancels is not None
        self.pending_cancels = [each for each in self.pending_cancels if each is not region] or None
        if region is not WHOLE:
            region.interrupted = self.unwinding
        self.unwinding = region
        self.next = self.request = None
        self._fail_as_cancelled()

    def lower_shield(self) -> None:
        """A program that can't be cancelled is over, and its outcome is there."""
        self.shield -= 1
        if self.unwinding is None and self.pending_cancels is None:
            return  # by far the most frequent
        if self.is_unwinding_cancel and self.failure is None:
            self._fail_as_cancelled()  # a release may swallow a failure, but not this one
        elif self.can_be_cancelled_now():
            self.unwind()

    @property
    def is_unwinding_cancel(self) -> bool:
        """Whether the failure of the fiber is a cancellation, which no handler sees."""
        return self.unwinding is not None and self.shield == self.unwinding.shield

    def enter(self, key: int) -> Region:
        """Begin a region."""
        region = Region(key, self.shield, self.acquiring)
        self.regions = [*(self.regions or ()), region]
        return region

    def leave(self, region: Region) -> bool:
        """End a region; return whether it was cancelled. Other failures stay in the fiber."""
        self.regions = [each for each in self.regions or () if each is not region] or None
        self.pending_cancels = [
            each for each in self.pending_cancels or () if each is not region
        ] or None
        if self.unwinding is not region:
            return False
        self.unwinding = region.interrupted
        assert isinstance(self.failure, Panic)
        exceptions, errors = self.failure.exceptions, self.failure.errors
        index = next(n for n, each in enumerate(exceptions) if self._is_own(each.exception))
        rest = [*exceptions[:index], *exceptions[index + 1 :]]
        self.failure = Panic(rest, errors) if rest else Errors(errors) if errors else None
        return True

    def _is_own(self, exception: BaseException) -> bool:
        return isinstance(exception, Cancelled) and exception.fiber == name_of(self.id)

    def _fail_as_cancelled(self) -> None:
        self._add(as_cancelled(name_of(self.id)))

    def _add(self, traced: TracedException) -> None:
        failure = self.failure
        if failure is None:
            self.failure = Panic([traced], [])
        elif isinstance(failure, Errors):
            self.failure = Panic([traced], failure.errors)
        else:
            self.failure = Panic([*failure.exceptions, traced], failure.errors)

    def rename(self, name: str | None) -> None:
        """Give the fiber this name from now on."""
        self.name = name
        if self.handle is not None:
            self.handle.name = name
        if Fiber.on_rename is not None:
            Fiber.on_rename(self)

    @property
    def label(self) -> str:
        """The name of the fiber in messages to people: "1.3", or "1.3 (fetch)" if it has a name."""
        return label_of(self.id, self.name)

    def __repr__(self) -> str:
        return f"<running fiber {self.label}>"


def as_cancelled(fiber: str) -> TracedException:
    """The failure of a fiber of this name that was cancelled."""
    cancelled = Cancelled(fiber)
    return TracedException(cancelled, str(cancelled))
