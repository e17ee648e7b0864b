"""Outcomes, items and values of variables to bytes and back.

An exception that doesn't survive the journey arrives as its type name, message and traceback,
wherever it stands. How objects of the user's become bytes is told in `distio.core.pickling`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple, final

from distio._traces import NOWHERE
from distio.core.explain import why_it_stays
from distio.core.fiber import Handle, as_cancelled
from distio.core.ops.bounded import ChunkResult
from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import load
from distio.core.pickling.plain import PLAIN, is_plain
from distio.core.references import Reference, claims_of, keys_of, opening_with, pin
from distio.errors import Cancelled, NotPicklable, TracedException
from distio.protocol.domains import OutcomeKind
from distio.protocol.pieces import Bytes
from distio.result import Ok, Panic, Result

__all__ = [
    "Leaving",
    "Packed",
    "PackedValue",
    "dump_awaited",
    "dump_item",
    "dump_outcome",
    "dump_small",
    "dump_value",
    "kind_of",
    "load_outcome",
    "opened",
    "outcome_in",
    "outcome_stays",
]


class Leaving(NamedTuple):
    """An outcome or an item as it leaves a process."""

    payload: Bytes
    handles: Sequence[Handle[Any, Any, Any]] = ()
    """The handles in it."""
    keys: Sequence[int] = ()
    """The keys of all counted references in it."""
    kind: OutcomeKind = "ok"
    """The kind of an outcome: how the fiber has ended."""


@final
class Packed:
    """The bytes of an outcome, opened by the first fiber that needs it."""

    __slots__ = ("payload", "references")

    def __init__(self, payload: Bytes, references: Sequence[Reference] = ()) -> None:
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

    def __init__(self, payload: Bytes, references: Sequence[Reference] = ()) -> None:
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


_MOST_SMALL_BYTES: Final = 256
_SIZED: Final = frozenset({str, bytes})
_OUTCOME: Final = "the fiber ended, but its outcome"
_dump_strictly: Final = partial(dump, is_strict=True)


def opened(outcome: Any) -> Any:
    """An outcome as a Result, if it came as bytes."""
    return outcome.open() if type(outcome) is Packed else outcome


def outcome_in(handle: Any) -> Any:
    """The outcome of a fiber that another one has waited for: a Result, a Packed one, or None.

    The outcome is in the handle, or in the handle's place if the waiting fiber has moved.
    """
    return handle.outcome if type(handle) is Handle else handle


def dump_outcome(result: Result[Any, Any]) -> Leaving:
    """Pickle an outcome; what can't be pickled becomes a Panic that says so.

    Of an Ok with a plain value, or with what came of items without a failure, the bytes are those
    of the value: to make an Ok again is quicker than to let pickle find its class, and such values
    hold no Result.
    """
    if type(result) is Ok and (is_plain(result.success) or _is_plainly_worked(result.success)):
        return Leaving(pickle.dumps(result.success, pickle.HIGHEST_PROTOCOL))
    if (mere := _mere_cancellation(result)) is not None:
        return Leaving(pickle.dumps(mere, pickle.HIGHEST_PROTOCOL), kind="panic")
    if type(result) is Ok and type(result.success) is ChunkResult:
        return _dump_worked(result.success)
    try:
        return _leaving(result)._replace(kind=kind_of(result))
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        return _leaving(_stays(result, error))._replace(kind="panic")


def dump_small(value: Any) -> Leaving | None:
    """Pickle an outcome, Ok of this value, if that runs no code of the user and takes no time.

    None: it may. Else the bytes are those of `dump_outcome`.
    """
    held = value
    if type(value) is ChunkResult:
        if len(value.values) != 1 or value.failures:
            return None
        (held,) = value.values
    kind = type(held)
    if kind not in PLAIN:
        return None
    if kind in _SIZED and len(held) > _MOST_SMALL_BYTES:
        return None
    if kind is int and held.bit_length() > _MOST_SMALL_BYTES:
        return None
    return Leaving(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def kind_of(result: Result[Any, Any]) -> OutcomeKind:
    """How a fiber with this Result has ended."""
    if type(result) is Ok:
        return "ok"
    return "panic" if type(result) is Panic else "errors"


def _is_plainly_worked(value: Any) -> bool:
    """Whether plain values came of items, and no failure: runs may have many such outcomes."""
    is_worked = type(value) is ChunkResult and not value.failures
    return is_worked and PLAIN.issuperset(map(type, value.values))


@final
class _MereCancellation:
    """Stands in a pickle for the Result of a fiber that was cancelled, if there is no more to tell.

    Runs may have many of these, and each is opened where somebody waits for it.
    """

    __slots__ = ("_fiber",)

    def __init__(self, fiber: str) -> None:
        self._fiber = fiber

    def __reduce__(self) -> tuple[Any, ...]:
        return _cancelled, (self._fiber,)


def _cancelled(fiber: str) -> Panic[Any, Any]:
    return Panic([as_cancelled(fiber)], [])


def _mere_cancellation(result: Result[Any, Any]) -> _MereCancellation | None:
    """The stand-in for this Result; None: it tells more."""
    if type(result) is not Panic or result.errors or len(result.exceptions) != 1:
        return None
    (traced,) = result.exceptions
    exception = traced.exception
    if type(exception) is not Cancelled:
        return None
    is_mere = (
        exception.__cause__ is exception.__context__ is None
        and len(vars(exception)) == 1
        and traced.where is NOWHERE
        and traced.stack_trace == str(exception)
    )
    return _MereCancellation(exception.fiber) if is_mere else None


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
        return _stays(result, error, "the function has returned, but what it gave")
    return result


def outcome_stays(reason: str, what: str = _OUTCOME) -> NotPicklable:
    """The error of a fiber whose outcome can't be pickled, and what to do."""
    return NotPicklable(
        f"{what} can't leave its process: {reason}; return what can be pickled, like a list in "
        "place of a generator"
    )


def _stays(result: Result[Any, Any], error: BaseException, what: str = _OUTCOME) -> Panic[Any, Any]:
    reason = why_it_stays(result, dump, error)
    return Panic([TracedException.in_except_clause(outcome_stays(reason, what))], [])


def dump_value(value: Any, what: str) -> tuple[Bytes, list[Handle[Any, Any, Any]]]:
    """Pickle what is to be kept by the coordinator.

    Args:
        value: it.
        what: how it is called if it can't be pickled.

    Raises:
        NotPicklable: it can't be pickled; the message says what in it, and where.
    """
    if is_plain(value):  # as in `dump_item`
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
    if is_plain(item):  # the plain pickler does it as well, and much faster
        return Leaving(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
    try:
        return _leaving(item)
    except BaseException as error:
        reason = why_it_stays(item, dump, error)
        raise NotPicklable(f"an item can't leave its process: {reason}") from error


def dump_awaited(
    outcome: Any,
) -> tuple[Bytes, Sequence[Handle[Any, Any, Any]], Sequence[Reference]]:
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


def load_outcome(payload: Bytes) -> Result[Any, Any]:
    """Make an outcome again; a Panic if that fails in this process."""
    try:
        result: Any = load(payload)
    except BaseException as error:  # noqa: BLE001 (the panic tells)
        return Panic([TracedException.in_except_clause(error)], [])
    return result if isinstance(result, Result) else Ok(result)
