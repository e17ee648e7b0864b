"""Options that several commands have, and their checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Final

import typer

from distio.runtime.keys import KEYS_VARIABLE
from distio.runtime.log_format import LogFormat, LogLevel

__all__ = [
    "URL_VARIABLE",
    "Keys",
    "LogFormatOption",
    "LogLevelOption",
    "Url",
    "is_typed",
    "seconds",
    "seconds_from_zero",
]

URL_VARIABLE: Final = "DISTIO_URL"

Url = Annotated[
    str,
    typer.Option(
        "--connect",
        metavar="URL",
        envvar=URL_VARIABLE,
        help="Where the coordinator of the cluster listens.",
    ),
]
"""The option of all commands about a cluster that is there already."""

Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="DIR",
        show_default=False,
        envvar=KEYS_VARIABLE,
        help="A folder of keys, which `distio keygen` or `distio keys add` has made.",
    ),
]


LogLevelOption = Annotated[
    LogLevel,
    typer.Option("--log-level", envvar="DISTIO_LOG_LEVEL", help="The lowest level that is logged."),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar="DISTIO_LOG_FORMAT",
        help="How the log is written: as text, or as one JSON object on each line.",
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


def is_typed(context: typer.Context, *names: str) -> bool:
    """Whether one of these parameters was given on the command line."""
    sources = [context.get_parameter_source(name) for name in names]
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)
