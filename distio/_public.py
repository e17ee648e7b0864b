"""What users see of a name that a private chapter defines: the package that gives it to them."""

from __future__ import annotations

from collections.abc import Mapping
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
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and module.startswith(f"{package}._"):
            value.__module__ = package
