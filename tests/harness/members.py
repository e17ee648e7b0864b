"""Members that are joined to a coordinator by links that only carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distio import IO, Result
from distio.coordination.calls.callbacks import Callback
from distio.coordination.coordinator import Coordinator
from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.state.events import Event, Joined, Received, Tick
from distio.coordination.state.failure import Failure
from distio.core.fiber import Fiber, Handle
from distio.core.outcomes import Packed
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.version import PROTOCOL, PYTHON
from distio.testing.services import AtOnce

Program = IO[Any, Any, Any]


class Node(AtOnce):
    """A member and its simplest host, which does each piece of work at once.

    Args:
        member: the member.
        threads: how many executors it has.
    """

    def __init__(self, member: Member, threads: int = 1) -> None:
        self.member = member
        self.reported: list[Failure] = []
        member.add_threads(threads)
        self.executors = [Executor(member, self) for _ in range(threads)]

    def work(self, thread: int = 0) -> bool:
        """Let an executor do one piece of work, to its end; False if there is none."""
        executor = self.executors[thread]
        if not executor.next_task():
            return False
        executor.run()
        while executor.commit():
            executor.run()
        self.member.validate()
        return True

    def wall_clock(self) -> float:
        return 0.0

    def random(self) -> float:
        return 0.5

    def called_back(self, callback: Callback, result: Result[Any, Any]) -> None:
        self.member.called_back(callback.fiber, callback.request, result)

    def on_callback_dropped(self, callback: Callback) -> None:
        """Programs here call their callbacks."""

    def begin_task(self, fiber: Fiber) -> Callable[[Result[Any, Any]], None]:
        return lambda result: None

    def on_unpicklable(self, fiber: Fiber) -> None:
        raise AssertionError(f"{fiber} can't be pickled")

    def on_large_payload(self, fibers: Sequence[Fiber]) -> None:
        """Tell nobody."""

    def copied(self, fibers: Sequence[Fiber], generators: Sequence[Any]) -> None:
        raise AssertionError(f"{fibers} share {generators}")

    def report_failures(self) -> None:
        while (failure := self.member.take_failure()) is not None:
            self.reported.append(failure)

    def interrupted(self, interrupt: BaseException, fiber: Fiber | None) -> bool:
        raise interrupt


class World:
    """A coordinator, a client (member 1) and workers (2, 3, …), all in one place."""

    def __init__(self, workers: int = 1, *, offers_children: bool = True) -> None:
        self.now = 0.0
        self.coordinator = Coordinator()
        self.nodes: dict[int, Node] = {}
        self.sent: list[m.Message] = []
        """All messages, in order."""
        for index in range(1 + workers):
            id = self.coordinator.state.next_incarnation
            kind: MemberKind = "worker" if index else "client"
            hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "host", id, b"")
            self.coordinator.handle(0.0, Joined(hello))
            self.nodes[id] = Node(Member(id, offers_children=offers_children and kind == "client"))

    def __getitem__(self, id: int) -> Member:
        return self.nodes[id].member

    def start(self, program: Program, context: Any = None) -> Handle[Any, Any, Any]:
        root = self[1].start_root(program, context)
        self[1].queue(root)
        assert root.handle is not None
        return root.handle

    def event(self, event: Event) -> None:
        for command in self.coordinator.handle(self.now, event):
            self.sent.append(command.message)
            if command.member in self.nodes:
                self[command.member].receive(command.message)
                self[command.member].validate()
        self.coordinator.validate()

    def carry(self) -> bool:
        """Carry the messages of members; False if they have none."""
        has_carried = False
        for id, node in self.nodes.items():
            node.member.flush()
            while node.member.state.outbox:
                has_carried = True
                message = node.member.state.outbox.pop(0)
                self.sent.append(message)
                self.event(Received(id, message))
        return has_carried

    def work(self, *ids: int) -> None:
        """Let these members work (all by default) until nothing can happen before time passes."""
        for _ in range(10_000):
            has_worked = [self.nodes[id].work() for id in ids or self.nodes]
            if not self.carry() and not any(has_worked):
                return
        raise AssertionError("it never comes to rest")

    def reported(self, *ids: int) -> list[Failure]:
        """The failures that these members (all by default) have reported by now."""
        for node in self.nodes.values():
            node.report_failures()
        return [failure for id in ids or self.nodes for failure in self.nodes[id].reported]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.event(Tick())
        self.work()

    def said(self, kind: type[m.Message]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]

    def is_empty(self) -> bool:
        """Whether no member keeps anything of any run."""
        return not any(
            node.member.state.ready
            or node.member.state.parked
            or node.member.state.hosted
            or node.member.state.awaited
            or node.member.features.outcomes.asked
            or node.member.state.runs
            for node in self.nodes.values()
        )


def outcome_of(handle: Handle[Any, Any, Any]) -> Any:
    outcome = handle.outcome
    return outcome.open() if isinstance(outcome, Packed) else outcome
