"""Primitives that fibers of the whole cluster share, and the fibers that wait at them.

Rules
-----
- A primitive belongs to the run that made it, and only fibers of that run use it. So a fiber that
  waits at one can be answered by fibers of its run alone. A primitive is freed when no fiber can
  reach it any more (see `references`), at the latest when its run ends.
- Each `PrimitiveCall` is answered once. A fiber withdraws a call by a message, too: the call has
  been answered already, or the fiber is told that it never will be. Links keep order, so it can't
  be both.
- The fibers of a lost member wait no longer, unless they go on elsewhere from a snapshot. The reply
  for which a snapshot waits is kept, also that to a call which its member has answered itself.
- The rights of members to act without asking are in `delegations`, and their recall in
  `delegated_queues`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Final, Protocol, TypeVar

import msgspec

from distio.coordination.admission import Inadmissible, Late, part_of, require, require_host
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.primitives.checks import Books
from distio.coordination.primitives.delegated_queues import DelegatedQueues
from distio.coordination.primitives.items import Item, item_of
from distio.coordination.primitives.kept_replies import KeptReplies
from distio.coordination.primitives.kinds import make_primitive
from distio.coordination.primitives.primitive import NOT_OURS, Primitive, Reply, Unknown
from distio.coordination.primitives.queues import Queue
from distio.coordination.primitives.waiters import Waiter, Waiters
from distio.coordination.references.coordinator import References
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.ids import home_of, name_of
from distio.protocol.pieces import Bytes
from distio.protocol.requests import NOTHING

__all__ = ["Primitives"]

NOBODY: Final = -1
"""Stands for a fiber that isn't to be answered."""
_WITH_ITEM: Final = frozenset({"offer", "publish", "put", "set"})
_LEAST_SIZE: Final = {"barrier": 1, "deferred": -1, "latch": 0, "queue": -1, "topic": -1}


Putting = TypeVar("Putting", m.PrimitiveCall, m.DelegatedPut)


class Readers(Protocol):
    """Knows which members don't read what is said to them, and which runs have to wait for that."""

    def said(self, run: int, reader: int, /) -> None: ...
    def is_held(self, run: int, /) -> bool: ...
    def delays(self, run: int, member: int, message: m.CoordinatorMessage, /) -> bool: ...


class Primitives(CoordinatorFeature):
    """All primitives of a cluster."""

    def __init__(self, state: CoordinatorState, references: References, readers: Readers) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            references: those in items are counted.
            readers: the members that items are sent to.
        """
        self._state = state
        self._readers = readers
        self._references = references
        self._primitives: dict[int, tuple[int, Primitive]] = {}
        """By key: the run, and the primitive."""
        self._delegations = DelegatedQueues(state)
        self._held: list[int] = []
        """Runs from whose queues all that was delegated is to come back."""
        self._keys: dict[int, dict[int, None]] = {}
        """The keys of each run."""
        self._waiters = Waiters()
        self._kept = KeptReplies(state, references)

    def __len__(self) -> int:
        return (
            len(self._primitives)
            + len(self._keys)
            + len(self._waiters)
            + self._waiters.has_counts
            + len(self._delegations)
            + self._delegations.is_used
        )

    # -- what members say -----------------------------------------------------------------

    @admits
    def admit_make(self, sender: MemberRecord, message: m.MakePrimitive) -> None:
        """The member has made the key, which is new; and the size is one that can be."""
        if part_of(self._state, sender, message.run) is not None:
            require(home_of(message.key) == sender.id, "the key was made elsewhere")
            is_new = message.key not in self._primitives and message.key not in self._references
            require(is_new, "the key is in use")
            is_possible = message.size >= _LEAST_SIZE[message.kind]
            require(is_possible, f"a {message.kind} can't be that small")

    @handles
    def make(self, sender: MemberRecord, message: m.MakePrimitive) -> None:
        """A fiber has made a primitive."""
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
            return
        primitive = make_primitive(message.kind, message.size)
        self._primitives[message.key] = message.run, primitive
        if isinstance(primitive, Queue) and message.size:
            self._delegations.make(message.run, message.key, primitive)
        self._keys.setdefault(message.run, {})[message.key] = None
        self._references.made(message.run, message.key, sender.id)

    @admits
    def admit_call(self, sender: MemberRecord, message: m.PrimitiveCall) -> None:
        """The fiber is there, and doesn't wait; there is an item if the method takes one."""
        if part_of(self._state, sender, message.run) is not None:
            require_host(self._state, sender, message.run, message.fiber)
            if message.fiber in self._waiters:
                raise Inadmissible(f"fiber {name_of(message.fiber)} waits already")
            if (message.item is None) is (message.method in _WITH_ITEM):
                raise Inadmissible(
                    f"{message.method} is called with an item, or without one, as it never is"
                )

    @handles
    def call(self, sender: MemberRecord, message: m.PrimitiveCall) -> None:
        """A fiber calls a method of a primitive."""
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
            return
        owner, primitive = self._primitives.get(message.key, (0, None))
        if primitive is None or owner != message.run:
            self._state.send(sender.id, m.Replied(message.fiber, refused=NOT_OURS))
            return
        message = self._with_counted(sender, message)
        self._kept.forget(message.fiber)
        waiter = Waiter(sender.id, message.run, message.key, message.references)
        if message.references:
            self._references.came(message.references, message.key)
        self._waiters.enter(message.fiber, waiter)
        run.note_progress()
        if self._delegations.delays(sender.id, message):
            return
        self._ask(primitive, sender.id, message)
        if message.fiber in self._waiters:
            self._state.probe(message.run, run)

    def _ask(
        self,
        primitive: Primitive,
        member: int,
        call: m.PrimitiveCall,
        *,
        are_others_next: bool = False,
    ) -> None:
        """Ask the primitive, and tell those of its answers.

        Args:
            primitive: the primitive.
            member: the one that calls.
            call: its call.
            are_others_next: whether others have called already: then what is left is theirs, and
                not for the member to take ahead.
        """
        item = item_of(self._state, call.item, call.references)
        try:
            replies = primitive.ask(call.fiber, call.method, call.number, item)
        except Unknown as method:
            self._waiters.leave(call.fiber)
            self._references.gone(call.references, call.key)
            refused = m.Replied(call.fiber, refused=f"nobody can {method} here")
            self._state.send_if_member(member, refused)
            return
        may_have = not are_others_next and self._may_have(member, call.key)
        for reply in replies:
            is_refused = reply.is_closed or reply.plain is False
            if reply.fiber == call.fiber and call.references and is_refused:
                self._references.gone(call.references, call.key)
            if may_have and reply.fiber == call.fiber and not reply.is_closed:
                got_item = reply.item is not NOTHING
                self._reply(reply, *self._delegations.delegate(member, call, got_item=got_item))
            else:
                self._reply(reply)

    def _may_have(self, member: int, key: int) -> bool:
        """Whether something of this may be delegated to a member that has called it."""
        if key not in self._delegations:
            return False
        asker = self._state.members.get(member)
        is_staying = asker is not None and not asker.is_leaving
        return is_staying and not self._readers.is_held(self._primitives[key][0])

    @handles
    @unchecked
    def withdraw(self, sender: MemberRecord, message: m.WithdrawCall) -> None:
        """A fiber wants to wait no longer."""
        waiter = self._waiters.get(message.fiber)
        if waiter is None or waiter.member != sender.id:  # its answer is on its way
            self._state.stale += 1
            return
        self._withdraw(message.fiber, waiter)
        self._state.runs[waiter.run].note_progress()
        self._state.send(sender.id, m.CallWithdrawn(message.fiber))

    @admits
    def admit_repeat(self, sender: MemberRecord, message: m.RepeatCall) -> None:
        """The fiber is there."""
        if part_of(self._state, sender, message.run) is not None:
            require_host(self._state, sender, message.run, message.fiber)
        elif message.run not in self._state.runs:
            raise Late

    @handles
    def repeat(self, sender: MemberRecord, message: m.RepeatCall) -> None:
        """A fiber goes on in the middle of a call: it is told the reply, or waits on."""
        reply, waiter = self._kept.of(message.fiber), self._waiters.get(message.fiber)
        if reply is not None:
            self._references.sent(reply.references, sender.id)
            self._state.send(sender.id, reply)
        elif waiter is not None:
            self._waiters.move(message.fiber, sender.id)
            self._state.probe(waiter.run, self._state.runs[waiter.run])
        else:  # it has withdrawn the call, or its run is over
            self._state.send(sender.id, m.CallWithdrawn(message.fiber))

    # -- delegations ----------------------------------------------------------------------

    def run_held(self, id: int) -> None:
        """Items are put one by one from now on: who puts one may have to wait."""
        self._held.append(id)
        self._state.is_unsettled = True

    def settle(self) -> None:
        """Recall what was delegated of the queues of runs that are held."""
        if not self._held:
            return
        held, self._held = self._held, []
        for run in held:
            self._delegations.recall_all(self._keys.get(run, ()))

    def member_leaves(self, member: MemberRecord) -> None:
        """The member's delegations are recalled, for its fibers go on elsewhere."""
        self._delegations.recall_from(member.id)

    @admits
    def admit_put(self, sender: MemberRecord, message: m.DelegatedPut) -> None:
        """The member may put into this queue of the run without asking."""
        if part_of(self._state, sender, message.run) is not None:
            owner, _ = self._primitives.get(message.key, (0, None))
            delegations = self._delegations.get(message.key)
            may_put = delegations is not None and delegations.may_put(sender.id)
            require(owner == message.run and may_put, "the member may not put without asking")

    @handles
    def put(self, sender: MemberRecord, message: m.DelegatedPut) -> None:
        """A member that may put without asking has put an item."""
        run = self._state.runs.get(message.run)
        if run is None:
            self._state.stale += 1
            return
        run.note_progress()
        if message.key not in self._primitives:
            self._state.stale += 1  # the coordinator has lost track of the run
            return
        _, primitive = self._primitives[message.key]
        message = self._with_counted(sender, message)
        item = item_of(self._state, message.item, message.references)
        self._references.came(message.references, message.key)
        self._delegations[message.key].note_put(sender.id)
        plain = True if message.is_offer else None
        self._kept.keep_told(sender, m.Replied(message.fiber, plain))
        for reply in primitive.ask(NOBODY, "put", 0, item):
            if reply.fiber != NOBODY:
                self._reply(reply)

    @handles
    @unchecked
    def note_taken(self, sender: MemberRecord, message: m.TakenAhead) -> None:
        """A member has taken items that it was given ahead: they don't come back with its loss."""
        delegations = self._delegations.get(message.key)
        taken = message.serial, message.taken
        items = None if delegations is None else delegations.note_taken(sender.id, *taken)
        if not items:
            self._state.stale += 1
            return
        if message.fiber:
            self._kept.keep_told(sender, m.Replied(message.fiber, item=items[-1]))
        self._admit(message.key)

    def _admit(self, key: int) -> None:
        """Let fibers put what a queue has room for again."""
        _, queue = self._primitives[key]
        assert isinstance(queue, Queue)
        for reply in queue.admit():
            self._reply(reply)

    @handles
    @unchecked
    def take_back(self, sender: MemberRecord, message: m.DelegationReturned) -> None:
        """A member has given back what it had."""
        delegations = self._delegations.get(message.key)
        if delegations is None or sender.id not in delegations.recalled:
            self._state.stale += 1
            return
        self._take_back(message.key, sender.id, message.taken)

    def _take_back(self, key: int, member: int, taken: int) -> None:
        id, primitive = self._primitives[key]
        was_recalled = bool(self._delegations[key].recalled)
        delayed = self._delegations.take_back(key, member, taken)
        self._admit(key)
        if not was_recalled or self._delegations[key].recalled:
            return
        run = self._state.runs[id]
        run.note_progress()
        for number, (caller, call) in enumerate(delayed, 1):
            if not self._delegations.delays(caller, call):
                self._ask(primitive, caller, call, are_others_next=number < len(delayed))
        self._state.probe(id, run)

    def will_wake(self, run: int) -> bool:
        """Whether fibers of this run wait only until something has come back."""
        return self._delegations.is_recalling(run)

    # -- the fibers that wait -------------------------------------------------------------

    def _reply(self, reply: Reply, puts: int = 0, ahead: Sequence[Bytes] = ()) -> None:
        fiber, plain, item, is_closed = reply
        waiter = self._waiters.leave(fiber)
        references: Sequence[int] = ()
        if type(item) is Item:
            references = item.references
            item = item.load()
            if waiter.member != NOWHERE:
                self._references.sent(references, waiter.member)
            if isinstance(self._primitives[waiter.key][1], Queue):
                self._references.gone(references, waiter.key)
        said = fiber, plain, None if item is NOTHING else item, is_closed, ""
        replied = m.Replied(*said, references=list(references))
        self._kept.keep(fiber, replied)
        if puts or ahead:  # that member may, and no other one
            has_limit = self._delegations[waiter.key].has_limit
            replied = m.Replied(*said, puts, list(ahead), list(references), has_limit)
        if replied.item is None and self._readers.delays(waiter.run, waiter.member, replied):
            return
        self._state.send_if_member(waiter.member, replied)
        self._readers.said(waiter.run, waiter.member)

    def _with_counted(self, sender: MemberRecord, message: Putting) -> Putting:
        """The message, with those of its references that count."""
        if not message.references:
            return message
        keys = self._references.counted(sender.id, message.run, message.references)
        return msgspec.structs.replace(message, references=keys)

    def _withdraw(self, fiber: int, waiter: Waiter) -> None:
        self._waiters.leave(fiber)
        if waiter.references:
            self._references.gone(waiter.references, waiter.key)
            if waiter.key not in self._primitives:
                return  # that was the last reference to it
        delegations = self._delegations.get(waiter.key)
        if delegations is not None and delegations.delayed.pop(fiber, None) is not None:
            return
        _, primitive = self._primitives[waiter.key]
        for reply in primitive.withdraw(fiber):
            self._reply(reply)

    def waiting_at(self, member: int) -> Mapping[int, int]:
        """By run: how many fibers at this member wait to be answered."""
        return self._waiters.at(member)

    def is_waiting(self, fiber: int) -> bool:
        """Whether a fiber waits to be answered."""
        return fiber in self._waiters

    # -- hooks ----------------------------------------------------------------------------

    def key_unreachable(self, run: int, key: int) -> None:
        """The key may be that of a primitive: it is freed."""
        if key not in self._primitives:
            return
        owner, _ = self._primitives.pop(key)
        del self._keys[owner][key]
        if not self._keys[owner]:
            del self._keys[owner]
        for member in self._delegations.free(key):
            self._state.send_if_member(member, m.PrimitivesFreed([key]))

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The fibers of the member wait no longer, and what was delegated to it is back."""
        for fiber in self._waiters.of(lost.id):
            waiter = self._waiters[fiber]
            if waiter.run in self._state.runs:
                self._state.runs[waiter.run].note_progress()
            record = self._state.fibers.get(fiber)
            if record is not None and record.host == NOWHERE:  # it will ask again
                self._waiters.move(fiber, NOWHERE)
            else:
                self._withdraw(fiber, waiter)
        for key in self._delegations.take_queues_of(lost.id):
            if key in self._delegations:  # an item that came back may have freed it
                self._take_back(key, lost.id, 0)

    def run_ended(self, id: int, run: Run) -> None:
        """The primitives of the run end with it."""
        for key in self._keys.pop(id, ()):
            _, primitive = self._primitives.pop(key)
            delegations = self._delegations.get(key)
            delayed = delegations.delayed if delegations is not None else ()
            for fiber in [*primitive.waiting(), *delayed]:
                if fiber in self._waiters:
                    self._waiters.leave(fiber)
            self._delegations.free(key)

    # -- mistakes of distio's own ---------------------------------------------------------

    def runs_with(self, key: int) -> Sequence[int]:
        """The run to which the primitive of this key belongs, if there is one."""
        return [self._primitives[key][0]] if key in self._primitives else []

    def refuse(self, member: int, message: m.MemberMessage, reason: str) -> None:
        """A fiber whose call has failed can't release what it holds before it is answered."""
        if isinstance(message, m.PrimitiveCall) and message.fiber not in self._waiters:
            self._state.send(member, m.Replied(message.fiber, refused=reason))

    def abandon_run(self, run: int, reason: str) -> None:
        """The primitives of this run are spoilt: they are freed, and the fibers at them refused."""
        for fiber, waiter in self._waiters.items():
            if waiter.run == run:
                self._state.send_if_member(waiter.member, m.Replied(fiber, refused=reason))
        for key in self._keys.pop(run, ()):
            self._primitives.pop(key, None)
            self._delegations.free(key)

    def spoilt_runs(self) -> set[int]:
        """The runs of which a primitive isn't what it must be."""
        return self._books.spoilt_runs()

    def count_anew(self) -> None:
        """Count the fibers that wait, now that nothing is left that is spoilt."""
        self._delegations.count_anew(self._state.members)
        waiters, self._waiters = self._waiters, Waiters()
        for fiber, waiter in waiters.items():
            if waiter.key in self._primitives and self._state.is_somewhere(waiter.member):
                self._waiters.enter(fiber, waiter)

    # -- checks ---------------------------------------------------------------------------

    def leftovers(self) -> Mapping[str, Sized]:
        return {"primitives": self}

    def validate(self) -> None:
        """Check that somebody counts for each primitive, and that the books are right."""
        for key in self._primitives:
            if key not in self._references:
                raise DistioBug(f"a primitive has the key {key}, which nobody counts")
        self._books.validate()
        self._delegations.validate()

    @property
    def _books(self) -> Books:
        return Books(self._state, self._primitives, self._delegations, self._waiters)
