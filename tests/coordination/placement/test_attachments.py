"""Attachments, which many fibers share, go to each process once: in the state machines."""

from __future__ import annotations

from typing import Any

import pytest

from distio import io
from distio.coordination.member import Member
from distio.coordination.placement.tasks import UnpickleChunk
from distio.core.fiber import Fiber
from distio.core.pickling.payloads import LARGE_BUNDLE, Dumped
from distio.core.snapshot import dump_chunk
from distio.protocol import messages as m
from distio.protocol import requests as rq
from distio.protocol.ids import fiber_id
from distio.protocol.pieces import Bytes, joined
from tests.harness.coordinators import Scene
from tests.harness.members import Node

DIGEST, DATA = b"digest", b"what they share"


def chunk(run: int, fiber: int, data: bytes = b"", epoch: int = 0) -> m.Chunk:
    return m.Chunk(run, [(fiber, epoch)], b"payload", attachments=[(DIGEST, data)])


def alone(run: int, fiber: int) -> m.Chunk:
    """A chunk without attachments."""
    return m.Chunk(run, [(fiber, 0)], b"payload")


def placed(commands: Any) -> list[tuple[int, bytes]]:
    """The members to which chunks go, and the bytes of their attachments."""
    return [
        (to, joined(said.chunk.attachments[0][1]))
        for to, said in commands
        if isinstance(said, m.Place) and said.chunk.attachments
    ]


def test_coordinator_gives_an_attachment_to_each_member_once() -> None:
    scene = Scene(workers=2, threads=4)
    first, second = scene.workers
    run = scene.starts(fibers=5)
    offers = [chunk(run, run + 1, DATA), *[chunk(run, run + n) for n in (2, 3, 4)]]
    commands = scene.says(scene.client, m.Offer(offers))
    assert placed(commands) == [(first, DATA), (second, DATA), (first, b""), (second, b"")]


def test_coordinator_keeps_an_attachment_for_chunks_that_wait_for_room() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    assert scene.says(scene.client, m.Offer([chunk(run, run + 1, DATA)])) == []
    assert [waiting.attachments for waiting in scene.machine.state.backlog] == [[(DIGEST, b"")]]
    worker = scene.machine.state.next_incarnation
    hello = m.Hello(*_hello(), "worker", 1, "host", 1000, b"")
    assert placed(scene.happens(_joined(hello))) == [(worker, DATA)]


def test_coordinator_drops_attachments_with_their_run() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=2)
    scene.says(scene.client, m.Offer([chunk(run, run + 1, DATA)]))
    scene.says(scene.client, m.Goodbye())
    scene.breaks(scene.workers[0])
    assert scene.machine.runs == {}


def _hello() -> tuple[int, str]:
    from distio.protocol.version import PROTOCOL, PYTHON

    return PROTOCOL, PYTHON


def _joined(hello: m.Hello) -> Any:
    from distio.coordination.state.events import Joined

    return Joined(hello)


def test_member_sends_an_attachment_with_the_first_chunk_alone() -> None:
    member = Member(1)
    root = member.start_root(io.pure(0), None)
    member.features.placement.spawn(root, rq.Spawn([io.pure(n) for n in range(3)]))
    children: list[Any] = [member.state.ready.popleft() for _ in range(3)]
    member.state.outbox.clear()
    for child, digest in zip(children, (b"one", b"one", b"two")):
        member.features.placement.pickled([child], Dumped(b"payload", {digest: b"shared"}, []))
    offers = [said for said in member.state.outbox if isinstance(said, m.Offer)]
    sent = [each.attachments[0] for offer in offers for each in offer.chunks]
    assert sent == [(b"one", b"shared"), (b"one", b""), (b"two", b"shared")]


def test_member_opens_chunks_in_any_order_with_the_bundle_that_came_first() -> None:
    member = Member(2)
    table = bytes(LARGE_BUNDLE)
    f = eval("lambda n: table[n]", {"table": table, "__name__": "nowhere"})
    run = 1 << 40
    dumped = [dump_chunk([Fiber(run + n, run, io.defer(f, n), None)]) for n in (1, 2)]
    ((digest, data),) = dumped[0].attachments.items()
    for n, (each, given) in enumerate(zip(dumped, (data, b"")), 1):
        place = m.Chunk(run, [(run + n, 1)], each.payload, attachments=[(digest, given)])
        member.receive(m.Place(place))
    parcels = reversed(list(member.state.ready))
    member.state.ready.clear()
    host = Node(member)
    opened: list[Any] = []
    for parcel in parcels:
        assert isinstance(parcel, UnpickleChunk)
        parcel.run(host)
        parcel.commit()
    for fiber in member.state.ready:
        assert isinstance(fiber, Fiber)
        opened.append(fiber.next.f)  # type: ignore[union-attr]  # a Defer
    assert opened[0].__globals__ is opened[1].__globals__
    member.receive(m.RunEnded(run))
    ((ended, _),) = member.state.ended_runs
    del opened, fiber, parcels, parcel
    ended.release()
    assert ended.bundles == {}


@pytest.mark.parametrize("message", [m.Offer, m.Place])
def test_codec_carries_large_attachments_in_frames_of_their_own(message: Any) -> None:
    from distio.protocol.codec import DETACH_BYTES, from_coordinator, from_member

    large = bytes(DETACH_BYTES + 1)
    attachments: list[tuple[bytes, Bytes]] = [(DIGEST, b"small"), (b"other", large[:-1] + b"x")]
    both = m.Chunk(1, [(1, 0)], large, attachments=attachments)
    said = m.Offer([chunk(1, 2), both]) if message is m.Offer else m.Place(both)
    codec: Any = from_member if message is m.Offer else from_coordinator
    frames = codec.encode([m.RunEnded(1) if message is m.Place else m.StartRun(1), said])
    assert len(frames) == 3
    assert codec.decode(frames)[1] == said


def test_coordinator_keeps_an_attachment_that_snapshots_of_one_message_share() -> None:
    scene = Scene(workers=2, threads=4)
    first, second = scene.workers
    run = scene.starts(fibers=2, snapshots="suspensions")
    scene.says(scene.client, m.Offer([alone(run, run + 1)]))
    own = fiber_id(first, 0)
    scene.tells(first, m.RunProgress(run, [(0, 1)], 0, [], 0))
    snapshots = [chunk(run, run + 1, DATA, epoch=1), chunk(run, own)]
    assert scene.says(first, m.SaveFibers(run, 0, snapshots)) == []
    assert placed(scene.breaks(first)) == [(second, DATA), (second, b"")]


def test_coordinator_keeps_the_attachment_of_a_snapshot_that_comes_too_late() -> None:
    scene = Scene(workers=2, threads=4)
    first, second = scene.workers
    run = scene.starts(fibers=2, snapshots="suspensions")
    scene.says(scene.client, m.Offer([alone(run, run + 1)]))
    own = fiber_id(first, 0)
    scene.tells(first, m.RunProgress(run, [(0, 1)], 0, [], 0))
    late = chunk(run, run + 1, DATA, epoch=0)
    assert scene.says(first, m.SaveFibers(run, 0, [late])) == []
    assert scene.says(first, m.SaveFibers(run, 0, [chunk(run, own)])) == []
    assert (second, DATA) in placed(scene.breaks(first))
