"""Parameters of tests: which of them are slow, and which repeat others."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Any

import pytest

__all__ = ["first_of_each", "marked"]


def marked(names: Iterable[str], slow: Set[str]) -> list[Any]:
    """Parameters of these names, of which some are marked slow."""
    return [pytest.param(each, marks=[pytest.mark.slow] * (each in slow)) for each in names]


def first_of_each(subjects: Mapping[str, Hashable]) -> list[str]:
    """Of the names that have the same subject, the first."""
    firsts: dict[Hashable, str] = {}
    for name, subject in subjects.items():
        firsts.setdefault(subject, name)
    return [*firsts.values()]
