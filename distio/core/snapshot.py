"""Fibers and outcomes to bytes and back.

What no module can be asked for travels by value (cloudpickle). Exceptions travel whole, and
what doesn't survive the journey arrives as its type name, message and traceback.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from io import BytesIO
from types import FunctionType
from typing import Any, Final, final

import cloudpickle

from distio.core.fiber import Fiber, Handle
from distio.core.functions import PLAIN, is_self_contained, reduce_function
from distio.core.ops.bounded import Worked
from distio.core.shipping import why_it_stays
from distio.errors import CannotShip, ForeignException, TracedException
from distio.protocol.requests import AwaitFibers
from distio.result import Ok, Panic, Result

__all__ = [
    "Packed",
    "PackedValue",
    "dump_awaited",
    "dump_fibers",
    "dump_outcome",
    "dump_value",
    "load_fibers",
    "load_outcome",
    "outcome_in",
    "why_it_cannot_ship",
]


@final
class Packed:
    """The bytes of an outcome, opened by the first who needs it."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def open(self) -> Result[Any, Any]:
        """The Result; a Panic if it can't be made again in this process."""
        return load_outcome(self.payload)


@final
class PackedValue:
    """The bytes of a variable's value, opened by the fiber that gets it."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedValue, (self.payload,)

    def open(self) -> Any:
        """The value.

        Raises:
            Exception: whatever unpickling user data may raise.
        """
        return pickle.loads(self.payload)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Collects the handles that leave with what is pickled: somebody may ask for them."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.handles: list[Handle[Any, Any, Any]] = []
        self._is_self_contained: dict[tuple[int, int], bool] = {}
        """By code and globals, which live as long as what is pickled."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is Handle:
            self.handles.append(obj)
        elif kind is TracedException:
            return self._reduce_traced(obj)
        elif kind is FunctionType:
            reduced = self._reduce_function(obj)
            if reduced is not None:
                return reduced
        return super().reducer_override(obj)

    def _reduce_function(self, f: FunctionType) -> Any:
        key = id(f.__code__), id(f.__globals__)
        is_simple = self._is_self_contained.get(key)
        if is_simple is None:
            is_simple = self._is_self_contained[key] = is_self_contained(f)
        return reduce_function(f) if is_simple else None

    def _reduce_traced(self, traced: TracedException) -> Any:
        exception = traced.exception
        try:
            payload, handles = _dump(exception)
            self.handles += handles
        except Exception:  # noqa: BLE001 (then its text has to do)
            payload = b""
        kind = type(exception)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return _restore_traced, (payload, name, _text_of(exception), traced.stack_trace)


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 (a broken __str__ must not hide the exception)
        return f"<its text is not to be had: {type(error).__name__}>"


def _restore_traced(payload: bytes, name: str, message: str, stack_trace: str) -> TracedException:
    if payload:
        try:
            exception = pickle.loads(payload)
        except Exception:  # noqa: BLE001 (then its text has to do)
            exception = None
        if isinstance(exception, BaseException):
            return TracedException(exception, stack_trace)
    return TracedException(ForeignException(name, message), stack_trace)


def _dump(obj: Any) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    file = BytesIO()
    pickler = _Pickler(file)
    pickler.dump(obj)
    return file.getvalue(), pickler.handles


_FRESH: Final = 0
_SUSPENDED: Final = 1
_REST: Final = (
    "failure",
    "name",
    "request",
    "holds",
    "regions",
    "limits",
    "cuts",
    "unwinding",
    "is_spared",
    "shield",
    "creating",
)
"""What else there is to a fiber that has begun."""


def dump_fibers(
    fibers: Sequence[Fiber], *, explain: bool = True
) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle fibers, many in one.

    Args:
        fibers: which.
        explain: whether a failure is to lead to what can't be pickled; that takes long.

    Returns:
        The bytes, and the handles that they hold.

    Raises:
        CannotShip: something in one of them can't be pickled; the message says what and where.
    """
    states = [_state_of(fiber) for fiber in fibers]
    try:
        return _dump(states)
    except Exception as error:
        reason = why_it_stays(states, _dump, error) if explain else str(error)
        raise CannotShip(reason) from error


def why_it_cannot_ship(fiber: Fiber) -> str:
    """What in a fiber that can't be pickled it is, and where; takes long."""
    try:
        dump_fibers([fiber])
    except CannotShip as reason:
        return str(reason)
    return "it can be by now"


def _state_of(fiber: Fiber) -> tuple[Any, ...]:
    has_begun = fiber.stack or fiber.next is None or fiber.holds or fiber.cuts
    if not (has_begun or fiber.is_spared):
        return _FRESH, fiber.next, fiber.context, fiber.locals
    value = fiber.value
    if type(fiber.request) is AwaitFibers:  # what the handles hold would stay behind
        value = [outcome_in(each) for each in value]
    start = fiber.next, fiber.context, fiber.locals
    stack = [frame._as_frame() for frame in fiber.stack]
    return _SUSPENDED, *start, stack, value, *[getattr(fiber, name) for name in _REST]


def outcome_in(handle: Any) -> Any:
    """What has come of one of those that a fiber has waited for: a Result, a Packed one, or None.

    It is in the handle, or in the handle's place if the fiber has moved meanwhile.
    """
    return handle.outcome if type(handle) is Handle else handle


def load_fibers(run: int, ids: Sequence[tuple[int, int]], payload: bytes) -> list[Fiber]:
    """Make the fibers of one payload again.

    Args:
        run: the run they belong to.
        ids: (fiber, epoch) of each.
        payload: what `dump_fibers` returned.

    Raises:
        Exception: whatever unpickling user data may raise.
    """
    fibers = []
    for (id, epoch), state in zip(ids, pickle.loads(payload)):
        fiber = Fiber(id, run, state[1], state[2])
        fiber.epoch, fiber.locals = epoch, state[3]
        if state[0] == _SUSPENDED:
            fiber.stack, fiber.value = state[4:6]
            for name, value in zip(_REST, state[6:]):
                setattr(fiber, name, value)
        fibers.append(fiber)
    return fibers


def dump_outcome(result: Result[Any, Any]) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle an outcome; what can't be pickled becomes a Panic that says so."""
    if type(result) is Ok and type(result.success) in PLAIN:
        # the plain pickler does it as well, and much faster
        return pickle.dumps(result, pickle.HIGHEST_PROTOCOL), []
    if type(result) is Ok and type(result.success) is Worked:
        return _dump_worked(result.success)
    try:
        return _dump(result)
    except Exception as error:  # noqa: BLE001 (the panic tells)
        return _dump(_stays(result, error))


def _dump_worked(worked: Worked) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle what came of several items: one of them that can't be pickled harms no other."""
    try:
        return _dump(Ok(worked))
    except Exception:  # noqa: BLE001 (the panics of the items tell)
        return _dump(Ok(worked.map(_itself_or_why)))


def _itself_or_why(result: Result[Any, Any]) -> Result[Any, Any]:
    try:
        _dump(result)
    except Exception as error:  # noqa: BLE001 (the panic tells)
        return _stays(result, error)
    return result


def _stays(result: Result[Any, Any], error: Exception) -> Panic[Any, Any]:
    reason = why_it_stays(result, _dump, error)
    panic = CannotShip(f"the fiber ended, but its outcome can't leave its process: {reason}")
    return Panic([TracedException.in_except_clause(panic)], [])


def dump_value(value: Any, what: str) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle what is to be kept by the coordinator.

    Args:
        value: it.
        what: how it is called if it can't be pickled.

    Raises:
        CannotShip: it can't be pickled; the message says what in it, and where.
    """
    try:
        return _dump(value)
    except Exception as error:
        reason = why_it_stays(value, _dump, error)
        raise CannotShip(f"{what} can't leave its process: {reason}") from error


def dump_awaited(outcome: Any) -> tuple[bytes, list[Handle[Any, Any, Any]]]:
    """Pickle what a function of `io.do` has awaited.

    Raises:
        CannotShip: it can't be pickled; the message says what in it, and where.
    """
    try:
        return _dump(outcome)
    except Exception as error:
        raise CannotShip(why_it_stays(outcome, _dump, error)) from error


def load_outcome(payload: bytes) -> Result[Any, Any]:
    """Make an outcome again; a Panic if that fails in this process."""
    try:
        result: Result[Any, Any] = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001 (the panic tells)
        return Panic([TracedException.in_except_clause(error)], [])
    return result
