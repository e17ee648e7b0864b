"""Context variables: each fiber steps in a `contextvars.Context` of its own (`Fiber.variables`).

A fiber without any variable has no context: its step is given an empty one, which becomes the
fiber's if a variable was set in it. A child starts with a copy of its parent's context. The values
of variables that a program has registered with `carry` travel, and so do the context of `decimal`
and what NumPy does on errors. A child that is sent elsewhere finds the defaults of all other
variables. A fiber that has begun stays as long as it has a value that it would lose.

The context of `decimal` is an object that programs change in place (`getcontext().prec = 9`), so
a copy of a context has a copy of that object, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar, copy_context
from functools import cache
from typing import Any, Final, TypeVar

from distio.core import expect
from distio.core.numpy_errors import find_numpy_variable, state_of
from distio.errors import MatchError
from distio.protocol.requests import NOTHING

__all__ = [
    "Carried",
    "carried_in",
    "carry",
    "changes",
    "contents_of",
    "context_of",
    "copied",
    "default_of",
    "find_decimal_variable",
    "is_as_copied",
    "is_carried",
    "of_the_caller",
    "others_in",
    "put",
    "reset_to",
]

A = TypeVar("A")

Carried = dict[ContextVar[Any], Any]
"""The values that travel, by variable; NOTHING for a registered variable that isn't set."""

_REGISTERED: Final[dict[ContextVar[Any], None]] = {}


# -- copies -----------------------------------------------------------------------------------


def of_the_caller() -> Context | None:
    """A copy of the context in which this is called, for the root of a run."""
    return copied(copy_context())


def copied(context: Context | None) -> Context | None:
    """A copy of a fiber's context for another fiber; None if the context is empty."""
    if not context:
        return None
    copy = context.copy()
    if "decimal" in sys.modules and (decimals := _decimal_in(copy)) is not None:
        copy.run(find_decimal_variable().set, decimals.copy())  # type: ignore[union-attr]  # it is there
    return copy


def is_as_copied(context: Context | None, original: Context | None) -> bool:
    """Whether a copy of this context is unchanged; if in doubt, it isn't."""
    if not original:
        return not context
    if context is None or len(context) != len(original):
        return False
    if "decimal" in sys.modules and _decimal_in(original) is not None:
        return False  # it may have been changed in place, and to compare takes as long as to copy
    return all(context.get(var, NOTHING) is value for var, value in original.items())


# -- what travels -----------------------------------------------------------------------------


def carry(var: ContextVar[A]) -> ContextVar[A]:
    """Let the value of a context variable travel with each fiber that moves to another process.

    Without this, a fiber finds the variable's default there. The variable has to be an attribute
    of a module, or a global variable of your script, and its values have to be picklable: a fiber
    with one that isn't stays in its process.

    Args:
        var: the variable.

    Returns:
        The same variable.

    Raises:
        MatchError: `var` is something else.

    >>> from contextvars import ContextVar
    >>> import distio
    >>> user = distio.carry(ContextVar("user", default="nobody"))
    >>> user.get()
    'nobody'
    """
    if not isinstance(var, ContextVar):
        raise MatchError(
            f"carry: expected a ContextVar, but got {expect.shown(var)}; "
            f"values that have a name in distio alone are io.Local"
        )
    _REGISTERED[var] = None
    return var


def is_carried(var: ContextVar[Any]) -> bool:
    """Whether the program has registered the variable with `carry`."""
    return var in _REGISTERED


def carried_in(context: Mapping[ContextVar[Any], Any] | None) -> Carried | None:
    """The values of a context that travel; None if there are none."""
    if not (_REGISTERED or context):
        return None
    if context is None:
        context = {}
    found: Carried = {var: context.get(var, NOTHING) for var in tuple(_REGISTERED)}
    decimals = _decimal_in(context)
    if decimals is not None and _state_of(decimals) != _decimal_as_delivered():
        found[find_decimal_variable()] = decimals.copy()  # type: ignore[index]  # it is there
    errors = find_numpy_variable()
    if errors is not None and errors in context:
        found[errors] = context[errors]
    return found or None


def context_of(carried: Carried | None) -> Context | None:
    """A context with what has travelled, whose variables are registered here as well."""
    if not carried:
        return None
    own = _of_libraries()
    for var in carried:
        if var not in own:
            carry(var)
    context = Context()
    context.run(put, {var: value for var, value in carried.items() if value is not NOTHING})
    return context or None


def default_of(var: ContextVar[Any]) -> Any:
    """The value of a variable that isn't set; NOTHING if it has none."""
    try:
        return Context().run(var.get)
    except LookupError:
        return NOTHING


# -- what changes -----------------------------------------------------------------------------


def changes(before: Carried | None, now: Carried | None) -> Carried:
    """The variables whose values have changed.

    A value counts as the same only if it is the same object, for programs change objects.
    """
    if before is now:  # most often both are None
        return {}
    before, now = before or {}, now or {}
    pairs = {var: (before.get(var, NOTHING), now.get(var, NOTHING)) for var in {**before, **now}}
    return {var: new for var, (old, new) in pairs.items() if not _is_same(var, old, new)}


def others_in(context: Context | None) -> Carried:
    """The values in a context that don't travel."""
    if not context:
        return {}
    travels = {*_REGISTERED, find_numpy_variable()}
    if _decimal_in(context) is not None:
        travels.add(_decimal_variable())
    return {var: value for var, value in context.items() if var not in travels}


def contents_of(carried: Carried) -> dict[str, Any]:
    """The contents of the values, by name; those of libraries compare by their fields."""
    own = _of_libraries()
    return {
        var.name: own[var](value) if var in own else value
        for var, value in carried.items()
        if value is not NOTHING
    }


def reset_to(context: Context | None) -> None:
    """Let variables have the values again that they had in this copy of the current context."""
    before: Mapping[ContextVar[Any], Any] = {} if context is None else context
    put({var: before.get(var, NOTHING) for var in copy_context()})


def put(values: Mapping[ContextVar[Any], Any]) -> None:
    """Set these values in the current context."""
    for var, value in values.items():
        if var is _decimal_variable():
            value = _new_decimal_context() if value is NOTHING else value.copy()
        elif value is NOTHING:  # it can't be unset without a token: its default does as well
            value = default_of(var)
        if value is not NOTHING:
            var.set(value)


def _is_same(var: ContextVar[Any], old: Any, new: Any) -> bool:
    if old is new or old is NOTHING or new is NOTHING:
        return old is new
    state = _of_libraries().get(var)
    return state is not None and bool(state(old) == state(new))


# -- of libraries -----------------------------------------------------------------------------


def _of_libraries() -> dict[ContextVar[Any], Callable[[Any], Any]]:
    """The variables of libraries that travel by themselves, and how to read the fields of each."""
    of_decimal, of_numpy = _decimal_variable(), find_numpy_variable()
    found: dict[ContextVar[Any], Callable[[Any], Any]] = {}
    if of_decimal is not None:
        found[of_decimal] = _state_of
    if of_numpy is not None:
        found[of_numpy] = state_of
    return found


# -- decimal ----------------------------------------------------------------------------------


def _decimal_variable() -> ContextVar[Any] | None:
    """The variable of `decimal`; None as long as no program has imported that module."""
    return find_decimal_variable() if "decimal" in sys.modules else None


@cache
def find_decimal_variable() -> ContextVar[Any] | None:
    """The variable in which `decimal` keeps its context: no name leads there, but a context does.

    None for a Python that was built to keep it by thread.
    """
    import decimal  # takes long, and few need it

    context = Context()
    context.run(decimal.getcontext)
    return next(iter(context), None)


def _decimal_in(context: Mapping[ContextVar[Any], Any] | None) -> Any:
    """The context of `decimal` in a context; None if there is none, or one of another class."""
    var = _decimal_variable() if context else None
    found = None if var is None else context.get(var)  # type: ignore[union-attr]  # it is there
    return found if type(found) is _decimal_class() else None


def _decimal_class() -> Any:
    return sys.modules["decimal"].Context if "decimal" in sys.modules else object


def _state_of(decimals: Any) -> Any:
    """The fields of a context of `decimal`, to be compared."""
    return decimals.__reduce__()[1]


@cache
def _decimal_as_delivered() -> Any:
    """The state of a context of `decimal` that no program has changed."""
    from decimal import ROUND_HALF_EVEN, DivisionByZero, InvalidOperation, Overflow
    from decimal import Context as Decimals

    traps = [InvalidOperation, DivisionByZero, Overflow]
    return _state_of(Decimals(28, ROUND_HALF_EVEN, -999_999, 999_999, 1, 0, [], traps))


def _new_decimal_context() -> Any:
    from decimal import Context as Decimals

    return Decimals(*_decimal_as_delivered())
