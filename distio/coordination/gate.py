"""The gate before the coordinator's machine: no event that a member can cause ends the machine.

Rules
-----
- Decoding has refused what isn't in the domain of its type (`protocol.domains`). Here, before a
  handler sees a message, a rule beside the handler asks whether *this* member can truthfully say
  it: that it belongs to the run, hosts the fiber, has the tokens (see `admission`). No message of
  an honest member fails here, however late it comes: what a race can cause is the handlers'
  business, and is counted as stale.
- A message that a member can't truthfully say costs its membership. To drop one message and to go
  on would leave a run waiting for ever, in silence, for what the message was about.
- An exception that a handler raises costs the runs that the message is about: see `mending`. If the
  message is about no run, the exception costs the member that spoke its membership: what else it
  says can't be understood. Its fibers are lost, and members that wait for them are told the reason.
- An exception in what follows from the passing of time, or from a loss, is nobody's fault. It costs
  runs, and no member.
- After an exception the machine is put in order. Each run whose books don't balance ends, too: to
  leave one half done would let it wait for ever.
- Of a run of which the coordinator has lost track, no member is said to lie.
- Each refusal is counted by its reason, in the state (`CoordinatorState.refused`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, ParamSpec, final

from distio.coordination.admission import Inadmissible, Late
from distio.coordination.coordinator import Coordinator
from distio.coordination.mending import put_in_order
from distio.coordination.refusals import count_refusal
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import Event, Expelled, Received, Send, Tick
from distio.protocol import messages as m

__all__ = ["Gate", "Incident"]

P = ParamSpec("P")

_FAILED: Final = "the coordinator failed: a bug in distio"


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
        """The incidents since the shell last took them out."""

    def handle(self, now: float, event: Event) -> list[Send]:
        """Take up one event; see `Coordinator.handle`."""
        machine = self._machine
        try:
            if type(event) is Received:
                machine.admit(event)
            elif type(event) is Expelled:
                return self._expel(now, event)
            return machine.handle(now, event)
        except Late:
            machine.state.stale += 1
            return []
        except Exception as error:  # noqa: BLE001 (whatever it is, all others go on)
            machine.state.now = now
            return self._recover(event, error)

    def _expel(self, now: float, event: Expelled) -> list[Send]:
        self._machine.state.now = now
        member = self._machine.members.get(event.member)
        if member is not None:
            self._end_membership(event.member, event.reason, None, is_blameless=event.is_blameless)
        return self._go_on()

    def _recover(self, event: Event, error: Exception) -> list[Send]:
        state = self._machine.state
        followed = state.take_failures()
        speaker = event.member if type(event) is Received else 0
        if isinstance(error, Inadmissible) and type(event) is Received:
            count_refusal(state.refused, f"can't be true ({type(event.message).__name__})")
            self._end_membership(speaker, f"sent a message that can't be true: {error}", None)
            return self._go_on()
        reason = f"a bug in distio ({error!r:.200})"
        concerned: set[int] = set()
        if error not in followed:  # else it was raised by what follows from the event
            if type(event) is Received:
                concerned = _concerned(state, event.message) & state.runs.keys()
            if concerned:
                self.incidents.append(Incident("", _FAILED, error))
            else:
                beyond = f"sent a message that the coordinator failed on: {reason}"
                self._end_membership(speaker, beyond, error)
        self._note(followed)
        if type(event) is Received and concerned:
            if isinstance(event.message, m.Progress | m.Offer):
                state.spoilt |= concerned
            for refuse in state.hooks.refuse:
                self._attempt(refuse, event.member, event.message, reason)
        self._attempt(put_in_order, state, reason, concerned)
        return self._go_on()

    def _end_membership(
        self, id: int, reason: str, error: Exception | None, *, is_blameless: bool = False
    ) -> None:
        member = self._machine.members.get(id)
        self.incidents.append(Incident("" if member is None else member.name(), reason, error))
        if member is not None:
            self._machine.state.tally("members expelled")
            expel = self._machine.features.membership.expel
            self._attempt(expel, id, reason, is_blameless=is_blameless)

    def _go_on(self) -> list[Send]:
        """Do what else is due, and say all that there is to say."""
        commands: list[Send] = []
        state = self._machine.state
        state.is_unsettled = True  # a handler that had begun may have left something to do
        self._attempt(lambda: commands.extend(self._machine.handle(state.now, Tick())))
        return [*commands, *state.take_commands()]

    def _attempt(self, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run an action; an exception is an incident, and ends nothing but the action."""
        failures = []
        try:
            action(*args, **kwargs)
        except Exception as failure:  # noqa: BLE001 (it is an incident, and all others go on)
            failures.append(failure)
        self._note([*failures, *self._machine.state.take_failures()])

    def _note(self, failures: Sequence[Exception]) -> None:
        for each in dict.fromkeys(failures):
            self.incidents.append(Incident("", _FAILED, each))


def _concerned(state: CoordinatorState, message: m.MemberMessage) -> set[int]:
    """The runs that a message is about."""
    if isinstance(message, m.Progress):
        return {reported.run for reported in message.runs}
    if isinstance(message, m.Offer):
        return {chunk.run for chunk in message.chunks}
    runs = {getattr(message, "run", 0)}
    for fiber in [*getattr(message, "fibers", ()), getattr(message, "fiber", 0)]:
        if fiber in state.fibers:
            runs.add(state.fibers[fiber].run)
    for runs_with in state.hooks.runs_with:
        runs.update(runs_with(getattr(message, "key", 0)))
    return runs
