"""Operations on locks and variables.

A fiber knows what it holds (`Fiber.holds`). So to take a lock again, to read and to set a
variable whose lock one holds, and to find out that one doesn't hold it, takes no request.
"""

from __future__ import annotations

from typing import Any, ClassVar, final

from distio.core.fiber import Fiber, HeldLock
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.failures import RestoreResult
from distio.core.ops.unary import UnaryOp
from distio.errors import MatchError
from distio.protocol import requests
from distio.protocol.requests import Lock
from distio.protocol.text import as_given
from distio.result import Ok, Result

__all__ = ["Acquire", "Locked", "MakeLock", "ReadVar", "Release", "WriteVar"]


@final
class MakeLock(IO[Any, Any, Any]):
    """Make a reentrant lock; with a value, a variable."""

    __slots__ = _names = ("value",)

    def __init__(self, value: Any = requests.NOTHING) -> None:
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.request = requests.MakeLock(self.value)
        return None


class _OnLock(IO[Any, Any, Any]):
    """Base of operations on one lock."""

    __slots__ = ("lock",)
    _names: ClassVar[tuple[str, ...]] = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock


@final
class Acquire(_OnLock):
    """Take a lock; the value is that of the variable, if it is one's."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        _take(fiber, self.lock)
        return None


@final
class Release(_OnLock):
    """Give a lock back."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        _give_back(fiber, self.lock)
        return None


@final
class Locked(UnaryOp):
    """Run an IO while holding a lock."""

    __slots__ = ("lock",)
    _names = ("io", "lock")

    def __init__(self, io: Any, lock: Lock) -> None:
        self.io = io
        self.lock = lock

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(self)
        _take(fiber, self.lock)
        return None

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.stack.append(_Unlock(self.lock))
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated

    def _as_frame(self) -> Frame:
        return self  # the IO is still to come


@final
class _Unlock(Frame):
    """Releases a lock, whatever the outcome of its use."""

    __slots__ = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.lock = lock

    def _succeeded(self, fiber: Fiber) -> Next:
        return self._give_back(fiber, Ok(fiber.value))

    def _failed(self, fiber: Fiber) -> Next:
        failure, fiber.failure = fiber.failure, None
        assert failure is not None
        return self._give_back(fiber, failure)

    def _give_back(self, fiber: Fiber, result: Result[Any, Any]) -> Next:
        # pushed first: whatever goes wrong here is added to the result
        fiber.stack.append(RestoreResult(result))
        _give_back(fiber, self.lock)
        return None


@final
class ReadVar(_OnLock):
    """The value of a variable whose lock the fiber holds."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = _require(fiber, self.lock).value
        return None


@final
class WriteVar(_OnLock):
    """Set a variable whose lock the fiber holds."""

    __slots__ = ("value",)
    _names = ("lock", "value")

    def __init__(self, lock: Lock, value: Any) -> None:
        super().__init__(lock)
        self.value = value

    def _evaluate(self, fiber: Fiber) -> Next:
        held = _require(fiber, self.lock)
        held.value = self.value
        held.is_changed = True
        fiber.value = None
        return None


def _take(fiber: Fiber, lock: Lock) -> None:
    held = fiber.holds.get(lock.key) if fiber.holds else None
    if held is None or lock.tokens:
        fiber.request = requests.Acquire(lock)
    else:
        held.count += 1
        fiber.value = held.value


def _give_back(fiber: Fiber, lock: Lock) -> None:
    if lock.per_seconds:
        return  # nobody holds it
    held = _require(fiber, lock)
    if held.count > 1 and not lock.tokens:
        held.count -= 1
    else:
        fiber.request = requests.Release(lock)


def _require(fiber: Fiber, lock: Lock) -> HeldLock:
    held = fiber.holds.get(lock.key) if fiber.holds else None
    if held is None:
        raise MatchError(f"this fiber doesn't hold {_name_of(lock)}, so it can't release it")
    return held


def _name_of(lock: Lock) -> str:
    kind = "the semaphore" if lock.tokens else "the lock"
    return f"{kind} {as_given(lock.key)!r}" if isinstance(lock.key, str) else kind
