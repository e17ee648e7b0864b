"""The connections of one simulated process, and the session that outlives them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import final

from msgspec.structs import replace

from distio.coordination.membership.absence import Absence
from distio.coordination.membership.lease import Lease
from distio.coordination.membership.session import Session, UnnumberedSession, begin_session
from distio.protocol import messages as m
from distio.protocol.codec import from_coordinator, from_member
from distio.testing.environment import ProcessEnvironment
from distio.testing.wires import Frames, Reader, Wire

__all__ = ["Lines"]


@final
class Lines:
    """Carries the messages of one process, as `runtime.lines` does for a real one.

    Args:
        world: which chooses what arrives, and when.
        name: that of the process, in its addresses.
        reader: hears what the coordinator says.
    """

    def __init__(self, world: ProcessEnvironment, name: str, reader: Reader) -> None:
        self.session: Session[m.MemberMessage, m.CoordinatorMessage] = UnnumberedSession()
        self.absence = Absence(inf)
        self.lease: Lease | None = None
        """The lease, which says whether fibers may be stepped; None: they always may."""
        self.may_come_back = True
        """Whether the process makes other connections when one of them breaks."""
        self.reached_again_at = 0.0
        """The time at which the process can make connections again."""
        self._world = world
        self._name = name
        self._reader = reader
        self._made = 0
        """How often the process has made connections."""
        self._hello: m.Hello | None = None
        self._greeted_at = 0.0
        self._incarnation = 0
        self._repeats = False
        self._open()

    def _open(self) -> None:
        self._made += 1
        nth = f", connection {self._made}" if self._made > 1 else ""
        self.speaks_from = f"{self._name} speaks{nth}".encode()
        self.listens_at = f"{self._name} listens{nth}".encode()
        hub, pick = self._world.hub, self._world.pick if self._repeats else None
        self.speaks, self.introduces = Wire(hub, pick, greets=True), Wire(hub)
        self.hears = Wire(self._reader, pick)
        self._seen_at = inf
        """The time at which the system tells that the connection broke on which the process
        speaks."""

    def greet(self, hello: m.Hello) -> None:
        """Ask to be let in."""
        self._hello = hello
        self._greeted_at = self._world.now
        self._greet(hello)

    def _greet(self, first: m.Hello | m.Resume) -> None:
        self.speaks.send(from_member.encode([first]), self._world.arrival())
        listen = m.Listen(first.token)
        self.introduces.send(from_member.encode([listen]), self._world.arrival())

    def _joined(self, welcome: m.Welcome) -> None:
        self._incarnation = welcome.incarnation
        self.absence = Absence(welcome.absence)
        self.session = begin_session(welcome.absence)
        if welcome.lease:
            self.lease = Lease(welcome.lease, self._greeted_at)

    # -- saying and hearing ---------------------------------------------------------------

    def say(self, batch: Sequence[m.MemberMessage]) -> None:
        """Say this at once, or as soon as there are connections again."""
        self.session.say_all(batch)
        if not self.absence.is_now:
            self._send(batch)

    def _send(self, batch: Sequence[m.MemberMessage]) -> None:
        frames = from_member.encode(batch, *self.session.header())
        self.speaks.send(frames, self._world.arrival())

    @property
    def is_open(self) -> bool:
        """Whether fibers may be stepped."""
        return self.lease is None or self.lease.is_open(self._world.now)

    @property
    def ask_at(self) -> float:
        """When to ask for the lease, if there is still something to step."""
        return inf if self.lease is None or self.absence.is_now else self.lease.ask_at

    def ask(self) -> None:
        """Ask for the lease."""
        if self.lease is not None:
            now = self._world.now
            self.lease.asked(now)
            self._send([m.RenewLease(now)])

    def renewed(self, answer: m.LeaseRenewed) -> None:
        """The coordinator has answered."""
        if self.lease is not None:
            self.lease.renewed(answer.asked_at)

    def hear(self, frames: Frames) -> Sequence[m.CoordinatorMessage]:
        """The messages of a batch that were not heard before."""
        batch = from_coordinator.read(frames)
        first = next(iter(batch.messages), None)
        if isinstance(first, m.Welcome) and not self._incarnation:
            self._joined(first)
        return self.session.hear(self._world.now, batch.first, batch.heard, batch.messages)

    @property
    def due(self) -> float:
        """When to see to the absence, or to acknowledge what was heard; inf: never."""
        absent = self.absence.dues
        if absent is None:
            owed = self.session.acknowledge_at
            return self._seen_at if owed is None else min(owed, self._seen_at)
        redial_at, ends_at = absent
        return min(ends_at, max(redial_at, self.reached_again_at), self._seen_at)

    def sees_break(self) -> bool:
        """Whether the system tells now that the connection broke on which it speaks."""
        if self._seen_at > self._world.now:
            return False
        self._seen_at = inf
        return True

    # -- connections that break -----------------------------------------------------------

    def redial(self) -> None:
        """Make other connections; of what is under way on the former ones, some still arrives."""
        self.hang_up(lost=self._world.pick(len(self.speaks.queue) + 1))
        self._open()
        self.absence.redialed(self._world.now)
        self._greet(self._greeting_again())

    def _greeting_again(self) -> m.Hello | m.Resume:
        assert self._hello is not None
        token, attempt = self.speaks_from, self._made
        if not self._incarnation:
            return replace(self._hello, token=token, attempt=attempt)
        heard = self.session.acknowledge()
        knows = heard, attempt, self.session.acknowledged
        return m.Resume(self._incarnation, self._hello.proof, token, *knows)

    def resumed(self, heard: int) -> Sequence[m.MemberMessage]:
        """The coordinator knows this member again.

        Returns:
            The messages that it has not heard, and is told again.
        """
        if not self.absence.is_now:
            return ()  # the network has repeated it
        self.absence.resumed()
        if self.lease is not None:
            self.lease.ask_again(self._world.now)
        again = self.session.resume(heard)
        if again:
            self._send(again)
        return again

    def repeat(self) -> None:
        """Let what is said on the connections that are made from now on come twice, at times."""
        self._repeats = True

    def hang_up(self, lost: int) -> None:
        """Cut all connections; the last batches that were sent on them are lost."""
        self.hears.close()
        for wire, missing in ((self.speaks, lost), (self.introduces, 0)):
            if not wire.is_broken:
                wire.break_(self._world.arrival(), missing)

    def set_cut(self, is_cut: bool) -> None:
        """Let nothing come through, or everything again."""
        for wire in (self.speaks, self.introduces, self.hears):
            wire.cut(is_cut)

    def break_(self, *, speaking: bool, listening: bool, keep_none: bool = False) -> None:
        """Connections break; how much of what is under way still arrives is left to choice."""
        self._reader.is_stale = True
        wires = [self.speaks] if speaking else []
        wires += [self.introduces, self.hears] if listening else []
        for wire in wires:
            if not wire.is_broken:
                under_way = len(wire.queue)
                lost = under_way if keep_none else self._world.pick(under_way + 1)
                wire.break_(self._world.arrival(), lost)
        if speaking:
            self._seen_at = self._world.arrival()
