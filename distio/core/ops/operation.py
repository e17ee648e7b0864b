"""An operation as data: its fields, its repr, and how it becomes bytes."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from distio.core.ops.flattening import assemble, flatten

if TYPE_CHECKING:
    from distio.core.fiber import Fiber
    from distio.core.ops.base import IO

__all__ = ["Operation"]


class Operation:
    """One node of a program. Users combine and run its subclass `IO`."""

    __slots__ = ()

    # The fields, in the order of the constructor. The IOs that an operation is made of are all in
    # its first field: `io`, one of them, or `ios`, a tuple. All other fields are data.
    _names: ClassVar[tuple[str, ...]] = ()
    # Whether the fiber of this operation runs in its parent's process if it can't be pickled.
    _may_stay: ClassVar[bool] = True

    def _evaluate(self, fiber: Fiber) -> IO[Any, Any, Any] | None:
        """Start this operation; return the IO to evaluate next, or None: the outcome is there."""
        raise NotImplementedError

    def _fields(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self._names])

    def _inner(self) -> str:
        names = self._names[:1]
        return names[0] if names and names[0] in ("io", "ios") else ""

    def _named_parts(self) -> Iterator[tuple[str, Any]]:
        """The data fields of the operation, each with words for where in a program it is."""
        for field in self._fields()[1 if self._inner() else 0 :]:
            yield f"operation {type(self).__name__}", field

    def __repr__(self) -> str:
        fields = self._fields()
        name = type(self).__name__
        inner = self._inner()
        if inner == "io":
            return f"IO(….{name}({', '.join(map(_brief, fields[1:]))}))"
        if inner == "ios":
            return f"IO({name} of {len(fields[0])})"
        return f"IO({name}({', '.join(map(_brief, fields))}))"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a flat list of operations, so that depth costs no recursion."""
        if not self._inner():
            return type(self), self._fields()
        return assemble, (flatten(self),)


def _brief(field: Any) -> str:
    name = getattr(field, "__qualname__", None)
    return str(name) if callable(field) and name else reprlib.repr(field)
