"""The base of distio's errors, and the error for a caller's mistake."""

from __future__ import annotations

from dataclasses import dataclass

from distio._equality import ComparedByValue

__all__ = ["DistioError", "MatchError"]


@dataclass(eq=False)
class MatchError(ComparedByValue, TypeError):
    """A value is of another kind than the one that was expected."""

    message: str

    def __post_init__(self) -> None:
        super().__init__(self.message)


class DistioError(ComparedByValue, Exception):
    """Base of what distio itself raises, or puts into a panic."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message
