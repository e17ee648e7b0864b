"""Results as text that fits on a screen, whatever they hold.

A text that leaves something out says how much. A text that fits is shown as Python shows it.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Final

from distio.errors import TracedException

__all__ = ["MOST_CHARACTERS", "brief", "ends_of", "fitted", "panic_headline", "panic_text", "shown"]

MOST_CHARACTERS: Final = 2_000
_MOST_LINES: Final = 25
_HEADLINE: Final = 600
"""Characters of the first line of a Panic, which names all exceptions that it has room for."""
_TRACE_LINE: Final = 300
_FIRST_LINES: Final = 8
"""Lines of a long traceback above what is left out of it."""
_DEEPEST: Final = 20
"""The depth of lists in lists down to which they are looked at."""
_LEAST: Final = 20
"""Characters that an item has in any case."""

_BRACKETS: Final[dict[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
}


def fitted(text: str) -> str:
    """The text; or its beginning, and how many lines and characters of it are left out."""
    lines = text.split("\n")
    if len(lines) > _MOST_LINES:
        rest = len(lines) - _MOST_LINES + 1
        text = "\n".join([*lines[: _MOST_LINES - 1], f"… {rest:,} more lines"])
    return _cut(text, MOST_CHARACTERS)


def _cut(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    kept = max(room - len(f"… {len(text):,} more characters"), 0)
    return f"{text[:kept]}… {len(text) - kept:,} more characters"


# -- values -----------------------------------------------------------------------------------


def shown(value: Any, room: int, what: str = "") -> str:
    """The repr of a value, in about so many characters; what is left out costs no time.

    Args:
        value: any object, also one whose repr raises.
        room: how many characters there are for it.
        what: how the items of the value are called, like "errors".

    >>> shown([1, 2], 100), shown(range(5), 100), shown([*range(1000)], 8, "numbers")
    ('[1, 2]', 'range(0, 5)', '[0, 1, 2, … and 997 more numbers]')
    """
    return _shown(value, room, what, ())


def _shown(value: Any, room: int, what: str, outer: tuple[int, ...]) -> str:
    kind = type(value)
    if kind in _BRACKETS and (value or kind in (list, tuple, dict)):
        if id(value) in outer or len(outer) == _DEEPEST:
            return "...".join(_BRACKETS[kind])
        return _shown_items(value, room, what, (*outer, id(value)))
    if kind in (str, bytes) and len(value) > room:
        return f"{repr(value[:room])[:room]}… ({len(value):,} characters in all)"
    if kind is TracedException:  # the tracebacks are told apart
        return _cut(_repr_of(value.exception), room)
    if (headline := getattr(kind, "_headline", None)) is not None:
        return str(headline(value, room))
    return _cut(_repr_of(value), room)


def _shown_items(value: Any, room: int, what: str, outer: tuple[int, ...]) -> str:
    opening, closing = _BRACKETS[type(value)]
    parts: list[str] = []
    used = 0
    for item in value.items() if type(value) is dict else value:
        if used > room:
            parts.append(f"… and {len(value) - len(parts):,} more {what}".rstrip())
            break
        left = max(room - used, _LEAST)
        pair = item if type(value) is dict else (item,)
        parts.append(": ".join([_shown(part, left, "", outer) for part in pair]))
        used += len(parts[-1]) + 2
    comma = "," if type(value) is tuple and len(value) == 1 else ""
    return f"{opening}{', '.join(parts)}{comma}{closing}"


def _repr_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 (a broken repr must not hide the rest)
        return f"<{type(value).__name__}: its repr raises {type(error).__name__}>"


# -- failures ---------------------------------------------------------------------------------


def panic_headline(exceptions: Any, errors: Any, room: int) -> str:
    """A Panic on one line."""
    half = room // 2
    line = f"Panic(exceptions={shown(exceptions, half)}, errors={shown(errors, half, 'errors')})"
    return line.replace("\n", "\\n")


def panic_text(exceptions: Sequence[Any], errors: Any) -> str:
    """A Panic, with the traceback of its first exception."""
    lines = [panic_headline(exceptions, errors, _HEADLINE)]
    first = next(iter(exceptions), None)
    if isinstance(first, TracedException):
        room = MOST_CHARACTERS - len(lines[0]) - 100
        lines += _trace_lines(first.stack_trace.rstrip("\n").split("\n"), room)
    if len(exceptions) > 1:
        rest = len(exceptions) - 1
        word = "exception" if rest == 1 else "exceptions"
        lines.append(f"… and {rest:,} more {word}, each with its traceback")
    return fitted("\n".join(lines))


def _trace_lines(lines: list[str], room: int) -> list[str]:
    """As many lines as there is room for: a line that is cut often isn't worth it."""
    lines = [_cut(line, _TRACE_LINE) for line in lines]
    most = _MOST_LINES - 2
    while sum(len(line) + 1 for line in ends_of(lines, most)) > room and most > 3:
        most -= 1
    return ends_of(lines, most)


def ends_of(lines: list[str], most: int) -> list[str]:
    """The beginning of a traceback, which says where, and its end, which says what."""
    if len(lines) <= most:
        return lines
    first = min(_FIRST_LINES, most // 3)
    last = most - first - 1
    return [*lines[:first], f"… {len(lines) - first - last:,} more lines", *lines[-last:]]


def brief(exceptions: Sequence[TracedException], errors: Sequence[Any]) -> str:
    """A failure in a few words: its first exception, or its first errors."""
    if exceptions:
        lines = traceback.format_exception_only(exceptions[0].exception)
        return _cut(" ".join("".join(lines).split()), 300)
    return _cut(" ".join(shown([*errors[:5]], 200)[1:-1].split()), 300) or "no errors"
