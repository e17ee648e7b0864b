"""Values with a name, for lambdas, which can't have variables.

>>> from distio import Val
>>> Val(3).map(lambda n: n + 1)
Val(value=4)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

import distio.io as io
import distio.resource as resource
from distio._public import publish
from distio.core import expect
from distio.core.ops.base import IO, require_io, spread
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

    def get_io(self) -> IO[Any, Any, A]:
        """The program that computes the value.

        >>> Val(1).get_io().run(None)
        Ok(success=1)
        """
        return io.pure(self.value)

    def get_rs(self) -> Resource[Any, Any, A]:
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

    def traverse(self, f: Callable[[A], IO[Any, Any, B]]) -> IO[Any, Any, Val[B]]:
        """The program that computes the Val of what `f(value)` computes.

        >>> Val(1).traverse(lambda n: io.pure(n + 1)).run(None)
        Ok(success=Val(value=2))
        """
        expect.function(f, "Val.traverse")
        return io.defer_io(lambda: require_io(f(self.value), "Val.traverse", f)).map(Val)

    def flat_map(self, f: Callable[[A], Val[B]]) -> Val[B]:
        """What `f(value)` returns, a Val.

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

    @classmethod
    def zip(cls, *vals: Any) -> Val[list[Any]]:
        """The Val of the list of the values of these, or of those of one iterable.

        >>> Val.zip(Val(1), Val("a"))
        Val(value=[1, 'a'])
        """
        return Val([_require_val(each, "Val.zip").value for each in spread(vals)])

    def zip_with(self, *vals: Any) -> Val[list[Any]]:
        """The Val of the list of this value and of those of `vals`.

        >>> Val(1).zip_with(Val(2), Val(3))
        Val(value=[1, 2, 3])
        """
        return Val.zip(self, *spread(vals))

    def ap(self, *arg: Any) -> Val[Any]:
        """The Val of what the function in this one returns for the values of `arg`.

        >>> Val(max).ap(Val(1), Val(2))
        Val(value=2)
        """
        function: Any = expect.function(self.value, "Val.ap")  # type: ignore[type-var]  # it may be
        return Val(function(*[_require_val(each, "Val.ap").value for each in spread(arg)]))


def _require_val(found: Any, where: str) -> Val[Any]:
    if isinstance(found, Val):
        return found
    raise MatchError(
        f"{where}: expected a Val, but got {expect.shown(found)}; Val(value) makes one"
    )


publish(__name__, globals())
