"""References to objects that stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

import distio.core.ops as ops
from distio.protocol.ids import name_of

if TYPE_CHECKING:
    from distio.core.ops.base import IO

__all__ = ["Located"]

A = TypeVar("A")


@final
class Located(Generic[A]):
    """A reference to an object that stays in one process; good everywhere, small, picklable.

    Made by `io.located`. Its methods are those of the object, but they return programs:
    `ref.method(...)` is the program that calls `object.method(...)` in the process that has the
    object, and computes what the call returns. Calls are made one at a time, first come first
    served. The arguments and what is returned travel; the object never does.

    It lives until its run ends. If its process is lost, calls end in a panic on `WorkerLost`.

    >>> from distio import io
    >>> def use(words):
    ...     return words.append("one").then(words.append("two"), io.at(words, len))
    >>> io.located(list).flat_map(use).run(None)
    Ok(success=2)
    """

    __slots__ = ("_home", "_key", "_type")

    def __init__(self, home: int, key: int, type: str) -> None:
        self._home = home
        self._key = key
        self._type = type

    def __getattr__(self, name: str) -> Callable[..., IO[Any, Any, Any]]:
        if name.startswith("_"):  # what Python itself asks for, or what is private there
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return _Method(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Located, (self._home, self._key, self._type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Located) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Located {self._type} {name_of(self._key)}>"


@final
class _Method:
    """A method of the object; calling it makes a program."""

    __slots__ = ("_located", "_name")

    def __init__(self, located: Located[Any], name: str) -> None:
        self._located = located
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
        return ops.at(self._located, _call_method, (self._name, *args), kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Method, (self._located, self._name)

    def __repr__(self) -> str:
        return f"<method {self._name!r} of {self._located!r}>"


def _call_method(obj: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return getattr(obj, name)(*args, **kwargs)
