"""Waiting for sockets of ZeroMQ and for descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from distio.runtime.poller import ROOM, Poller

PATIENCE_MS = 10_000
Pair = tuple[zmq.Socket[Any], zmq.Socket[Any]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with zmq.Context() as context:
        one, other = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        one.bind("inproc://pair")
        other.connect("inproc://pair")
        yield one, other
        one.close(linger=0)
        other.close(linger=0)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_poller_finds_a_socket_as_long_as_it_has_a_message(pair: Pair) -> None:
    one, other = pair
    poller = Poller(one)
    assert poller.poll(0) == set()
    for _ in range(2):
        other.send(b"x")
    for _ in range(2):
        assert poller.poll(PATIENCE_MS) == {one}
        one.recv()
    assert poller.poll(0) == set()


def test_poller_finds_a_message_that_came_before_the_socket_was_registered(pair: Pair) -> None:
    one, other = pair
    other.send(b"x")
    assert one.poll(PATIENCE_MS)  # what its descriptor had to tell was taken up by this
    assert Poller(one).poll(PATIENCE_MS) == {one}


def test_poller_finds_sockets_and_descriptors_together(pair: Pair, pipe: tuple[int, int]) -> None:
    one, other = pair
    reader, writer = pipe
    poller = Poller(one, reader)
    other.send(b"x")
    os.write(writer, b"x")
    assert one.poll(PATIENCE_MS)
    assert poller.poll(PATIENCE_MS) == {one, reader}


def test_poller_finds_a_descriptor_whose_other_end_is_closed() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    assert Poller(reader).poll(PATIENCE_MS) == {reader}
    os.close(reader)


def test_poller_that_is_told_to_does_not_wait_for_a_source_any_more(
    pair: Pair, pipe: tuple[int, int]
) -> None:
    one, other = pair
    reader, writer = pipe
    poller = Poller(one, reader)
    other.send(b"x")
    os.write(writer, b"x")
    poller.unregister(one)
    assert poller.poll(PATIENCE_MS) == {reader}
    poller.unregister(reader)
    assert poller.poll(0) == set()


def test_poller_tells_room_from_what_can_be_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        poller = Poller(one.fileno(), writable=one.fileno())
        assert poller.poll(PATIENCE_MS) == {ROOM}
        other.send(b"x")
        events = poller.poll(PATIENCE_MS)
        assert events == {ROOM, one.fileno()}
