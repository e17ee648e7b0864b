"""Which peers understand each other: decided on the first message, before any unpickling."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["PROTOCOL", "PYTHON", "VERSION", "refusal"]

VERSION: Final = "0.1.0"
"""The version of distio, as its package has it: to ask the package would slow each start."""

PROTOCOL: Final = 27
"""Raised whenever a message comes, goes, or changes its name, its fields or its meaning."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The minor version of Python: the bytecode that travels is good for it alone."""


def refusal(protocol: int, python: str) -> str | None:
    """Why a peer with this protocol and this Python can't join; None if it may.

    >>> refusal(PROTOCOL, PYTHON) is None
    True
    """
    if protocol != PROTOCOL:
        return (
            f"the coordinator speaks protocol {PROTOCOL} of distio, but this process speaks "
            f"{protocol}: install the same version of distio on both sides"
        )
    if python != PYTHON:
        return (
            f"the coordinator runs on Python {PYTHON}, but this process on Python {python}: "
            f"programs travel only between equal minor versions, so start it with {PYTHON}"
        )
    return None
