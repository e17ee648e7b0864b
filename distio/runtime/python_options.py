"""The options of the interpreter, so that another process is the same kind of Python.

Only what Python documents is read: `sys.flags`, `sys.warnoptions`, `sys._xoptions`. Environment
variables are inherited, so an option that came from one of them holds there anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

__all__ = ["Flags", "import_options", "options_of", "python_options"]

_LETTERS: Final = {
    "debug": "d",
    "optimize": "O",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "bytes_warning": "b",
    "quiet": "q",
    "isolated": "I",
    "ignore_environment": "E",
    "no_user_site": "s",
    "safe_path": "P",
}
"""By the name of the flag, which is how often the letter was given."""
_IMPLIED_BY_ISOLATED: Final = {"ignore_environment", "no_user_site", "safe_path"}
_ABOUT_IMPORTS: Final = {
    "dont_write_bytecode",
    "no_site",
    "isolated",
    "ignore_environment",
    "no_user_site",
    "safe_path",
}
_ABOUT_THE_START: Final = {"importtime"}
"""Options of -X that tell of one start of Python, not of the kind of process."""


class Flags(Protocol):
    """The fields of `sys.flags` that are read, beside the flags that have a letter."""

    @property
    def dev_mode(self) -> bool: ...
    @property
    def bytes_warning(self) -> int: ...
    @property
    def isolated(self) -> int: ...


def python_options() -> list[str]:
    """The options of this process, for a process that runs user code in its place."""
    warnings = _given_as_options(sys.warnoptions, _environment().get("PYTHONWARNINGS", ""))
    return [*_unbuffered(), *options_of(sys.flags, warnings, sys._xoptions)]


def import_options() -> list[str]:
    """The options that decide how modules are found, for a process that runs no user code.

    And -u, so that one fork server can serve for this process and for those that run user code.
    """
    return [*_unbuffered(), *_letters(sys.flags, _ABOUT_IMPORTS)]


def _unbuffered() -> list[str]:
    """No flag tells of -u, but how the stream was made."""
    is_unbuffered = getattr(sys.__stdout__, "write_through", False)
    return ["-u"] if is_unbuffered and not _environment().get("PYTHONUNBUFFERED") else []


def _environment() -> Mapping[str, str]:
    return {} if sys.flags.ignore_environment else os.environ


def options_of(
    flags: Flags, warnings: Sequence[str], x_options: Mapping[str, str | bool]
) -> list[str]:
    """The command line that makes these flags.

    Args:
        flags: as `sys.flags`.
        warnings: as `sys.warnoptions`; what other flags put there is left out.
        x_options: as `sys._xoptions`.
    """
    options = _letters(flags, _LETTERS)
    options += [f"-W{each}" for each in _without_implied(flags, warnings)]
    x_options = {"dev": True, **x_options} if flags.dev_mode else x_options
    for name, value in x_options.items():
        if name not in _ABOUT_THE_START:
            options += ["-X", name if value is True else f"{name}={value}"]
    return options


def _letters(flags: Flags, names: Sequence[str] | Mapping[str, str] | set[str]) -> list[str]:
    options = []
    for name, letter in _LETTERS.items():
        is_implied = flags.isolated and name in _IMPLIED_BY_ISOLATED
        if name in names and not is_implied and (times := int(getattr(flags, name))) > 0:
            options.append("-" + letter * times)
    return options


def _without_implied(flags: Flags, warnings: Sequence[str]) -> list[str]:
    """Python puts the filter of -X dev before all others, that of -b after them."""
    kept = list(warnings)
    if flags.dev_mode and kept[:1] == ["default"]:
        del kept[0]
    if flags.bytes_warning and kept:
        implied = "error" if flags.bytes_warning > 1 else "default"
        if kept[-1] == f"{implied}::BytesWarning":
            del kept[-1]
    return kept


def _given_as_options(warnings: Sequence[str], variable: str) -> list[str]:
    """The filters without those of PYTHONWARNINGS, which another process reads itself.

    The filters of the variable come after that of -X dev, and before those of -W. If the variable
    was changed since then, all filters count as given: -W is stronger.
    """
    inherited = [each for each in variable.split(",") if each]
    start = 1 if sys.flags.dev_mode and warnings[:1] == ["default"] else 0
    end = start + len(inherited)
    if list(warnings[start:end]) == inherited:
        return [*warnings[:start], *warnings[end:]]
    return list(warnings)
