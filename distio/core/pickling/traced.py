"""Exceptions in panics: whole where they can be made again, else as their text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distio.errors import ForeignException, TracedException

if TYPE_CHECKING:
    from distio.core.pickling.pickler import Pickler

__all__ = ["reduce_traced"]


def reduce_traced(pickler: Pickler, traced: TracedException) -> tuple[Any, ...]:
    from distio.core.pickling.pickler import dump

    exception = traced.exception
    try:
        dumped = dump(exception)
        payload = dumped.whole()
        pickler.scope.handles += dumped.handles
    except Exception:  # noqa: BLE001 (then its text has to do)
        payload = b""
    kind = type(exception)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return _restore_traced, (payload, name, _text_of(exception), traced.stack_trace)


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 (a broken __str__ must not hide the exception)
        return f"<its text is not to be had: {type(error).__name__}>"


def _restore_traced(payload: bytes, name: str, message: str, stack_trace: str) -> TracedException:
    from distio.core.pickling.pickler import load

    if payload:
        try:
            exception = load(payload)
        except Exception:  # noqa: BLE001 (then its text has to do)
            exception = None
        if isinstance(exception, BaseException):
            return TracedException(exception, stack_trace)
    return TracedException(ForeignException(name, message), stack_trace)
