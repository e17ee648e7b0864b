"""Leftovers: what a machine still holds when all runs have ended must be nothing of them."""

from __future__ import annotations

from collections.abc import Mapping, Sized

from distio.errors import DistioBug

__all__ = ["check_rest"]


def check_rest(who: str, holds: Mapping[str, Sized]) -> None:
    """Raise a DistioBug if one of these, named in words, isn't empty."""
    for what, left in holds.items():
        if len(left):
            raise DistioBug(f"{who} at rest still has {what}: {left!r}")
