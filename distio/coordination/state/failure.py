"""The failure of a fiber, which is reported unless somebody gets its outcome."""

from __future__ import annotations

from typing import Any, NamedTuple

from distio.core.fiber import Fiber
from distio.result import Errors, Panic

__all__ = ["Failure", "is_cancellation"]


class Failure(NamedTuple):
    """How a fiber has failed."""

    run: int
    fiber: int
    name: str | None
    result: Errors[Any, Any] | Panic[Any, Any]


def is_cancellation(fiber: Fiber) -> bool:
    """Whether the fiber has failed by its cancellation alone, which is no failure to report."""
    failure = fiber.failure
    return (
        fiber.unwinding is not None
        and isinstance(failure, Panic)
        and len(failure.exceptions) == 1
        and not failure.errors
    )
