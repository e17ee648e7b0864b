"""Results as HTML, for notebooks: everything is escaped, and long parts are folded."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from distio.errors import TracedException
from distio.result._text import MOST_CHARACTERS, ends_of, shown

__all__ = ["errors_html", "ok_html", "panic_html"]

_MOST_SHOWN: Final = 10
"""The most errors, and exceptions, that are shown one by one."""
_MOST_LINES: Final = 400
_UNFOLDED_LINES: Final = 20
_GREEN, _AMBER, _RED = "#2e7d32", "#b26a00", "#c62828"


def ok_html(value: Any) -> str:
    """An Ok: its value as the value shows itself, if it does."""
    return _framed(_GREEN, "Ok", [_value_html(value)])


def errors_html(errors: Sequence[Any]) -> str:
    """Errors: the first of them as a list."""
    return _framed(_AMBER, _counted(len(errors), "expected error"), _list_of(errors))


def panic_html(exceptions: Sequence[TracedException], errors: Sequence[Any]) -> str:
    """A Panic: the first exception is open, the others are folded."""
    parts = []
    for index, traced in enumerate(exceptions[:_MOST_SHOWN]):
        headline = "".join(traceback.format_exception_only(traced.exception)).strip()
        lines = traced.stack_trace.rstrip("\n").split("\n")
        is_open = index == 0 and len(lines) <= _UNFOLDED_LINES
        trace = _pre("\n".join(ends_of(lines, _MOST_LINES)))
        parts.append(
            f"<details{' open' if is_open else ''}><summary><code>"
            f"{escape(headline[:MOST_CHARACTERS])}</code></summary>{trace}</details>"
        )
    parts += _left_out(len(exceptions), "exceptions")
    if errors:
        parts += [f"<div>and {_counted(len(errors), 'expected error')}:</div>", *_list_of(errors)]
    return _framed(_RED, "Panic", parts)


def _value_html(value: Any) -> str:
    own = getattr(type(value), "_repr_html_", None)
    if callable(own):
        try:
            text = own(value)
        except Exception:  # noqa: BLE001 (then its text is shown, as for any other value)
            text = None
        if isinstance(text, str):
            return text
    return _pre(shown(value, MOST_CHARACTERS))


def _list_of(errors: Sequence[Any]) -> list[str]:
    room = MOST_CHARACTERS // 4
    items = [f"<li><code>{escape(shown(each, room))}</code></li>" for each in errors[:_MOST_SHOWN]]
    return [f"<ol>{''.join(items)}</ol>", *_left_out(len(errors), "errors")]


def _left_out(count: int, what: str) -> list[str]:
    rest = count - _MOST_SHOWN
    return [f"<div>… and {rest:,} more {what}</div>"] if rest > 0 else []


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _pre(text: str) -> str:
    return f'<pre style="white-space: pre-wrap">{escape(text)}</pre>'


def _framed(color: str, title: str, parts: list[str]) -> str:
    return (
        f'<div style="border-left: 4px solid {color}; padding-left: 8px">'
        f'<strong style="color: {color}">{title}</strong>{"".join(parts)}</div>'
    )
