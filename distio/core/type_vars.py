"""The type variables of functions and methods that combine programs.

Of several programs, the errors are the union of all their errors. mypy forms the union only of
variables that differ; other checkers form that of a single variable, and lose it if all of several
are `Never`. So they see one variable under all these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from distio.core.error_var import E2

__all__ = [
    "A",
    "A2",
    "A3",
    "A4",
    "A5",
    "A6",
    "E",
    "E2",
    "E3",
    "E4",
    "E5",
    "E6",
    "E7",
    "Context",
    "Item",
    "P",
    "R",
    "R2",
]

MYPY: Final = False
"""mypy takes a constant of this name to be true."""

R = TypeVar("R")
R2 = TypeVar("R2")
Context = TypeVar("Context", bound=Any)
"""The context of a function that reads it; Any if that is a lambda, whose parameter has no type."""
E = TypeVar("E")
A = TypeVar("A")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
A6 = TypeVar("A6")
P = ParamSpec("P")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Item = TypeVarWithDefault("Item", default=Any)
else:
    Item = TypeVar("Item")
"""The type of the items of a queue and the like; Any if none is given."""

if MYPY:
    E3 = TypeVar("E3")
    E4 = TypeVar("E4")
    E5 = TypeVar("E5")
    E6 = TypeVar("E6")
    E7 = TypeVar("E7")
else:
    from distio.core.error_var import E2 as E3
    from distio.core.error_var import E2 as E4
    from distio.core.error_var import E2 as E5
    from distio.core.error_var import E2 as E6
    from distio.core.error_var import E2 as E7
