"""For how long a member may step its fibers, by its own clock."""

from __future__ import annotations

import pytest

from distio.coordination.membership.lease import MARGIN, Lease, lease_seconds


def test_lease_is_open_until_its_seconds_are_over() -> None:
    lease = Lease(10.0, asked_at=100.0)
    assert lease.is_open(109.9)
    assert not lease.is_open(110.0)


def test_answer_renews_a_lease_from_the_moment_of_the_question() -> None:
    lease = Lease(10.0, asked_at=100.0)
    lease.asked(105.0)
    lease.renewed(105.0)
    assert lease.is_open(114.9)
    assert not lease.is_open(115.0)


def test_late_answer_to_an_early_question_opens_nothing() -> None:
    """A process finds it that was stopped meanwhile."""
    lease = Lease(10.0, asked_at=100.0)
    lease.asked(105.0)
    lease.renewed(105.0)
    assert not lease.is_open(160.0)
    lease.asked(160.0)
    assert not lease.is_open(160.1)
    lease.renewed(160.0)
    assert lease.is_open(160.1)


def test_answers_that_come_out_of_order_shorten_no_lease() -> None:
    lease = Lease(10.0, asked_at=100.0)
    lease.renewed(108.0)
    lease.renewed(103.0)
    assert lease.is_open(117.9)


def test_lease_is_asked_for_several_times_while_it_lasts_and_at_once_after_a_break() -> None:
    lease = Lease(10.0, asked_at=100.0)
    assert lease.ask_at == 102.5
    lease.asked(103.0)
    assert lease.ask_at == 105.5
    lease.ask_again(104.0)
    assert lease.ask_at == 104.0


@pytest.mark.parametrize("patience", [0.5, 2.0, 30.0, 600.0])
@pytest.mark.parametrize("absence", [0.0, 0.3, 10.0, 3600.0])
def test_lease_ends_before_the_coordinator_loses_a_silent_member_on_a_clock_that_is_slow(
    patience: float, absence: float
) -> None:
    lease = lease_seconds(patience, absence)
    soonest = min(patience, absence * (1 + MARGIN) if absence else patience)
    assert 0 < lease * 1.1 < soonest
