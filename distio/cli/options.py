"""Checks of options that several commands have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Keys", "seconds", "seconds_from_zero"]

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="DIR",
        show_default=False,
        help="A folder of keys, which `distio keygen` or `distio keys add` has made; by default "
        "the one that DISTIO_KEYS names, if it is set.",
    ),
]


def seconds(number: float | None) -> float | None:
    """A number of seconds above 0; None: it isn't given."""
    if number is not None and not 0 < number < math.inf:
        raise typer.BadParameter("give a number of seconds above 0")
    return number


def seconds_from_zero(number: float | None) -> float | None:
    """A number of seconds from 0; None: it isn't given."""
    if number is not None and not 0 <= number < math.inf:
        raise typer.BadParameter("give a number of seconds from 0")
    return number
