"""The book that a simulation keeps of its fibers: each rule, and what breaks it."""

from __future__ import annotations

import pytest

from distio.errors import InvariantBroken
from distio.protocol.ids import fiber_id
from distio.testing.history import History
from distio.testing.ledger import Ledger

FIBER = fiber_id(1, 3)
OTHER = fiber_id(1, 4)


@pytest.fixture
def ledger() -> Ledger:
    """A ledger in which the client has made FIBER."""
    ledger = Ledger(History())
    ledger.made([FIBER], "client")
    return ledger


@pytest.fixture
def placed(ledger: Ledger) -> Ledger:
    """A ledger in which FIBER has gone from the client to worker-1."""
    ledger.left([(FIBER, 0)], "client")
    ledger.arrived([(FIBER, 1)], "worker-1")
    return ledger


# -- what is allowed --------------------------------------------------------------------------


def test_a_fiber_may_live_and_end_where_it_was_made(ledger: Ledger) -> None:
    ledger.stepped(FIBER, 0, "client", 0.0)
    ledger.stepped(FIBER, 0, "client", 0.5)
    ledger.ended(FIBER, "client")
    assert ledger.stranded() == []


def test_a_fiber_may_travel_and_come_back(placed: Ledger) -> None:
    placed.stepped(FIBER, 1, "worker-1", 0.0)
    placed.left([(FIBER, 1)], "worker-1")
    placed.arrived([(FIBER, 2)], "client")
    placed.stepped(FIBER, 2, "client", 1.0)
    placed.ended(FIBER, "client")
    assert placed.stranded() == []


def test_a_sleeper_may_be_stepped_at_its_time_or_later(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 2.0)
    ledger.stepped(FIBER, 0, "client", 2.0)
    ledger.stepped(FIBER, 0, "client", 0.5)  # it sleeps no more
    ledger.sleeps(FIBER, 3.0)
    ledger.stepped(FIBER, 0, "client", 9.0)


# -- what is not ------------------------------------------------------------------------------


def test_a_fiber_is_made_once(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 was made twice"):
        ledger.made([OTHER, FIBER], "worker-1")


def test_a_fiber_that_has_ended_is_not_made_again(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 was made twice"):
        ledger.made([FIBER], "client")


def test_only_the_process_that_has_a_fiber_steps_it(placed: Ledger) -> None:
    with pytest.raises(
        InvariantBroken, match=r"fiber 1\.3 is stepped by client, but it is worker-1"
    ):
        placed.stepped(FIBER, 1, "client", 0.0)


def test_a_fiber_on_its_way_is_stepped_by_nobody(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match="is stepped by client, but it is on its way"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_a_fiber_that_nobody_made_is_not_stepped(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.4 is stepped by client, but it is unkno"):
        ledger.stepped(OTHER, 0, "client", 0.0)


def test_a_fiber_that_has_ended_is_not_stepped(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match="is stepped by client, but it is ended"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_a_fiber_is_stepped_in_its_epoch_only(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 0"):
        placed.stepped(FIBER, 0, "worker-1", 0.0)
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 2"):
        placed.stepped(FIBER, 2, "worker-1", 0.0)


def test_a_fiber_that_never_travelled_is_in_epoch_0(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 1"):
        ledger.stepped(FIBER, 1, "client", 0.0)


def test_a_sleeper_is_not_stepped_early(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 2.0)
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 woke 0\.5 s early"):
        ledger.stepped(FIBER, 0, "client", 1.5)


def test_a_sleeper_that_travels_is_not_stepped_early(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 2.0)
    ledger.left([(FIBER, 0)], "client")
    ledger.arrived([(FIBER, 1)], "worker-1")
    with pytest.raises(InvariantBroken, match="woke 1 s early"):
        ledger.stepped(FIBER, 1, "worker-1", 1.0)


def test_only_the_process_that_has_a_fiber_sends_it_away(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match="is sent away by client, but it is worker-1"):
        placed.left([(FIBER, 1)], "client")


def test_a_fiber_is_sent_away_once(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match="is sent away by client, but it is on its way"):
        ledger.left([(FIBER, 0)], "client")


def test_only_what_was_sent_away_arrives(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 arrives at worker-1 .* it is client"):
        ledger.arrived([(FIBER, 1)], "worker-1")


def test_what_was_sent_away_arrives_in_one_place(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 arrives at worker-2 .* it is worker-1"):
        placed.arrived([(FIBER, 2)], "worker-2")


def test_each_journey_has_an_epoch_of_its_own(placed: Ledger) -> None:
    placed.left([(FIBER, 1)], "worker-1")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 goes from epoch 1 to epoch 1"):
        placed.arrived([(FIBER, 1)], "worker-2")


def test_the_first_journey_leads_out_of_epoch_0(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 goes from epoch 0 to epoch 0"):
        ledger.arrived([(FIBER, 0)], "worker-1")


def test_a_fiber_ends_where_it_is(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match="ends at client, but it is worker-1"):
        placed.ended(FIBER, "client")


def test_a_fiber_ends_once(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match="ends at client, but it is ended"):
        ledger.ended(FIBER, "client")


# -- losses -----------------------------------------------------------------------------------


def test_what_a_lost_process_had_is_gone_with_it(placed: Ledger) -> None:
    placed.made([OTHER], "client")
    placed.lost("worker-1")
    assert placed.stranded() == [OTHER]
    with pytest.raises(InvariantBroken, match="it is gone with its process"):
        placed.stepped(FIBER, 1, "worker-1", 0.0)


def test_a_loss_leaves_the_fibers_of_others_alone(placed: Ledger) -> None:
    placed.lost("client")
    placed.stepped(FIBER, 1, "worker-1", 0.0)


def test_what_had_ended_before_a_loss_has_ended(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    ledger.lost("client")
    with pytest.raises(InvariantBroken, match="it is ended"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_stranded_are_those_that_have_not_ended(ledger: Ledger) -> None:
    third = fiber_id(2, 0)
    ledger.made([OTHER, third], "client")
    ledger.left([(OTHER, 0)], "client")
    ledger.ended(third, "client")
    assert ledger.stranded() == [FIBER, OTHER]


# -- the story --------------------------------------------------------------------------------


def test_what_is_broken_comes_with_the_story_of_its_fiber() -> None:
    history = History()
    ledger = Ledger(history)
    history.add(0.25, "client", "has started {}", [FIBER])
    history.add(0.5, "client", "has started {}", [OTHER])
    ledger.made([FIBER, OTHER], "client")
    with pytest.raises(InvariantBroken) as caught:
        ledger.ended(FIBER, "worker-1")
    assert caught.value.story == ["0.250000 client: has started 1.3"]
    assert str(caught.value).splitlines()[1:] == ["0.250000 client: has started 1.3"]
