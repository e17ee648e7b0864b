"""How a function of `io.do` moves: it is called again, and given what it has awaited once more.

A coroutine can't be pickled. But a function whose steps depend only on its arguments and on the
outcomes that it has awaited comes to the same place again when it gets the same outcomes. So a
history of outcomes is kept, and a function that goes on elsewhere is driven through that history
first. Then the place, and the values of the function's variables, are compared with those before.
If they differ, the function has broken the rule, and fails with `NotDeterministic`.

An awaited value is kept as it was when it came, so the function may change it: the change is
repeated, too. Arguments travel as they are when the function moves, as captured values do. Programs
that the function awaits may change them, but the function itself may not.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import Context, copy_context
from types import (
    AsyncGeneratorType,
    CoroutineType,
    GeneratorType,
)
from typing import Any, Final, NamedTuple, final

from distio.core import expect
from distio.core.context_vars import (
    Carried,
    carried_in,
    changes,
    contents_of,
    context_of,
    others_in,
    put,
)
from distio.core.digests import digest
from distio.core.fiber import Handle
from distio.core.pickling.plain import PLAIN
from distio.core.raising import Raised
from distio.core.references import (
    Reference,
    claims_of,
    opening_with,
)
from distio.errors import NotDeterministic, NotPicklable
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING

__all__ = [
    "AwaitHistory",
    "SuspendedFrame",
    "dispose",
    "frames_of",
    "repeat",
    "stops_of",
    "variables_of",
]

Awaiting = Coroutine[Any, Any, Any]

_MOST_ENTRIES: Final = 1_000
_MOST_BYTES: Final = 1024 * 1024
_OF_A_PROGRAM: Final = "IO.__await__"
_OF_CONTEXT: Final = "context variables"
_MOST_TRIES: Final = 100


# -- the log ----------------------------------------------------------------------------------


@final
class _Kept:
    """A value, or a failure, as it was when it came."""

    __slots__ = ("handles", "is_failure", "payload", "references")

    def __init__(
        self,
        payload: Bytes,
        handles: Sequence[Handle[Any, Any, Any]],
        references: Sequence[Reference],
        is_failure: bool,
    ) -> None:
        self.payload = payload
        self.handles = handles
        """The handles in it, which keep the outcomes of their fibers."""
        self.references = references
        """The references in it, which keep alive the things that they refer to."""
        self.is_failure = is_failure

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, (self.payload, self.handles, self.references, self.is_failure)

    def open(self) -> Any:
        """Make the value again."""
        from distio.core.pickling.loading import load  # which takes long to import

        with opening_with(claims_of(self.references), self.handles):
            return load(self.payload)


@final
class AwaitHistory:
    """The outcomes that a function has awaited so far."""

    __slots__ = ("_changes", "_room", "_start", "_waiting", "entries", "why_lost")

    def __init__(self, start: Carried | None = None) -> None:
        self.entries: list[tuple[str, Any]] = []
        """The operation and the outcome of each await, plain or `_Kept`."""
        self._start = start
        """The context variables that travel, as the function has found them."""
        self._waiting: Carried | None = None
        """The carried variables, as the function had left them at its last await."""
        self._changes: dict[int, _Kept] = {}
        """By await, those that the awaited program has changed."""
        self._room = _MOST_BYTES
        self.why_lost = ""
        """The reason why there is no history any more, so that the function stays where it is."""

    @classmethod
    def lost(cls, reason: str) -> AwaitHistory:
        """A history that was lost."""
        log = cls()
        log.why_lost = reason
        return log

    def note(self, awaited: str, outcome: Any, *, is_failure: bool) -> None:
        """Note the outcome of an await."""
        if self.why_lost:
            return
        if len(self.entries) == _MOST_ENTRIES:
            self._lose(f"the function has awaited more than {_MOST_ENTRIES:,} values")
        elif not is_failure and type(outcome) in PLAIN:
            self._add(awaited, outcome, sys.getsizeof(outcome))
        elif sys.getsizeof(outcome) > self._room:
            self._lose_room()
        else:
            self._keep(awaited, outcome, is_failure)

    def _keep(self, awaited: str, outcome: Any, is_failure: bool) -> None:
        kept = self._kept(outcome, is_failure)
        if kept is not None:
            self._add(awaited, kept, len(kept.payload))

    def _kept(self, outcome: Any, is_failure: bool = False) -> _Kept | None:
        from distio.core.outcomes import dump_awaited  # which knows of all operations

        try:
            payload, handles, references = dump_awaited(outcome)
        except NotPicklable as reason:
            self._lose(
                f"the value of await number {len(self.entries) + 1} can't be pickled: {reason}"
            )
            return None
        return _Kept(payload, handles, references, is_failure)

    def _add(self, awaited: str, outcome: Any, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._lose_room()
        else:
            self.entries.append((awaited, outcome))

    def _lose_room(self) -> None:
        self._lose(
            f"the values that the function has awaited take more than {_MOST_BYTES // 1024:,} KiB"
        )

    def _lose(self, reason: str) -> None:
        self.why_lost = reason
        self.entries.clear()
        self._changes.clear()
        self._start = self._waiting = None

    # -- context variables ----------------------------------------------------------------

    def awaits(self, variables: Context | None) -> None:
        """The function awaits something, with these variables."""
        self._waiting = carried_in(variables)

    def goes_on(self, variables: Context | None) -> None:
        """Note that the function goes on with these variables; called before `note`."""
        changed = changes(self._waiting, carried_in(variables))
        if not changed or self.why_lost:
            return
        kept = self._kept(changed)
        if kept is not None:
            self._changes[len(self.entries)] = kept
            self._room -= len(kept.payload)

    def opened_changes(self) -> dict[int, Carried]:
        """By await, the variables that it has changed."""

        return {number: kept.open() for number, kept in self._changes.items()}

    def place_of(self, coroutine: Awaiting, carried: Carried | None = None) -> list[SuspendedFrame]:
        """The place of the function, and the values of its variables, also in those of its context.

        A value that it has found there is no matter of its own: it may even look different after
        a move.

        Args:
            coroutine: the function, which awaits something.
            carried: the variables of its context, if they are not those of the last await.
        """
        now = (self._waiting if carried is None else carried) or {}
        found = self._start or {}
        own = {var: value for var, value in now.items() if value is not found.get(var, NOTHING)}
        return [*stops_of(coroutine), SuspendedFrame(_OF_CONTEXT, 0, None, _digests(own))]

    def found_at_start(self) -> dict[str, bytes]:
        """Digests of the values that it has found there."""
        return _digests(self._start or {})

    def starting_context(self) -> Context:
        """A context like that in which the function began."""
        return context_of(self._start) or Context()

    def changed_since(self, variables: Context | None) -> Carried:
        """The variables whose values have changed since the last await of the function."""
        return {**changes(self._waiting, carried_in(variables)), **others_in(variables)}

    def require_no_loss(self) -> None:
        """Raise NotPicklable if there is no history any more."""
        if self.why_lost:
            raise NotPicklable(
                f"a function of io.do can't be pickled any more: {self.why_lost}; "
                f"let its loop begin anew with io.restart_from"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        self.require_no_loss()
        return _log, (self.entries, self._room, self._start, self._waiting, self._changes)


def _digests(carried: Carried) -> dict[str, bytes]:
    return {name: digest(content) for name, content in contents_of(carried).items()}


def _log(
    entries: list[tuple[str, Any]],
    room: int,
    start: Carried | None,
    waiting: Carried | None,
    changes: dict[int, _Kept],
) -> AwaitHistory:
    log = AwaitHistory(start)
    log.entries, log._room = entries, room
    log._waiting, log._changes = waiting, changes
    return log


# -- again ------------------------------------------------------------------------------------


def repeat(
    f: Any,
    start: Callable[[], Awaiting],
    log: AwaitHistory,
    awaited: str,
    place: Sequence[SuspendedFrame],
) -> tuple[Awaiting, Raised | None]:
    """Bring a function to its place before, in a context like that in which it began.

    Args:
        f: the function, for messages.
        start: calls the function.
        log: what it had awaited.
        awaited: the operation at which it waits.
        place: where that was, and what was in its variables.

    Returns:
        The function, and what an await in it has raised last.

    Raises:
        NotDeterministic: it does something else than before.
        Exception: whatever unpickling what it had awaited raises.
    """
    outcomes = [_opened(outcome) for _, outcome in log.entries]
    changed, start_values = log.opened_changes(), log.found_at_start()
    expected = [*[name for name, _ in log.entries], awaited]
    coroutine = start()
    found: list[str] = []
    try:
        found.append(type(coroutine.send(None)).__name__)
        for number, (name, outcome) in enumerate(zip(expected, outcomes)):
            if found[-1] != name:
                break
            put(changed.get(number, {}))
            found.append(type(_give(coroutine, outcome)).__name__)
    except StopIteration as returned:
        wrong = f"the function returned {expect.shown(returned.value)}"
        raise _differs(f, f"in place of await number {len(found) + 1}, {wrong}") from None
    except BaseException as exception:
        wrong = f"the function raised {type(exception).__name__}: {exception}"
        raise _differs(f, f"in place of await number {len(found) + 1}, {wrong}") from exception
    now, before = found[-1], expected[len(found) - 1]
    wrong = f"was of {before}, and is of {now} now" if now != before else ""
    wrong = wrong or _difference(place, log.place_of(coroutine, carried_in(copy_context()) or {}))
    if not wrong and log.found_at_start() != start_values:
        wrong = "was reached by changing the value of a context variable, not by setting another"
    if not wrong:
        return coroutine, next((o for o in reversed(outcomes) if type(o) is Raised), None)
    dispose(coroutine)
    raise _differs(f, f"await number {len(found)} {wrong}")


def _differs(f: Any, how: str) -> NotDeterministic:
    return NotDeterministic(
        f"{expect.named(f)} has moved, was repeated, and did something else: {how}; "
        f"what a function of io.do does must depend only on its arguments, which it must not "
        f"change, and on what it awaits: clocks, chance, files and what others change belong into "
        f"`await io.defer(...)`"
    )


def _difference(before: Sequence[SuspendedFrame], now: Sequence[SuspendedFrame]) -> str:
    """The difference between the place and the place before, in words; empty if there is none."""
    for was, is_ in zip(before, now):
        if was.place != is_.place:
            return f"was in line {was.line} of {was.function}, and is in line {is_.line} now"
        names = sorted({*was.variables, *is_.variables})
        other = [n for n in names if was.variables.get(n) != is_.variables.get(n)]
        if other and was.function == _OF_A_PROGRAM:
            return "awaited another program than before"
        if other and was.function == _OF_CONTEXT:
            return f"found other values in the context variables {', '.join(other)}"
        if other:
            return f"found other values in {', '.join(other)} (line {is_.line} of {is_.function})"
    return "" if len(before) == len(now) else "was of another function"


def _opened(outcome: Any) -> Any:
    if type(outcome) is not _Kept:
        return outcome
    value = outcome.open()
    return Raised(value) if outcome.is_failure else value


def _give(coroutine: Awaiting, outcome: Any) -> Any:
    if type(outcome) is Raised:
        return coroutine.throw(outcome.exception)
    return coroutine.send(outcome)


def dispose(coroutine: Awaiting) -> None:
    """End a function that goes on elsewhere, or not at all; awaits in its `finally` are void.

    Any thread may call this, in the middle of another fiber. A variable that the function sets when
    it leaves a `with` is set in a context that nobody sees.
    """
    Context().run(_close, coroutine)


def _close(coroutine: Awaiting) -> None:
    for _ in range(_MOST_TRIES):  # there are functions that never give in
        try:
            coroutine.close()
        except RuntimeError:  # it awaits something nevertheless
            if _is_over(coroutine):
                return
        except BaseException:  # noqa: BLE001 (nobody waits for what it does)
            return
        else:
            return


def _is_over(coroutine: Any) -> bool:
    return coroutine.cr_frame is None


# -- where a function is, and what it has -----------------------------------------------------


class SuspendedFrame(NamedTuple):
    """The place of one of the functions that await one another, and the values of its variables."""

    function: str
    place: int
    line: int | None
    variables: dict[str, bytes]
    """By name, a digest: values count by what they hold, for after a move they are others."""

    @property
    def is_of_user(self) -> bool:
        """Whether the function is one that users have written."""
        return self.function not in (_OF_A_PROGRAM, _OF_CONTEXT)


def stops_of(coroutine: Awaiting) -> list[SuspendedFrame]:
    """The places of a suspended function, and of those that it awaits."""
    stops = []
    for frame in frames_of(coroutine):
        variables = {name: digest(value) for name, value in frame.f_locals.items()}
        code = frame.f_code
        stops.append(SuspendedFrame(code.co_qualname, frame.f_lasti, frame.f_lineno, variables))
    return stops


def variables_of(coroutine: Awaiting) -> list[tuple[str, str, dict[str, Any]]]:
    """The variables of a suspended function, and of those that it awaits: name, file and line, and
    variables."""
    found = []
    for frame in frames_of(coroutine):
        code = frame.f_code
        where = f"{code.co_filename}:{frame.f_lineno}"
        if code.co_qualname != _OF_A_PROGRAM:
            found.append((code.co_qualname, where, dict(frame.f_locals)))
    return found


def frames_of(coroutine: Awaiting) -> Iterator[Any]:
    """The frames of a suspended function, and of those that it awaits; the innermost last."""
    at: Any = coroutine
    while at is not None:
        frame, at = _suspended(at)
        if frame is not None:
            yield frame


def _suspended(at: Any) -> tuple[Any, Any]:
    """The frame of something that is awaited, and what it awaits itself."""
    # `isinstance` would ask objects of the user for their class
    if type(at) is CoroutineType:
        return at.cr_frame, at.cr_await
    if type(at) is GeneratorType:
        return at.gi_frame, at.gi_yieldfrom
    if type(at) is AsyncGeneratorType:
        return at.ag_frame, at.ag_await
    # the object that Python puts around an awaited coroutine has no name for it
    inside = (each for each in gc.get_referents(at) if type(each) in _AWAITED)
    return None, next(inside, None)


_AWAITED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
