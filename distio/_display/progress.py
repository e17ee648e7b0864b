"""The type of the argument by which users ask for progress."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[int, int | None], object] | bool | str | None
"""A function of how many are done and of how many there are; or a bar: True, or its label."""
