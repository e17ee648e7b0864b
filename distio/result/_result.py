"""`Result` and its three cases.

`Result[E, A]` is a union for type checkers, so that a `match` of the three cases is exhaustive;
Python has no other way to say that a class has no more subclasses. At run time it is the base
class of the three, so that `isinstance` and subscripts cost nothing.

Methods come in pairs. `map` makes a Panic of an exception that its argument raises; `unsafe_map`
lets the exception through; and so on for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    final,
)

from distio._hints import hint_at, missing
from distio.errors import (
    DomainErrors,
    MatchError,
    MultipleExceptions,
    TracedException,
    WrongOutcome,
)
from distio.result._exceptions import exception_of, raise_failure
from distio.result._text import MOST_CHARACTERS, brief, fitted, panic_headline, panic_text, shown

__all__ = [
    "BaseResult",
    "ComputationStatus",
    "Errors",
    "Ok",
    "Panic",
    "Result",
    "gather",
    "returns_result",
    "safe",
]

E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)
E2 = TypeVar("E2")
E3 = TypeVar("E3")
A2 = TypeVar("A2")
X = TypeVar("X")
_FIELDS = ("success", "errors", "exceptions")
P = ParamSpec("P")


@final
class ComputationStatus(IntEnum):
    """Whether a computation succeeded: a release of a resource is told."""

    FAILED = 0
    SUCCEEDED = 1


def safe(f: Callable[P, Result[E2, A2]]) -> Callable[P, Result[E2, A2]]:
    """Decorate a function that returns a Result: an exception becomes a Panic.

    Args:
        f: a function that returns a Result.

    Returns:
        A function of the same arguments that never raises an Exception.

    >>> @safe
    ... def half(n):
    ...     return Ok(n / 0)
    >>> half(1).is_panic()
    True
    """
    return _guarded(f)


def _guarded(f: Callable[P, X]) -> Callable[P, X | Panic[Never, Never]]:
    """`safe` for functions that may return something else."""

    @wraps(f)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> X | Panic[Never, Never]:
        try:
            return f(*args, **kwargs)
        except Exception as exception:  # noqa: BLE001 (that is what it is for)
            return Panic([TracedException.in_except_clause(exception)], [])

    return wrapper


def returns_result(f: Callable[P, A2]) -> Callable[P, Result[Never, A2]]:
    """Decorate any function: its value becomes an Ok, an exception a Panic.

    Args:
        f: any function.

    Returns:
        A function of the same arguments that returns a Result.

    >>> returns_result(int)("7"), returns_result(int)("seven").is_panic()
    (Ok(success=7), True)
    """

    @safe
    @wraps(f)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Result[Never, A2]:
        return Ok(f(*args, **kwargs))

    return wrapper


@hint_at("Result")
class BaseResult(Generic[E, A]):
    """The outcome of a computation: an `Ok`, `Errors` or a `Panic`.

    Errors are failures that a program is prepared for, of a type of its own. A Panic holds
    exceptions, for which nobody was prepared, and the errors that came before them.

    >>> match Ok(3).map(lambda n: n + 1):
    ...     case Ok(n):
    ...         print(n)
    ...     case Errors(errors):
    ...         print(len(errors), "errors")
    ...     case Panic(exceptions, errors):
    ...         print(exceptions[0])
    4

    `isinstance(x, Result)` works; type checkers want `isinstance(x, Ok | Errors | Panic)`.
    """

    __slots__ = ()

    # -- looking at it --------------------------------------------------------------------

    def get(self) -> A:
        """The value; a failure is raised, as the user's own exception.

        Returns:
            The value of an Ok.

        Raises:
            BaseException: the exception of a Panic, or an error that is an exception: itself. Its
                notes say where it came about: the item, the fiber, the worker, and the traceback
                if that was left in another process.
            DomainErrors: the only failures are errors that are no exceptions.
            ExceptionGroup: there are several failures; a BaseExceptionGroup if one of them is no
                Exception.

        >>> try:
        ...     Ok("five").map(int).get()
        ... except ValueError as error:
        ...     print(error)
        invalid literal for int() with base 10: 'five'
        """
        if isinstance(self, Ok):
            return self.success  # type: ignore[no-any-return]  # its A is ours
        try:
            raise_failure(*self._failures())
        finally:
            del self  # the traceback of what was raised holds this frame

    def _failures(self) -> tuple[list[TracedException], list[Any]]:
        if isinstance(self, Panic):
            return self.exceptions, self.errors
        return [], self.errors if isinstance(self, Errors) else []

    if not TYPE_CHECKING:  # checkers tell what a case doesn't have

        def __getattr__(self, name: str) -> Any:
            """Tell that this case has no such field, and what it has instead."""
            kind = type(self)
            if name.startswith("__"):  # pickle and copy ask each Result for such names
                raise AttributeError(f"{kind.__name__!r} has no attribute {name!r}")
            if name not in _FIELDS or name in kind.__slots__:
                instead = missing("Result", name, dir(kind))
                raise AttributeError(f"{kind.__name__!r} has no attribute {name!r}{instead}")
            if kind is Ok:
                has = f"its value is {shown(self.success, 100)}; `match` tells the cases apart"
                raise WrongOutcome(f"Ok has no {name}: {has}")
            failures = self._failures()
            has = f"{brief(*failures)} (get() raises it, and `match` tells the cases apart)"
            raise WrongOutcome(f"{kind.__name__} has no {name}: {has}") from exception_of(*failures)

    def is_ok(self) -> bool:
        """Whether this is an Ok."""
        return isinstance(self, Ok)

    def is_error(self) -> bool:
        """Whether this is Errors."""
        return isinstance(self, Errors)

    def is_panic(self) -> bool:
        """Whether this is a Panic."""
        return isinstance(self, Panic)

    def to_computation_status(self) -> ComputationStatus:
        """SUCCEEDED for an Ok, FAILED for all else."""
        return ComputationStatus(isinstance(self, Ok))

    def unsafe_fold(
        self,
        on_success: Callable[[A], X],
        on_error: Callable[[list[E]], X],
        on_panic: Callable[[list[TracedException], list[E]], X],
    ) -> X:
        """`fold`, but an exception of the function is let through."""
        if isinstance(self, Ok):
            return on_success(self.success)
        if isinstance(self, Errors):
            return on_error(self.errors)
        if isinstance(self, Panic):
            return on_panic(self.exceptions, self.errors)
        raise MatchError(f"expected Ok, Errors or Panic, but got {self!r}")

    @_guarded
    def fold(
        self,
        on_success: Callable[[A], X],
        on_error: Callable[[list[E]], X],
        on_panic: Callable[[list[TracedException], list[E]], X],
    ) -> X:
        """Call the function for this case, with the fields of this Result."""
        return self.unsafe_fold(on_success, on_error, on_panic)

    def unsafe_fold_raise(
        self, on_success: Callable[[A], X], on_error: Callable[[list[E]], X]
    ) -> X:
        """Call the function for this case; raise a Panic as MultipleExceptions."""
        return self.unsafe_fold(on_success, on_error, _raise)

    @_guarded
    def fold_raise(self, on_success: Callable[[A], X], on_error: Callable[[list[E]], X]) -> X:
        """`unsafe_fold_raise`, but every exception becomes a Panic again."""
        return self.unsafe_fold_raise(on_success, on_error)

    def raise_on_panic(self) -> Result[E, A]:
        """Return this Result, but raise MultipleExceptions for a Panic."""
        if isinstance(self, Panic):
            _raise(self.exceptions, self.errors)
        return self  # type: ignore[return-value]  # one of the three

    def unsafe_get(self) -> A:
        """The value; Errors are raised as DomainErrors, a Panic as MultipleExceptions."""
        return self.unsafe_fold(_same, _raise_errors, _raise)

    # -- values ---------------------------------------------------------------------------

    def unsafe_map(self, f: Callable[[A], A2]) -> Result[E, A2]:
        """`map`, but an exception of `f` is let through."""
        if isinstance(self, Ok):
            return Ok(f(self.success))
        return self  # type: ignore[return-value]  # a failure has no A in it

    @safe
    def map(self, f: Callable[[A], A2]) -> Result[E, A2]:
        """Apply `f` to the value of an Ok."""
        return self.unsafe_map(f)

    def unsafe_flat_map(self, f: Callable[[A], Result[E2, A2]]) -> Result[E | E2, A2]:
        """`flat_map`, but an exception of `f` is let through."""
        if isinstance(self, Ok):
            return f(self.success)
        return self  # type: ignore[return-value]  # a failure has no A in it

    @safe
    def flat_map(self, f: Callable[[A], Result[E2, A2]]) -> Result[E | E2, A2]:
        """Go on with the Result that `f` makes of the value of an Ok."""
        return self.unsafe_flat_map(f)

    def unsafe_tri_map(
        self,
        f: Callable[[A], A2],
        g: Callable[[E], E2],
        h: Callable[[TracedException], BaseException | TracedException],
    ) -> Result[E2, A2]:
        """`tri_map`, but an exception of the functions is let through."""
        return self.unsafe_map(f).unsafe_map_panic(h).unsafe_map_error(g)

    @safe
    def tri_map(
        self,
        f: Callable[[A], A2],
        g: Callable[[E], E2],
        h: Callable[[TracedException], BaseException | TracedException],
    ) -> Result[E2, A2]:
        """Apply `f` to the value, `g` to each error, `h` to each exception."""
        return self.unsafe_tri_map(f, g, h)

    def unsafe_ap(
        self: BaseResult[E2, Callable[..., A2]], *arg: Result[E3, Any]
    ) -> Result[E2 | E3, A2]:
        """`ap`, but an exception of the function is let through."""
        return gather((self, *arg)).unsafe_map(lambda values: values[0](*values[1:]))

    @safe
    def ap(self: BaseResult[E2, Callable[..., A2]], *arg: Result[E3, Any]) -> Result[E2 | E3, A2]:
        """Call the function that is the value with the values of `arg`; or keep all failures."""
        return self.unsafe_ap(*arg)

    def zip(self, *arg: Result[E2, A2]) -> Result[E | E2, list[A | A2]]:
        """The list of all values, or all failures: see the function `zip`."""
        return gather((self, *arg))

    def flatten(self: BaseResult[E2, Result[E2, A2]]) -> Result[E2, A2]:
        """The Result that is the value of an Ok."""
        return self.unsafe_flat_map(_same)

    # -- failures -------------------------------------------------------------------------

    def unsafe_map_error(self, f: Callable[[E], E2]) -> Result[E2, A]:
        """`map_error`, but an exception of `f` is let through."""
        if isinstance(self, Errors):
            return Errors([f(error) for error in self.errors])
        if isinstance(self, Panic):
            return Panic(self.exceptions, [f(error) for error in self.errors])
        return self  # type: ignore[return-value]  # an Ok has no E in it

    @safe
    def map_error(self, f: Callable[[E], E2]) -> Result[E2, A]:
        """Apply `f` to each error, be it of Errors or of a Panic."""
        return self.unsafe_map_error(f)

    def unsafe_catch(self, handler: Callable[[list[E]], Result[E2, A2]]) -> Result[E2, A | A2]:
        """`catch`, but an exception of `handler` is let through."""
        if isinstance(self, Errors):
            return handler(self.errors)
        return self  # type: ignore[return-value]  # one of the two others

    @safe
    def catch(self, handler: Callable[[list[E]], Result[E2, A2]]) -> Result[E2, A | A2]:
        """Go on with what `handler` makes of Errors: the `except` of Results."""
        return self.unsafe_catch(handler)

    def unsafe_map_panic(
        self, f: Callable[[TracedException], BaseException | TracedException]
    ) -> Result[E, A]:
        """`map_panic`, but an exception of `f` is let through."""
        if isinstance(self, Panic):
            exceptions = TracedException.ensure_list_traced([f(exn) for exn in self.exceptions])
            return Panic(exceptions, self.errors)
        return self  # type: ignore[return-value]  # one of the two others

    @safe
    def map_panic(
        self, f: Callable[[TracedException], BaseException | TracedException]
    ) -> Result[E, A]:
        """Apply `f` to each exception of a Panic."""
        return self.unsafe_map_panic(f)

    def unsafe_recover(
        self, handler: Callable[[list[TracedException], list[E]], Result[E2, A2]]
    ) -> Result[E | E2, A | A2]:
        """`recover`, but an exception of `handler` is let through."""
        if isinstance(self, Panic):
            return handler(self.exceptions, self.errors)
        return self  # type: ignore[return-value]  # one of the two others

    @safe
    def recover(
        self, handler: Callable[[list[TracedException], list[E]], Result[E2, A2]]
    ) -> Result[E | E2, A | A2]:
        """Go on with what `handler` makes of the exceptions and errors of a Panic."""
        return self.unsafe_recover(handler)


@final
@dataclass(slots=True, repr=False)
class Ok(BaseResult[E, A]):
    """A success.

    >>> Ok(1).map(str)
    Ok(success='1')
    """

    success: A

    def __repr__(self) -> str:
        return fitted(self._headline(MOST_CHARACTERS - 200))

    def _headline(self, room: int) -> str:
        return f"Ok(success={shown(self.success, room)})"

    def _repr_html_(self) -> str:
        from distio.result._html import ok_html

        return ok_html(self.success)


@final
@dataclass(slots=True, repr=False)
class Errors(BaseResult[E, A]):
    """Expected failures.

    >>> Errors(["no such user"]).catch(lambda errors: Ok("guest"))
    Ok(success='guest')
    """

    errors: list[E]

    def __repr__(self) -> str:
        return fitted(self._headline(MOST_CHARACTERS - 200))

    def _headline(self, room: int) -> str:
        return f"Errors(errors={shown(self.errors, room, 'errors')})"

    def _repr_html_(self) -> str:
        from distio.result._html import errors_html

        return errors_html(self.errors)


@final
@dataclass(slots=True, repr=False)
class Panic(BaseResult[E, A]):
    """Unexpected failures, and the errors that came with them.

    >>> panic(ValueError("impossible")).exceptions[0].exception
    ValueError('impossible')
    """

    exceptions: list[TracedException]
    errors: list[E]

    def __repr__(self) -> str:
        return panic_text(self.exceptions, self.errors)

    def _headline(self, room: int) -> str:
        return panic_headline(self.exceptions, self.errors, room)

    def _repr_html_(self) -> str:
        from distio.result._html import panic_html

        return panic_html(self.exceptions, self.errors)


if TYPE_CHECKING:
    Result: TypeAlias = Ok[E, A] | Errors[E, A] | Panic[E, A]
else:
    Result = BaseResult
    Result.__name__ = Result.__qualname__ = "Result"


def gather(results: Iterable[Any]) -> Result[Any, list[Any]]:
    """Merge Results: all values in order; or all failures in order, as a Panic if one of them
    is."""
    values: list[Any] = []
    errors: list[Any] = []
    exceptions: list[TracedException] = []
    # a failure may be empty, and is one nevertheless
    has_errors = has_panic = False
    for result in results:
        if isinstance(result, Ok):
            values.append(result.success)
        elif isinstance(result, Errors):
            has_errors = True
            errors += result.errors
        elif isinstance(result, Panic):
            has_panic = True
            exceptions += result.exceptions
            errors += result.errors
        else:
            has_panic = True
            stray = MatchError(f"expected a Result, but got {result!r}")
            exceptions.append(TracedException.ensure_traced(stray))
    if has_panic:
        return Panic(exceptions, errors)
    return Errors(errors) if has_errors else Ok(values)


def _same(value: X) -> X:
    return value


def _raise_errors(errors: list[Any]) -> NoReturn:
    raise DomainErrors(errors)


def _raise(exceptions: list[TracedException], errors: list[Any]) -> NoReturn:
    raise MultipleExceptions.merge(*exceptions, errors=errors)
