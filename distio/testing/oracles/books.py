"""The books of calls: at each moment nothing is done twice, and nobody is let in too early.

These rules cost little, so they are checked while a simulation runs, and a mistake shows where it
is made. Rules that need a whole history are left to `orders`.

Rules
-----
- An item of a queue is taken no more often than fibers have put it.
- A `Deferred` is set once.
- A lock is held by no more fibers than it has tokens. A fiber of a lost member holds nothing.
- A call of a fiber has one answer, however often the fiber comes back to that call.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import final

from distio.testing.oracles.call import PUTS, TAKES, Answer, Call, Key

__all__ = ["Books", "Wrong"]


class Wrong(Exception):
    """A rule is broken by this call."""

    def __init__(self, call: Call, what: str) -> None:
        super().__init__(what)
        self.call = call
        self.what = what


@final
class Books:
    """Counts of items, of tokens, and who was first."""

    def __init__(self) -> None:
        self._items: Counter[tuple[Key, object]] = Counter()
        """By queue and item: how often it was put and not taken."""
        self._set: dict[Key, Call] = {}
        """By deferred value: the call that has set it."""
        self._holders: defaultdict[Key, list[int]] = defaultdict(list)
        """By lock: the fibers that hold it, once for each token."""
        self._held: defaultdict[int, list[Key]] = defaultdict(list)
        """The same by fiber."""
        self._tokens: dict[Key, int] = {}
        """The number of tokens of each lock that was ever held."""

    def asked(self, call: Call, kind: str) -> None:
        """A fiber has called: from now on others may see it."""
        if kind == "queue" and call.method in PUTS:
            self._items[call.key, call.item] += 1
        elif call.method == "release" and call.key in self._held[call.fiber]:
            self._held[call.fiber].remove(call.key)
            self._holders[call.key].remove(call.fiber)

    def answered(self, call: Call, kind: str, answer: Answer, tokens: int) -> None:
        """A fiber goes on with this answer.

        Raises:
            Wrong: it can't be.
        """
        if call.answer is not None:
            if call.answer != answer:
                raise Wrong(call, f"was answered {call.answer}, and now {answer}")
        elif kind == "queue":
            self._told_of_queue(call, answer)
        elif kind == "deferred" and call.method == "set" and answer.value is True:
            self._set_by(call)
        elif call.method == "acquire":
            self._tokens[call.key] = tokens
            self._has(call)

    def _has(self, call: Call) -> None:
        """The fiber of this call has what it asked for."""
        holders, tokens = self._holders[call.key], self._tokens[call.key]
        holders.append(call.fiber)
        self._held[call.fiber].append(call.key)
        if len(holders) > tokens:
            raise Wrong(call, f"makes {len(holders)} holders of {tokens} tokens")

    def _set_by(self, call: Call) -> None:
        if call.key in self._set:
            raise Wrong(call, f"sets what was set: {self._set[call.key]}")
        self._set[call.key] = call

    def _told_of_queue(self, call: Call, answer: Answer) -> None:
        if call.method in TAKES and answer.kind == "item":
            self._items[call.key, answer.value] -= 1
            if self._items[call.key, answer.value] < 0:
                raise Wrong(call, "takes an item more often than it was put")
        elif call.method in PUTS and (answer.kind == "closed" or answer.value is False):
            self._unput(call)

    def _unput(self, call: Call) -> None:
        self._items[call.key, call.item] -= 1
        if self._items[call.key, call.item] < 0:
            raise Wrong(call, "was not taken up, but its item was taken")

    def void(self, call: Call, kind: str) -> None:
        """A call has not happened after all, or nobody knows whether it has.

        Raises:
            Wrong: somebody has seen it.
        """
        if kind == "queue" and call.method in TAKES:
            if call.answer is not None and call.answer.kind == "item":
                self._items[call.key, call.answer.value] += 1
        elif kind == "queue" and call.method in PUTS:
            is_refused = call.answer is not None and call.answer.value is False
            if call.answer is None or not (is_refused or call.answer.kind == "closed"):
                self._unput(call)
        elif self._set.get(call.key) is call:
            del self._set[call.key]

    def unsure(self, call: Call, kind: str) -> None:
        """Note that nobody knows whether this call has happened, for its process is lost."""
        if not (kind == "queue" and call.method in PUTS):  # an item that was put may be taken
            self.void(call, kind)

    def sure(self, call: Call, kind: str) -> None:
        """Note that this call has happened after all: its fiber is back.

        Raises:
            Wrong: others have seen that it has not.
        """
        if call.answer is None:
            return
        if kind == "queue" and call.method in TAKES:
            self._told_of_queue(call, call.answer)
        elif kind == "deferred" and call.method == "set" and call.answer.value is True:
            self._set_by(call)

    def gone(self, fiber: int, key: Key) -> None:
        """A fiber holds a lock no longer, though it has not given it back."""
        while key in self._held[fiber]:
            self._held[fiber].remove(key)
            self._holders[key].remove(fiber)

    def holds(self, fiber: int, calls: Iterable[Call]) -> None:
        """A fiber is back: it holds what it had by then.

        Args:
            fiber: the fiber.
            calls: all its calls until then.

        Raises:
            Wrong: somebody else does.
        """
        for key in self.held_by(fiber):
            self.gone(fiber, key)
        held: list[Call] = []
        for call in calls:
            if call.method == "acquire" and call.answer is not None:
                held.append(call)
            elif call.method == "release":
                held.remove(next(each for each in reversed(held) if each.key == call.key))
        for call in held:
            self._has(call)

    def held_by(self, fiber: int) -> Sequence[Key]:
        """The locks that a fiber holds."""
        return list(dict.fromkeys(self._held.get(fiber, ())))
