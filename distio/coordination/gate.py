"""What stands before the coordinator's machine: no event that a member can cause ends it.

Rules
-----
- Decoding has refused what isn't in the domain of its type (`protocol.domains`). Here, before a
  handler sees a message, it is asked whether *this* member can truthfully say it: that it belongs
  to the run, hosts the fiber, has the tokens. No message of an honest member fails here, however
  late it comes: what a race can cause is the handlers' business, and is counted as stale.
- What a member can't truthfully say costs its membership. To drop one message and to go on would
  leave a run waiting for ever, in silence, for what the message was about.
- An exception that a handler raises costs the runs that the message is about: see `mending`. If it
  is about no run, it costs the member that spoke its membership: what else it says can't be
  understood. Its fibers are lost, and the reason is told to those who wait for them.
- An exception in what follows from the passing of time, or from a loss, is nobody's fault. It costs
  runs, and no member.
- After an exception the machine is put in order. Each run whose books don't balance ends, too: to
  leave one half done would let it wait for ever.
- Of a run of which the coordinator has lost track nobody is said to lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.mending import put_in_order, refuse
from distio.coordination.placement.coordinator import MemberRecord
from distio.coordination.state.events import Event, Received, Send, Tick
from distio.coordination.state.registry import Run
from distio.protocol import messages as m
from distio.protocol.ids import home_of, name_of

__all__ = ["Gate", "Inadmissible", "Incident"]

_WITH_ITEM: Final = frozenset({"offer", "publish", "put", "set"})
_FAILED: Final = "the coordinator failed: a bug in distio"
_LEAST_SIZE: Final = {"barrier": 1, "deferred": -1, "latch": 0, "queue": -1, "topic": -1}


class Inadmissible(Exception):
    """A member said what it can't truthfully say."""


class Late(Exception):
    """What was said is about a run that is over, and nothing follows from it."""


class Incident(NamedTuple):
    """Something went wrong that a person should know of."""

    member: str
    """The member that it cost its membership; empty if it was nobody's fault."""
    reason: str
    error: Exception | None
    """A mistake of distio's; None: what the member said was refused."""


@final
class Gate:
    """Takes the place of the machine that it guards; its `handle` never raises."""

    def __init__(self, machine: Coordinator) -> None:
        self._machine = machine
        self.incidents: list[Incident] = []
        """Those since the shell last took them out."""

    def handle(self, now: float, event: Event) -> list[Send]:
        """Take up one event; see `Coordinator.handle`."""
        machine = self._machine
        try:
            if type(event) is Received:
                id, message = event
                member, rule = machine.members.get(id), _RULES.get(type(message))
                if member is not None and rule is not None:
                    rule(machine, member, message)
            return machine.handle(now, event)
        except Late:
            machine.stale += 1
            return []
        except Exception as error:  # noqa: BLE001 (whatever it is, all others go on)
            return self._recover(now, event, error)

    def expel(self, id: int, reason: str) -> None:
        """What came from this member, or is to go there, can't be carried; an event has to follow.

        Args:
            id: which.
            reason: what it is told.
        """
        member = self._machine.members.get(id)
        if member is not None:
            self.incidents.append(Incident(member.name(), reason, None))
            self._attempt(lambda: self._machine.expel(id, reason))

    def _recover(self, now: float, event: Event, error: Exception) -> list[Send]:
        machine = self._machine
        followed = machine.take_failures()
        if isinstance(error, Inadmissible):
            self._end_membership(event, f"sent a message that can't be true: {error}", None)
            return self._go_on(now)
        reason = f"a bug in distio ({error!r:.200})"
        concerned: set[int] = set()
        if error not in followed:  # else it was raised by what follows from the event
            if type(event) is Received:
                concerned = _concerned(machine, event.message) & machine.runs.keys()
            if concerned:
                self.incidents.append(Incident("", _FAILED, error))
            else:
                beyond = f"sent a message that the coordinator failed on: {reason}"
                self._end_membership(event, beyond, error)
        self._note(followed)
        if type(event) is Received and concerned:
            if isinstance(event.message, m.Progress | m.Offer):
                machine.spoilt |= concerned
            self._attempt(lambda: refuse(machine, event.member, event.message, reason))
        self._attempt(lambda: put_in_order(machine, now, reason, concerned))
        return self._go_on(now)

    def _end_membership(self, event: Event, reason: str, error: Exception | None) -> None:
        member = self._machine.members.get(event.member) if type(event) is Received else None
        self.incidents.append(Incident("" if member is None else member.name(), reason, error))
        if member is not None:
            self._attempt(lambda: self._machine.expel(member.id, reason))

    def _go_on(self, now: float) -> list[Send]:
        """Do what else is due, and say all that there is to say."""
        commands: list[Send] = []
        self._attempt(lambda: commands.extend(self._machine.handle(now, Tick())))
        return [*commands, *self._machine.take_commands()]

    def _attempt(self, action: Callable[[], None]) -> None:
        """Whatever is left undone is left: it is told, and ends nobody else."""
        failures = []
        try:
            action()
        except Exception as failure:  # noqa: BLE001 (it is told, and all others go on)
            failures.append(failure)
        self._note([*failures, *self._machine.take_failures()])

    def _note(self, failures: Sequence[Exception]) -> None:
        for each in dict.fromkeys(failures):
            self.incidents.append(Incident("", _FAILED, each))


def _concerned(machine: Coordinator, message: m.MemberMessage) -> set[int]:
    """The runs that a message is about."""
    if isinstance(message, m.Progress):
        return {told.run for told in message.runs}
    if isinstance(message, m.Offer):
        return {chunk.run for chunk in message.chunks}
    runs = {getattr(message, "run", 0)}
    for fiber in [*getattr(message, "fibers", ()), getattr(message, "fiber", 0)]:
        if fiber in machine.fibers:
            runs.add(machine.fibers[fiber].run)
    if isinstance(message, m.DelegationReturned):
        runs.update(machine.primitives.runs_with(message.key))
    return runs


# -- the rules --------------------------------------------------------------------------------


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Inadmissible(what)


def _part_of(machine: Coordinator, member: MemberRecord, id: int) -> Run | None:
    """The run, of which this member has hosted something.

    None if the run is over, or if the coordinator has lost track of it.
    """
    run = machine.runs.get(id)
    if run is not None and member.id not in run.members:
        raise Inadmissible(f"the member has no part in run {name_of(id)}")
    return None if run is not None and run.mistakes else run


def _require_host(machine: Coordinator, member: MemberRecord, run: int, fiber: int) -> None:
    record = machine.fibers.get(fiber)
    if record is None:
        is_there = home_of(fiber) == member.id
    else:
        is_there = record.host == member.id and record.run == run and not record.ended
    if not is_there:
        raise Inadmissible(f"fiber {name_of(fiber)} isn't there")


def _start_run(machine: Coordinator, member: MemberRecord, message: m.StartRun) -> None:
    _require(home_of(message.run) == member.id, "the run has the id of another member's fiber")
    _require(message.run not in machine.runs, f"run {name_of(message.run)} has begun before")


def _progress(machine: Coordinator, member: MemberRecord, message: m.Progress) -> None:
    if message.received > member.sent:
        raise Inadmissible("the member has received more messages than were sent")
    for told in message.runs:
        run = _part_of(machine, member, told.run)
        if run is None:
            continue
        if told.finished > run.alive_at.get(member.id, 0):
            alive = run.alive_at.get(member.id, 0) + sum(count for _, count in told.started)
            of = name_of(told.run)
            _require(told.finished <= alive, f"more of run {of} ends than lives there")
        for fiber, _ in told.ended:
            record = machine.fibers.get(fiber)
            if record is not None and record.run != told.run:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't one of run {name_of(told.run)}")


def _offer(machine: Coordinator, member: MemberRecord, message: m.Offer) -> None:
    offered: dict[int, int] = {}
    seen: set[int] = set()
    for chunk in message.chunks:
        run = _part_of(machine, member, chunk.run)
        if run is None:
            continue
        _require(
            chunk.target < machine.next_incarnation, "fibers are sent to a member that never was"
        )
        for fiber, epoch in chunk.fibers:
            record = machine.fibers.get(fiber)
            if record is None:
                is_there = home_of(fiber) == member.id and epoch == 0
            else:
                is_there = (
                    record.host == member.id
                    and record.epoch == epoch
                    and record.run == chunk.run
                    and not record.ended
                )
            if not is_there or fiber in seen:
                raise Inadmissible(f"fiber {name_of(fiber)} isn't there to be offered")
            seen.add(fiber)
        count = offered[chunk.run] = offered.get(chunk.run, 0) + len(chunk.fibers)
        if count > run.alive_at.get(member.id, 0):
            raise Inadmissible(f"more of run {name_of(chunk.run)} is offered than lives there")
        if chunk.held:
            _require(machine.locks.has_lent(member.id, chunk.held), "fibers hold what wasn't lent")
        for digest, data in chunk.attachments:
            _require(bool(data) or digest in run.attachments, "an attachment is missing")


def _outcomes_ready(machine: Coordinator, member: MemberRecord, message: m.OutcomesReady) -> None:
    _require(len(message.fibers) == len(message.payloads), "not every outcome is one of a fiber")


def _expose(machine: Coordinator, member: MemberRecord, message: m.Expose) -> None:
    if _part_of(machine, member, message.run) is None:
        raise Late
    for fiber in message.fibers:
        record = machine.fibers.get(fiber)  # there may be none any more: nobody else may ask
        if record is not None and (record.host != member.id or record.run != message.run):
            raise Inadmissible(f"fiber {name_of(fiber)} isn't there")


def _of_run(
    machine: Coordinator,
    member: MemberRecord,
    message: m.QueryStatus | m.AwaitOutcomes | m.CancelFibers | m.CancelRun | m.RelayLogs,
) -> None:
    _part_of(machine, member, message.run)


def _start_timer(machine: Coordinator, member: MemberRecord, message: m.StartTimer) -> None:
    if _part_of(machine, member, message.run) is not None:
        _require_host(machine, member, message.run, message.fiber)
        if machine.timers.has(message.fiber):
            raise Inadmissible(f"fiber {name_of(message.fiber)} sleeps already")


def _await_turns(machine: Coordinator, member: MemberRecord, message: m.AcquireTokens) -> None:
    if message.run not in machine.runs:
        raise Late
    if _part_of(machine, member, message.run) is None:
        return
    _require(bool(message.tokens) or not message.per_seconds, "a limit lets nobody start")
    for fiber in message.fibers:
        _require_host(machine, member, message.run, fiber)
    is_known = len(set(message.fibers)) < len(message.fibers)
    if is_known or machine.locks.is_waiting(message.lock, message.fibers):
        raise Inadmissible(f"a fiber waits twice for lock {message.lock!r:.100}")


def _store_value(machine: Coordinator, member: MemberRecord, message: m.StoreValue) -> None:
    run = _part_of(machine, member, message.run)
    if run is not None and not machine.locks.is_variable(message.run, message.lock):
        is_its_own = isinstance(message.lock, int) and home_of(message.lock) == member.id
        _require(is_its_own, f"{message.lock!r:.100} is no variable of the run")


def _make_entry(machine: Coordinator, member: MemberRecord, message: m.MakePrimitive) -> None:
    if _part_of(machine, member, message.run) is not None:
        _require(home_of(message.key) == member.id, "the key was made elsewhere")
        _require(not machine.primitives.knows(message.key), "the key is in use")
        _require(message.size >= _LEAST_SIZE[message.kind], f"a {message.kind} can't be that small")


def _talk(machine: Coordinator, member: MemberRecord, message: m.PrimitiveCall) -> None:
    if _part_of(machine, member, message.run) is not None:
        _require_host(machine, member, message.run, message.fiber)
        if machine.primitives.is_waiting(message.fiber):
            raise Inadmissible(f"fiber {name_of(message.fiber)} waits already")
        if (message.item is None) is (message.method in _WITH_ITEM):
            raise Inadmissible(
                f"{message.method} is called with an item, or without one, as it never is"
            )


def _put_alone(machine: Coordinator, member: MemberRecord, message: m.DelegatedPut) -> None:
    if _part_of(machine, member, message.run) is not None:
        may_put = machine.primitives.may_put(member.id, message.run, message.key)
        _require(may_put, "the member may not put without asking")


_RULES: Final[dict[type, Callable[[Coordinator, MemberRecord, Any], None]]] = {
    m.QueryStatus: _of_run,
    m.AwaitOutcomes: _of_run,
    m.AcquireTokens: _await_turns,
    m.CancelFibers: _of_run,
    m.CancelRun: _of_run,
    m.Expose: _expose,
    m.MakePrimitive: _make_entry,
    m.Offer: _offer,
    m.OutcomesReady: _outcomes_ready,
    m.Progress: _progress,
    m.DelegatedPut: _put_alone,
    m.RelayLogs: _of_run,
    m.StartRun: _start_run,
    m.StartTimer: _start_timer,
    m.StoreValue: _store_value,
    m.PrimitiveCall: _talk,
}
"""Of messages without a rule, the handler knows of whom it expects them, or they harm nobody."""
