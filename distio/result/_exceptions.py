"""The exception that stands for a failure where a program has ended and Python goes on.

It is the user's own. How it came about (item, fiber, worker; the traceback, if that was left in
another process) is a note of it, which Python prints below the traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn, final

from distio._traces import own_traceback
from distio.errors import BasePanicGroup, DomainErrors, PanicGroup, TracedException

__all__ = ["exception_of", "group_of", "raise_failure"]

_CONTEXT: Final[Any] = vars(BaseException)["__context__"]


@final
class _Story(str):
    """A note of ours: told anew when the exception is raised again, so it needn't travel."""

    __slots__ = ()


def raise_failure(exceptions: Sequence[TracedException], errors: Sequence[Any]) -> NoReturn:
    """Raise the exception of a failure; what led to it is left as it was."""
    exception = exception_of(exceptions, errors)
    context = exception.__context__
    try:
        raise exception
    finally:
        if context is not None:  # Python has put there what the caller is handling
            _CONTEXT.__set__(exception, context)
        del exception, exceptions, errors  # its traceback holds this frame, which held it


def exception_of(exceptions: Sequence[TracedException], errors: Sequence[Any]) -> BaseException:
    """The only exception there is; or a group of all, with other errors in a `DomainErrors`."""
    found = [_told(traced) for traced in exceptions]
    found += [error for error in errors if isinstance(error, BaseException)]
    others = [error for error in errors if not isinstance(error, BaseException)]
    if others or not found:
        found.append(DomainErrors(others))
    return found[0] if len(found) == 1 else group_of(f"{len(found)} failures", found)


def group_of(message: str, exceptions: Sequence[BaseException]) -> BaseException:
    """A PanicGroup; a BasePanicGroup if one of them is no Exception."""
    kind: Any = PanicGroup if all(isinstance(e, Exception) for e in exceptions) else BasePanicGroup
    group: BaseException = kind(message, exceptions)
    return group


def _told(traced: TracedException) -> BaseException:
    """The exception, with its story as a note, and no frames of an earlier raise."""
    exception = traced.exception
    if traced.raised_at is ...:
        traced.raised_at = own_traceback(exception.__traceback__)
    BaseException.with_traceback(exception, traced.raised_at)
    note = str(traced.where).rstrip()
    if traced.raised_at is None and not _says_no_more(traced, exception):
        note = traced.stack_trace.rstrip()
    if note:
        _add_note(exception, note)
    return exception


def _says_no_more(traced: TracedException, exception: BaseException) -> bool:
    """Whether the trace has no frames, and the message that Python prints anyway."""
    trace = traced.stack_trace.removeprefix(str(traced.where)).strip()
    try:
        message = str(exception)
    except Exception:  # noqa: BLE001 (it is the user's, and broken)
        return False
    return "\n" not in trace and (trace.endswith(message) or message.startswith(trace))


def _add_note(exception: BaseException, note: str) -> None:
    # not add_note: a class may forbid that attributes are set
    notes = vars(exception).setdefault("__notes__", [])
    if isinstance(notes, list):
        notes[:] = [each for each in notes if not (type(each) is _Story and each in note)]
        notes.append(_Story(note))
