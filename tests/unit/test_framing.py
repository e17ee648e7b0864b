"""Messages on a stream of bytes, in whatever portions these come."""

from __future__ import annotations

import mmap
import random

import pytest

from distio.runtime.framing import (
    MEMBER,
    STRANGER,
    Assembler,
    BrokenFraming,
    Lane,
    Limits,
    framed,
)
from distio.runtime.wire import Frames

Said = list[tuple[Lane, list[bytes]]]
SAID: Said = [
    (Lane.SPEAKER, [b"one"]),
    (Lane.LISTENER, [b"", b"two", b""]),
    (Lane.SPEAKER, [b""]),
    (Lane.SPEAKER, [b"x" * 100, b"", b"y" * 70_000, b"z"]),
    (Lane.LISTENER, [b"w" * 70_000]),
    (Lane.LISTENER, [b"", b""]),
]


def stream(said: Said) -> bytes:
    return b"".join(b"".join(framed(lane, list(frames))) for lane, frames in said)


def heard(assembler: Assembler) -> Said:
    taken = []
    while assembler.messages:
        lane, frames = assembler.messages.popleft()
        taken.append((lane, [*map(bytes, frames)]))
    return taken


def fed(data: bytes, *portions: int, limits: Limits = MEMBER) -> Said:
    """The messages of this stream, if it comes in portions of these sizes, again and again."""
    assembler, at, turn = Assembler(limits), 0, 0
    while at < len(data):
        size = portions[turn % len(portions)]
        assembler.feed(memoryview(data)[at : at + size])
        at += size
        turn += 1
    return heard(assembler)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 7, 15, 16, 17, 4096, 10**6])
def test_messages_come_out_as_they_were_said_whatever_the_portions(size: int) -> None:
    said: Said = [*SAID, *SAID]
    assert fed(stream(said), size) == said


def test_message_that_is_cut_anywhere_comes_out_when_the_rest_has_come() -> None:
    said: Said = [(Lane.LISTENER, [b"first", b"", b"third"]), (Lane.SPEAKER, [b"next"])]
    data = stream(said)
    for cut in range(len(data) + 1):
        assembler = Assembler(MEMBER)
        assembler.feed(memoryview(data)[:cut])
        before = heard(assembler)
        assert before == said[: len(before)]
        assembler.feed(memoryview(data)[cut:])
        assert before + heard(assembler) == said
        assert assembler.room is None


def test_messages_come_out_of_random_portions() -> None:
    rng = random.Random(1)
    for _ in range(50):
        portions = [rng.choice([1, 5, 17, 1000, 66_000]) for _ in range(9)]
        assert fed(stream(SAID), *portions) == SAID


def test_bytes_are_put_where_they_belong_without_a_copy() -> None:
    data = stream([(Lane.SPEAKER, [b"a" * 100_000, b""])])
    assembler = Assembler(MEMBER)
    assembler.feed(memoryview(data)[:1000])
    while (room := assembler.room) is not None:
        done = len(data) - len(room)
        count = min(30_000, len(room))
        room[:count] = data[done : done + count]
        assembler.fill(count)
    assert heard(assembler) == [(Lane.SPEAKER, [b"a" * 100_000, b""])]


def test_large_frame_takes_memory_only_as_it_comes() -> None:
    assembler = Assembler(MEMBER)
    data = framed(Lane.SPEAKER, [b"x" * 70_000])[0][:16]
    announced = bytes(data[:8]) + (2**32).to_bytes(8, "little")
    assembler.feed(memoryview(announced + b"some of it"))
    assert assembler.room is not None
    assert len(assembler.room) == 2**32 - 10
    assert isinstance(assembler.room.obj, mmap.mmap)


def test_large_frames_are_not_copied_to_be_sent_and_small_ones_go_together() -> None:
    large = b"x" * 100_000
    frames: Frames = [b"head", b"small", memoryview(large), b"a", b"b"]
    first, second, third = framed(Lane.SPEAKER, frames)
    assert isinstance(second, memoryview)
    assert second.obj is large
    assert bytes(first).endswith(b"headsmall")
    assert third == b"ab"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not the framing of distio"),
        (b"\xff" + bytes(8) + b"\x7f\x03\x01" + bytes(52), "not the framing of distio"),
        (stream([(Lane.SPEAKER, [b"x"])])[:3] + b"\x02" + bytes(12), "not the framing of distio"),
        (stream([(Lane.SPEAKER, [b"x"])])[:3] + bytes(13), "not the framing of distio"),
        (stream([(Lane.SPEAKER, [b"x", b"y"])]), r"too large \(2 frames\)"),
        (stream([(Lane.SPEAKER, [bytes(65_537)])]), r"too large \(a frame of 65,537 bytes\)"),
    ],
    ids=["http", "zeromq", "lane", "no frames", "frames", "bytes"],
)
def test_stranger_that_breaks_the_framing_or_the_limits_is_found_by_the_head(
    data: bytes, reason: str
) -> None:
    for size in (1, 16):
        with pytest.raises(BrokenFraming, match=reason):
            fed(data[:16], size, limits=STRANGER)


def test_table_with_a_frame_beyond_the_limit_is_refused() -> None:
    data = stream([(Lane.SPEAKER, [b"x", b"yy", b"zzz"])])
    assert fed(data, 5, limits=Limits(3, 3, 1024)) == [(Lane.SPEAKER, [b"x", b"yy", b"zzz"])]
    with pytest.raises(BrokenFraming, match="a frame of 3 bytes"):
        fed(data, 5, limits=Limits(3, 2, 1024))


def test_frame_for_which_there_is_no_memory_is_refused() -> None:
    limits = Limits(1, 2**64 - 1, 1024)
    head = stream([(Lane.SPEAKER, [b"x"])])[:8] + (2**63).to_bytes(8, "little")
    with pytest.raises(BrokenFraming, match="there is no memory for a frame"):
        Assembler(limits).feed(memoryview(head + b"x"))


def test_member_may_send_what_a_stranger_may_not() -> None:
    assembler = Assembler(STRANGER)
    data = stream([(Lane.SPEAKER, [b"hello"]), (Lane.SPEAKER, [b"x" * 70_000, b"y"])])
    hello = len(stream([(Lane.SPEAKER, [b"hello"])]))
    assembler.feed(memoryview(data)[:hello])
    assembler.limits = MEMBER
    assembler.feed(memoryview(data)[hello:])
    assert len(assembler.messages) == 2
