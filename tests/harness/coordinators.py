"""A coordinator's machine, and what members say to it."""

from __future__ import annotations

from distio.coordination.cold.coordinator import PUT_AWAY, PutAwayPolicy
from distio.coordination.coordinator import Coordinator
from distio.coordination.settings import GRACE_SECONDS, MAX_LOSSES
from distio.coordination.state.events import Disconnected, Event, Joined, Received, Tick
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind, Snapshots
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON

Commands = list[tuple[int, m.CoordinatorMessage]]
Key = int | str


class Scene:
    """A coordinator that is checked after every event."""

    def __init__(
        self,
        workers: int = 0,
        threads: int = 1,
        grace: float = GRACE_SECONDS,
        max_losses: int = MAX_LOSSES,
        family: str = "",
        put_away: PutAwayPolicy = PUT_AWAY,
    ) -> None:
        self.machine = Coordinator(grace, max_losses, put_away)
        self.now = 0.0
        self.commands: Commands = []
        """The commands of the machine because of the last event."""
        self.reports: list[m.LossReported] = []
        """The reports on losses; they aren't among what `happens` returns."""
        self.client = self.join("client", family=family)
        self.workers = [self.join("worker", threads) for _ in range(workers)]

    def happens(self, event: Event) -> Commands:
        commands = self.machine.handle(self.now, event)
        self.machine.validate()
        said = [(command.member, command.message) for command in commands]
        reports = [each for _, each in said if isinstance(each, m.LossReported)]
        self.reports += reports[::2]  # the operator is told the same as the client
        self.commands = [each for each in said if not isinstance(each[1], m.LossReported)]
        return self.commands

    def join(self, kind: MemberKind, threads: int = 1, family: str = "") -> int:
        id = self.machine.state.next_incarnation
        serial = 1000 + id
        hello = m.Hello(PROTOCOL, PYTHON, kind, threads, "host", serial, b"", family, serial)
        self.happens(Joined(hello))
        return id

    def says(self, member: int, message: m.MemberMessage) -> Commands:
        return self.happens(Received(member, message))

    def breaks(self, member: int) -> Commands:
        return self.happens(Disconnected(member))

    def tick(self, now: float) -> Commands:
        self.now = now
        return self.happens(Tick())

    def tells(
        self, member: int, *runs: m.RunProgress, ready: int = 0, received: int | None = None
    ) -> Commands:
        """The member's progress; by default it has received everything."""
        if received is None:
            received = self.machine.members[member].sent
        return self.says(member, m.Progress(received, ready, list(runs)))

    def starts(
        self, owner: int | None = None, fibers: int = 1, snapshots: Snapshots = "off"
    ) -> int:
        """A run starts, and its owner has made so many fibers, including the root."""
        owner = owner or self.client
        run = fiber_id(owner, 0)
        assert self.says(owner, m.StartRun(run, snapshots)) == []
        assert self.tells(owner, made(run, fibers - 1), ready=1) == []
        return run

    def offers(self, member: int, run: int, *fibers: int, epoch: int = 0) -> Commands:
        return self.says(member, m.Offer([chunk(run, *fibers, epoch=epoch)]))


def made(run: int, count: int, *, first: int = 1, finished: int = 0) -> m.RunProgress:
    return m.RunProgress(run, [(first, count)] if count else [], finished, [], 0)


def ended(run: int, *fibers: int, epoch: int = 1) -> m.RunProgress:
    return m.RunProgress(run, [], 0, [(fiber, epoch) for fiber in fibers], 0)


def finished(run: int, count: int) -> m.RunProgress:
    return m.RunProgress(run, [], count, [], 0)


def chunk(run: int, *fibers: int, epoch: int = 0) -> m.Chunk:
    return m.Chunk(run, [(fiber, epoch) for fiber in fibers], b"payload")


def placed(run: int, *fibers: int, epoch: int = 1) -> m.Place:
    return m.Place(chunk(run, *fibers, epoch=epoch))


def shipped(scene: Scene, count: int = 1) -> tuple[int, list[int]]:
    """A run whose children went to the first worker in one chunk."""
    run = scene.starts(fibers=1 + count)
    children = [fiber_id(1, n) for n in range(1, count + 1)]
    assert scene.offers(1, run, *children) == [(2, placed(run, *children))]
    return run, children


def asks(
    scene: Scene, member: int, *fibers: int, lock: Key = 7, tokens: int = 0,
    per_seconds: float = 0.0, is_ahead: bool = False, run: int = 99,
) -> Commands:  # fmt: skip
    """Fibers of this member ask for turns, or one of the same number."""
    asking = list(fibers) or [member]
    return scene.says(member, m.AcquireTokens(lock, tokens, per_seconds, run, asking, is_ahead))


def blocked(run: int, count: int = 1) -> m.RunProgress:
    return m.RunProgress(run, [], 0, [], count)
