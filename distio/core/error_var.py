"""The type variable of errors, which `distio.core.type_vars` gives several names."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["E2"]

E2 = TypeVar("E2")
