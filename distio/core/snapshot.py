"""Fibers and outcomes to bytes and back.

How objects of the user's become bytes is told in `distio.core.pickling`. An exception that doesn't
survive the journey arrives as its type name, message and traceback: wherever it stands in an
outcome, in an item of a queue or in the value of a variable. A fiber that holds such an exception
stays, as it does with anything else that can't be pickled.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, final

import distio.core.ops as ops
from distio._traces import NOWHERE
from distio.core.context_vars import carried_in, context_of, others_in
from distio.core.explain import why_it_stays
from distio.core.fiber import Fiber, Handle, HeldLock
from distio.core.ops.base import Frame, UnaryOp
from distio.core.ops.bounded import ChunkResult
from distio.core.ops.checkpoints import Calling
from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import Bundle, load
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.plain import PLAIN
from distio.core.references import Reference, claims_of, keys_of, opening_with, pin
from distio.errors import Cancelled, NotPicklable, TracedException
from distio.protocol.requests import AwaitFibers
from distio.protocol.text import str_of
from distio.result import Ok, Panic, Result

__all__ = [
    "Leaving",
    "Packed",
    "PackedValue",
    "capture",
    "dump_awaited",
    "dump_captured",
    "dump_chunk",
    "dump_fibers",
    "dump_outcome",
    "dump_value",
    "ends_when_cancelled",
    "generators_in",
    "is_fresh",
    "load_fibers",
    "load_outcome",
    "outcome_in",
    "why_it_cannot_ship",
    "why_not_captured",
    "would_doubt",
]


class Leaving(NamedTuple):
    """An outcome or an item as it leaves a process."""

    payload: bytes
    handles: Sequence[Handle[Any, Any, Any]] = ()
    """The handles in it."""
    keys: Sequence[int] = ()
    """The keys of all counted references in it."""


@final
class Packed:
    """The bytes of an outcome, opened by the first fiber that needs it."""

    __slots__ = ("payload", "references")

    def __init__(self, payload: bytes, references: Sequence[Reference] = ()) -> None:
        self.payload = payload
        self.references = references
        """The references in it, which keep their keys alive until it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.payload, self.references)

    def open(self) -> Result[Any, Any]:
        """The Result; a Panic if the Result can't be made again in this process."""
        if not self.references:
            return load_outcome(self.payload)
        with opening_with(claims_of(self.references)):
            return load_outcome(self.payload)


@final
class PackedValue:
    """The bytes of an item, or of a variable's value, opened by the fiber that gets it."""

    __slots__ = ("payload", "references")

    def __init__(self, payload: bytes, references: Sequence[Reference] = ()) -> None:
        self.payload = payload
        self.references = references
        """The references in it, which keep their keys alive until it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedValue, (self.payload, self.references)

    def open(self) -> Any:
        """The value.

        Raises:
            Exception: any that unpickling user data raises.
        """
        if not self.references:
            return load(self.payload)
        with opening_with(claims_of(self.references)):
            return load(self.payload)


_dump_strictly: Final = partial(dump, is_strict=True)


_FRESH: Final = 0
_SUSPENDED: Final = 1
_NEXT: Final = 1
_STACK: Final = 6
"""Where the stack is in the state of a fiber; before it are what kind it is and its start."""
_REST: Final = (
    "failure",
    "name",
    "request",
    "holds",
    "regions",
    "limits",
    "pending_cancels",
    "unwinding",
    "exempt_from_run_cancel",
    "shield",
    "acquiring",
)
"""The other fields of a fiber that has begun."""
_HOLDS: Final = _REST.index("holds")
_rest_of: Final = attrgetter(*_REST)
_OWN_FRAME: Final[dict[str, type[UnaryOp]]] = {
    name: operation
    for name, operation in vars(ops).items()
    if isinstance(operation, type)
    and issubclass(operation, UnaryOp)
    and operation._as_frame is UnaryOp._as_frame
}
"""By name, the operations whose frame is the operation itself, without its IO."""
_FIELDS: Final[dict[type, tuple[str, tuple[str, ...]]]] = {
    operation: (name, operation._names[1:]) for name, operation in _OWN_FRAME.items()
}


def dump_fibers(fibers: Sequence[Fiber]) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle fibers, many in one payload that can be opened on its own.

    Returns:
        The bytes, and the handles that they hold.

    Raises:
        NotPicklable: something in one of them can't be pickled; the message says what and where.
    """
    dumped = dump_chunk(fibers, explain=True)
    pin(dumped.references)
    return dumped.whole(), dumped.handles


def dump_chunk(
    fibers: Sequence[Fiber], *, explain: bool = False, writer: Writer | None = None
) -> Dumped:
    """Pickle fibers, and apart from them the bundle of what they share with others.

    Args:
        fibers: which.
        explain: whether a failure is to lead to what can't be pickled; that takes long.
        writer: see `dump`.

    Raises:
        NotPicklable: something in one of them can't be pickled.
    """
    states = [_state_of(fiber) for fiber in fibers]
    try:
        return dump(states, is_strict=True, with_sources=True, writer=writer)
    except BaseException as error:
        shown = [_shown(fiber, state) for fiber, state in zip(fibers, states)] if explain else []
        reason = why_it_stays(shown, _dump_strictly, error) if explain else str_of(error)
        raise NotPicklable(reason) from error


def why_it_cannot_ship(fiber: Fiber) -> str:
    """The part of a fiber that can't be pickled, and its place; takes long."""
    try:
        dump_fibers([fiber])
    except BaseException as reason:  # noqa: BLE001 (whatever user code raises is the reason)
        return str_of(reason)
    return "by now the fiber can be pickled"


def generators_in(obj: Any) -> list[Any]:
    """The generators of random numbers that are copied with a fiber, or with a part of one.

    Raises:
        Exception: any that pickling user data raises.
    """
    return list(dump(_state_of(obj) if type(obj) is Fiber else obj).generators)


def _state_of(fiber: Fiber) -> tuple[Any, ...]:
    captured = capture(fiber)
    _require_no_loss(fiber, captured)
    return _packed(captured)


def would_doubt(fiber: Fiber) -> bool:
    """Whether the fiber, if it goes on from a snapshot, doesn't know what it has done."""
    return bool(fiber.stack) and type(fiber.stack[-1]) is Calling


def ends_when_cancelled(fiber: Fiber) -> bool:
    """Whether the fiber, which waits, has nothing left to do but to end if it is cancelled."""
    if fiber.shield or fiber.holds or fiber.exempt_from_run_cancel:
        return False
    return all(type(frame)._failed is Frame._failed for frame in fiber.stack)


def is_fresh(captured: tuple[Any, ...]) -> bool:
    """Whether a captured fiber has not begun."""
    return captured[0] == _FRESH  # type: ignore[no-any-return]  # a number


def capture(
    fiber: Fiber,
    *,
    is_waiting: bool = False,
    stays: bool = False,
    released: int | str | None = None,
) -> tuple[Any, ...]:
    """Copy what there is to a fiber, for `dump_captured`; the fiber may be answered meanwhile.

    Args:
        fiber: one that has asked for something, and that nobody steps until it is dumped.
        is_waiting: whether it is to wait for that where it goes on.
        stays: whether it goes on here, so that nobody knows what it has done if the process is
            lost.
        released: the key of a lock of which it is to have one token less.
    """
    has_begun = fiber.stack or fiber.next is None or fiber.holds or fiber.pending_cancels
    if not (has_begun or fiber.exempt_from_run_cancel):
        return _FRESH, *_start_of(fiber)
    value = fiber.value
    if is_waiting:
        value = None
    elif type(fiber.request) is AwaitFibers:  # what the handles hold would stay behind
        value = [outcome_in(each) for each in value]
    rest = _rest_of(fiber)
    if released is not None:
        rest = *rest[:_HOLDS], _without(fiber, released), *rest[_HOLDS + 1 :]
    stack = [*fiber.stack]
    if stays and would_doubt(fiber):
        stack[-1] = stack[-1].in_doubt()  # type: ignore[attr-defined]  # as its type says
    return _SUSPENDED, *_start_of(fiber), stack, value, *rest


def _without(fiber: Fiber, key: int | str) -> dict[int | str, HeldLock] | None:
    """What it holds when it has given back one token of this lock."""
    assert fiber.holds is not None
    holds, held = dict(fiber.holds), fiber.holds[key]
    del holds[key]
    if held.count > 1:
        holds[key] = left = HeldLock(held.value)
        left.count = held.count - 1
    return holds or None


def _packed(captured: tuple[Any, ...]) -> tuple[Any, ...]:
    if captured[0] == _FRESH:
        return captured
    stack = [_packed_frame(frame) for frame in captured[_STACK]]
    return *captured[:_STACK], stack, *captured[_STACK + 1 :]


def dump_captured(
    captured: Sequence[tuple[Fiber, tuple[Any, ...]]], *, writer: Writer | None = None
) -> Dumped:
    """Pickle fibers as they were when they were captured; see `dump_chunk`.

    Modules travel along if they have come here as text. Files need no look: this process has what
    was imported when the fiber came, and others have it from where the fiber was sent first.

    Raises:
        NotPicklable: something in one of them can't be pickled.
    """
    try:
        for fiber, state in captured:
            _require_no_loss(fiber, state)
        states = [_packed(state) for _, state in captured]
        return dump(states, is_strict=True, with_sources=True, reads_files=False, writer=writer)
    except BaseException as error:
        raise NotPicklable(str_of(error)) from error


def why_not_captured(captured: tuple[Any, ...], error: BaseException) -> str:
    """The part of a captured fiber that can't be pickled, and its place; takes long.

    Args:
        captured: what `capture` has returned.
        error: with which `dump_captured` has failed.
    """
    shown = captured
    if captured[0] != _FRESH:
        stack = [frame._as_frame() for frame in captured[_STACK]]
        shown = *captured[:_STACK], stack, *captured[_STACK + 1 :]
    return why_it_stays([shown], _dump_strictly, error.__cause__ or error)


def _packed_frame(frame: Frame) -> Any:
    """A frame, without what it no longer needs.

    Of an operation that is its own frame the name and the fields are enough: pickle writes them
    without asking anybody, and far shorter than an object.
    """
    known = _FIELDS.get(type(frame))
    if known is None:
        return frame._as_frame()
    name, fields = known
    return name, *[getattr(frame, field) for field in fields]


def _shown(fiber: Fiber, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same state with whole frames, for explanations."""
    if state[0] == _FRESH:
        return state
    return *state[:_STACK], [frame._as_frame() for frame in fiber.stack], *state[_STACK + 1 :]


def _frame_of(packed: Any) -> Frame:
    if type(packed) is not tuple:
        return packed  # type: ignore[no-any-return]  # it is one
    name, *fields = packed
    return _OWN_FRAME[name](None, *fields)


def _require_no_loss(fiber: Fiber, captured: tuple[Any, ...]) -> None:
    if captured[0] == _FRESH or not (captured[_STACK] or captured[_NEXT] is None):
        return
    for var in others_in(fiber.variables):
        raise NotPicklable(
            f"fiber {fiber.label} has begun, and has a value of the context variable {var.name!r} "
            f"that would not travel; let it travel with distio.carry(…)"
        )


def _start_of(fiber: Fiber) -> tuple[Any, ...]:
    """The fields that each fiber has."""
    variables = carried_in(fiber.variables)
    return fiber.next, fiber.context, fiber.locals, fiber.stream, variables


def outcome_in(handle: Any) -> Any:
    """The outcome of a fiber that another one has waited for: a Result, a Packed one, or None.

    The outcome is in the handle, or in the handle's place if the waiting fiber has moved.
    """
    return handle.outcome if type(handle) is Handle else handle


def load_fibers(
    run: int,
    ids: Sequence[tuple[int, int]],
    payload: bytes,
    bundles: dict[bytes, Bundle] | None = None,
    attachments: dict[bytes, bytes] | None = None,
    claims: Sequence[Any] = (),
    places: Sequence[int] = (),
) -> list[Fiber]:
    """Make the fibers of one payload again.

    Args:
        run: the run they belong to.
        ids: (fiber, epoch) of each.
        payload: what `dump_fibers` returned, whole or referring to a bundle.
        bundles: those of this run, which its fibers share in this process.
        attachments: of this run, too: what the payload may refer to.
        claims: those of what it refers to otherwise.
        places: where the fibers lie in the payload, if there are others in it.

    Raises:
        Exception: any that unpickling user data raises.
    """
    fibers = []
    with opening_with(claims):
        states = load(payload, bundles, attachments)
    if places:
        states = [states[place] for place in places]
    for (id, epoch), state in zip(ids, states):
        fiber = Fiber(id, run, state[1], state[2])
        fiber.epoch, fiber.locals, fiber.stream = epoch, state[3], state[4]
        fiber.variables = context_of(state[5])
        if state[0] == _SUSPENDED:
            fiber.stack, fiber.value = [_frame_of(each) for each in state[_STACK]], state[7]
            for name, value in zip(_REST, state[8:]):
                setattr(fiber, name, value)
        fibers.append(fiber)
    return fibers


def dump_outcome(result: Result[Any, Any]) -> Leaving:
    """Pickle an outcome; what can't be pickled becomes a Panic that says so."""
    if _is_plain(result):  # the plain pickler does it as well, and much faster
        return Leaving(pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
    if type(result) is Ok and type(result.success) is ChunkResult:
        return _dump_worked(result.success)
    try:
        return _leaving(result)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        return _leaving(_stays(result, error))


def _is_plain(result: Result[Any, Any]) -> bool:
    """Whether it is made of built-in types, or a mere cancellation: a race, a run may have many."""
    if type(result) is Ok:
        return type(result.success) in PLAIN
    if type(result) is not Panic or result.errors or len(result.exceptions) != 1:
        return False
    exception, where = result.exceptions[0].exception, result.exceptions[0].where
    return (
        type(exception) is Cancelled
        and exception.__cause__ is exception.__context__ is None
        and len(vars(exception)) == 1
        and where is NOWHERE
    )


def _dump_worked(worked: ChunkResult) -> Leaving:
    """Pickle what came of several items: one of them that can't be pickled harms no other."""
    try:
        return _leaving(Ok(worked))
    except BaseException:  # noqa: BLE001 (the panics of the items tell)
        return _leaving(Ok(worked.map(_itself_or_why)))


def _leaving(obj: Any) -> Leaving:
    dumped = dump(obj)
    return Leaving(dumped.whole(), dumped.handles, keys_of(dumped.references, dumped.handles))


def _itself_or_why(result: Result[Any, Any]) -> Result[Any, Any]:
    try:
        dump(result)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        return _stays(result, error)
    return result


def _stays(result: Result[Any, Any], error: BaseException) -> Panic[Any, Any]:
    reason = why_it_stays(result, dump, error)
    panic = NotPicklable(f"the fiber ended, but its outcome can't leave its process: {reason}")
    return Panic([TracedException.in_except_clause(panic)], [])


def dump_value(value: Any, what: str) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle what is to be kept by the coordinator.

    Args:
        value: it.
        what: how it is called if it can't be pickled.

    Raises:
        NotPicklable: it can't be pickled; the message says what in it, and where.
    """
    if type(value) in PLAIN:  # as in `dump_item`
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL), []
    try:
        dumped = dump(value)
    except BaseException as error:
        reason = why_it_stays(value, dump, error)
        raise NotPicklable(f"{what} can't leave its process: {reason}") from error
    pin(dumped.references)
    return dumped.whole(), dumped.handles


def dump_item(item: Any) -> Leaving:
    """Pickle what a fiber gives to another.

    Raises:
        NotPicklable: it can't be pickled; the message says what in it, and where.
    """
    if type(item) in PLAIN:  # the plain pickler does it as well, and much faster
        return Leaving(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
    try:
        return _leaving(item)
    except BaseException as error:
        reason = why_it_stays(item, dump, error)
        raise NotPicklable(f"an item can't leave its process: {reason}") from error


def dump_awaited(
    outcome: Any,
) -> tuple[bytes, Sequence[Handle[Any, Any, Any]], Sequence[Reference]]:
    """Pickle what a function of `io.do` has awaited.

    Returns:
        The bytes, and the handles and references in it.

    Raises:
        NotPicklable: it can't be pickled; the message says what in it, and where.
    """
    try:
        dumped = dump(outcome, is_strict=True)
    except BaseException as error:
        raise NotPicklable(why_it_stays(outcome, _dump_strictly, error)) from error
    return dumped.whole(), dumped.handles, dumped.references


def load_outcome(payload: bytes) -> Result[Any, Any]:
    """Make an outcome again; a Panic if that fails in this process."""
    try:
        result: Result[Any, Any] = load(payload)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        return Panic([TracedException.in_except_clause(error)], [])
    return result
