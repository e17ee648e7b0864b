"""What a fiber asks its runtime: the whole waist between a program and whatever runs it.

`step` hands one of these back when a fiber stops stepping. The runtime answers by giving the
fiber a value (or a failure) and stepping it again. Requests are plain data, so a fiber that is
parked on one can be pickled together with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol, Self, final

from distio.protocol.domains import Method, PrimitiveKind
from distio.protocol.text import as_given

__all__ = [
    "FINISHED",
    "HERE",
    "NOTHING",
    "NOW",
    "RANDOM",
    "SWITCHED",
    "YIELDED",
    "Acquire",
    "AwaitBlocking",
    "AwaitCallback",
    "AwaitFibers",
    "CallPrimitive",
    "CancelFibers",
    "FindObject",
    "Finished",
    "KeepObject",
    "Lock",
    "MakeLock",
    "MakePrimitive",
    "Now",
    "Place",
    "PrimitiveRef",
    "QueryStatus",
    "Random",
    "Release",
    "Request",
    "Sleep",
    "Spawn",
    "SpawnAt",
    "Switched",
    "Yielded",
    "conflict",
]


class Request:
    """Base of everything that `step` may return; a type says here what is to be known of it."""

    __slots__ = ()

    can_wait: ClassVar[bool] = False
    """Whether a fiber may be parked on it. A fiber that is cancelled fails instead of asking."""
    waits_for_fibers: bool = False
    """Whether only another fiber can end the wait: such waits can be a deadlock."""
    must_be_seen: ClassVar[bool] = False
    """Whether the fiber has to see the answer before it is cancelled, for it has got something."""
    is_visible: ClassVar[bool] = False
    """Whether other fibers see what it does: then it must not be done twice."""
    asks_host: ClassVar[bool] = False
    """Whether the process knows the answer, and no machine is asked."""
    gives_value: ClassVar[bool] = False
    """Whether a value of the user's goes with it: it is pickled first if it leaves the process."""
    gets: ClassVar[Literal["", "outcomes", "value"]] = ""
    """What the answer holds that may be bytes: it is unpickled when the fiber goes on."""
    state: ClassVar[str] = "runs"
    """What a fiber is at that is parked on it; see `describe`."""
    action: ClassVar[str] = ""
    """What a fiber does that asks for it, in histories."""

    def describe(self) -> str:
        """What a fiber is at that is parked on it."""
        return self.state

    def __repr__(self) -> str:
        return type(self).__name__


@final
class Finished(Request):
    """The fiber has ended; its outcome is its value or its failure."""

    __slots__ = ()
    is_visible = True

    def __reduce__(self) -> str:
        return "FINISHED"


@final
class Yielded(Request):
    """The fiber gave way, or ran out of fuel; it can go on at any time."""

    __slots__ = ()
    action = "yields"

    def __reduce__(self) -> str:
        return "YIELDED"


@final
class Now(Request):
    """Read the wall clock; answered by what it shows, in seconds."""

    __slots__ = ()
    asks_host = True
    action = "reads the clock"

    def __reduce__(self) -> str:
        return "NOW"


@final
class Random(Request):
    """Draw a random number; answered by one from 0 up to, but not, 1."""

    __slots__ = ()
    asks_host = True

    def __reduce__(self) -> str:
        return "RANDOM"


@final
class Switched(Request):
    """The fiber goes on in another context of variables; answered by stepping it there at once.

    The outcome that the fiber had when it asked is still there.
    """

    __slots__ = ()
    must_be_seen = True
    action = "goes on in another context of variables"

    def __reduce__(self) -> str:
        return "SWITCHED"


FINISHED: Final = Finished()
NOW: Final = Now()
RANDOM: Final = Random()
SWITCHED: Final = Switched()
YIELDED: Final = Yielded()


@final
class Spawn(Request):
    """Start one fiber for each IO; answered by the list of their handles."""

    __slots__ = ("ios",)
    must_be_seen = True
    action = "starts fibers"

    def __init__(self, ios: Sequence[Any]) -> None:
        self.ios = ios


HERE: Final = 0
"""The member where the fiber is that asks."""


@final
class SpawnAt(Request):
    """Start a fiber on one member, which it can't leave; answered by a list of its handle."""

    __slots__ = ("home", "io")
    must_be_seen = True
    is_visible = True
    action = "starts a fiber on a certain member"

    def __init__(self, home: int, io: Any) -> None:
        self.home = home
        self.io = io


@final
class KeepObject(Request):
    """Keep this object in this process; answered by a reference to it, good everywhere."""

    __slots__ = ("obj",)
    action = "keeps an object"

    def __init__(self, obj: Any) -> None:
        self.obj = obj


@final
class FindObject(Request):
    """Answered by an object that is kept in this process."""

    __slots__ = ("key",)
    action = "looks for an object"

    def __init__(self, key: int) -> None:
        self.key = key


@final
class AwaitFibers(Request):
    """Wait until enough of these fibers have ended; answered by a list, in their order.

    It holds the Result of each fiber that has ended by then, and None for each other one.
    """

    __slots__ = ("enough", "handles", "registration")
    can_wait = True
    waits_for_fibers = True
    gets = "outcomes"
    state = "waits for fibers"

    def __init__(self, handles: Sequence[Any], enough: int | None = None) -> None:
        self.handles = handles
        self.enough = len(handles) if enough is None else enough
        """How many must have ended: at most all. A fiber that is named twice counts twice."""
        self.registration: Any = None
        """How the wait is entered with those fibers (the member's business)."""

    def __reduce__(self) -> tuple[Any, ...]:
        return AwaitFibers, (self.handles, self.enough)


@final
class CancelFibers(Request):
    """Have these fibers, or regions of them, cancelled; answered by None at once."""

    __slots__ = ("handles", "region")
    is_visible = True
    action = "cancels fibers"

    def __init__(self, handles: Sequence[Any], region: int = 0) -> None:
        self.handles = handles
        self.region = region
        """The key of the part of them that is to be cancelled; 0: all of it."""


@final
class QueryStatus(Request):
    """What is this fiber at? Answered by a `Status`."""

    __slots__ = ("handle", "question")
    can_wait = True
    state = "waits for a status"
    action = "asks after a fiber"

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.question = 0
        """The number of the question, if others are asked (the member's business)."""


@final
class Sleep(Request):
    """Wait for at least so many seconds; answered by None."""

    __slots__ = ("seconds", "timer")
    can_wait = True
    state = "sleeps"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.timer = 0
        """The number of the timer (the member's business)."""


class _Counted:
    """A reference; as long as there are any, what it stands for lives.

    A copy that distio doesn't make itself, in a pickle of the user's, makes that live with its run.
    """

    __slots__ = ()

    def pin(self) -> None:
        """A copy leaves, and nobody will tell where it goes."""
        claim = getattr(self, "claim", None)
        if claim is not None:
            claim.pin()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@final
@dataclass(frozen=True, slots=True)
class Lock(_Counted):
    """What fibers acquire and release: a lock, a semaphore, a limit of starts, a variable."""

    key: int | str
    """An id, or a name that all runs of a cluster share, as `sendable`."""
    tokens: int = 0
    """How many may hold it at a time; 0: one, who may take it again (it is reentrant)."""
    per_seconds: float = 0.0
    """If it limits starts, which nobody holds: in windows of what length `tokens` are counted."""
    has_value: bool = False
    """Whether it guards the value of a variable."""
    claim: Any = field(default=None, compare=False, repr=False)
    """What all references here to this key share (the member's business)."""

    @property
    def is_counted(self) -> bool:
        """Whether it stands for something that dies with the last reference."""
        return self.has_value

    def __reduce__(self) -> tuple[Any, ...]:
        self.pin()
        return Lock, (self.key, self.tokens, self.per_seconds, self.has_value)


class _Kind(Protocol):
    """What tells one kind of lock from another."""

    @property
    def tokens(self) -> int: ...
    @property
    def per_seconds(self) -> float: ...


def conflict(key: int | str, in_use: _Kind, wanted: _Kind) -> str:
    """Why a lock that is in use as one kind can't be had as another."""
    name = as_given(key) if isinstance(key, str) else key
    return f"{name!r} is in use as {_describe(in_use)}, and can't be {_describe(wanted)} as well"


def _describe(kind: _Kind) -> str:
    if kind.per_seconds:
        return f"a limit of {kind.tokens} starts in {kind.per_seconds:g} s"
    return f"a semaphore of {kind.tokens} tokens" if kind.tokens else "a reentrant lock"


@final
class Nothing:
    """Stands where no value is."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()


@final
class MakeLock(Request):
    """Make a lock, or with a value a variable; answered by a `Lock`."""

    __slots__ = ("handles", "payload", "value")
    gives_value = True
    action = "makes a lock"

    def __init__(self, value: Any) -> None:
        self.value = value
        self.payload = b""
        """The value as bytes, if it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""


@final
class Acquire(Request):
    """Wait for this lock; answered by the variable's value, or None."""

    __slots__ = ("lock", "waits_for_fibers")
    can_wait = True
    must_be_seen = True
    gets = "value"
    state = "waits for a lock"
    action = "waits for a lock"

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.waits_for_fibers = not lock.per_seconds  # a limit of starts is ended by time

    def __reduce__(self) -> tuple[Any, ...]:
        return Acquire, (self.lock,)


@final
class Release(Request):
    """Give this lock back; answered by None at once."""

    __slots__ = ("handles", "lock", "payload")
    is_visible = True
    gives_value = True
    action = "gives a lock back"

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.payload: bytes | None = None
        """The variable's new value as bytes, if it has one and it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""


@final
@dataclass(frozen=True, slots=True)
class PrimitiveRef(_Counted):
    """What fibers talk by: a queue, a deferred value, …"""

    key: int
    kind: PrimitiveKind
    claim: Any = field(default=None, compare=False, repr=False)
    """What all references here to this key share (the member's business)."""
    is_counted: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        self.pin()
        return PrimitiveRef, (self.key, self.kind)


@final
class MakePrimitive(Request):
    """Make something to talk by; answered by a `PrimitiveRef`."""

    __slots__ = ("kind", "size")
    action = "makes a primitive"

    def __init__(self, kind: PrimitiveKind, size: int) -> None:
        self.kind = kind
        self.size = size


@final
class CallPrimitive(Request):
    """Put, take, wait, …; answered by an item, a word of the entry, or the error `Closed`."""

    __slots__ = (
        "handles",
        "is_withdrawn",
        "item",
        "method",
        "number",
        "payload",
        "primitive",
        "references",
    )
    can_wait = True
    waits_for_fibers = True
    must_be_seen = True
    is_visible = True
    gives_value = True
    gets = "value"

    def __init__(
        self, primitive: PrimitiveRef, method: Method, number: int = 0, item: Any = NOTHING
    ) -> None:
        self.primitive = primitive
        self.method = method
        self.number = number
        """What the verb needs to know besides."""
        self.item = item
        """What is given to others."""
        self.payload: bytes | None = None
        """The item as bytes, if there is one and it is to leave the process."""
        self.handles: Sequence[Any] = ()
        """The handles of fibers that are in it."""
        self.references: Sequence[int] = ()
        """The keys of references that are in it."""
        self.is_withdrawn = False
        """Whether the coordinator was told that the fiber waits no longer."""

    def __reduce__(self) -> tuple[Any, ...]:
        return CallPrimitive, (
            self.primitive,
            self.method,
            self.number,
        )  # it was answered: the item is given

    def __str__(self) -> str:
        return f"{self.method} of a {self.primitive.kind}"

    def describe(self) -> str:
        """What the fiber waits for."""
        return _WAITS.get((self.primitive.kind, self.method), f"waits for a {self.primitive.kind}")


_WAITS: Final = {
    ("queue", "put"): "waits for room in a queue",
    ("queue", "take"): "waits to take from a queue",
    ("topic", "publish"): "waits for room in a topic",
    ("topic", "take"): "waits to take from a topic",
    ("deferred", "get"): "waits for a deferred value",
}


Place = Literal["thread", "main thread", "loop"]
"""Where a call runs that no thread of a pool makes."""


@final
class AwaitBlocking(Request):
    """Call `f(...)` on a thread that may be held up; answered by what it returns or raises.

    That is a thread of its own, or the main thread of the process; the call of a coroutine
    function runs on the event loop of the process instead.
    """

    __slots__ = ("args", "f", "is_abandoned", "is_stopped", "kwargs", "place", "stop")
    can_wait = True
    state = "waits for a call on another thread"
    action = "calls what may block"

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        place: Place,
        is_abandoned: bool = False,
    ) -> None:
        self.f = f
        self.args = args
        self.kwargs = kwargs
        self.place = place
        self.is_abandoned = is_abandoned
        """Whether a fiber that is cancelled lets go of it, and doesn't wait for its end."""
        self.stop: Callable[[], None] | None = None
        """Cancels what runs, if that is possible (the host's business)."""
        self.is_stopped = False
        """Whether that was done."""

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.f, self.args, self.kwargs, self.place, self.is_abandoned
        return AwaitBlocking, fields


@final
class AwaitCallback(Request):
    """Call `f(context, callback, ...)`; answered by the Result that the callback is given."""

    __slots__ = ("args", "f", "kwargs")
    can_wait = True
    state = "waits for a callback"
    action = "waits for a callback"

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self.f = f
        self.args = args
        self.kwargs = kwargs
