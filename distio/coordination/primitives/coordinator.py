"""Entries that fibers of the whole cluster talk by, and who waits at which.

Rules
-----
- An entry belongs to the run that made it, and only fibers of that run use it. So whoever can
  answer a fiber that waits at one is a fiber of its run. It is freed when no fiber can reach it any
  more (see `references`), at the latest when its run ends.
- Each `PrimitiveCall` is answered once. A fiber that gives up waiting asks for that, too: its call
  was answered before, or it is told that it never will be. Links keep order, so it can't be both.
- The fibers of a lost member wait no longer.
- What members may do without asking is in `loans`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distio.coordination.primitives.delegations import Delegations
from distio.coordination.primitives.kinds import make_primitive
from distio.coordination.primitives.primitive import NOT_OURS, Primitive, Reply, Unknown
from distio.coordination.primitives.queues import Queue
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.requests import NOTHING

if TYPE_CHECKING:
    from distio.coordination.coordinator import Coordinator
    from distio.coordination.placement.coordinator import MemberRecord

__all__ = ["Primitives"]


NOBODY: Final = -1
"""Stands for a fiber that isn't to be answered."""


class _Waiter(NamedTuple):
    member: int
    run: int
    key: int
    references: Sequence[int] = ()
    """Those in what it puts."""


class _Item(NamedTuple):
    """An item that refers to what fibers talk by, or share."""

    payload: bytes
    references: Sequence[int]


class Primitives:
    """All entries of a cluster."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self._primitives: dict[int, tuple[int, Primitive]] = {}
        """By key: its run, and itself."""
        self._loans: dict[int, Delegations] = {}
        """By key: what members may do with it without asking."""
        self._recalls: dict[int, int] = {}
        """By run: with how many of its entries they may so no longer, and haven't said yes."""
        self._keys: dict[int, dict[int, None]] = {}
        """By run."""
        self._waiters: dict[int, _Waiter] = {}
        """By fiber."""
        self._counts: dict[int, dict[int, int]] = {}
        """By member and run: how many wait."""

    def __len__(self) -> int:
        return len(self._primitives) + len(self._keys) + len(self._waiters) + len(self._counts)

    # -- what members say -----------------------------------------------------------------

    def make(self, member: int, message: m.MakePrimitive) -> None:
        """A fiber has made an entry."""
        if message.run not in self._machine.runs:
            self._machine.stale += 1
            return
        primitive = make_primitive(message.kind, message.size)
        self._primitives[message.key] = message.run, primitive
        if isinstance(primitive, Queue) and not primitive.has_limit:
            self._loans[message.key] = Delegations(primitive)
        self._keys.setdefault(message.run, {})[message.key] = None
        self._machine.references.made(message.run, message.key, member)

    def talk(self, member: MemberRecord, message: m.PrimitiveCall) -> None:
        """A fiber asks an entry for something."""
        run = self._machine.runs.get(message.run)
        if run is None:
            self._machine.stale += 1
            return
        owner, primitive = self._primitives.get(message.key, (0, None))
        if primitive is None or owner != message.run:
            self._say(member.id, m.Replied(message.fiber, refused=NOT_OURS))
            return
        waiter = _Waiter(member.id, message.run, message.key, message.references)
        if message.references:
            self._machine.references.came(message.references, message.key)
        self._enter(message.fiber, waiter)
        run.note_progress()
        loans = self._loans.get(message.key)
        if loans is not None and self._is_delayed(loans, member.id, message):
            return
        self._ask(primitive, member.id, message)
        if message.fiber in self._waiters:
            self._machine.deadlocks.probe(message.run, run)

    def _ask(self, primitive: Primitive, member: int, asked: m.PrimitiveCall) -> None:
        item = _item_of(asked.item, asked.references)
        try:
            answers = primitive.ask(asked.fiber, asked.method, asked.number, item)
        except Unknown as method:
            self._leave(asked.fiber)
            self._machine.references.gone(asked.references, asked.key)
            refused = m.Replied(asked.fiber, refused=f"nobody can {method} here")
            self._say(member, refused)
            return
        loans = self._loans.get(asked.key)
        for answer in answers:
            is_refused = answer.is_closed or answer.plain is False
            if answer.fiber == asked.fiber and asked.references and is_refused:
                self._machine.references.gone(asked.references, asked.key)
            if loans is None or answer.fiber != asked.fiber or answer.is_closed:
                self._tell(answer)
            else:
                got_item = answer.item is not NOTHING
                self._tell(answer, *loans.answered(member, asked, got_item=got_item))

    # -- what members may say -------------------------------------------------------------

    def runs_with(self, key: int) -> list[int]:
        """The run to which this belongs, if there is one."""
        return [self._primitives[key][0]] if key in self._primitives else []

    def knows(self, key: int) -> bool:
        """Whether there is an entry of this key."""
        return key in self._primitives

    def is_waiting(self, fiber: int) -> bool:
        """Whether this fiber is still to be answered."""
        return fiber in self._waiters

    def may_put(self, member: int, run: int, key: int) -> bool:
        """Whether this member may put into this queue of a run without asking."""
        owner, _ = self._primitives.get(key, (0, None))
        return owner == run and key in self._loans and self._loans[key].may_put(member)

    # -- loans ----------------------------------------------------------------------------

    def _is_delayed(self, loans: Delegations, member: int, asked: m.PrimitiveCall) -> bool:
        """Whether others have to give something back before this can be answered."""
        if not loans.recalled:
            loans.recalled |= loans.to_recall(member, asked)
            for holder in sorted(loans.recalled):
                self._say(holder, m.RecallDelegation(asked.key))
            if loans.recalled:
                self._recalls[asked.run] = self._recalls.get(asked.run, 0) + 1
        if loans.recalled:
            loans.delayed[asked.fiber] = member, asked
        return bool(loans.recalled)

    def put(self, message: m.DelegatedPut) -> None:
        """A member that may has put an item."""
        run = self._machine.runs.get(message.run)
        if run is None:
            self._machine.stale += 1
            return
        run.note_progress()
        if message.key not in self._primitives:
            self._machine.stale += 1  # the coordinator has lost track of the run
            return
        _, primitive = self._primitives[message.key]
        item = _item_of(message.item, message.references)
        self._machine.references.came(message.references, message.key)
        for answer in primitive.ask(NOBODY, "put", 0, item):
            if answer.fiber != NOBODY:
                self._tell(answer)

    def came_back(self, member: int, message: m.DelegationReturned) -> None:
        """A member has given back what it had."""
        loans = self._loans.get(message.key)
        if loans is None or member not in loans.recalled:
            self._machine.stale += 1
            return
        self._came_back(message.key, loans, member, message.taken)

    def _came_back(self, key: int, loans: Delegations, member: int, taken: int) -> None:
        run, primitive = self._primitives[key]
        was_recalled = bool(loans.recalled)
        loans.came_back(member, taken)
        if not was_recalled or loans.recalled:
            return
        self._machine.runs[run].note_progress()
        self._recalls[run] -= 1
        if not self._recalls[run]:
            del self._recalls[run]
        delayed, loans.delayed = loans.delayed, OrderedDict()
        for asker, asked in delayed.values():
            if not self._is_delayed(loans, asker, asked):
                self._ask(primitive, asker, asked)
        self._machine.deadlocks.probe(run, self._machine.runs[run])

    def is_recalling(self, run: int) -> bool:
        """Whether some of this run wait only until something has come back."""
        return run in self._recalls

    def give_up(self, member: MemberRecord, message: m.WithdrawCall) -> None:
        """A fiber wants to wait no longer."""
        waiter = self._waiters.get(message.fiber)
        if waiter is None or waiter.member != member.id:  # its answer is on its way
            self._machine.stale += 1
            return
        self._strike_out(message.fiber, waiter)
        self._machine.runs[waiter.run].note_progress()
        self._say(member.id, m.CallWithdrawn(message.fiber))

    # -- who waits ------------------------------------------------------------------------

    def _answer(self, answers: Sequence[Reply]) -> None:
        for answer in answers:
            self._tell(answer)

    def _tell(self, answer: Reply, may_put: bool = False, ahead: Sequence[bytes] = ()) -> None:
        fiber, plain, item, is_closed = answer
        waiter = self._leave(fiber)
        references: Sequence[int] = ()
        if type(item) is _Item:
            item, references = item
            self._machine.references.sent(references, waiter.member)
            if isinstance(self._primitives[waiter.key][1], Queue):
                self._machine.references.gone(references, waiter.key)
        said = fiber, plain, None if item is NOTHING else item, is_closed
        lent = may_put, list(ahead)
        self._say(waiter.member, m.Replied(*said, "", *lent, list(references)))

    def _say(self, member: int, message: m.CoordinatorMessage) -> None:
        if member in self._machine.members:  # several may be lost at once, and this one be next
            self._machine.send(member, message)

    def _strike_out(self, fiber: int, waiter: _Waiter) -> None:
        self._leave(fiber)
        if waiter.references:
            self._machine.references.gone(waiter.references, waiter.key)
            if waiter.key not in self._primitives:
                return  # that was the last that referred to it
        loans = self._loans.get(waiter.key)
        if loans is not None and loans.delayed.pop(fiber, None) is not None:
            return
        _, primitive = self._primitives[waiter.key]
        self._answer(primitive.give_up(fiber))

    def _enter(self, fiber: int, waiter: _Waiter) -> None:
        self._waiters[fiber] = waiter
        runs = self._counts.setdefault(waiter.member, {})
        runs[waiter.run] = runs.get(waiter.run, 0) + 1

    def _leave(self, fiber: int) -> _Waiter:
        waiter = self._waiters.pop(fiber)
        runs = self._counts[waiter.member]
        runs[waiter.run] -= 1
        if not runs[waiter.run]:
            del runs[waiter.run]
        if not runs:
            del self._counts[waiter.member]
        return waiter

    def waiting(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait here."""
        return self._counts.get(member, {})

    def free(self, key: int) -> None:
        """No fiber can reach this entry any more."""
        run, _ = self._primitives.pop(key)
        del self._keys[run][key]
        if not self._keys[run]:
            del self._keys[run]
        loans = self._loans.pop(key, None)
        for holder in loans.ever if loans is not None else ():
            self._say(holder, m.PrimitivesFreed([key]))

    def has(self, key: int) -> bool:
        """Whether this is the key of an entry."""
        return key in self._primitives

    # -- who is gone ----------------------------------------------------------------------

    def member_gone(self, member: int) -> None:
        """The fibers of this member, which is none any more, wait no longer."""
        gone = [fiber for fiber, waiter in self._waiters.items() if waiter.member == member]
        for fiber in gone:
            waiter = self._waiters[fiber]
            if waiter.run in self._machine.runs:
                self._machine.runs[waiter.run].note_progress()
            self._strike_out(fiber, waiter)
        for key, loans in self._loans.items():
            if member in loans.holders or member in loans.recalled:
                self._came_back(key, loans, member, 0)

    def run_gone(self, run: int) -> None:
        """A run has ended, and with it what its fibers talked by."""
        for key in self._keys.pop(run, ()):
            _, primitive = self._primitives.pop(key)
            loans = self._loans.pop(key, None)
            for fiber in [*primitive.waiting(), *(loans.delayed if loans is not None else ())]:
                if fiber in self._waiters:
                    self._leave(fiber)
        self._recalls.pop(run, None)

    def refuse_all(self, run: int, reason: str) -> None:
        """The entries of this run are spoilt: they are no more, and nobody waits for them."""
        for fiber, waiter in self._waiters.items():
            if waiter.run == run:
                self._say(waiter.member, m.Replied(fiber, refused=reason))
        for key in self._keys.pop(run, ()):
            self._primitives.pop(key, None)
            self._loans.pop(key, None)
        self._recalls.pop(run, None)

    def spoilt_runs(self) -> set[int]:
        """After a failure: the runs of which an entry isn't what it must be."""
        members = self._machine.members.keys()
        spoilt = {each.run for each in self._waiters.values() if each.member not in members}
        for key, (run, primitive) in self._primitives.items():
            loans = self._loans.get(key)
            holders = () if loans is None else (*loans.holders, *loans.recalled)
            delayed = () if loans is None else loans.delayed
            waiting = {*primitive.waiting(), *delayed}
            known = {fiber for fiber, each in self._waiters.items() if each.key == key}
            try:
                primitive.validate()
            except DistioBug:
                spoilt.add(run)
            is_stuck = bool(delayed) and not (loans and loans.recalled)
            if waiting != known or is_stuck or not members >= {*holders}:
                spoilt.add(run)
        return spoilt

    def count_anew(self) -> None:
        """After a failure, when nothing that is spoilt is left."""
        waiters, self._waiters, self._counts = self._waiters, {}, {}
        for fiber, waiter in waiters.items():
            if waiter.key in self._primitives and waiter.member in self._machine.members:
                self._enter(fiber, waiter)

    def _validate_references(self) -> None:
        for key in self._primitives:
            if key not in self._machine.references:
                raise DistioBug(f"what fibers talk by has the key {key}, which nobody counts")

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            DistioBug: something doesn't.
        """
        self._validate_references()
        waiting: dict[int, int] = {}
        for key, (run, primitive) in self._primitives.items():
            primitive.validate()
            if run not in self._machine.runs:
                raise DistioBug(f"what fibers talk by outlives run {name_of(run)}")
            delayed = self._loans[key].delayed if key in self._loans else ()
            waiting.update(dict.fromkeys([*primitive.waiting(), *delayed], key))
        if waiting != {fiber: waiter.key for fiber, waiter in self._waiters.items()}:
            raise DistioBug(f"{waiting} wait to be answered, but {self._waiters} are known")
        for loans in self._loans.values():
            if not self._machine.members.keys() >= {*loans.holders, *loans.recalled}:
                raise DistioBug("a member is gone, but may do something with a queue")
            if loans.delayed and not loans.recalled:
                raise DistioBug("some wait until a queue has come back, and it has")
        for waiter in self._waiters.values():
            if waiter.member not in self._machine.members:
                raise DistioBug(f"member {waiter.member} is gone, but its fibers wait for answers")


def _item_of(payload: bytes | None, references: Sequence[int]) -> Any:
    if payload is None:
        return NOTHING
    return _Item(payload, references) if references else payload
