"""The standard input of a worker that a program elsewhere has started."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from distio_worker.tether import _watch
from tests.conftest import PATIENCE

LONG, SHORT = 1000.0, 0.02


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


def test_tether_ends_with_its_input(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"..")
    os.close(writer)
    _watch(reader, LONG)


@pytest.mark.slow
def test_tether_ends_when_nothing_has_come_for_too_long(pipe: tuple[int, int]) -> None:
    _watch(pipe[0], SHORT)


def test_tether_that_tells_to_leave_is_a_sigterm(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        os.write(writer, b".T.")
        os.close(writer)
        _watch(reader, LONG)
        assert told.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, before)
