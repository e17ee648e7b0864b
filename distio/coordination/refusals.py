"""Counts of what was refused, by reason: plain data, which an operator looks at."""

from __future__ import annotations

from typing import Final

__all__ = ["count_refusal"]

_MOST_REASONS: Final = 200
"""The most reasons for which refusals are counted apart."""


def count_refusal(counts: dict[str, int], reason: str) -> None:
    """Count a refusal.

    Args:
        counts: by reason, how many there were.
        reason: a few words that all refusals of this kind share.

    >>> counts = {"another version": 1}
    >>> count_refusal(counts, "another version")
    >>> counts
    {'another version': 2}
    """
    if reason not in counts and len(counts) >= _MOST_REASONS:
        reason = "other reasons"
    counts[reason] = counts.get(reason, 0) + 1
