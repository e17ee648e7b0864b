"""Calls of one function, one after another: when they stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from distio._plain import _calls
from distio._plain._calls import Calls

HOUR = 3600.0


@contextmanager
def cancelled_at_once(stop: Callable[[], None]) -> Iterator[None]:
    stop()
    yield


def test_calls_that_may_be_cut_stop_when_they_are_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_calls, "stopped_with_its_fiber", cancelled_at_once)
    assert Calls(abs, [-1, -2], False, longest=HOUR).make().values == [1]


def test_calls_that_may_not_be_cut_are_made_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller takes their values for all that there are."""
    monkeypatch.setattr(_calls, "stopped_with_its_fiber", cancelled_at_once)
    assert Calls(abs, [-1, -2], False).make().values == [1, 2]


def test_calls_that_have_taken_too_long_are_cut() -> None:
    assert Calls(abs, [-1, -2], False, longest=0.0).make().values == [1]
