"""References to queues, variables, fibers in pickles: each finds its claim again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final, final

from distio.core.fiber import Handle
from distio.protocol.domains import PrimitiveKind
from distio.protocol.requests import Lock, PrimitiveRef

__all__ = [
    "HoldsReference",
    "Reference",
    "claims_of",
    "keys_of",
    "opening_with",
    "pin",
    "reduce_handle",
    "reduce_reference",
]

Reference = Lock | PrimitiveRef


class HoldsReference:
    """A base for the objects of users that hold a reference, and nothing else."""

    __slots__ = ()


_claims: Final[ContextVar[dict[int, Any] | None]] = ContextVar("distio claims", default=None)
"""By key: the claims that came with the payload that is being opened, or the handles in it."""


def reduce_reference(reference: Reference) -> tuple[Any, ...]:
    """Reduce a reference to all its fields but the claim."""
    if isinstance(reference, Lock):
        fields = reference.key, reference.tokens, reference.per_seconds, reference.has_value
        return _lock, fields
    return _primitive_ref, (reference.key, reference.kind)


def reduce_handle(handle: Handle[Any, Any, Any]) -> tuple[Any, ...]:
    """Reduce the handle of a fiber to its id."""
    return _handle, (handle.id,)


def _lock(key: int | str, tokens: int, per_seconds: float, has_value: bool) -> Lock:
    return Lock(key, tokens, per_seconds, has_value, _claim_of(key))


def _primitive_ref(key: int, kind: PrimitiveKind) -> PrimitiveRef:
    return PrimitiveRef(key, kind, _claim_of(key))


def _handle(id: int) -> Handle[Any, Any, Any]:
    claim = _claim_of(id)
    if type(claim) is Handle:
        return claim
    handle: Handle[Any, Any, Any] = Handle(id)
    handle.location = claim
    return handle


def _claim_of(key: int | str) -> Any:
    claims = _claims.get()
    return None if claims is None or isinstance(key, str) else claims.get(key)


def opening_with(claims: Iterable[Any], handles: Iterable[Handle[Any, Any, Any]] = ()) -> _Claims:
    """A context in which a payload is opened that came with these claims.

    The payload gets these handles themselves instead of copies."""
    by_key: dict[int, Any] = {claim.key: claim for claim in claims}
    if handles:
        by_key.update((handle.id, handle) for handle in handles)
    return _Claims(by_key)


@final
class _Claims:
    __slots__ = ("_by_key", "_outer")

    def __init__(self, by_key: dict[int, Any]) -> None:
        self._by_key = by_key

    def __enter__(self) -> None:
        self._outer = _claims.set(self._by_key)

    def __exit__(self, *_: object) -> None:
        _claims.reset(self._outer)


def claims_of(references: Iterable[Reference]) -> list[Any]:
    """The claims that these hold on to."""
    return [each.claim for each in references if each.claim is not None]


def keys_of(
    references: Sequence[Reference], handles: Sequence[Handle[Any, Any, Any]] = ()
) -> list[int]:
    """The keys of those that are counted, each once; the key of a fiber is its id."""
    if not (references or handles):
        return []
    keys: dict[int | str, None] = {each.key: None for each in references if each.is_counted}
    keys.update((handle.id, None) for handle in handles)
    return [key for key in keys if isinstance(key, int)]


def pin(references: Iterable[Reference]) -> None:
    """Pin references that leave untracked: their keys live as long as the run."""
    for each in references:
        each.pin()
