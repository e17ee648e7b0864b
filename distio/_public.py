"""The public names of a module, and the advice for users who try others.

A name that a private chapter defines says that it is of the package that gives it to users.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["publish"]


def publish(module: str, names: dict[str, Any]) -> None:
    """Let users see what is theirs of a module or package, and no more.

    Its functions and classes say that they are of the package, wherever they are defined: so
    tracebacks, reprs, `help` and pickles say `distio.io.pure`. `dir` shows its public names. An
    unknown name is an error that says what to use.

    Args:
        module: its name.
        names: its global variables.
    """
    for value in names.values():
        is_named = isinstance(value, FunctionType | type)
        if is_named and value.__module__.startswith(f"{module}._"):
            value.__module__ = module
    public: list[str] = sorted(names["__all__"])
    names["__dir__"] = public.copy
    names["__getattr__"] = _refusal(module, public)


def _refusal(module: str, public: list[str]) -> Callable[[str], Any]:
    def refuse(name: str) -> Any:
        from distio._hints import missing_from

        raise missing_from(module, name, public)

    return refuse
