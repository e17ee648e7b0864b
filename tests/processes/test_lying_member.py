"""Members and unknown peers that lie to the coordinator of real processes, over sockets."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok, Queue, io, resource
from distio.coordination.membership.session import Session, begin_session
from distio.protocol import messages as m
from distio.protocol.codec import from_coordinator, from_member
from distio.protocol.ids import fiber_id
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime import coordinator_process
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.systems import can_share_memory
from tests.conftest import PATIENCE
from tests.harness.peers import peer_at

BIND = "tcp://127.0.0.1:0"


class Liar:
    """A bare peer that is a member, and lies."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        self._peer = self._stack.enter_context(peer_at(url))
        self._session: Session[m.MemberMessage, m.CoordinatorMessage] = begin_session(0.0)
        token = os.urandom(16)
        hello = m.Hello(PROTOCOL, PYTHON, "client", 1, "liar", os.getpid(), token)
        self.says(hello)
        self._peer.listens(*from_member.encode([m.Listen(token)]))
        (welcome,) = self.hears()
        assert isinstance(welcome, m.Welcome)
        self._session = begin_session(welcome.absence)
        self.shares_at = Path(welcome.shared_memory) / str(welcome.incarnation)
        self.id = welcome.incarnation
        self.run = fiber_id(self.id, 0)
        self.says(m.StartRun(self.run))

    def says(self, *messages: m.MemberMessage) -> None:
        self._session.say_all([each for each in messages if each.is_numbered])
        self._peer.says(*from_member.encode(messages, *self._session.header()))

    def says_frames(self, *frames: bytes) -> None:
        self._peer.says(*frames)

    def hears(self) -> list[m.CoordinatorMessage]:
        return from_coordinator.decode(self._peer.hears())

    def is_told(self) -> str:
        """The reason for which it is a member no more."""
        while True:
            for message in self.hears():
                if isinstance(message, m.Shutdown):
                    return message.reason

    def close(self) -> None:
        self._stack.close()


@io.do
async def honest() -> int:
    """A queue and a lock are used on two workers for as long as other members lie."""
    queue = await Queue.create(2)
    lock = await resource.reentrant_lock

    @io.do
    async def puts() -> None:
        for each in range(60):
            await lock.with_(queue.put(each))
            await io.sleep(0.005)
        await queue.close()

    @io.do
    async def takes() -> int:
        return sum([each async for each in queue])

    both = await io.zip_par(puts(), takes(), io.zip_par([lock.with_(io.sleep(0.001))] * 50))
    return int(both[1])


LIES: list[tuple[Callable[[int], Sequence[m.MemberMessage]], str]] = [
    (lambda run: [m.StartRun(fiber_id(1, 0))], "the run has the id of another member's fiber"),
    (lambda run: [m.DelegatedPut(run, run, run, b"")], "may not put without asking"),
    (lambda run: [m.Progress(2**40, 0, [])], "received more messages than were sent"),
    (lambda run: [m.StartTimer(run, run, 1, float("nan"))], "seconds"),
    (lambda run: [m.AcquireTokens(1, 1, 0.0, run, [fiber_id(1, 1)])], "fiber 1.1 isn't there"),
    (lambda run: [m.Offer([m.Chunk(run, [(1, 0)], b"junk")])], "isn't there to be offered"),
    (
        lambda run: [m.Hello(PROTOCOL, PYTHON, "worker", 4, "", n, b"%d" % n) for n in range(9)],
        "two handshakes on one connection",
    ),
]


@pytest.mark.slow
def test_honest_run_ends_rightly_beside_a_member_that_lies() -> None:
    with Cluster.local(workers=2) as cluster:
        assert cluster._processes is not None
        url = cluster._processes.url
        box: list[Any] = []
        thread = threading.Thread(target=lambda: box.append(honest().run(None, on=cluster)))
        thread.start()
        for lie, reason in LIES:
            liar = Liar(url)
            liar.says(*lie(liar.run))
            assert reason in liar.is_told()
            liar.close()
        liar = Liar(url)
        liar.says_frames(b"junk")
        assert "not the protocol of distio" in liar.is_told()
        liar.close()
        thread.join(PATIENCE)
        assert box == [Ok(sum(range(60)))]
        assert io.zip_par([io.pure(1)] * 4).run(None, on=cluster) == Ok([1] * 4)


@pytest.mark.slow
@pytest.mark.skipif(not can_share_memory(), reason="no memory is shared on this system")
def test_names_of_a_member_that_is_lost_by_its_lie_are_removed_before_it_is_told() -> None:
    with Cluster.local(workers=1) as cluster:
        assert cluster._processes is not None
        liar = Liar(cluster._processes.url)
        liar.shares_at.mkdir()
        (liar.shares_at / "k1").touch()
        liar.says_frames(b"junk")
        liar.is_told()
        assert not liar.shares_at.exists()
        liar.close()


@contextmanager
def serving(url: str) -> Iterator[str]:
    process = CoordinatorProcess(url, CoordinatorOptions(is_insecure=True))
    thread = threading.Thread(target=process.run)
    thread.start()
    yield process.url
    process.stop()
    thread.join()


@pytest.fixture(params=["tcp", "ipc"])
def coordinator(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        url = BIND if request.param == "tcp" else f"ipc://{directory}/c"
        yield stack.enter_context(serving(url))


def test_message_that_cannot_be_encoded_costs_its_receiver_its_membership(
    coordinator: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Encoder:
        def encode(self, messages: Sequence[m.CoordinatorMessage], *header: Any) -> list[Any]:
            if any(isinstance(each, m.FiberLost) for each in messages):
                raise OverflowError("planted")
            return from_coordinator.encode(messages, *header)

    monkeypatch.setattr(coordinator_process, "from_coordinator", Encoder())
    liar = Liar(coordinator)
    with Cluster.connect(coordinator) as cluster:
        liar.says(m.AwaitOutcomes(liar.run, [fiber_id(77, 1)]))
        assert "can't be encoded (OverflowError('planted'))" in liar.is_told()
        assert io.pure(1).run(None, on=cluster) == Ok(1)
    liar.close()
    assert "OverflowError: planted" in caplog.text


def test_unknown_peer_that_speaks_another_protocol_is_told_once(coordinator: str) -> None:
    with peer_at(coordinator) as stranger:
        for _ in range(100):
            stranger.says(b"GET / HTTP/1.1")
        (refused,) = from_coordinator.decode(stranger.is_answered())
        assert isinstance(refused, m.Refused)
        with Cluster.connect(coordinator) as cluster:
            assert io.pure(1).run(None, on=cluster) == Ok(1)
        assert stranger.has_heard_all()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (from_member.encode([m.Listen(b"token")])[0], "a version of ZeroMQ that is too old"),
        (b"junk", "not the protocol of distio"),
    ],
)
def test_peer_with_an_old_version_of_zeromq_is_ignored_and_harms_no_member(
    said: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """ZeroMQ doesn't show from which of such connections a frame came."""
    caplog.set_level("INFO")
    with serving(BIND) as coordinator:
        host, port = coordinator.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as old:
            for frame in (b"", said):  # the first is its identity
                old.sendall(bytes([len(frame) + 1, 0]) + frame)
            while "refused a peer" not in caplog.text:
                with Cluster.connect(coordinator) as cluster:
                    assert io.pure(1).run(None, on=cluster) == Ok(1)
    assert reason in caplog.text
    assert "Traceback" not in caplog.text
