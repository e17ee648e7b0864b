"""Whether some order of calls explains their answers: linearizability.

The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), and what
was found to lead nowhere is remembered as in Lowe ("Testing for linearizability", 2017). A call may
wait: it is taken up at one moment between its beginning and its answer, and its answer is due then
or with a later call (Scherer and Scott, "Nonblocking Concurrent Data Structures with Condition
Synchronization", 2004).

Rules
-----
- An order is one of whole calls in which no call comes before one that was settled when it began,
  or before one that its own process had answered by then.
- A call that was answered is in the order, with that answer; the others may be in it.
- A call that gave another one its answer began before that was heard.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from distio.testing.oracles.call import NEVER, Call
from distio.testing.oracles.models import Model

__all__ = ["MOST_CALLS", "MOST_STEPS", "Verdict", "find_order"]

MOST_STEPS: Final = 20_000
"""The most calls that are tried before it is left open whether there is an order."""
MOST_CALLS: Final = 2_000
"""The longest history that is looked at: each step of the search keeps what the model was."""


class Verdict(NamedTuple):
    """The result of the search."""

    order: Sequence[Call] | None
    """An order that explains all answers; None: none was found."""
    is_complete: bool
    """Whether all orders were tried if none was found."""
    stuck: Sequence[Call] = ()
    """The calls that could have come next, and didn't fit, where the longest order ended."""
    reached: int = 0
    """How many calls that had."""

    @property
    def is_wrong(self) -> bool:
        """Whether there is certainly no order."""
        return self.order is None and self.is_complete


class _Node:
    """A place in the search: what was taken up on the way there."""

    __slots__ = ("asked", "choices", "done", "first", "later", "model", "open", "taken")

    def __init__(self, model: Model, asked: int, done: int, taken: int) -> None:
        self.model = model
        self.asked = asked
        """A bit for each call that was taken up."""
        self.done = done
        """A bit for each call that was answered."""
        self.taken = taken
        """The call that was taken up last."""
        self.open: list[int] = []
        """The calls that could come next; first the likeliest, of which was heard first."""
        self.first = 0
        """Before this place in the order of replies, all that must be answered is."""
        self.later = 0
        """The place in the order of beginnings from which on no call can come next."""
        self.choices: Iterator[int] = iter(())


class _Search:
    def __init__(self, calls: Sequence[Call], model: Model, most: int) -> None:
        self._calls = sorted(calls, key=lambda call: call.invoked)
        self._model = model
        self._left = most
        must = [each.is_sure and each.settled != NEVER for each in self._calls]
        numbers = [index for index, is_one in enumerate(must) if is_one]
        self._by_reply = sorted(numbers, key=lambda index: self._calls[index].settled)

    def run(self) -> Verdict:
        """Search depth first."""
        root = _Node(self._model, 0, 0, -1)
        path = [root]
        dead: set[tuple[int, Model]] = set()
        """The dead ends: the calls that were taken up, and the model then."""
        self._look_ahead(root, None)
        deepest, depth = root, 0
        while path:
            node = path[-1]
            if node.first == len(self._by_reply):
                return Verdict([self._calls[each.taken] for each in path[1:]], is_complete=True)
            following = self._next(node)
            if following is None:
                path.pop()
                dead.add((node.asked, node.model))
                continue
            self._left -= 1
            if self._left < 0:
                return self._no_order(deepest, depth, is_complete=False)
            if dead and (following.asked, following.model) in dead:
                continue
            self._look_ahead(following, node)
            path.append(following)
            if len(path) > depth + 1:
                deepest, depth = following, len(path) - 1
        return self._no_order(deepest, depth, is_complete=True)

    def _no_order(self, deepest: _Node, depth: int, *, is_complete: bool) -> Verdict:
        stuck = {*deepest.open, *self._by_reply[deepest.first : deepest.first + 1]}
        calls = [self._calls[index] for index in sorted(stuck)]
        return Verdict(None, is_complete, calls, depth)

    def _next(self, node: _Node) -> _Node | None:
        """Take up the next of the calls that can come here, if one of them fits."""
        for index in node.choices:
            if self._is_too_early(index, node):
                continue
            step = node.model.call(index, self._calls[index])
            if step is None:
                continue
            done = node.done
            for each, answer in step.answers:
                known = self._calls[each].answer
                if known is not None and known != answer:
                    break
                done |= 1 << each
            else:
                return _Node(step.model, node.asked | 1 << index, done, index)
        return None

    def _is_too_early(self, index: int, node: _Node) -> bool:
        """Whether another call of its process was answered before it began, and isn't settled."""
        calls, call = self._calls, self._calls[index]
        return any(
            calls[each].replied < call.invoked
            and calls[each].process is call.process
            and calls[each].is_sure
            for each in node.open
        )

    def _look_ahead(self, node: _Node, before: _Node | None) -> None:
        """Find the calls that can come next: no answer was heard before they began."""
        first = later = 0
        open_ = node.open
        if before is not None:
            first, later = before.first, before.later
            open_ += [index for index in before.open if index != node.taken]
        by_reply, calls = self._by_reply, self._calls
        while first < len(by_reply) and node.done >> by_reply[first] & 1:
            first += 1
        bound = calls[by_reply[first]].settled if first < len(by_reply) else NEVER
        while later < len(calls) and calls[later].invoked < bound:
            insort(open_, later, key=self._heard)
            later += 1
        node.first, node.later = first, later
        node.choices = iter(open_)

    def _heard(self, index: int) -> int:
        return self._calls[index].heard


def find_order(calls: Sequence[Call], model: Model, most: int = MOST_STEPS) -> Verdict:
    """Look for an order of calls of one primitive or lock that explains all answers.

    Args:
        calls: the calls. Those that were never answered may have been taken up, or not.
        model: what the primitive was before all of them.
        most: the largest number of calls that are tried.

    Returns:
        The order, or what kept the search from finding one.
    """
    if len(calls) > MOST_CALLS:
        return Verdict(None, is_complete=False)
    return _Search(calls, model, most).run()
