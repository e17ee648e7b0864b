"""Options that several commands have, and their checks."""

from __future__ import annotations

import math
from typing import Annotated

import typer

__all__ = ["Url", "seconds", "seconds_from_zero"]

Url = Annotated[
    str,
    typer.Option("--connect", metavar="URL", help="Where the coordinator of the cluster listens."),
]
"""The option of all commands about a cluster that is there already."""


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
