"""Answers that concern no fiber, for which a thread of a process waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from distio.errors import ClusterClosed
from distio.protocol import messages as m
from distio.protocol.messages.overview import CancelTold
from distio.runtime.inquiries import Inquiries


@pytest.fixture
def inquiries() -> Inquiries:
    host: Any = SimpleNamespace(
        require_role=lambda message: None, say=lambda message: None, closed_because="it was lost"
    )
    return Inquiries(host)


def test_inquiries_keep_an_answer_until_a_thread_looks(inquiries: Inquiries) -> None:
    told, drained = CancelTold(1, True), m.MemberDrained("worker 2", "has left")
    inquiries.take_up(told)
    inquiries.take_up(drained)
    assert inquiries.next_told(until=0.0) == told
    assert inquiries.drain("2", 1.0) == drained
    assert inquiries.next_told(until=0.0) is None


def test_inquiries_of_a_closed_link_tell_each_thread_that_asks_why(inquiries: Inquiries) -> None:
    inquiries.cut_short()
    for _ in range(2):
        with pytest.raises(ClusterClosed, match="it was lost"):
            inquiries.next_told(until=0.0)
        with pytest.raises(ClusterClosed, match="it was lost"):
            inquiries.drain("2", 1.0)
