"""A member's link to its coordinator, which is played by the test."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from distio.coordination.endings.member import Endings
from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task
from distio.coordination.member import Member
from distio.coordination.membership import session as sessions
from distio.core.outcomes import Leaving
from distio.protocol import messages as m
from distio.protocol.codec import from_coordinator, from_member
from distio.runtime import leading_host, link
from distio.runtime.connections import Connections
from distio.runtime.handshake import connect
from distio.runtime.link import LinkedHost
from distio.runtime.listening import listen
from distio.runtime.pace import GATHER_SECONDS, HOLD_BACK_SECONDS
from distio.runtime.poller import Poller
from tests.conftest import PATIENCE

_PATIENCE_MS = 10_000


class Counterpart:
    """A coordinator that sends what the test wants, and one member."""

    def __init__(
        self,
        connections: Connections,
        *early: m.CoordinatorMessage,
        absence: float = 0.0,
        behind: Sequence[m.CoordinatorMessage] = (),
        told: threading.Event | None = None,
    ) -> None:
        """
        Args:
            connections: that with the member is one of them.
            early: what it is told together with its welcome.
            absence: for how many seconds it may be absent.
            behind: what it is told right after its welcome.
            told: set when all that was said.
        """
        self._connections = connections
        self._poller = Poller(*connections.sources)
        with ThreadPoolExecutor(1) as pool:
            joining = pool.submit(connect, connections.binding.url, "worker", 1)
            first, second = self.hear(), self.hear()
            self._listener, _ = first if isinstance(first[1][0], m.Listen) else second
            self.say(m.Welcome(1, absence), *early, first=1 if early else 0)
            if behind:
                self.say(*behind, first=1)
            if told is not None:
                told.set()
            self.host: LinkedHost = joining.result()
        self.host.start(1, "test")
        self._link = threading.Thread(target=self.host.listen)

    def listen(self) -> None:
        self._link.start()

    def say(self, *messages: m.CoordinatorMessage, first: int = 0) -> None:
        self._connections.send(self._listener, from_coordinator.encode(messages, first))

    def hear(self) -> tuple[bytes, list[m.MemberMessage]]:
        """The sender of the next messages, and the messages."""
        while (arrival := self._connections.receive()) is None:
            events = self._poller.poll(0 if self._connections.is_behind else _PATIENCE_MS)
            assert events or self._connections.is_behind, "nothing was said"
            self._connections.look(events)
        self._connections.admit(arrival)
        return arrival.address, from_member.decode(arrival.frames)

    def wait_until_idle(self) -> None:
        self.wait_until(lambda host: host._idle > 0)

    def wait_until(self, condition: Callable[[LinkedHost], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with self.host.mutex:
                if condition(self.host):
                    return
            time.sleep(0)  # a turn for the threads that are waited for
        raise AssertionError("it has never come to that")

    def wait_until_pool_leads(self) -> None:
        """Wait until a thread of the pool listens for good, and the guard sleeps.

        If that thread was slow, the guard listens until it hears something.
        """

        def pool_leads(host: LinkedHost) -> bool:
            if host.lead.is_with_guard:
                self.say(m.LeaseRenewed(0.0))
            return host.lead.is_with_pool and host.lead.guard_waits

        self.wait_until(pool_leads)

    def join(self) -> None:
        self._link.join(PATIENCE)
        assert not self._link.is_alive()

    def close(self) -> None:
        self.host.close()
        self.join()


@pytest.fixture(params=["tcp", "ipc"])
def connections(request: pytest.FixtureRequest) -> Iterator[Connections]:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        url = "tcp://127.0.0.1:0" if request.param == "tcp" else f"ipc://{directory}/c"
        connections = listen(url, PATIENCE, None, is_insecure=True)
        yield connections
        connections.close()
        connections.binding.release()


@pytest.fixture
def counterpart(connections: Connections) -> Iterator[Counterpart]:
    counterpart = Counterpart(connections)
    counterpart.listen()
    yield counterpart
    counterpart.close()


def test_thread_without_work_listens_when_what_came_with_the_welcome_was_taken_up(
    connections: Connections,
) -> None:
    """Else it might take up what was said after that before it."""
    counterpart = Counterpart(connections, m.FibersCancelled(1, []))
    counterpart.wait_until_idle()
    assert not counterpart.host.lead.is_with_pool
    counterpart.say(m.FibersCancelled(1, []), first=2)
    counterpart.listen()
    counterpart.wait_until(lambda host: host.lead.is_with_pool)
    counterpart.wait_until(lambda host: host.member.state.progress.received == 2)
    counterpart.close()
    assert counterpart.host.failure is None


def test_member_takes_up_what_has_come_right_behind_its_welcome(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read together with the welcome, and the socket never tells of it."""
    told = threading.Event()

    def later(*sources: Any, writable: Any) -> Any:
        poller = Poller(*sources, writable=writable)

        def poll(milliseconds: int) -> Set[Any]:
            assert told.wait(PATIENCE)
            return poller.poll(milliseconds)

        return SimpleNamespace(poll=poll)

    monkeypatch.setattr("distio.runtime.handshake.Poller", later)
    counterpart = Counterpart(connections, behind=[m.FibersCancelled(1, [])], told=told)
    counterpart.listen()
    try:
        counterpart.wait_until(lambda host: host.member.state.progress.received == 1)
    finally:
        counterpart.close()
    assert counterpart.host.failure is None


def test_pool_does_not_listen_before_what_it_has_handed_over_was_taken_up(
    connections: Connections,
) -> None:
    counterpart = Counterpart(connections)
    host = counterpart.host
    counterpart.wait_until_idle()
    of_link, of_fibers = m.LeaseRenewed(0.0), m.FibersCancelled(1, [])
    frames = from_coordinator.encode([of_link]), from_coordinator.encode([of_fibers], 1)
    with host.mutex:
        host.take_up_in_turn([from_coordinator.read(each) for each in frames])
        with host.alone_listening():  # the link thread makes another connection
            pass
        assert not host.lead.is_free
    counterpart.say(of_fibers, first=2)
    counterpart.listen()
    counterpart.wait_until(lambda host: host.member.state.progress.received == 2)
    counterpart.close()
    assert host.failure is None


@pytest.mark.slow
@pytest.mark.parametrize("hosts_fibers", [True, False])
def test_member_whose_connection_breaks_while_it_leaves_waits_no_longer_than_its_grace(
    hosts_fibers: bool, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member is lost if a fiber is still there, whether the break or the request came first."""
    if hosts_fibers:
        monkeypatch.setattr(Member, "hosts_fibers", True)
        monkeypatch.setattr(Endings, "after_flush", lambda endings: None)
    counterpart = Counterpart(connections, absence=1000.0)
    counterpart.listen()
    counterpart.wait_until_idle()
    counterpart.host.leaving.request("it was told to", 0.1)
    counterpart.wait_until(lambda host: host.member.state.is_leaving)
    connections.close()
    counterpart.join()
    assert "could not be made again" in counterpart.host.closed_because
    assert counterpart.host.keeper.is_lost is hosts_fibers


def test_link_reports_messages_that_wake_no_thread_as_received(counterpart: Counterpart) -> None:
    """Else the coordinator would never again take a member that is idle for up to date."""
    counterpart.wait_until_idle()
    counterpart.say(m.FibersCancelled(1, []))
    _, (progress,) = counterpart.hear()
    assert isinstance(progress, m.Progress)
    assert progress.received == 1


def test_thread_without_work_listens_itself(counterpart: Counterpart) -> None:
    counterpart.wait_until_idle()
    counterpart.say(m.FibersCancelled(1, []))
    counterpart.hear()
    counterpart.wait_until(lambda host: host.lead.is_with_pool)
    counterpart.say(m.FibersCancelled(1, []))
    _, (progress,) = counterpart.hear()
    assert isinstance(progress, m.Progress)
    assert progress.received == 2


def test_thread_that_has_heard_nothing_to_do_leads_on_and_wakes_nobody(
    counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    counterpart.wait_until_idle()
    counterpart.wait_until_pool_leads()
    host, roused = counterpart.host, []
    monkeypatch.setattr(host, "rouse", lambda: roused.append("the link thread"))
    received = host.member.state.progress.received
    for number in range(1, 4):
        counterpart.say(m.FibersCancelled(1, []), first=number)
        counterpart.wait_until(partial(_listens_after, received + number))
    assert host.lead.is_with_pool
    assert roused == []


def test_thread_that_leads_on_acknowledges_what_it_has_heard(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ACKNOWLEDGE_SECONDS", 0.01)
    counterpart = Counterpart(connections, absence=1000.0)
    monkeypatch.setattr(counterpart.host, "idle", lambda: None)  # it tells nothing else
    counterpart.listen()
    try:
        counterpart.wait_until_idle()
        counterpart.wait_until_pool_leads()
        counterpart.say(m.FibersCancelled(1, []), first=1)
        while (heard := counterpart.hear()[1]) != []:
            assert all(isinstance(each, m.Progress) for each in heard)
    finally:
        counterpart.close()


def test_thread_that_leads_on_has_nothing_to_acknowledge_while_the_coordinator_is_away(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    counterpart = Counterpart(connections, absence=1000.0)
    host = counterpart.host
    session: Any = host._lines.session
    monkeypatch.setattr(host, "idle", lambda: None)
    counterpart.listen()
    try:
        counterpart.wait_until_idle()
        session.acknowledge_at = 0.0
        assert host._milliseconds_to_listen() == 0
        connections.close()
        counterpart.wait_until(lambda host: host._lines.absence.is_now)
        session.acknowledge_at = 0.0
        assert host._milliseconds_to_listen() is None
    finally:
        counterpart.close()


def _listens_after(received: int, host: LinkedHost) -> bool:
    return host._listens and host.member.state.progress.received == received


def test_link_thread_listens_while_all_threads_are_busy(counterpart: Counterpart) -> None:
    counterpart.wait_until_idle()
    host, is_busy, may_go_on = counterpart.host, threading.Event(), threading.Event()
    with host.mutex:
        host.member.queue(Busy(is_busy, may_go_on))
        host.wake()
    assert is_busy.wait(PATIENCE)
    counterpart.wait_until(lambda host: host.lead.is_with_guard)
    counterpart.say(m.FibersCancelled(1, []))
    counterpart.wait_until(lambda host: host.member.state.progress.received == 1)
    may_go_on.set()
    counterpart.wait_until_idle()
    counterpart.say(m.FibersCancelled(1, []))  # the guard hears it, and a thread is idle
    counterpart.wait_until(lambda host: host.lead.is_with_pool)


def test_link_thread_is_left_what_is_about_the_link(counterpart: Counterpart) -> None:
    counterpart.wait_until_idle()
    counterpart.say(
        m.FibersCancelled(1, []), first=1
    )  # the link thread may lead until something comes
    counterpart.wait_until(lambda host: host.lead.is_with_pool)
    counterpart.say(m.Shutdown("it is late"))
    counterpart.join()
    assert counterpart.host.closed_because == "it is late"


class Busy(Task):
    """Holds its thread until it may go on."""

    def __init__(self, is_busy: threading.Event, may_go_on: threading.Event) -> None:
        self._is_busy, self._may_go_on = is_busy, may_go_on

    def run(self, host: HostServices) -> None:
        self._is_busy.set()
        assert self._may_go_on.wait(PATIENCE)


@pytest.mark.parametrize(
    "message",
    [m.DelegatedPut(1, 1, 2, b"item"), m.TakenAhead(2, 1, 1, 1), m.StoreValue(1, 2, b"value")],
    ids=["put", "taken", "value"],
)
def test_link_holds_deferrable_messages_of_a_burst_back_for_one_batch(
    message: m.MemberMessage, counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fiber that puts many items without asking would send a frame for each."""
    counterpart.wait_until_idle()
    clock = SimpleNamespace(now=1e9)
    monkeypatch.setattr(link, "time", SimpleNamespace(monotonic=lambda: clock.now))
    host, cancel = counterpart.host, m.CancelRun(1)
    with host.mutex:  # without it the link thread can send nothing
        for each in [*[message] * 4, message, message, cancel, message]:
            host.member.send(each)
            host.outbox_changed()
    heard = [counterpart.hear()[1] for _ in range(5)]
    assert heard == [*[[message]] * 4, [message, message, cancel]]
    clock.now += HOLD_BACK_SECONDS
    assert counterpart.hear()[1] == [message]


def test_link_gathers_the_ends_of_fibers_while_many_are_to_be_stepped(
    counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link thread says them if a thread that computes doesn't."""
    counterpart.wait_until_idle()
    clock = SimpleNamespace(now=1e9)
    monkeypatch.setattr(link, "time", SimpleNamespace(monotonic=lambda: clock.now))
    host = counterpart.host
    state = host.member.state
    is_busy, may_go_on = threading.Event(), threading.Event()
    with host.mutex:
        state.ready += [Busy(is_busy, may_go_on) for _ in range(9)]
        host.wake()
    assert is_busy.wait(PATIENCE)

    def end(fiber: int) -> None:
        with host.mutex:
            state.progress.post(fiber, Leaving(b"value"))
            host.outbox_changed()

    end(0)
    assert counterpart.hear()[1][0] == m.OutcomesReady([0], [b"value"])
    for fiber in (1, 2, 3):  # the third makes it more than a few
        end(fiber)
    clock.now += HOLD_BACK_SECONDS
    assert counterpart.hear()[1][0] == m.OutcomesReady([1, 2, 3], [b"value"] * 3)
    end(4)
    clock.now += GATHER_SECONDS
    assert counterpart.hear()[1][0] == m.OutcomesReady([4], [b"value"])
    may_go_on.set()


def test_thread_that_is_busy_listens_less_often_while_nothing_comes(
    counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    counterpart.wait_until_idle()
    monkeypatch.setattr(leading_host, "time", SimpleNamespace(monotonic=lambda: 0.0))
    host = counterpart.host
    with host.mutex:
        host._note_glance(has_heard=True)
        waits = [host._glance_at]
        for _ in range(5):
            host._glance()
            waits.append(host._glance_at)
    assert waits == pytest.approx([0.0003, 0.0006, 0.0012, 0.002, 0.002, 0.002])


@pytest.mark.slow
def test_link_sends_what_there_was_no_room_for_when_there_is(
    counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On ipc the link thread does, which sleeps until it is roused."""
    counterpart.wait_until_idle()
    counterpart.wait_until_pool_leads()
    large = [m.StoreValue(1, number, bytes([number]) * 5_000_000) for number in range(4)]
    heard_twice: list[None] = []

    def hear() -> str:
        heard_twice.append(None)
        return ""

    monkeypatch.setattr(counterpart.host, "_hear_as_guard", hear)
    for each in large:
        counterpart.host.say(each)
    heard: list[m.MemberMessage] = []
    while len(heard) < len(large):
        heard += [each for each in counterpart.hear()[1] if isinstance(each, m.StoreValue)]
    assert heard == large
    assert not heard_twice  # a thread of the pool listens: two of them would mix up what comes


def test_link_whose_end_a_thread_of_the_pool_sees_closes(
    connections: Connections, counterpart: Counterpart
) -> None:
    counterpart.wait_until_idle()
    counterpart.wait_until_pool_leads()
    connections.close()
    counterpart.join()
    assert counterpart.host.keeper.is_lost
    assert "the connection to the coordinator broke" in counterpart.host.closed_because
