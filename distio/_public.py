"""What users see of a name that a private chapter defines: the package that gives it to them."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

__all__ = ["publish"]


def publish(package: str, names: Mapping[str, Any]) -> None:
    """Let functions and classes of the chapters of a package say that they are of the package.

    So tracebacks, reprs, `help` and pickles say `distio.io.pure`, wherever that is defined.

    Args:
        package: its name.
        names: its global variables.
    """
    for value in names.values():
        is_named = isinstance(value, FunctionType | type)
        if is_named and value.__module__.startswith(f"{package}._"):
            value.__module__ = package
