"""Errors on the way from one process to another."""

from __future__ import annotations

from typing import final

from distio.errors._base import DistioError

__all__ = ["ForeignException", "NotDeterministic", "NotImportable", "NotPicklable"]


@final
class NotPicklable(DistioError):
    """Something that has to travel can't be pickled; the message is the path to it."""


@final
class NotImportable(DistioError):
    """A pickle names a function, class or module that this process can't import."""


@final
class NotDeterministic(DistioError):
    """A function of `io.do` has moved, was repeated, and did something else than before."""


@final
class ForeignException(DistioError):
    """Stands for an exception that could not be made again in this process."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(message)
        self.args = (type_name, message)
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"
