"""A stream connection that carries messages, and never waits."""

from __future__ import annotations

import select
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from distio.runtime.channel import Channel, make_scratch
from distio.runtime.framing import MEMBER, STRANGER, Lane, framed
from distio.runtime.wire import Frames
from tests.conftest import PATIENCE

Pair = tuple[Channel, Channel]
MEGABYTE = 2**20


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = (Channel(end, MEMBER) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def said(channel: Channel) -> list[bytes]:
    """The next message."""
    poller = select.poll()
    poller.register(channel.number, select.POLLIN)
    while (message := channel.receive()) is None:
        assert not channel.has_ended
        assert not channel.is_drained or poller.poll(PATIENCE * 1000)
    return [*map(bytes, message[1])]


def ends(channel: Channel) -> bool:
    """Whether it ends, and gives nothing before."""
    while not channel.has_ended:
        if channel.receive() is not None:
            return False
    return True


def exchange(speaker: Channel, hearer: Channel) -> list[bytes]:
    """The next message, of which the speaker sends what is left."""
    while (message := hearer.receive()) is None:
        speaker.flush()
    return [*map(bytes, message[1])]


def test_channel_carries_messages_in_order_both_ways(pair: Pair) -> None:
    for speaker, hearer in (pair, pair[::-1]):
        for each in range(100):
            speaker.send(Lane.SPEAKER, [b"%d" % each])
        assert [said(hearer) for _ in range(100)] == [[b"%d" % each] for each in range(100)]
        assert hearer.receive() is None
        assert hearer.is_drained


def test_channel_whose_peer_is_slow_keeps_the_rest_and_the_order(pair: Pair) -> None:
    speaker, hearer = pair
    large = [bytes([each]) * MEGABYTE for each in range(4)]
    messages: list[Frames] = [[b"first"], large, [b"between"], [b"x" * 3 * MEGABYTE], [b"last"]]
    for frames in messages:
        speaker.send(Lane.SPEAKER, frames)
    assert speaker.is_blocked
    assert [exchange(speaker, hearer) for _ in messages] == messages
    assert not speaker.is_blocked


def test_message_that_would_fit_goes_after_what_is_left(pair: Pair) -> None:
    speaker, hearer = pair
    large = bytes(5 * MEGABYTE)
    speaker.send(Lane.SPEAKER, [large])
    assert hearer.receive() is None  # so there is room again
    speaker.send(Lane.SPEAKER, [b"small"])
    assert [exchange(speaker, hearer) for _ in range(2)] == [[large], [b"small"]]


@pytest.mark.slow
def test_message_of_more_frames_than_one_call_takes_arrives(pair: Pair) -> None:
    speaker, hearer = pair
    frames: Frames = [b"%d" % each if each % 2 else bytes(65_537) for each in range(1_500)]
    speaker.send(Lane.LISTENER, frames)
    assert exchange(speaker, hearer) == frames


def test_channel_ends_after_all_that_was_said_on_it(pair: Pair) -> None:
    speaker, hearer = pair
    for each in range(50):
        speaker.send(Lane.SPEAKER, [b"%d" % each])
    hearer.send(Lane.SPEAKER, [b"not read by the other one"])
    speaker.close()
    assert [said(hearer) for _ in range(50)] == [[b"%d" % each] for each in range(50)]
    assert not hearer.has_ended
    assert ends(hearer)
    assert not hearer.breach


def test_channel_that_ends_in_the_midst_of_a_message_drops_it_and_ends() -> None:
    raw, end = socket.socketpair()
    channel = Channel(end, MEMBER)
    whole = b"".join(framed(Lane.SPEAKER, [b"whole"]))
    raw.sendall(whole + whole[:-1])
    raw.close()
    assert said(channel) == [b"whole"]
    assert ends(channel)
    assert not channel.breach
    channel.close()


def test_channel_with_rubbish_after_messages_gives_these_and_then_the_reason() -> None:
    raw, end = socket.socketpair()
    channel = Channel(end, STRANGER)
    with raw:
        raw.sendall(b"".join(framed(Lane.SPEAKER, [b"whole"])) * 2 + b"GET / HTTP/1.1\r\n")
        assert said(channel) == [b"whole"]
        assert not channel.has_ended
        assert said(channel) == [b"whole"]
        assert ends(channel)
        assert channel.breach == "not the framing of distio"
    channel.close()


def test_channel_whose_peer_is_gone_drops_what_is_left_and_raises_nothing(pair: Pair) -> None:
    speaker, hearer = pair
    hearer.send(Lane.SPEAKER, [b"last words"])
    speaker.send(Lane.SPEAKER, [bytes(5 * MEGABYTE)])
    blocked = [speaker.is_blocked]
    hearer.close()
    speaker.flush()
    speaker.send(Lane.SPEAKER, [b"more"])
    assert [*blocked, speaker.is_blocked] == [True, False]
    assert said(speaker) == [b"last words"]
    assert ends(speaker)


@pytest.mark.slow
def test_channel_whose_peer_does_not_read_closes_when_its_last_words_have_had_their_time(
    pair: Pair,
) -> None:
    speaker, _ = pair
    speaker.send(Lane.SPEAKER, [bytes(5 * MEGABYTE)])
    began = time.monotonic()
    speaker.close(linger=50)
    assert 0.05 <= time.monotonic() - began < PATIENCE


@pytest.mark.slow
def test_patient_channel_sends_and_receives_large_messages_in_few_calls() -> None:
    speaker, hearer = (Channel(end, MEMBER, is_patient=True) for end in socket.socketpair())
    large: Frames = [b"head", b"x" * 20 * MEGABYTE, b"tail"]
    guard, calls = threading.Lock(), 0

    def flush() -> None:
        while speaker.is_blocked:
            speaker.flush_patiently(guard)

    speaker.send(Lane.SPEAKER, large)
    thread = threading.Thread(target=flush)
    thread.start()
    while (message := hearer.receive(may_wait=True)) is None:
        calls += 1
    thread.join()
    assert message[1] == large
    assert calls < 100  # there would be as many for 20 MB in portions of 200 KB
    hearer.close()
    speaker.send(Lane.SPEAKER, large)
    speaker.flush_patiently(guard)
    assert not speaker.is_blocked
    speaker.close()


@pytest.mark.slow
def test_patient_channel_waits_no_longer_than_a_moment() -> None:
    speaker, hearer = (Channel(end, MEMBER, is_patient=True) for end in socket.socketpair())
    speaker.send(Lane.SPEAKER, [bytes(5 * MEGABYTE)])
    began = time.monotonic()
    for _ in range(5):
        speaker.flush_patiently(threading.Lock())
        hearer.receive(may_wait=True)
    assert time.monotonic() - began < PATIENCE
    assert speaker.is_blocked
    speaker.close()
    hearer.close()


def test_one_call_receives_no_more_than_a_portion(pair: Pair) -> None:
    """Else a large message of one peer would keep the others waiting."""
    speaker, hearer = pair
    speaker.send(Lane.SPEAKER, [bytes(5 * MEGABYTE)])
    calls = 0
    while hearer.receive() is None:
        calls += 1
        speaker.flush()
    assert calls > 5


@pytest.mark.slow
def test_channel_of_a_stranger_holds_little_of_the_tiny_messages_that_came() -> None:
    pairs = [socket.socketpair() for _ in range(50)]
    (tiny,) = framed(Lane.SPEAKER, [b""])
    scratch = make_scratch()
    channels = [Channel(end, STRANGER, scratch) for _, end in pairs]
    for stranger, _ in pairs:
        stranger.setblocking(False)
        stranger.send(bytes(tiny) * 4_000)
    tracemalloc.start()
    try:
        assert all(channel.receive() for channel in channels)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for (stranger, _), channel in zip(pairs, channels):
            stranger.close()
            channel.close()
    assert held / len(channels) < 100_000
