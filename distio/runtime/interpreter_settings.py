"""Settings of the interpreter that a program has made while it runs: its workers have them, too.

A script sets such things in its first lines, which workers never run: how deep calls may go, how
large a field of a CSV file may be, which warnings are shown. A setting that belongs to a module is
read if the program has imported that: else nobody has set it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple, TypeAlias

from distio._imports import collects_garbage

__all__ = ["InterpreterSettings", "interpreter_settings", "set_interpreter"]

InterpreterSettings: TypeAlias = dict[str, Any]
"""Settings by name, as JSON has them."""
_HALF_A_MICROSECOND: Final = 5e-7
"""Python cuts the interval off to whole microseconds."""
_OF_CONTEXTS: Final = "prec", "rounding", "Emin", "Emax", "capitals", "clamp"


class _Setting(NamedTuple):
    module: str
    """The module that it belongs to."""
    read: Callable[[Any], Any]
    """Reads it from the module; None: it isn't set."""
    set: Callable[[Any, Any], object]


def interpreter_settings() -> InterpreterSettings:
    """The settings of this process, but for those of modules that it hasn't imported."""
    modules = {name: sys.modules.get(each.module) for name, each in _SETTINGS.items()}
    return {name: _SETTINGS[name].read(module) for name, module in modules.items() if module}


def set_interpreter(settings: InterpreterSettings) -> None:
    """Let this process have the settings of another one; threads that run keep their stacks."""
    for name, value in settings.items():
        setting = _SETTINGS[name]
        if value is not None or setting.module in sys.modules:
            setting.set(import_module(setting.module), value)


# -- settings that Python has no pair of functions for -------------------------------------


def _set_switch_interval(sys: Any, seconds: float) -> None:
    sys.setswitchinterval(seconds + _HALF_A_MICROSECOND)


def _stack_size(threading: Any) -> int:
    size: int = threading.stack_size()
    threading.stack_size(size)  # to ask for it resets it
    return size


def _garbage(gc: Any) -> list[Any]:
    return [collects_garbage(), *gc.get_threshold()]


def _set_garbage(gc: Any, garbage: list[Any]) -> None:
    is_enabled, *thresholds = garbage
    gc.set_threshold(*thresholds)
    if is_enabled:
        gc.enable()
    else:
        gc.disable()


def _decimals(decimal: Any) -> list[Any]:
    """The parts of the context that new threads begin with."""
    default = decimal.DefaultContext
    traps = sorted(signal.__name__ for signal, traps in default.traps.items() if traps)
    return [*(getattr(default, name) for name in _OF_CONTEXTS), traps]


def _set_decimals(decimal: Any, decimals: list[Any]) -> None:
    default = decimal.DefaultContext
    *values, traps = decimals
    for name, value in zip(_OF_CONTEXTS, values, strict=True):
        setattr(default, name, value)
    for signal in default.traps:
        default.traps[signal] = signal.__name__ in traps


# -- filters of warnings -------------------------------------------------------------------


class _NamedCategory(type):
    """The class of a stand-in for a category of warnings, which may be of a module that isn't
    imported here: the category of that name, and its subclasses, count as subclasses of it."""

    named: tuple[str, str]

    def __subclasscheck__(cls, category: type) -> bool:
        return any((each.__module__, each.__qualname__) == cls.named for each in category.__mro__)


def _category(module: str, name: str) -> type[Warning]:
    found = getattr(sys.modules.get(module), name, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    made: Any = _NamedCategory(name, (Warning,), {"named": (module, name)})
    stand_in: type[Warning] = made
    return stand_in


def _filters(warnings: Any) -> list[list[Any]]:
    return [
        [action, _pattern(message), *_name_of(category), _pattern(module), line]
        for action, message, category, module, line in warnings.filters
    ]


_given_filters: Final[list[list[Any]]] = []
"""The filters that another process had, and this one has got from it."""


def _set_filters(warnings: Any, filters: list[list[Any]]) -> None:
    """Let the filters of another process come before one's own."""
    given = [*_given_filters, *filters]
    own = [each for each in _filters(warnings) if each not in given]
    _given_filters[:] = filters
    warnings.resetwarnings()
    for action, message, *named, module, line in [*filters, *own]:
        kind = _category(*named)
        warnings.filterwarnings(action, message or "", kind, module or "", line, append=True)


def _name_of(category: Any) -> tuple[str, str]:
    if isinstance(category, _NamedCategory):
        return category.named
    return category.__module__, category.__qualname__


def _pattern(found: Any) -> str | None:
    """The pattern of a text; Python itself puts texts there that stand for themselves."""
    if isinstance(found, str):
        return re.escape(found) + r"\Z"
    return None if found is None else str(found.pattern)


def _logs_warnings(logging: Any) -> bool | None:
    """Whether warnings are logged, by `logging.captureWarnings`."""
    shows = sys.modules["warnings"].showwarning
    return True if shows.__module__ == logging.__name__ else None


def _pair(module: str, read: str, set: str) -> _Setting:
    """The setting that two functions of a module read and set."""
    return _Setting(
        module,
        lambda found: getattr(found, read)(),
        lambda found, value: getattr(found, set)(value),
    )


_SETTINGS: Final[dict[str, _Setting]] = {
    "recursion_limit": _pair("sys", "getrecursionlimit", "setrecursionlimit"),
    "int_max_str_digits": _pair("sys", "get_int_max_str_digits", "set_int_max_str_digits"),
    "switch_interval": _Setting("sys", lambda sys: sys.getswitchinterval(), _set_switch_interval),
    "traceback_limit": _Setting(
        "sys",
        lambda sys: getattr(sys, "tracebacklimit", None),
        lambda sys, limit: setattr(sys, "tracebacklimit", limit),
    ),
    "writes_no_bytecode": _Setting(
        "sys",
        lambda sys: sys.dont_write_bytecode,
        lambda sys, value: setattr(sys, "dont_write_bytecode", value),
    ),
    "stack_size": _Setting(
        "threading", _stack_size, lambda threading, size: threading.stack_size(size)
    ),
    "garbage": _Setting("gc", _garbage, _set_garbage),
    "locale": _Setting(
        "locale",
        lambda locale: locale.setlocale(locale.LC_ALL),
        lambda locale, name: locale.setlocale(locale.LC_ALL, name),
    ),
    "csv_field_limit": _pair("csv", "field_size_limit", "field_size_limit"),
    "socket_timeout": _pair("socket", "getdefaulttimeout", "setdefaulttimeout"),
    "start_method": _Setting(
        "multiprocessing",
        lambda multiprocessing: multiprocessing.get_start_method(allow_none=True),
        lambda multiprocessing, method: multiprocessing.set_start_method(method, force=True),
    ),
    "decimals": _Setting("decimal", _decimals, _set_decimals),
    "warnings": _Setting("warnings", _filters, _set_filters),
    "logs_warnings": _Setting(
        "logging", _logs_warnings, lambda logging, value: logging.captureWarnings(value)
    ),
}
