"""Outcomes: `Ok`, expected `Errors`, or a `Panic` that nobody expected.

Methods come in pairs: `map` turns what its argument raises into a Panic, `unsafe_map` lets it
through; and so on for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Any, Generic, NoReturn, TypeVar, final

from distio.errors import DomainErrors, MatchError, MultipleExceptions, TracedException

__all__ = [
    "ComputationStatus",
    "Errors",
    "Ok",
    "Panic",
    "Result",
    "error",
    "errors",
    "ok",
    "panic",
    "pure",
    "returns_result",
    "safe",
    "seq",
    "sequence",
    "traverse",
    "zip",
]

E = TypeVar("E", covariant=True)
A = TypeVar("A", covariant=True)
X = TypeVar("X")
E2 = TypeVar("E2")
A2 = TypeVar("A2")


@final
class ComputationStatus(IntEnum):
    """Whether a computation went well, for those who release its resources."""

    FAILED = 0
    SUCCEEDED = 1


def seq(*a: Any) -> Any:
    """The last argument, or the last item of the only one.

    >>> seq(1, 2), seq([1, 2, 3])
    (2, 3)
    """
    items = _spread(a)
    if not items:
        raise ValueError("seq: expected at least one value, but got none")
    return items[-1]


def safe(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that returns a Result: what it raises becomes a Panic.

    >>> @safe
    ... def half(n):
    ...     return Ok(n / 0)
    >>> half(1).is_panic()
    True
    """

    @wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except Exception as exception:  # noqa: BLE001 (that is what it is for)
            return Panic([TracedException.in_except_clause(exception)], [])

    return wrapper


def returns_result(f: Callable[..., A2]) -> Callable[..., Result[Any, A2]]:
    """Decorate any function: what it returns becomes an Ok, what it raises a Panic.

    >>> returns_result(int)("7")
    Ok(success=7)
    """

    @wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Result[Any, A2]:
        try:
            return Ok(f(*args, **kwargs))
        except Exception as exception:  # noqa: BLE001 (that is what it is for)
            return Panic([TracedException.in_except_clause(exception)], [])

    return wrapper


class Result(Generic[E, A]):
    """What came of a computation.

    Errors are failures that a program is prepared for, of a type of its own; a Panic holds
    exceptions, which nobody was prepared for, and any errors that came before them.

    >>> match Ok(3).map(lambda n: n + 1):
    ...     case Ok(n):
    ...         print(n)
    4
    """

    __slots__ = ()

    # -- looking at it --------------------------------------------------------------------

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
        return ComputationStatus.SUCCEEDED if self.is_ok() else ComputationStatus.FAILED

    def unsafe_fold(
        self,
        on_success: Callable[[Any], X],
        on_error: Callable[[list[Any]], X],
        on_panic: Callable[[list[TracedException], list[Any]], X],
    ) -> X:
        """Call the function for this case."""
        if isinstance(self, Ok):
            return on_success(self.success)
        if isinstance(self, Errors):
            return on_error(self.errors)
        if isinstance(self, Panic):
            return on_panic(self.exceptions, self.errors)
        raise MatchError(f"expected a Result, but got {self!r}")

    def unsafe_fold_raise(
        self, on_success: Callable[[Any], X], on_error: Callable[[list[Any]], X]
    ) -> X:
        """Call the function for this case; raise a Panic."""
        return self.unsafe_fold(on_success, on_error, _raise)

    def raise_on_panic(self) -> Result[E, A]:
        """This Result; a Panic is raised as MultipleExceptions."""
        if isinstance(self, Panic):
            _raise(self.exceptions, self.errors)
        return self

    def unsafe_get(self) -> A:
        """The value; Errors are raised as DomainErrors, a Panic as MultipleExceptions."""
        if isinstance(self, Errors):
            raise DomainErrors(self.errors)
        value: A = self.unsafe_fold_raise(_same, _same)
        return value

    # -- values ---------------------------------------------------------------------------

    def unsafe_map(self, f: Callable[[Any], A2]) -> Result[E, A2]:
        """Apply `f` to the value of an Ok."""
        return Ok(f(self.success)) if isinstance(self, Ok) else self  # type: ignore[return-value]  # no A in it

    def unsafe_flat_map(self, f: Callable[[Any], Result[E2, A2]]) -> Result[E | E2, A2]:
        """The Result that `f` makes of the value of an Ok."""
        return f(self.success) if isinstance(self, Ok) else self  # type: ignore[return-value]  # no A in it

    def unsafe_tri_map(
        self,
        f: Callable[[Any], A2],
        g: Callable[[Any], E2],
        h: Callable[[TracedException], Any],
    ) -> Result[E2, A2]:
        """Apply `f` to the value, `g` to each error, `h` to each exception."""
        return self.unsafe_fold(
            lambda value: Ok(f(value)),
            lambda errors: Errors([g(error) for error in errors]),
            lambda exceptions, errors: Panic(
                TracedException.ensure_list_traced([h(exn) for exn in exceptions]),
                [g(error) for error in errors],
            ),
        )

    def unsafe_ap(self, *arg: Result[Any, Any]) -> Result[Any, Any]:
        """Call the function that this holds with the values of `arg`."""
        return zip((self, *arg)).unsafe_map(lambda values: values[0](*values[1:]))

    def zip(self, *arg: Result[Any, A2]) -> Result[Any, list[Any]]:
        """The list of all values, or all failures."""
        return zip((self, *arg))

    def flatten(self) -> Result[Any, Any]:
        """The Result that is the value."""
        return self.success if isinstance(self, Ok) else self

    # -- failures -------------------------------------------------------------------------

    def unsafe_map_error(self, f: Callable[[Any], E2]) -> Result[E2, A]:
        """Apply `f` to each error of Errors and of a Panic."""
        if isinstance(self, Errors):
            return Errors([f(error) for error in self.errors])
        if isinstance(self, Panic):
            return Panic(self.exceptions, [f(error) for error in self.errors])
        return self  # type: ignore[return-value]  # an Ok has no E in it

    def unsafe_catch(self, handler: Callable[[list[Any]], Result[E2, A2]]) -> Result[Any, Any]:
        """On Errors, what `handler` makes of them."""
        return handler(self.errors) if isinstance(self, Errors) else self

    def unsafe_map_panic(self, f: Callable[[TracedException], Any]) -> Result[E, A]:
        """Apply `f` to each exception of a Panic."""
        if isinstance(self, Panic):
            exceptions = TracedException.ensure_list_traced([f(exn) for exn in self.exceptions])
            return Panic(exceptions, self.errors)
        return self

    def unsafe_recover(
        self, handler: Callable[[list[TracedException], list[Any]], Result[E2, A2]]
    ) -> Result[Any, Any]:
        """On a Panic, what `handler` makes of its exceptions and errors."""
        return handler(self.exceptions, self.errors) if isinstance(self, Panic) else self

    # -- the same, but what is raised becomes a Panic -------------------------------------

    fold = safe(unsafe_fold)
    fold_raise = safe(unsafe_fold_raise)
    map = safe(unsafe_map)
    flat_map = safe(unsafe_flat_map)
    tri_map = safe(unsafe_tri_map)
    ap = safe(unsafe_ap)
    map_error = safe(unsafe_map_error)
    catch = safe(unsafe_catch)
    map_panic = safe(unsafe_map_panic)
    recover = safe(unsafe_recover)


@final
@dataclass(slots=True)
class Ok(Result[E, A]):
    """A success.

    >>> Ok(1).map(str)
    Ok(success='1')
    """

    success: A


@final
@dataclass(slots=True)
class Errors(Result[E, A]):
    """Expected failures.

    >>> Errors(["no such user"]).catch(lambda errors: Ok("guest"))
    Ok(success='guest')
    """

    errors: list[E]


@final
@dataclass(slots=True)
class Panic(Result[E, A]):
    """Unexpected failures, and the errors that came with them.

    >>> panic(ValueError("impossible")).exceptions[0].exception
    ValueError('impossible')
    """

    exceptions: list[TracedException]
    errors: list[E]


def ok(a: A2) -> Result[Any, A2]:
    """`Ok(a)`."""
    return Ok(a)


pure = ok


def error(err: E2) -> Result[E2, Any]:
    """Errors with one error.

    >>> error("too long")
    Errors(errors=['too long'])
    """
    return Errors([err])


def errors(*errs: Any) -> Result[Any, Any]:
    """Errors with these errors, or those of one iterable.

    >>> errors("too long", "too late")
    Errors(errors=['too long', 'too late'])
    """
    return Errors(list(_spread(errs)))


def panic(*exceptions: Any, errors: Iterable[Any] | None = None) -> Result[Any, Any]:
    """A Panic with these exceptions, or those of one iterable."""
    traced = TracedException.ensure_list_traced(_spread(exceptions))
    return Panic(traced, list(errors) if errors else [])


def zip(*l: Any) -> Result[Any, list[Any]]:  # noqa: E741 (raffiot's name)
    """The values of these Results, or of those of one iterable; or all their failures.

    >>> zip(Ok(1), Ok(2)), zip(Ok(1), error("a"), error("b"))
    (Ok(success=[1, 2]), Errors(errors=['a', 'b']))
    """
    return _gather(_spread(l))


def sequence(*l: Any) -> Result[Any, Any]:  # noqa: E741 (raffiot's name)
    """The last value of these Results, or of those of one iterable; or all their failures.

    >>> sequence(Ok(1), Ok(2))
    Ok(success=2)
    """
    gathered = _gather(_spread(l))
    if isinstance(gathered, Ok):
        return Ok(gathered.success[-1] if gathered.success else None)
    return gathered


def traverse(l: Iterable[Any], f: Callable[[Any], Result[E2, A2]]) -> Result[Any, list[A2]]:  # noqa: E741
    """The values of `f(item)` for each item; or all failures.

    >>> traverse([1, 2], lambda n: Ok(n * n))
    Ok(success=[1, 4])
    """
    careful = safe(f)
    return _gather([careful(item) for item in l])


def _gather(results: Iterable[Any]) -> Result[Any, list[Any]]:
    values: list[Any] = []
    errors: list[Any] = []
    exceptions: list[TracedException] = []
    for result in results:
        if isinstance(result, Ok):
            values.append(result.success)
        elif isinstance(result, Errors):
            errors += result.errors
        elif isinstance(result, Panic):
            exceptions += result.exceptions
            errors += result.errors
        else:
            match = MatchError(f"expected a Result, but got {result!r}")
            exceptions.append(TracedException.with_stack_trace(match))
    if exceptions:
        return Panic(exceptions, errors)
    return Errors(errors) if errors else Ok(values)


def _spread(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, or the items of the only argument if that is an iterable."""
    if len(args) == 1 and isinstance(args[0], Iterable) and not isinstance(args[0], str | bytes):
        return tuple(args[0])
    return args


def _same(value: Any) -> Any:
    return value


def _raise(exceptions: list[TracedException], errors: list[Any]) -> NoReturn:
    raise MultipleExceptions.merge(*exceptions, errors=errors)
