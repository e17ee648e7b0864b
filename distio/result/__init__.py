"""Outcomes: `Ok`, expected `Errors`, or a `Panic` that nobody expected.

Methods come in pairs. `map` makes a Panic of an exception that its argument raises; `unsafe_map`
lets the exception through; and so on for the others.

>>> error("too long").catch(lambda errors: Ok(len(errors)))
Ok(success=1)
"""

from distio._public import publish
from distio.result._making import error, errors, ok, panic, pure
from distio.result._result import (
    ComputationStatus,
    Errors,
    Ok,
    Panic,
    Result,
    returns_result,
    safe,
)
from distio.result._several import seq, sequence, traverse, zip

__all__ = [
    "ComputationStatus",
    "Errors",
    "Ok",
    "Panic",
    "Result",
    "error",
    "errors",
    "ok",
    "panic",
    "pure",
    "returns_result",
    "safe",
    "seq",
    "sequence",
    "traverse",
    "zip",
]

publish(__name__, globals())
