"""Text that can be shown, written and sent, whatever user code has made of it."""

from __future__ import annotations

import re
import traceback
from typing import Any, Final

__all__ = [
    "as_given",
    "is_label",
    "readable",
    "readable_exception",
    "repr_of",
    "sendable",
    "str_of",
]

_MARK: Final = "\0"
"""Begins a text that stands for another one."""
_ESCAPED: Final = re.compile(r"\\(\\|u[0-9a-f]{4})")


def sendable(text: str) -> str:
    """A text that UTF-8 can express, and that stands for this one and no other.

    >>> sendable("a printer"), sendable("caf\\udce9.txt")
    ('a printer', '\\x00caf\\\\udce9.txt')
    """
    plain = str.__str__(text)  # an instance of a subclass may call itself otherwise
    if not plain.startswith(_MARK):
        try:
            plain.encode()
        except UnicodeEncodeError:
            pass
        else:
            return plain
    return _MARK + readable(plain.replace("\\", "\\\\"))


def as_given(text: str) -> str:
    """The text that `sendable` has made this one of.

    >>> as_given(sendable("caf\\udce9.txt")) == "caf\\udce9.txt"
    True
    """
    if not text.startswith(_MARK):
        return text
    return _ESCAPED.sub(_character, text[len(_MARK) :])


def _character(escaped: re.Match[str]) -> str:
    code = escaped[1]
    return code if code == "\\" else chr(int(code[1:], 16))


def readable(text: str) -> str:
    """Escape the characters of a text that UTF-8 can't express.

    Names of files may hold such characters, where their bytes aren't UTF-8.

    >>> readable("caf\\udce9.txt")
    'caf\\\\udce9.txt'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def readable_exception(error: BaseException) -> str:
    """An exception in one line; its own text may be broken.

    >>> readable_exception(ValueError("no number"))
    'ValueError: no number'
    """
    lines = "".join(traceback.format_exception_only(error)).split()
    return readable(" ".join(lines))


def repr_of(value: Any) -> str:
    """The `repr` of a value; one that raises is told by its type.

    >>> repr_of([1])
    '[1]'
    """
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 (whatever user code does)
        return f"<a {type(value).__name__}>"


def str_of(error: BaseException) -> str:
    """The text of an exception; one that raises another is told by its type.

    >>> str_of(ValueError("no number"))
    'no number'
    """
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (whatever user code does)
        return f"<a {type(error).__name__}>"


def is_label(text: str) -> bool:
    """Whether a text can be told in one line, and typed again: as the name of a run is.

    >>> is_label("nightly report, 2026"), is_label(" nightly"), is_label("two\\nlines")
    (True, False, False)
    """
    return bool(text) and text.isprintable() and text == text.strip()
