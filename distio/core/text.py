"""Text that can be shown, written and sent, whatever user code has made of it."""

from __future__ import annotations

import traceback
from typing import Any

__all__ = ["readable", "readable_exception", "repr_of", "str_of"]


def readable(text: str) -> str:
    """The same text, in which what UTF-8 can't express is escaped.

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
