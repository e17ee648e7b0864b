"""Primitives at which fibers meet: a value that is set once, a barrier, a latch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from distio.coordination.primitives.primitive import Reply, Unknown, require
from distio.protocol.requests import NOTHING

__all__ = ["Barrier", "Deferred", "Latch"]


class _Synchronizer:
    """A primitive at which some fibers wait, and go on together."""

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        """The fibers that wait, in the order in which they came."""

    def withdraw(self, fiber: int) -> Sequence[Reply]:
        del self._waiting[fiber]
        return ()

    def waiting(self) -> Sequence[int]:
        return list(self._waiting)

    def _wait(self, fiber: int) -> Sequence[Reply]:
        self._waiting[fiber] = None
        return ()

    def _all_go_on(self, **answer: Any) -> list[Reply]:
        waiting, self._waiting = self._waiting, {}
        return [Reply(fiber, **answer) for fiber in waiting]


@final
class Deferred(_Synchronizer):
    """A value that is set once; those who want it earlier wait."""

    def __init__(self) -> None:
        super().__init__()
        self._value: Any = NOTHING

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        is_set = self._value is not NOTHING
        if method == "get":
            return [Reply(fiber, item=self._value)] if is_set else self._wait(fiber)
        if method == "is_set":
            return [Reply(fiber, is_set)]
        if method != "set":
            raise Unknown(method)
        if is_set:
            return [Reply(fiber, False)]
        self._value = item
        return [Reply(fiber, True), *self._all_go_on(item=item)]

    def validate(self) -> None:
        require(self._value is NOTHING or not self._waiting, "it is set, but some wait for it")


@final
class Barrier(_Synchronizer):
    """A barrier: so many fibers wait for one another, again and again."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self._parties = parties

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        if method != "wait":
            raise Unknown(method)
        self._wait(fiber)
        if len(self._waiting) < self._parties:
            return ()
        waiting, self._waiting = self._waiting, {}
        return [Reply(each, place) for place, each in enumerate(waiting)]

    def validate(self) -> None:
        require(len(self._waiting) < self._parties, "enough wait at a barrier, and don't go on")


@final
class Latch(_Synchronizer):
    """A number that is counted down; those who wait go on when it is 0."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def ask(self, fiber: int, method: str, number: int, item: Any) -> Sequence[Reply]:
        if method == "wait":
            return self._wait(fiber) if self._count else [Reply(fiber)]
        if method == "count_down":
            self._count = max(0, self._count - number)
        elif method != "count":
            raise Unknown(method)
        answers = [Reply(fiber, self._count)]
        return answers if self._count else [*answers, *self._all_go_on()]

    def validate(self) -> None:
        require(self._count > 0 or not self._waiting, "a latch is open, but some wait for it")
