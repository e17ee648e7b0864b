"""Variables that fibers share, wherever they run.

>>> from distio import Var, io
>>> def count(var):
...     add = var.update(lambda n: (n + 1, None))
...     return io.zip_par([add] * 10).then(var.get())
>>> Var.create(0).flat_map(count).run(None)
Ok(success=10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Never, TypeVar, final, overload

import distio.io as io
import distio.resource as resource
from distio._public import publish
from distio.core import expect, ops
from distio.core.ops.arguments import Container, container_of, failing, spread
from distio.core.ops.base import IO, require_io
from distio.core.references import HoldsReference
from distio.core.type_vars import A2, A3, E, R
from distio.errors import MatchError
from distio.protocol.requests import Lock
from distio.resource import Resource
from distio.resource._resource import of_lock, require_resource

__all__ = ["UpdateResult", "Var"]

A = TypeVar("A")
B = TypeVar("B")


@final
@dataclass(frozen=True, slots=True)
class UpdateResult(Generic[A, B]):
    """The outcome of an update."""

    old_value: A
    new_value: A
    returned: B
    """The second value that the function returned."""

    def __reduce__(self) -> tuple[Any, ...]:
        # faster than what dataclasses do: snapshots of fibers hold it
        return UpdateResult, (self.old_value, self.new_value, self.returned)


@final
class Var(HoldsReference, Generic[A]):
    """A variable: one value that any fiber of its run can read and set, one fiber at a time.

    `Var.create` makes a variable. A `Var` is small and travels. The coordinator keeps the value, as
    bytes, and copies it to the fiber that uses it. So on a cluster the value has to be picklable,
    and a change inside of the value counts only once the value is set again. A variable is for the
    run that made it, and lives as long as a fiber of that run can reach it.

    Each use takes the lock of the variable. Inside `var.lock().with_(...)` a fiber may use the
    variable any number of times, and no other fiber comes between. The value then travels once each
    way.

    >>> from distio import Var
    >>> Var.create(1).flat_map(lambda var: var.set(2).then(var.get())).run(None)
    Ok(success=2)
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: Lock) -> None:
        if not isinstance(lock, Lock):
            raise MatchError(
                f"Var: expected a lock, but got {expect.shown(lock)}; "
                f"Var.create(value) is the program that makes a variable"
            )
        self._lock = lock

    def __reduce__(self) -> tuple[Any, ...]:
        return Var, (self._lock,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Var) and other._lock == self._lock

    def __hash__(self) -> int:
        return hash(self._lock)

    def __repr__(self) -> str:
        return f"<Var {self._lock.key}>"

    @classmethod
    def create(cls, a: B) -> IO[Any, Never, Var[B]]:
        """The program that makes a variable.

        Args:
            a: the first value.

        Returns:
            A program that computes the `Var`.
        """
        return ops.MakeLock(a).map(Var)

    @classmethod
    def create_rs(cls, a: B) -> Resource[Any, Never, Var[B]]:
        """`create` as a resource, whose release does nothing."""
        return resource.lift_io(cls.create(a))

    def lock(self) -> Resource[Any, Never, None]:
        """The reentrant lock that each use of the variable takes."""
        return of_lock(self._lock)

    def _locked(self, use: IO[R, E, B]) -> IO[R, E, B]:
        return self.lock().with_(use)

    def _then(self, f: Callable[[A], IO[R, E, B]]) -> IO[R, E, B]:
        """Go on with `f(value)`; the fiber holds the lock."""
        return ops.ReadVar(self._lock).flat_map(f)

    # -- reading and setting --------------------------------------------------------------

    def get(self) -> IO[Any, Never, A]:
        """Compute the value."""
        return self._locked(ops.ReadVar(self._lock))

    def get_rs(self) -> Resource[Any, Never, A]:
        """The value as a resource; no other fiber can use the variable until its release."""
        return self.lock().then(resource.lift_io(ops.ReadVar(self._lock)))

    def set(self, v: A) -> IO[Any, Never, None]:
        """Make `v` the value."""
        return self._locked(ops.WriteVar(self._lock, v))

    def set_rs(self, v: A) -> Resource[Any, Never, None]:
        """`set` as a resource; no other fiber can use the variable until its release."""
        return self.lock().then(resource.lift_io(ops.WriteVar(self._lock, v)))

    def get_and_set(self, v: A) -> IO[Any, Never, A]:
        """Make `v` the value; compute the earlier value."""
        return self._locked(self._swapped(v))

    def get_and_set_rs(self, v: A) -> Resource[Any, Never, A]:
        """`get_and_set` as a resource; no other fiber can use the variable until its release."""
        return self.lock().then(resource.lift_io(self._swapped(v)))

    def _swapped(self, v: A) -> IO[Any, Any, A]:
        return ops.ReadVar(self._lock).then_keep(ops.WriteVar(self._lock, v))

    # -- updating -------------------------------------------------------------------------

    def update(self, f: Callable[[A], tuple[A, B]]) -> IO[Any, Never, UpdateResult[A, B]]:
        """Set the variable to the first value that `f` returns.

        The function is called once, while no other fiber can use the variable. If it raises, the
        variable keeps its value.

        Args:
            f: a function of the value that returns a pair: the new value, and any other value.

        Returns:
            A program that computes an `UpdateResult`.

        Raises:
            MatchError: `f` is no function.

        >>> from distio import Var
        >>> counted = lambda var: var.update(lambda n: (n + 1, "more"))
        >>> Var.create(1).flat_map(counted).run(None)
        Ok(success=UpdateResult(old_value=1, new_value=2, returned='more'))
        """
        expect.function(f, "Var.update")
        return self._locked(self._then(lambda old: self._updated("Var.update", f, old, f(old))))

    def update_io(self, f: Callable[[A], IO[R, E, tuple[A, B]]]) -> IO[R, E, UpdateResult[A, B]]:
        """`update` with a function that returns a program, which computes the pair."""

        expect.function(f, "Var.update_io")

        def then(old: A) -> IO[R, E, UpdateResult[A, B]]:
            computed = require_io(f(old), "Var.update_io", f)
            return computed.flat_map(partial(self._updated, "Var.update_io", f, old))

        return self._locked(self._then(then))

    def update_rs(
        self, f: Callable[[A], Resource[R, E, tuple[A, B]]]
    ) -> Resource[R, E, UpdateResult[A, B]]:
        """`update` with a function that returns a resource of the pair.

        No other fiber can use the variable until the release of that resource.
        """
        expect.function(f, "Var.update_rs")

        def then(old: A) -> Resource[R, E, UpdateResult[A, B]]:
            made = require_resource(f(old), "Var.update_rs", f)
            updated = partial(self._updated, "Var.update_rs", f, old)
            return made.flat_map(lambda new: resource.lift_io(updated(new)))

        return self.lock().then(resource.lift_io(ops.ReadVar(self._lock))).flat_map(then)

    def _updated(self, where: str, f: Any, old: A, new: Any) -> IO[Any, Never, UpdateResult[A, B]]:
        if not (isinstance(new, tuple | list) and len(new) == 2):
            raise MatchError(
                f"{where}: expected a pair (new value, what is returned) from {expect.named(f)}, "
                f"but got {expect.shown(new)}; if nothing is returned, give (new value, None)"
            )
        value, returned = new
        result = UpdateResult(old, value, returned)
        return ops.WriteVar(self._lock, value).then(io.pure(result))

    # -- several --------------------------------------------------------------------------

    def traverse(self, f: Callable[[A], IO[R, E, B]]) -> IO[R, E, Var[B]]:
        """Make another variable of the value that the program `f(value)` computes."""
        expect.function(f, "Var.traverse")
        made = self._then(lambda value: require_io(f(value), "Var.traverse", f))
        return self._locked(made.flat_map(Var.create))

    @overload
    @classmethod
    def zip(cls, vars: Iterable[Var[B]], /) -> IO[Any, Never, list[B]]: ...
    @overload
    @classmethod
    def zip(cls, a: Var[B], b: Var[A2], /) -> IO[Any, Never, tuple[B, A2]]: ...
    @overload
    @classmethod
    def zip(cls, a: Var[B], b: Var[A2], c: Var[A3], /) -> IO[Any, Never, tuple[B, A2, A3]]: ...
    @overload
    @classmethod
    def zip(
        cls, a: Var[Any], b: Var[Any], c: Var[Any], d: Var[Any], /, *more: Var[Any]
    ) -> IO[Any, Never, tuple[Any, ...]]: ...
    @classmethod
    def zip(cls, *vars: Any) -> IO[Any, Any, Any]:
        """Compute the tuple of the values of several variables at one moment.

        Of one iterable of variables, it is the list of their values.
        """
        return cls._zipped(spread(vars), "Var.zip", container_of(vars))

    @classmethod
    def _zipped(
        cls, several: tuple[Any, ...], where: str, container: Container = tuple
    ) -> IO[Any, Any, Any]:
        for each in several:
            if not isinstance(each, Var):
                advice = "Var.create(value) is the program that makes one"
                return failing(f"{where}: expected a Var, but got {expect.shown(each)}; {advice}")
        # in one order everywhere, so that two who do this never wait for each other
        locks = [each.lock() for each in sorted(several, key=lambda each: each._lock.key)]
        values = ops.Zip(tuple([ops.ReadVar(each._lock) for each in several]), container)
        return resource.zip(locks).with_(values)

    @overload
    def zip_with(self, vars: Iterable[Var[B]], /) -> IO[Any, Never, list[A | B]]: ...
    @overload
    def zip_with(self, b: Var[B], /) -> IO[Any, Never, tuple[A, B]]: ...
    @overload
    def zip_with(self, b: Var[B], c: Var[A2], /) -> IO[Any, Never, tuple[A, B, A2]]: ...
    @overload
    def zip_with(
        self, b: Var[Any], c: Var[Any], d: Var[Any], /, *more: Var[Any]
    ) -> IO[Any, Never, tuple[Any, ...]]: ...
    def zip_with(self, *vars: Any) -> IO[Any, Any, Any]:
        """Compute the values of this variable and of `vars`, at one moment, as `zip` does."""
        return self._zipped((self, *spread(vars)), "Var.zip_with", container_of(vars))

    def ap(self, *arg: Any) -> IO[Any, Never, Any]:
        """Call the function that is the value of this variable with the values of others."""
        return self._zipped((self, *spread(arg)), "Var.ap").map(_applied)


def _applied(values: tuple[Any, ...]) -> Any:
    return expect.function(values[0], "Var.ap")(*values[1:])


publish(__name__, globals())
