"""Who may talk to whom: decided on the first message, before anything is unpickled."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["PROTOCOL", "PYTHON", "refusal"]

PROTOCOL: Final = 8
"""Raised whenever a message comes, goes, or changes its name, its fields or its meaning."""

PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The minor version of Python: the bytecode that travels is good for it alone."""


def refusal(protocol: int, python: str) -> str | None:
    """Why a peer that speaks this protocol under this Python can't join; None: it may.

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
            f"programs travel only between equal minor versions"
        )
    return None
