"""References: which queues, variables, fibers and the like can still be reached from where.

Rules
-----
- For each key the coordinator counts: each member, once for having made it and once for each
  payload with a reference to it that was sent there; and the payloads that are here, in the backlog
  or as items of a queue or a deferred value.
- A member gives back what it was counted for, by number, when no reference is left there.
  References that were sent meanwhile still count, so no payload on its way is forgotten.
- A key that nothing counts for is freed, and with it the payloads that were in it.
- The key of a fiber is its id, and its handles are the references to it. A member from which the
  fiber leaves is counted once: its handle stays there. As long as that is all there is to say, the
  record of the fiber says it (`is_unwanted`). A handle where the fiber is isn't counted; the member
  tells when such a handle leaves, and is counted until the payload with it has come.
- A member may say that a payload refers to anything. A key that isn't known, or belongs to the runs
  of others, doesn't count, and isn't told on.
- The counts of a lost member stay: it may have told others in ways that nobody tracks. So does what
  refers to itself. All of that ends with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized

from distio.coordination.dispatch import handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import NOBODY, home_of, name_of

__all__ = ["References"]


class _Known:
    """The counts of one key."""

    __slots__ = ("contents", "exposed", "host", "members", "payloads", "run")

    def __init__(
        self, run: int, members: dict[int, int], exposed: int | None = None, host: int = 0
    ) -> None:
        self.run = run
        self.members = members
        self.host = host
        """The member that has reported a handle of a fiber without a record."""
        self.payloads = 0
        """How many payloads here refer to it."""
        self.contents: dict[int, int] = {}
        """By key: how many payloads in it refer to that."""
        self.exposed = exposed
        """How often the member of a fiber has reported that a handle leaves."""


class References(CoordinatorFeature):
    """The counts of all keys."""

    def __init__(self, state: CoordinatorState) -> None:
        self._state = state
        self._known: dict[int, _Known] = {}
        self._runs: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: int) -> bool:
        return key in self._known

    def made(self, run: int, key: int, member: int) -> None:
        """A fiber of this member has made what this key stands for."""
        self._begin(run, key, _Known(run, {member: 1}))

    def exposed(self, run: int, fiber: int, member: int) -> None:
        """A handle of this fiber leaves the member where the fiber is."""
        known = self._find(fiber)
        if known is not None and known.run != run and fiber not in self._state.fibers:
            if home_of(fiber) != member:
                return  # it is wrong, or the other one was
            self._correct(fiber, known, run)
            known.host = member
        if known is None:
            known = self._begin(run, fiber, _Known(run, {}, exposed=0, host=member))
        known.exposed = (known.exposed or 0) + 1
        known.members[member] = known.members.get(member, 0) + 1

    def fibers_left(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """Handles of the fibers stay where they were, and references in the chunk come here."""
        fibers, home = self._state.fibers, member.id
        for fiber, _ in chunk.fibers:
            self.left(fiber, fibers[fiber], home)
        if chunk.references:
            self.came(chunk.references)

    def fibers_placed(self, member: MemberRecord, chunk: m.Chunk) -> None:
        """References in the chunk go to the member."""
        if chunk.references:
            self.sent(chunk.references, member.id)
            self.gone(chunk.references)

    def fibers_dropped(self, host: int, chunk: m.Chunk) -> None:
        """References in the chunk are here no more, if they have come here."""
        if host == NOWHERE:
            self.gone(chunk.references)

    def left(self, fiber: int, record: FiberRecord, member: int) -> None:
        """A fiber, which has a record by now, leaves this member."""
        is_moving_on = record.epoch > 0 and not record.is_unwanted
        known = self._find(fiber) if is_moving_on else self._known.get(fiber)
        if known is not None and known.run != record.run:
            self._correct(fiber, known, record.run)
        if known is None and home_of(fiber) == member:
            record.is_unwanted = False
        elif known is None:
            record.is_unwanted = False
            self._begin(record.run, fiber, _Known(record.run, {member: 1}, exposed=0))
        else:
            known.exposed = known.host = 0  # the next member counts anew
            known.members[member] = known.members.get(member, 0) + 1

    def host_lost(self, fiber: int) -> None:
        """A fiber goes on at another member, which counts anew how often its handle leaves."""
        known = self._known.get(fiber)
        if known is not None:
            known.exposed = known.host = 0

    def host_of(self, run: int, fiber: int) -> int:
        """The host of a fiber of this run that has no record."""
        known = self._known.get(fiber)
        return (
            known.host if known is not None and known.run == run and known.host else home_of(fiber)
        )

    def _correct(self, key: int, known: _Known, run: int) -> None:
        """Another member was wrong about the run to which this key belongs."""
        del self._runs[known.run][key]
        known.run = run
        self._runs.setdefault(run, {})[key] = None

    def _begin(self, run: int, key: int, known: _Known) -> _Known:
        if key in self._known:
            del self._runs[self._known[key].run][key]
        self._known[key] = known
        self._runs.setdefault(run, {})[key] = None
        return known

    def _find(self, key: int) -> _Known | None:
        """The counts of this key; those of a fiber begin with what its record says."""
        known = self._known.get(key)
        if known is not None:
            return known
        record = self._state.fibers.get(key)
        if record is None:
            return None
        members = {} if record.is_unwanted else {home_of(key): 1}
        record.is_unwanted = False
        return self._begin(record.run, key, _Known(record.run, members, exposed=0))

    def counted(self, member: int, run: int, keys: Sequence[int]) -> list[int]:
        """The keys to which a payload of a member counts as a reference.

        Args:
            member: the member that has sent the payload.
            run: the run that the payload belongs to; 0: the coordinator doesn't know it.
            keys: to which it refers, as the member says.
        """
        return [key for key in dict.fromkeys(keys) if self._may_refer(member, run, key)]

    def _may_refer(self, member: int, run: int, key: int) -> bool:
        runs, known = self._state.runs, self._find(key)
        if known is None or known.run not in runs:
            return False
        of, asking = runs[known.run], runs.get(run)
        is_same_client = asking is not None and asking.owner == of.owner != NOBODY
        return member in of.members or is_same_client

    def came(self, keys: Iterable[int], within: int | None = None) -> None:
        """A payload with references to these has come here.

        Args:
            keys: each once.
            within: the key of what has it; None: nothing has.
        """
        holder = None if within is None else self._known.get(within)
        for key in keys:
            known = self._find(key)
            if known is not None:
                known.payloads += 1
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
            known = self._known.get(key)
            if known is not None and known.payloads:  # else a member has made the key once more
                known.payloads -= 1
        for key in keys:
            self._look_at(key)

    @handles
    @unchecked
    def give_back(self, sender: MemberRecord, message: m.GiveBack) -> None:
        """A member can't reach some keys any more."""
        self.given_back(sender.id, message.counts)

    def given_back(self, member: int, counts: Iterable[tuple[int, int]]) -> None:
        """Uncount keys that this member can't reach any more, as far as it has heard of them."""
        for key, count in counts:
            if key in self._known:
                _take_away(self._known[key].members, member, count)
                self._look_at(key)
            elif key in self._state.fibers and home_of(key) == member:
                self._fiber_unreachable(key, 0, 0)

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
            if known.exposed is not None:
                self._fiber_unreachable(key, known.host, known.exposed)
            else:
                for key_unreachable in self._state.hooks.key_unreachable:
                    key_unreachable(known.run, key)

    def _fiber_unreachable(self, fiber: int, host: int, exposed: int) -> None:
        for fiber_unreachable in self._state.hooks.fiber_unreachable:
            fiber_unreachable(fiber, host, exposed)

    def run_ended(self, id: int, run: Run) -> None:
        """Drop the counts of all keys that fibers of the run have made."""
        for key in self._runs.pop(id, ()):
            del self._known[key]

    def validate(self) -> None:
        """Check that counts are above zero, and that each key is counted in one place."""
        fibers = self._state.fibers
        for key, known in self._known.items():
            record = fibers.get(key)
            if record is not None and record.is_unwanted:
                raise DistioBug(f"fiber {name_of(key)} is unwanted, but counts for {known.members}")
            counts = known.members.values()
            is_counted = known.payloads > 0 or (known.payloads == 0 and counts)
            if not is_counted or (counts and min(counts) < 0) or _is_below_zero(known.contents):
                every = known.payloads, known.members, known.contents
                raise DistioBug(f"references to {key} are miscounted: {every}")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"references": self._known}


def _is_below_zero(counts: dict[int, int]) -> bool:
    return bool(counts) and min(counts.values()) < 0


def _take_away(counts: dict[int, int], key: int, count: int) -> None:
    left = counts.get(key, 0) - count
    if left > 0:  # a member that gives back too much loses what it had, and nobody else does
        counts[key] = left
    else:
        counts.pop(key, None)
