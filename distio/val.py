"""Values with a name, for lambdas, which can't have variables.

>>> from distio import Val
>>> Val(3).map(lambda n: n + 1)
Val(value=4)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from distio import io, resource
from distio.core.ops.base import IO, spread
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
        return Val(f(self.value))

    def traverse(self, f: Callable[[A], IO[Any, Any, B]]) -> IO[Any, Any, Val[B]]:
        """The program that computes the Val of what `f(value)` computes.

        >>> Val(1).traverse(lambda n: io.pure(n + 1)).run(None)
        Ok(success=Val(value=2))
        """
        return io.defer_io(f, self.value).map(Val)

    def flat_map(self, f: Callable[[A], Val[B]]) -> Val[B]:
        """What `f(value)` returns, a Val.

        >>> Val(1).flat_map(lambda n: Val([n]))
        Val(value=[1])
        """
        return f(self.value)

    def flatten(self: Val[Val[B]]) -> Val[B]:
        """The Val inside of this one.

        >>> Val(Val(1)).flatten()
        Val(value=1)
        """
        return self.value

    @classmethod
    def zip(cls, *vals: Any) -> Val[list[Any]]:
        """The Val of the list of the values of these, or of those of one iterable.

        >>> Val.zip(Val(1), Val("a"))
        Val(value=[1, 'a'])
        """
        return Val([each.value for each in spread(vals)])

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
        function: Any = self.value
        return Val(function(*[each.value for each in spread(arg)]))
