"""Arguments of functions that take several values, or one iterable of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

__all__ = ["spread"]

_NEVER_SPREAD: Final = (str, bytes, BaseException)


def spread(args: tuple[Any, ...]) -> Iterable[Any]:
    """The arguments; or the only one, if it is an iterable to be taken for its items."""
    if len(args) == 1 and isinstance(args[0], Iterable) and not isinstance(args[0], _NEVER_SPREAD):
        return args[0]
    return args
