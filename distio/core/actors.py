"""References to actors: objects that stay in one process, until it leaves the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, TypeVar, final, overload

import distio.core.ops as ops
from distio.core.type_vars import P
from distio.protocol.ids import name_of

if TYPE_CHECKING:
    from distio.core.ops.base import IO

__all__ = ["Actor"]

A = TypeVar("A")
B = TypeVar("B")


@final
class Actor(Generic[A]):
    """A reference to an object that stays in one process; it works everywhere, and can be pickled.

    `io.actor` makes it. Calls of the object are programs: `actor.method(...)` calls that method in
    the process that has the object, and computes what the method returns; `actor.call(f, ...)` does
    the same with any function of the object. An actor takes one call at a time, first come first
    served. Arguments and returned values travel; the object doesn't, unless its worker leaves the
    cluster (see `io.actor`).

    The object lives until its run ends. If its process is lost, calls end in a panic on
    `WorkerLost`.

    >>> from distio import io
    >>> def use(words):
    ...     return words.append("one").then(words.append("two"), words.call(len))
    >>> io.actor(list).flat_map(use).run(None)
    Ok(success=2)
    """

    __slots__ = ("_home", "_key", "_type")

    def __init__(self, home: int, key: int, type: str) -> None:
        self._home = home
        self._key = key
        self._type = type

    @overload
    def call(self, f: str, /, *args: Any, **kwargs: Any) -> IO[Any, Never, Any]: ...
    @overload
    def call(
        self, f: Callable[Concatenate[A, P], B], /, *args: P.args, **kwargs: P.kwargs
    ) -> IO[Any, Never, B]: ...
    def call(self, f: Any, /, *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
        """The program that calls `f(object, *args, **kwargs)` in the process that has the object.

        The actor takes no other call meanwhile.

        Args:
            f: a function, like `len` or `Counter.add`; or the name of a method, which also reaches
                a method that is called `call` or begins with an underscore.
            args: what `f` is called with, after the object.
            kwargs: what else `f` is called with.

        Returns:
            A program that computes what the call returns. An exception of the call is a Panic.

        Raises:
            MatchError: `f` is neither a function nor a name.

        >>> from distio import io
        >>> io.actor(list, "ab").flat_map(lambda it: it.call(sorted, reverse=True)).run(None)
        Ok(success=['b', 'a'])
        >>> io.actor(list, "ab").flat_map(lambda it: it.call("index", "b")).run(None)
        Ok(success=1)
        """
        if isinstance(f, str):
            return ops.call_actor(self, _call_method, (f, *args), kwargs)
        return ops.call_actor(self, f, args, kwargs)

    def __getattr__(self, name: str) -> Callable[..., IO[Any, Never, Any]]:
        if name.startswith("_"):  # Python itself asks for it, or it is private to the object
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return _Method(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Actor, (self._home, self._key, self._type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Actor) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<Actor {self._type} {name_of(self._key)}>"


@final
class _Method:
    """A method of the object; calling it makes a program."""

    __slots__ = ("_actor", "_name")

    def __init__(self, actor: Actor[Any], name: str) -> None:
        self._actor = actor
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> IO[Any, Any, Any]:
        return self._actor.call(self._name, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Method, (self._actor, self._name)

    def __repr__(self) -> str:
        return f"<method {self._name!r} of {self._actor!r}>"


def _call_method(obj: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return getattr(obj, name)(*args, **kwargs)
