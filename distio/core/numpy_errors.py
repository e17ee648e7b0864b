"""The state in which NumPy is for errors of numbers: `np.seterr`, `np.errstate`.

From 2.0 on, NumPy keeps that in a context variable, whose value is an object that only NumPy knows.
So it is read and made by NumPy's own functions, in a context of its own.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar
from importlib import import_module
from typing import Any, Final, NamedTuple

__all__ = ["ErrorState", "find_numpy_variable", "is_error_state", "make_error_state", "state_of"]

_SHOWN: Final = '<capsule object "numpy.ufunc.extobj"'
"""How the `repr` of a value begins: its class has no name that Python gives out before 3.13."""


class ErrorState(NamedTuple):
    """A value of the variable, as data."""

    modes: dict[str, str]
    """The way in which each kind of error is handled."""
    buffer_size: int
    call: Any
    """The function that is called, or None."""


def find_numpy_variable() -> ContextVar[Any] | None:
    """The variable; None if NumPy isn't imported, or keeps this by thread."""
    return getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None)


def is_error_state(obj: Any) -> bool:
    """Whether an object is a value of the variable."""
    return type(obj).__name__ == "PyCapsule" and repr(obj).startswith(_SHOWN)


def state_of(value: Any) -> ErrorState:
    """A value of the variable, as data."""

    def read() -> ErrorState:
        variable.set(value)
        return ErrorState(numpy.geterr(), numpy.getbufsize(), numpy.geterrcall())

    numpy, variable = _numpy()
    return Context().run(read)


def make_error_state(state: ErrorState) -> Any:
    """A value of the variable, made again."""

    def make() -> Any:
        numpy.seterr(**state.modes)
        numpy.setbufsize(state.buffer_size)
        numpy.seterrcall(state.call)
        return variable.get()

    numpy, variable = _numpy()
    return Context().run(make)


def _numpy() -> tuple[Any, ContextVar[Any]]:
    numpy: Any = import_module("numpy")
    variable = find_numpy_variable()
    assert variable is not None, "both processes have the same NumPy"
    return numpy, variable
