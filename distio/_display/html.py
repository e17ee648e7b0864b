"""Small tables that notebooks show of a value: `_repr_html_`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["table"]

_LEFT: Final = ' style="text-align: left"'
_LONGEST_CELL: Final = 200


def table(title: str, rows: Iterable[Sequence[object]], columns: Sequence[str] = ()) -> str:
    """A table in HTML; whatever text it is given is shown as it is.

    Args:
        title: stands above the table.
        rows: the cells of each row; the first cell names the row if there are no columns.
        columns: the names of the columns.

    >>> table("<run>", [("state", "over")])  # doctest: +ELLIPSIS
    '<div><b>&lt;run&gt;</b><table>...<th...>state</th><td...>over</td></tr></table></div>'
    """
    head = "".join(_cell("th", name) for name in columns)
    lines = [head] if columns else []
    for first, *rest in rows:
        kind = "td" if columns else "th"
        lines.append(_cell(kind, first) + "".join(_cell("td", each) for each in rest))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div><b>{_shown(title)}</b><table>{body}</table></div>"


def _cell(kind: str, value: object) -> str:
    return f"<{kind}{_LEFT}>{_shown(value)}</{kind}>"


def _shown(value: object) -> str:
    from html import escape  # notebooks alone need it

    text = str(value)
    return escape(text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…")
