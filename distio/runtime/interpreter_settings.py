"""Settings of the interpreter that a program has made while it runs: its workers have them, too.

A script sets such things in its first lines, which workers never run: how deep calls may go, which
warnings are shown.
"""

from __future__ import annotations

import builtins
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

__all__ = ["InterpreterSettings", "interpreter_settings", "set_interpreter"]

InterpreterSettings: TypeAlias = dict[str, Any]
"""Settings by name, as JSON has them."""
_HALF_A_MICROSECOND: Final = 5e-7
"""Python cuts the interval off to whole microseconds."""


def interpreter_settings() -> InterpreterSettings:
    """The settings of this process."""
    stack_size = threading.stack_size()
    threading.stack_size(stack_size)  # to ask for it resets it
    return {
        "recursion_limit": sys.getrecursionlimit(),
        "int_max_str_digits": sys.get_int_max_str_digits(),
        "switch_interval": sys.getswitchinterval(),
        "stack_size": stack_size,
        "warnings": list(_filters()),
    }


def set_interpreter(settings: InterpreterSettings) -> None:
    """Let this process have the settings of another one; threads that run keep their stacks."""
    sys.setrecursionlimit(settings["recursion_limit"])
    sys.set_int_max_str_digits(settings["int_max_str_digits"])
    sys.setswitchinterval(settings["switch_interval"] + _HALF_A_MICROSECOND)
    threading.stack_size(settings["stack_size"])
    own = list(_filters())
    for each in reversed(settings["warnings"]):
        if each not in own:
            action, message, category, module, line = each
            kind = getattr(builtins, category)
            warnings.filterwarnings(action, message or "", kind, module or "", line)


def _filters() -> Iterator[list[Any]]:
    """The filters of warnings of built-in categories: others may be of modules that aren't
    everywhere."""
    for action, message, category, module, line in warnings.filters:
        if isinstance(category, type) and category.__module__ == "builtins":
            yield [action, _pattern(message), category.__name__, _pattern(module), line]


def _pattern(found: Any) -> str | None:
    """The pattern of a text; Python itself puts texts there that stand for themselves."""
    if isinstance(found, str):
        return re.escape(found) + r"\Z"
    return None if found is None else str(found.pattern)
