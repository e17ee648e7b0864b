"""Programs that are given bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distio import MatchError, Panic


def five(*_: Any) -> Any:
    return 5


def here(f: Callable[..., Any]) -> str:
    """A function of this file, as a message names it."""
    code = f.__code__
    return f"the function {f.__qualname__} ({code.co_filename}:{code.co_firstlineno})"


def texts(outcome: Any) -> list[str]:
    assert isinstance(outcome, Panic), outcome
    return [str(traced.exception) for traced in outcome.exceptions]


def text(outcome: Any) -> str:
    """The message of the MatchError with which a program has ended."""
    assert isinstance(outcome, Panic), outcome
    assert isinstance(outcome.exceptions[-1].exception, MatchError)
    return texts(outcome)[-1]
