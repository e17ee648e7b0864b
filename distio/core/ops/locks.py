"""Operations on locks and variables.

A fiber knows what it holds (`Fiber.holds`). So to take a lock again, to read and to set a
variable whose lock one holds, and to find out that one doesn't hold it, takes no request.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, final

from distio.core.fiber import Fiber, Held
from distio.core.ops.base import IO, Next
from distio.core.ops.failures import Keep
from distio.errors import MatchError
from distio.protocol import requests
from distio.protocol.requests import Lock
from distio.result import Ok, Result

__all__ = ["Acquire", "MakeLock", "Peek", "Poke", "Release"]


@final
class MakeLock(IO[Any, Any, Any]):
    """Make a reentrant lock; with a value, a variable."""

    __slots__ = _names = ("value",)

    def __init__(self, value: Any = requests.NOTHING) -> None:
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.MakeLock(self.value)
        return None


_NONE: Final[Result[Any, Any]] = Ok(None)


class _OnLock(IO[Any, Any, Any]):
    """What operations share that have to do with one lock."""

    __slots__ = ("lock",)
    _names: ClassVar[tuple[str, ...]] = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def _held(self, fiber: Fiber) -> Held | None:
        return fiber.holds.get(self.lock.key) if fiber.holds else None

    def _require(self, fiber: Fiber) -> Held:
        held = self._held(fiber)
        if held is None:
            raise MatchError(
                f"this fiber doesn't hold {_name_of(self.lock)}, so it can't release it"
            )
        return held


@final
class Acquire(_OnLock):
    """Take a lock; the value is that of the variable, if it is one's."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        held = self._held(fiber)
        if held is None or self.lock.tokens:
            fiber.request = requests.Acquire(self.lock)
        else:
            held.count += 1
            fiber.value = held.value
        return None


@final
class Release(_OnLock):
    """Give a lock back; the outcome is a Result that was there before."""

    __slots__ = ("result",)
    _names = ("lock", "result")

    def __init__(self, lock: Lock, result: Result[Any, Any] = _NONE) -> None:
        super().__init__(lock)
        self.result = result

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        # pushed first: whatever goes wrong here is added to the result
        fiber.stack.append(Keep(self.result))
        if self.lock.is_limit:
            return None  # nobody holds it
        held = self._require(fiber)
        if held.count > 1 and not self.lock.tokens:
            held.count -= 1
        else:
            fiber.request = requests.Release(self.lock)
        return None


@final
class Peek(_OnLock):
    """The value of a variable whose lock the fiber holds."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = self._require(fiber).value
        return None


@final
class Poke(_OnLock):
    """Set a variable whose lock the fiber holds."""

    __slots__ = ("value",)
    _names = ("lock", "value")

    def __init__(self, lock: Lock, value: Any) -> None:
        super().__init__(lock)
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        held = self._require(fiber)
        held.value = self.value
        held.is_changed = True
        fiber.value = None
        return None


def _name_of(lock: Lock) -> str:
    kind = "the semaphore" if lock.tokens else "the lock"
    return f"{kind} {lock.key!r}" if isinstance(lock.key, str) else kind
