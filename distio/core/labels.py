"""Labels of members, and of the needs of fibers: names, tags, amounts of resources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from distio.core import expect
from distio.errors import MatchError
from distio.protocol.domains import (
    LABEL,
    LARGEST_AMOUNT,
    LONGEST_LABEL,
    MOST_LABELS,
    SMALLEST_AMOUNT,
)
from distio.protocol.messages.placement import Needs

__all__ = ["amount", "amounts", "label", "mapping", "needs_of", "tags"]


def label(found: Any, where: str, what: str) -> str:
    """Return what was found if it is a label: the name of a member, for one.

    >>> label("gpu 1", "distio-worker", "the name")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    distio.errors.MatchError: distio-worker: expected the name, 1 to 100 printable characters ...
    """
    if isinstance(found, str) and 0 < len(found) <= LONGEST_LABEL and re.match(LABEL, found):
        return str.__str__(found)
    expected = f"{what}, 1 to {LONGEST_LABEL} printable characters without spaces"
    raise MatchError(f"{where}: expected {expected}, but got {expect.shown(found)}")


def amount(found: Any, where: str, name: str) -> float:
    """Return what was found as a float if it is an amount of a resource."""
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if is_number and (found == 0 or SMALLEST_AMOUNT <= found <= LARGEST_AMOUNT):
        return float(found)
    expected = f"0, or a number from {SMALLEST_AMOUNT:g} to {LARGEST_AMOUNT:g}, of {name}"
    raise MatchError(f"{where}: expected {expected}, but got {expect.shown(found)}")


def mapping(found: Any, where: str, what: str) -> dict[str, Any]:
    """Return what was found as a dict, if it maps labels, and not too many, to something."""
    if not isinstance(found, Mapping):
        raise MatchError(f"{where}: expected {what}, a dict, but got {expect.shown(found)}")
    if len(found) > MOST_LABELS:
        raise MatchError(f"{where}: expected at most {MOST_LABELS} of {what}, but got {len(found)}")
    return {label(key, where, f"the name of one of {what}"): each for key, each in found.items()}


def tags(found: Any, where: str) -> dict[str, str]:
    """Return what was found as a dict of tags."""
    checked = mapping(found, where, "tags")
    return {key: label(each, where, f"the value of tag {key}") for key, each in checked.items()}


def amounts(found: Any, where: str) -> dict[str, float]:
    """Return what was found as a dict of amounts."""
    checked = mapping(found, where, "resources")
    return {key: amount(each, where, key) for key, each in checked.items()}


def needs_of(found: Any, where: str, prefer: Any = None) -> Needs:
    """The needs of a fiber, or the equipment of a process: each str is a tag, each number an
    amount."""
    each = mapping(found, where, "tags and amounts")
    named = {name: value for name, value in each.items() if isinstance(value, str)}
    counted = {name: value for name, value in each.items() if name not in named}
    kept = {name: value for name, value in amounts(counted, where).items() if value}
    return Needs(tags(named, where), kept, tags(prefer or {}, f"{where}, prefer"))
