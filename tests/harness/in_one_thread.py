"""A cluster in one thread, through handshakes and codec, beside which other peers may lie."""

from __future__ import annotations

from typing import Any

from distio import IO
from distio.coordination.coordinator import Coordinator
from distio.coordination.member import Member
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.session import Session, begin_session
from distio.core.fiber import Handle
from distio.core.outcomes import Packed
from distio.protocol import messages as m
from distio.protocol.codec import Batch, MalformedFrame, from_coordinator, from_member
from distio.protocol.domains import MemberKind
from distio.protocol.version import PROTOCOL, PYTHON
from tests.harness.members import Node

__all__ = ["Liar", "Scene"]


class Peer:
    """A process with two connections to the coordinator."""

    def __init__(self, scene: Scene, kind: MemberKind, name: str) -> None:
        self.scene = scene
        self.name = name
        self.kind = kind
        self.speaks_from, self.listens_at = b"speaks " + name.encode(), b"listens " + name.encode()
        self.id = 0
        self.reason: str | None = None
        """The reason for which it is a member no more."""
        self.session: Session[m.MemberMessage, m.CoordinatorMessage] = begin_session(0.0)
        scene.peers.append(self)
        hello = m.Hello(PROTOCOL, PYTHON, kind, 2, name, 1, name.encode())
        scene.hear(self.speaks_from, from_member.encode([hello]))
        scene.hear(self.listens_at, from_member.encode([m.Listen(name.encode())]))
        scene.deliver()

    def take_up_batch(self, batch: Batch[m.CoordinatorMessage]) -> None:
        for message in self.session.hear(0.0, batch.first, batch.heard, batch.messages):
            self.take_up(message)

    def take_up(self, message: m.CoordinatorMessage) -> None:
        if isinstance(message, m.Welcome):
            self.id = message.incarnation
        elif isinstance(message, m.Shutdown | m.Refused):
            self.reason = message.reason

    def say(self, messages: list[m.MemberMessage]) -> None:
        """Send these as the next messages of this peer."""
        self.session.say_all([each for each in messages if each.is_numbered])
        self.says_frames(from_member.encode(messages, *self.session.header()))

    def says_frames(self, frames: list[bytes]) -> None:
        self.scene.hear(self.speaks_from, frames)
        self.scene.deliver()

    def disconnect(self) -> None:
        self.scene.peers.remove(self)
        for address in (self.speaks_from, self.listens_at):
            self.scene.board.disconnect(self.scene.now, address)
        self.scene.deliver()


class Liar(Peer):
    """A peer that sends anything, and does nothing."""

    def __init__(self, scene: Scene, kind: MemberKind, name: str) -> None:
        self.heard: list[m.CoordinatorMessage] = []
        super().__init__(scene, kind, name)

    def take_up(self, message: m.CoordinatorMessage) -> None:
        super().take_up(message)
        self.heard.append(message)

    def says(self, *messages: m.MemberMessage) -> None:
        self.say(list(messages))


class Honest(Peer):
    """A real member."""

    node: Node

    def take_up(self, message: m.CoordinatorMessage) -> None:
        super().take_up(message)
        if isinstance(message, m.Welcome):
            self.node = Node(Member(self.id, offers_children=self.kind == "client"))
        elif self.reason is None:
            self.node.member.receive(message)
            self.node.member.state.ended_runs.clear()

    def speak(self) -> bool:
        """Send the member's messages; False if there are none."""
        member = self.node.member
        member.flush()
        batch, member.state.outbox = member.state.outbox, []
        if batch:
            self.scene.said += batch
            self.say(batch)
        return bool(batch)


class Scene:
    """A coordinator, a client, and workers."""

    def __init__(self, workers: int = 2) -> None:
        self.now = 0.0
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.machine = Coordinator()
        self.board = Handshakes(self.machine, self.notes.append, self.warnings.append)
        self.peers: list[Peer] = []
        self.said: list[m.MemberMessage] = []
        """The messages of honest members."""
        self.client = Honest(self, "client", "client")
        self.workers = [Honest(self, "worker", f"worker {n}") for n in range(workers)]
        self.members = [self.client, *self.workers]

    def hear(self, address: bytes, frames: list[bytes]) -> None:
        """Handle frames as the coordinator's process does."""
        try:
            batch = from_member.read(frames)
        except MalformedFrame as error:
            self.board.refuse(address, str(error))
        else:
            self.board.hear(self.now, address, batch.messages, batch.first, batch.heard)

    def deliver(self) -> None:
        """Carry the coordinator's messages to the peers that listen, and check its machine."""
        self.machine.validate()
        at = {peer.listens_at: peer for peer in self.peers}
        while self.board.outgoing:
            outgoing, self.board.outgoing = self.board.outgoing, {}
            for address, batch in outgoing.items():
                header = self.board.header(address)
                heard = from_coordinator.read(from_coordinator.encode(batch, *header))
                if address in at:
                    at[address].take_up_batch(heard)

    def start(self, program: IO[Any, Any, Any]) -> Handle[Any, Any, Any]:
        root = self.client.node.member.start_root(program, None)
        self.client.node.member.queue(root)
        assert root.handle is not None
        return root.handle

    def step(self) -> bool:
        """Let each member do and report one thing, or time pass; False if nothing can happen."""
        note_progress = False
        for each in self.members:
            if each.reason is None:
                has_worked = each.node.work()
                note_progress = each.speak() or has_worked or note_progress
        if note_progress:
            return True
        deadline = self.board.next_deadline()
        if deadline is None:
            return False
        self.now = max(self.now, deadline)
        self.board.tick(self.now)
        self.deliver()
        return True

    def finish(self) -> None:
        """Go on until nothing can happen."""
        for _ in range(20_000):
            if not self.step():
                return
        raise AssertionError("it never comes to rest")


def outcome_of(handle: Handle[Any, Any, Any]) -> Any:
    outcome = handle.outcome
    return outcome.open() if isinstance(outcome, Packed) else outcome
