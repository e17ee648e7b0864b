"""Fibers to bytes and back.

How objects of the user's become bytes is told in `distio.core.pickling`. A fiber that holds what
can't be pickled, or an exception that doesn't survive the journey, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from distio.core.context_vars import carried_in, context_of, others_in
from distio.core.explain import why_it_stays
from distio.core.fiber import Fiber, Handle, HeldLock
from distio.core.ops.base import Frame
from distio.core.ops.checkpoints import Calling
from distio.core.ops.unary import UnaryOp
from distio.core.outcomes import outcome_in
from distio.core.pickling.code_records import NO_STAND_INS, StandIns
from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import Bundle, load
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.program import program_digest
from distio.core.references import opening_with, pin
from distio.errors import NotPicklable
from distio.protocol.pieces import Bytes
from distio.protocol.requests import AwaitFibers
from distio.protocol.text import str_of

__all__ = [
    "capture",
    "digest_of_program",
    "dump_captured",
    "dump_chunk",
    "dump_fibers",
    "ends_when_cancelled",
    "generators_in",
    "is_fresh",
    "load_fibers",
    "why_it_cannot_ship",
    "why_not_captured",
    "would_doubt",
]

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


def _below(operation: type[UnaryOp]) -> Iterator[type[UnaryOp]]:
    for each in operation.__subclasses__():
        yield each
        yield from _below(each)


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that returns these attributes of an object: one call, whatever their number."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda obj: tuple([getattr(obj, name) for name in names])


_OWN_FRAME: Final[dict[str, type[UnaryOp]]] = {
    operation.__name__: operation
    for operation in _below(UnaryOp)
    if operation._as_frame is UnaryOp._as_frame
}
"""By name, the operations whose frame is the operation itself, without its IO."""
_FIELDS: Final[dict[type, tuple[str, Callable[[Any], tuple[Any, ...]]]]] = {
    operation: (name, _getter(operation._names[1:])) for name, operation in _OWN_FRAME.items()
}


def dump_fibers(fibers: Sequence[Fiber]) -> tuple[Bytes, list[Handle[Any, Any, Any]]]:
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


def digest_of_program(fiber: Fiber) -> bytes:
    """The digest of the program of a fiber that hasn't begun; see `program_digest`.

    Raises:
        NotPicklable: something in it can't be compared; the message says what and where.
    """
    start = _start_of(fiber)
    try:
        return program_digest(start)
    except BaseException as error:
        reason = why_it_stays([start], _dump_strictly, error)
        raise NotPicklable(f"the program can't be compared with others: {reason}") from error


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
    return all(frame._only_tells or type(frame)._failed is Frame._failed for frame in fiber.stack)


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
    elif type(fiber.request) is AwaitFibers:  # the outcomes in the handles would stay behind
        value = [outcome_in(each) for each in value]
    rest = _rest_of(fiber)
    if released is not None:
        rest = *rest[:_HOLDS], _without(fiber, released), *rest[_HOLDS + 1 :]
    stack = [*fiber.stack]
    if stays and would_doubt(fiber):
        stack[-1] = stack[-1].in_doubt()  # type: ignore[attr-defined]  # as its type says
    return _SUSPENDED, *_start_of(fiber), stack, value, *rest


def _without(fiber: Fiber, key: int | str) -> dict[int | str, HeldLock] | None:
    """The locks that the fiber holds once it has given back one token of this lock."""
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
        frame._require_leave()
        return frame._as_frame()
    name, fields_of = known
    return name, *fields_of(frame)


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


def load_fibers(
    run: int,
    ids: Sequence[tuple[int, int]],
    payload: Bytes,
    bundles: dict[bytes, Bundle] | None = None,
    attachments: dict[bytes, Bytes] | None = None,
    claims: Sequence[Any] = (),
    places: Sequence[int] = (),
    stand_ins: StandIns = NO_STAND_INS,
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
        stand_ins: what is taken in place of functions and classes that the payload names.

    Raises:
        Exception: any that unpickling user data raises.
    """
    fibers = []
    with opening_with(claims):
        states = load(payload, bundles, attachments, stand_ins)
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
