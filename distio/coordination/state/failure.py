"""The failure of a fiber, which is reported unless somebody gets its outcome."""

from __future__ import annotations

from typing import Any, NamedTuple

from distio.result import Errors, Panic

__all__ = ["Failure"]


class Failure(NamedTuple):
    """How a fiber has failed."""

    run: int
    fiber: int
    name: str | None
    result: Errors[Any, Any] | Panic[Any, Any]
