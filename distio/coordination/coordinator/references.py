"""Which queues, variables and the like can still be reached, and by whom.

Rules
-----
- For each key the coordinator counts: each member, once for having made it and once for each
  payload with a reference to it that was sent there; and the payloads that are here, in the backlog
  or as items of a queue or a deferred value.
- A member gives back what it was counted for, by number, when no reference is left there. What was
  sent meanwhile still counts, so no payload on its way is forgotten.
- A key that nothing counts for is freed, and with it the payloads that were in it.
- What a lost member was counted for stays: it may have told others in ways that nobody tracks. So
  does what refers to itself. All of that ends with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from distio.errors import DistioBug

__all__ = ["References"]


class _Known:
    """One key."""

    __slots__ = ("contents", "members", "payloads", "run")

    def __init__(self, run: int, maker: int) -> None:
        self.run = run
        self.members: dict[int, int] = {maker: 1}
        self.payloads = 0
        """How many payloads here refer to it."""
        self.contents: dict[int, int] = {}
        """By key: how many payloads in it refer to that."""


class References:
    """The counts of all keys."""

    def __init__(self, free: Callable[[int, int], None]) -> None:
        self._free = free
        self._known: dict[int, _Known] = {}
        self._runs: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: int) -> bool:
        return key in self._known

    def made(self, run: int, key: int, member: int) -> None:
        """A fiber of this member has made what this key stands for."""
        self._known[key] = _Known(run, member)
        self._runs.setdefault(run, {})[key] = None

    def came(self, keys: Iterable[int], within: int | None = None) -> None:
        """A payload with references to these has come here.

        Args:
            keys: each once.
            within: the key of what has it; None: nothing has.
        """
        holder = None if within is None else self._known.get(within)
        for key in keys:
            if key in self._known:
                self._known[key].payloads += 1
                if holder is not None:
                    holder.contents[key] = holder.contents.get(key, 0) + 1

    def sent(self, keys: Iterable[int], member: int) -> None:
        """A payload with references to these is sent to this member."""
        for key in keys:
            if key in self._known:
                members = self._known[key].members
                members[member] = members.get(member, 0) + 1

    def gone(self, keys: Sequence[int], within: int | None = None) -> None:
        """A payload with references to these is here no more; the rest as for `came`."""
        holder = None if within is None else self._known.get(within)
        for key in keys:
            if holder is not None:
                _take_away(holder.contents, key, 1)
            if key in self._known:
                self._known[key].payloads -= 1
        for key in keys:
            self._look_at(key)

    def given_back(self, member: int, counts: Iterable[tuple[int, int]]) -> None:
        """This member can't reach these any more, as far as it has heard of them."""
        for key, count in counts:
            if key in self._known:
                _take_away(self._known[key].members, member, count)
                self._look_at(key)

    def _look_at(self, key: int) -> None:
        doubtful = [key]
        while doubtful:
            key = doubtful.pop()
            known = self._known.get(key)
            if known is None or known.members or known.payloads:
                continue
            del self._known[key], self._runs[known.run][key]
            for other, count in known.contents.items():
                if other in self._known:
                    self._known[other].payloads -= count
                    doubtful.append(other)
            self._free(known.run, key)

    def run_gone(self, run: int) -> None:
        """A run has ended, and all that its fibers have made with it."""
        for key in self._runs.pop(run, ()):
            del self._known[key]

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        for key, known in self._known.items():
            counts = [known.payloads, *known.members.values(), *known.contents.values()]
            if min(counts) < 0 or not (known.members or known.payloads):
                raise DistioBug(f"references to {key} are miscounted: {known.members}, {counts}")


def _take_away(counts: dict[int, int], key: int, count: int) -> None:
    left = counts.get(key, 0) - count
    if left > 0:  # a member that gives back too much loses what it had, and nobody else does
        counts[key] = left
    else:
        counts.pop(key, None)
