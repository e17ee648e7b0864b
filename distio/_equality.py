"""Equality of exceptions that carry data."""

from __future__ import annotations

from typing import Any

__all__ = ["ComparedByValue"]


class ComparedByValue:
    """Base of exceptions that are equal if they are of one class and carry equal data.

    Notes, causes and tracebacks tell how an exception came about: they are no data.
    """

    args: tuple[Any, ...]

    def _data(self) -> object:
        attributes = {name: value for name, value in vars(self).items() if name != "__notes__"}
        return self.args, attributes

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return self._data() == other._data()

    def __hash__(self) -> int:
        # lists and user data may be unhashable, or change: a text is enough
        text = next((value for value in self.args if isinstance(value, str)), None)
        return hash((type(self), text))
