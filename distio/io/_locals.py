"""Local values of fibers: each has a name, and a fiber inherits the values of its parent.

>>> from distio import io
>>> user = io.Local("user", "nobody")
>>> greet = user.get.map(lambda name: f"hello {name}")
>>> io.zip(greet, user.with_("Ada", io.zip_par(greet, greet))).run(None)
Ok(success=('hello nobody', ('hello Ada', 'hello Ada')))
"""

from __future__ import annotations

from typing import Any, Generic, Never, TypeVar, final

from distio.core import expect, ops
from distio.core.ops.base import IO, require_io
from distio.errors import MatchError

__all__ = ["Local"]

R = TypeVar("R")
E = TypeVar("E")
A = TypeVar("A")
B = TypeVar("B")


@final
class Local(Generic[A]):
    """A value that each fiber has for itself: no other fiber sees what one sets.

    A new fiber has the value that its parent has at that moment. Later changes are its own. The
    values travel with their fibers, so on a cluster they have to be picklable.

    Args:
        name: a str that isn't empty. Two `Local`s of one name are the same, in every process.
        default: the value of a fiber that has set none.

    Raises:
        MatchError: `name` is no such str.

    >>> from distio import io
    >>> depth = io.Local("depth", 0)
    >>> depth.set(1).then(io.parallel(depth.set(2))).flat_map(io.wait).then(depth.get).run(None)
    Ok(success=1)
    """

    __slots__ = ("default", "name")

    def __init__(self, name: str, default: A) -> None:
        if wrong := expect.no_name(name, "Local"):
            raise MatchError(wrong)
        self.name = name
        self.default = default

    @property
    def get(self) -> IO[Any, Never, A]:
        """The program that computes the value in this fiber.

        >>> from distio.io import Local
        >>> Local("depth", 0).get.run(None)
        Ok(success=0)
        """
        return ops.GetLocal(self.name, self.default)

    def set(self, value: A) -> IO[Any, Never, None]:
        """Make `value` the value in this fiber from now on.

        Args:
            value: any value.

        Returns:
            A program that computes None.

        >>> from distio.io import Local
        >>> depth = Local("depth", 0)
        >>> depth.set(1).then(depth.get).run(None)
        Ok(success=1)
        """
        return ops.SetLocal(self.name, value)

    def with_(self, value: A, main: IO[R, E, B]) -> IO[R, E, B]:
        """Make `value` the value in this fiber while `main` runs.

        Args:
            value: any value.
            main: the program that finds the value.

        Returns:
            A program with the outcome of `main`. The earlier value is back then, whatever the
            outcome is.

        Raises:
            MatchError: `main` is no IO.

        >>> from distio.io import Local
        >>> depth = Local("depth", 0)
        >>> depth.with_(1, depth.get).zip(depth.get).run(None)
        Ok(success=(1, 0))
        """
        return ops.WithLocal(require_io(main, "Local.with_"), self.name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Local, (self.name, self.default)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Local) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<Local {self.name!r}>"
