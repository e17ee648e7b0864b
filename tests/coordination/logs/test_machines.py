"""Log records and levels in the members and the coordinator: to whom, in which order, how many."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.gate import Gate
from distio.coordination.logs.coordinator import MOST_ON_THEIR_WAY_BYTES
from distio.coordination.logs.member import HEARD_BYTES, LogBuffer, records_in
from distio.coordination.member import Member
from distio.coordination.state.events import Disconnected, Joined, Received
from distio.protocol import messages as m
from distio.protocol.codec import DETACH_BYTES, from_coordinator, from_member
from distio.protocol.domains import MemberKind
from distio.protocol.ids import fiber_id
from distio.protocol.messages.logs import LogLevels, LogsHeard
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.deliveries import Deliveries, deliver
from distio.runtime.records import NOBODY, pack

INFO = LogLevels(0, {"": 20})
DEBUG = LogLevels(0, {"": 10})


class Cluster:
    """A coordinator, a client (member 1) and two workers (2 and 3)."""

    def __init__(self, family: str = "") -> None:
        self.machine = Coordinator()
        self.join("client", family)
        self.join("worker", family)
        self.join("worker")
        self.said(1, m.StartRun(self.run))

    run = fiber_id(1, 0)

    def join(self, kind: MemberKind, family: str = "") -> int:
        id = self.machine.state.next_incarnation
        hello = m.Hello(PROTOCOL, PYTHON, kind, 1, "here", id, b"", family)
        self.machine.handle(0.0, Joined(hello))
        return id

    def said(self, member: int, *messages: m.MemberMessage) -> list[tuple[int, Any]]:
        """The commands that follow."""
        commands = []
        for message in messages:
            commands += self.machine.handle(0.0, Received(member, message))
        self.machine.validate()
        return [(command.member, command.message) for command in commands]

    def offer(self, number: int) -> list[tuple[int, Any]]:
        """A fiber is offered, and placed."""
        fiber = fiber_id(1, number)
        progress = m.Progress(0, 0, [m.RunProgress(self.run, [(number, 1)], 0, [], 0)])
        return self.said(1, progress, m.Offer([m.Chunk(self.run, [(fiber, 0)], b"")]))


# -- levels -----------------------------------------------------------------------------------


def test_coordinator_sends_levels_to_a_worker_before_its_first_fiber_and_once() -> None:
    cluster = Cluster()
    assert cluster.said(1, m.SetLogLevels(INFO)) == []
    (first, told), (second, placed) = cluster.offer(1)
    assert first == second
    assert told == m.LogLevelsSet(1, INFO)
    assert isinstance(placed, m.Place)
    (other, told), _ = cluster.offer(2)
    assert other != first
    assert told == m.LogLevelsSet(1, INFO)
    assert {type(message) for _, message in cluster.offer(3)} == {m.Place}


def test_coordinator_sends_changed_levels_with_the_next_fibers() -> None:
    cluster = Cluster()
    cluster.said(1, m.SetLogLevels(INFO))
    cluster.offer(1), cluster.offer(2)
    cluster.said(1, m.SetLogLevels(DEBUG))
    (_, told), (_, placed) = cluster.offer(3)
    assert told == m.LogLevelsSet(1, DEBUG)
    assert isinstance(placed, m.Place)


def test_coordinator_takes_back_the_levels_of_a_client_that_is_gone() -> None:
    cluster = Cluster()
    cluster.said(1, m.SetLogLevels(INFO))
    ((worker, _), _) = cluster.offer(1)
    commands = cluster.machine.handle(0.0, Disconnected(1))
    assert [
        (each.member, each.message) for each in commands if type(each.message) is m.LogLevelsSet
    ] == [(worker, m.LogLevelsSet(1, None))]


def test_member_opens_each_chunk_with_the_levels_that_came_before_it() -> None:
    seen: list[Any] = []

    class Services:
        def use_log_levels(self, levels: Any) -> None:
            seen.append(dict(levels))

    member = Member(2)
    chunk = m.Chunk(fiber_id(1, 0), [(fiber_id(1, 1), 1)], b"")
    for message in (
        m.LogLevelsSet(1, INFO),
        m.Place(chunk),
        m.LogLevelsSet(5, DEBUG),
        m.LogLevelsSet(1, None),
        m.Place(chunk),
    ):
        member.receive(message)
    host: Any = Services()
    for work in list(member.state.ready):
        parcel: Any = work
        parcel.run(host)
    assert seen == [{1: INFO}, {5: DEBUG}]


def test_logger_without_a_level_has_that_of_its_nearest_ancestor() -> None:
    levels = LogLevels(5, {"": 30, "a": 20, "a.b.c": 10})
    assert [levels.of(name) for name in ("", "a", "a.b", "a.b.c", "a.b.c.d", "ab")] == [
        *(30, 20, 20, 10, 10, 30)
    ]
    assert levels.let_through("a.b.c", 10)
    assert not LogLevels(10, {"a": 0}).let_through("a", 10)


# -- records ----------------------------------------------------------------------------------


def test_records_go_to_the_client_that_owns_the_run() -> None:
    cluster = Cluster()
    assert cluster.join("client") == 4
    assert cluster.said(3, m.RelayLogs(cluster.run, b"records", 2)) == [
        (1, m.LogsRelayed(3, cluster.run, b"records", 2))
    ]


def test_records_of_a_run_that_is_over_go_to_its_client() -> None:
    cluster = Cluster()
    over = fiber_id(1, 77)
    assert cluster.said(3, m.RelayLogs(over, b"records")) == [
        (1, m.LogsRelayed(3, over, b"records", 0))
    ]


def test_records_of_a_client_that_is_gone_are_dropped_and_counted() -> None:
    cluster = Cluster()
    cluster.machine.handle(0.0, Disconnected(1))
    assert cluster.said(3, m.RelayLogs(cluster.run, b"records")) == []
    assert cluster.machine.features.logs.dropped == 1


def test_records_of_no_run_go_to_the_client_that_has_started_the_worker() -> None:
    cluster = Cluster(family="ours")
    assert cluster.join("client", "theirs") == 4
    assert cluster.said(2, m.RelayLogs(0, b"records")) == [(1, m.LogsRelayed(2, 0, b"records"))]
    assert cluster.said(3, m.RelayLogs(0, b"records")) == []
    assert cluster.machine.features.logs.dropped == 1


def test_records_come_before_the_end_of_their_fiber() -> None:
    cluster = Cluster()
    ((worker, _),) = cluster.offer(1)
    ended = m.RunProgress(cluster.run, [], 0, [(fiber_id(1, 1), 1)], 0)
    root = m.Progress(0, 0, [m.RunProgress(cluster.run, [], 1, [], 0)])
    cluster.said(1, root)
    said = cluster.said(worker, m.RelayLogs(cluster.run, b"r"), m.Progress(1, 0, [ended]))
    assert [type(message) for to, message in said if to == 1] == [m.LogsRelayed, m.RunEnded]


def test_records_change_no_load_and_are_not_counted_as_received() -> None:
    cluster = Cluster()
    before = cluster.machine.members[1].sent
    cluster.said(3, m.RelayLogs(cluster.run, b"records"))
    assert cluster.machine.members[1].sent == before
    member = Member(1)
    member.receive(m.LogsRelayed(3, cluster.run, b"records"))
    member.flush()
    assert member.state.outbox == []
    assert member.take_for_host() == [m.LogsRelayed(3, cluster.run, b"records")]
    member.validate_rest()


def test_records_that_are_large_travel_in_a_frame_of_their_own() -> None:
    big = b"b" * (DETACH_BYTES + 1)
    frames = from_member.encode([m.RelayLogs(1, big), m.RelayLogs(1, b"small")])
    assert frames[1] is big
    assert from_member.decode(frames) == [m.RelayLogs(1, big), m.RelayLogs(1, b"small")]
    frames = from_coordinator.encode([m.LogsRelayed(2, 1, big)])
    assert frames[1] is big
    assert from_coordinator.decode(frames) == [m.LogsRelayed(2, 1, big)]


# -- buffers ----------------------------------------------------------------------------------


def told(buffer: LogBuffer) -> list[tuple[int, list[bytes], int]]:
    return [(each.run, records_in(each), each.omitted) for each in buffer.take()]


def test_log_buffer_keeps_the_order_of_records_and_separates_runs() -> None:
    buffer = LogBuffer()
    assert not buffer
    for run, record in ((1, b"a"), (1, b"b"), (2, b"c"), (1, b"d")):
        buffer.put(run, record)
    assert buffer
    assert told(buffer) == [(1, [b"a", b"b"], 0), (2, [b"c"], 0), (1, [b"d"], 0)]
    assert not buffer
    assert told(buffer) == []


def test_log_buffer_omits_records_beyond_its_limit_and_counts_them_for_each_run() -> None:
    buffer = LogBuffer(most_bytes=10)
    for run, size in ((1, 6), (1, 6), (2, 5), (2, 4), (1, 100)):
        buffer.put(run, bytes(size))
    assert told(buffer) == [(1, [bytes(6)], 0), (2, [bytes(4)], 0), (1, [], 2), (2, [], 1)]
    buffer.put(1, bytes(10))
    assert told(buffer) == [(1, [bytes(10)], 0)]


def relayed(text: str, *, omitted: int = 0) -> m.LogsRelayed:
    """A record, as it arrives from member 2."""
    fields = "tests.relayed", logging.WARNING, __file__, 1, text, (), None
    buffer = LogBuffer()
    buffer.put(1, pack(logging.LogRecord(*fields), NOBODY))
    (message,) = buffer.take()
    return m.LogsRelayed(2, 1, message.records, omitted)


def test_omitted_records_are_logged_as_one_record_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deliver(relayed("kept", omitted=1234))
    assert caplog.messages == [
        "kept",
        "1234 log records of run 0.1 on member 2 left out: too much was waiting",
    ]


class Slow(logging.Handler):
    """A handler that handles its record when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may = threading.Event(), threading.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        self.may.wait(30)
        self.texts.append(record.getMessage())


def test_deliveries_to_a_slow_handler_are_limited_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = relayed("first")
    deliveries, slow = Deliveries(2 * len(first.records)), Slow()
    logger = logging.getLogger("tests.relayed")
    logger.addHandler(slow)
    try:
        deliveries.put([first])
        slow.begun.wait(30)
        deliveries.put([relayed("other"), relayed("third"), relayed("forth", omitted=7)])
        deliveries.when_handled(lambda: slow.texts.append("then"))
        slow.may.set()
        deliveries.finish(30)
        deliveries.put([relayed("fifth")])
        deliveries.finish(30)
    finally:
        logger.removeHandler(slow)
    assert slow.texts == ["first", "other", "then", "fifth"]
    assert "9 log records of run 0.1 on member 2 left out: too much was waiting" in caplog.messages


def test_callback_after_deliveries_is_called_at_once_when_there_are_no_records() -> None:
    done: list[str] = []
    Deliveries().when_handled(lambda: done.append("done"))
    assert done == ["done"]


# -- a client that doesn't read ---------------------------------------------------------------


def passed_on(commands: list[tuple[int, Any]]) -> list[m.LogsRelayed]:
    return [each for member, each in commands if member == 1 and isinstance(each, m.LogsRelayed)]


def test_client_that_hears_nothing_is_sent_no_more_than_so_many_bytes() -> None:
    cluster, size = Cluster(), 1024**2
    cluster.offer(1)
    sent: list[m.LogsRelayed] = []
    for _ in range(100):
        sent += passed_on(cluster.said(2, m.RelayLogs(cluster.run, b"x" * size, count=10)))
    assert sum(len(each.records) for each in sent) <= MOST_ON_THEIR_WAY_BYTES
    left_out = 10 * (100 - len(sent))
    (told,) = passed_on(cluster.said(1, LogsHeard(size)))
    assert told == m.LogsRelayed(2, cluster.run, b"", left_out)
    assert passed_on(cluster.said(2, m.RelayLogs(cluster.run, b"x" * size, count=10)))


def test_client_says_how_many_bytes_of_records_it_has_heard() -> None:
    client, heard = Member(1), []
    for _ in range(10):
        client.receive(m.LogsRelayed(2, 1, b"x" * (HEARD_BYTES // 4)))
        heard += [each.bytes for each in client.take_outbox() if isinstance(each, LogsHeard)]
    assert heard == [HEARD_BYTES, HEARD_BYTES]


def test_client_that_has_heard_more_than_was_sent_is_expelled() -> None:
    cluster = Cluster()
    Gate(cluster.machine).handle(0.0, Received(1, LogsHeard(1)))
    assert 1 not in cluster.machine.members
