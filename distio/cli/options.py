"""Checks of options that several commands have."""

from __future__ import annotations

import math

import typer

__all__ = ["seconds", "seconds_from_zero"]


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
