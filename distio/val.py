"""Values with a name, for lambdas, which can't have variables.

>>> from distio import Val
>>> Val(3).map(lambda n: n + 1)
Val(value=4)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeVar, final, overload

import distio.io as io
import distio.resource as resource
from distio._public import publish
from distio.core import expect
from distio.core.ops.arguments import Container, container_of, spread
from distio.core.ops.base import IO, require_io
from distio.core.type_vars import A2, A3, E, R
from distio.errors import MatchError
from distio.resource import Resource

__all__ = ["Val"]

A = TypeVar("A", covariant=True)
B = TypeVar("B")


@final
@dataclass(frozen=True, slots=True)
class Val(Generic[A]):
    """One value that never changes."""

    value: A

    @classmethod
    def pure(cls, a: B) -> Val[B]:
        """The Val of `a`.

        >>> Val.pure(1)
        Val(value=1)
        """
        return Val(a)

    def get(self) -> A:
        """The value.

        >>> Val(1).get()
        1
        """
        return self.value

    def get_io(self) -> IO[Any, Never, A]:
        """The program that computes the value.

        >>> Val(1).get_io().run(None)
        Ok(success=1)
        """
        return io.pure(self.value)

    def get_rs(self) -> Resource[Any, Never, A]:
        """The resource that is the value.

        >>> Val(1).get_rs().use(io.pure).run(None)
        Ok(success=1)
        """
        return resource.pure(self.value)

    def map(self, f: Callable[[A], B]) -> Val[B]:
        """The Val of `f(value)`.

        >>> Val(1).map(str)
        Val(value='1')
        """
        return Val(expect.function(f, "Val.map")(self.value))

    def traverse(self, f: Callable[[A], IO[R, E, B]]) -> IO[R, E, Val[B]]:
        """The program that computes the Val of what `f(value)` computes.

        >>> Val(1).traverse(lambda n: io.pure(n + 1)).run(None)
        Ok(success=Val(value=2))
        """
        expect.function(f, "Val.traverse")
        return io.defer_io(lambda: require_io(f(self.value), "Val.traverse", f)).map(Val)

    def flat_map(self, f: Callable[[A], Val[B]]) -> Val[B]:
        """The Val that `f(value)` returns.

        >>> Val(1).flat_map(lambda n: Val([n]))
        Val(value=[1])
        """
        made: Any = expect.function(f, "Val.flat_map")(self.value)
        if not isinstance(made, Val):
            advice = "Val makes one of a value; map takes a function that returns a value"
            raise expect.returned("Val.flat_map", f, "a Val", made, advice)
        return made

    def flatten(self: Val[Val[B]]) -> Val[B]:
        """The Val inside of this one.

        >>> Val(Val(1)).flatten()
        Val(value=1)
        """
        return _require_val(self.value, "Val.flatten")

    @overload
    @classmethod
    def zip(cls, vals: Iterable[Val[B]], /) -> Val[list[B]]: ...
    @overload
    @classmethod
    def zip(cls, a: Val[B], b: Val[A2], /) -> Val[tuple[B, A2]]: ...
    @overload
    @classmethod
    def zip(cls, a: Val[B], b: Val[A2], c: Val[A3], /) -> Val[tuple[B, A2, A3]]: ...
    @overload
    @classmethod
    def zip(
        cls, a: Val[Any], b: Val[Any], c: Val[Any], d: Val[Any], /, *more: Val[Any]
    ) -> Val[tuple[Any, ...]]: ...
    @classmethod
    def zip(cls, *vals: Any) -> Val[Any]:
        """The Val of the tuple of the values of these; of one iterable, of the list of them.

        >>> Val.zip(Val(1), Val("a")), Val.zip([Val(1), Val(2)])
        (Val(value=(1, 'a')), Val(value=[1, 2]))
        """
        return _zipped(spread(vals), container_of(vals))

    @overload
    def zip_with(self, vals: Iterable[Val[B]], /) -> Val[list[A | B]]: ...
    @overload
    def zip_with(self, b: Val[B], /) -> Val[tuple[A, B]]: ...
    @overload
    def zip_with(self, b: Val[B], c: Val[A2], /) -> Val[tuple[A, B, A2]]: ...
    @overload
    def zip_with(
        self, b: Val[Any], c: Val[Any], d: Val[Any], /, *more: Val[Any]
    ) -> Val[tuple[Any, ...]]: ...
    def zip_with(self, *vals: Any) -> Val[Any]:
        """The Val of the tuple of this value and of those of `vals`; of one iterable, of a list.

        >>> Val(1).zip_with(Val(2), Val(3))
        Val(value=(1, 2, 3))
        """
        return _zipped((self, *spread(vals)), container_of(vals))

    def ap(self, *arg: Any) -> Val[Any]:
        """The Val of what the function in this one returns for the values of `arg`.

        >>> Val(max).ap(Val(1), Val(2))
        Val(value=2)
        """
        function: Any = expect.function(self.value, "Val.ap")  # type: ignore[type-var]  # it may be
        return Val(function(*[_require_val(each, "Val.ap").value for each in spread(arg)]))


def _zipped(vals: tuple[Any, ...], container: Container) -> Val[Any]:
    return Val(container([_require_val(each, "Val.zip").value for each in vals]))


def _require_val(found: Any, where: str) -> Val[Any]:
    if isinstance(found, Val):
        return found
    raise MatchError(
        f"{where}: expected a Val, but got {expect.shown(found)}; Val(value) makes one"
    )


publish(__name__, globals())
