"""The ledger that a simulation keeps of its fibers: each rule, and how it is broken."""

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


# -- allowed ----------------------------------------------------------------------------------


def test_ledger_lets_a_fiber_live_and_end_where_it_was_made(ledger: Ledger) -> None:
    ledger.stepped(FIBER, 0, "client", 0.0)
    ledger.stepped(FIBER, 0, "client", 0.5)
    ledger.ended(FIBER, "client")
    assert ledger.stranded() == []


def test_ledger_lets_a_fiber_travel_and_come_back(placed: Ledger) -> None:
    placed.stepped(FIBER, 1, "worker-1", 0.0)
    placed.left([(FIBER, 1)], "worker-1")
    placed.arrived([(FIBER, 2)], "client")
    placed.stepped(FIBER, 2, "client", 1.0)
    placed.ended(FIBER, "client")
    assert placed.stranded() == []


def test_ledger_lets_a_sleeper_be_stepped_at_its_time_or_later(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 0.0, 2.0)
    ledger.stepped(FIBER, 0, "client", 2.0)
    ledger.stepped(FIBER, 0, "client", 0.5)  # it sleeps no more
    ledger.sleeps(FIBER, 0.5, 2.5)
    ledger.stepped(FIBER, 0, "client", 9.0)


def test_ledger_lets_a_lost_sleeper_wake_when_its_first_sleep_ends(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 0.0, 2.0)
    ledger.lost("client")
    ledger.arrived([(FIBER, 1)], "worker-1")
    ledger.sleeps_on(FIBER, 2.0)
    ledger.stepped(FIBER, 1, "worker-1", 2.0)


# -- forbidden --------------------------------------------------------------------------------


def test_ledger_refuses_a_fiber_that_is_made_twice(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 was made twice"):
        ledger.made([OTHER, FIBER], "worker-1")


def test_ledger_refuses_a_fiber_that_is_made_again_after_its_end(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 was made twice"):
        ledger.made([FIBER], "client")


def test_ledger_refuses_a_step_by_a_process_that_does_not_have_the_fiber(placed: Ledger) -> None:
    with pytest.raises(
        InvariantBroken, match=r"fiber 1\.3 is stepped by client, but it is worker-1"
    ):
        placed.stepped(FIBER, 1, "client", 0.0)


def test_ledger_refuses_a_step_of_a_fiber_on_its_way(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match="is stepped by client, but it is on its way"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_ledger_refuses_a_step_of_an_unknown_fiber(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.4 is stepped by client, but it is unkno"):
        ledger.stepped(OTHER, 0, "client", 0.0)


def test_ledger_refuses_a_step_of_a_fiber_that_has_ended(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match="is stepped by client, but it is ended"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_ledger_refuses_a_step_in_another_epoch(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 0"):
        placed.stepped(FIBER, 0, "worker-1", 0.0)
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 2"):
        placed.stepped(FIBER, 2, "worker-1", 0.0)


def test_ledger_refuses_a_step_of_a_fiber_that_never_travelled_in_epoch_1(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 is stepped in epoch 1"):
        ledger.stepped(FIBER, 1, "client", 0.0)


def test_ledger_refuses_an_early_step_of_a_sleeper(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 0.0, 2.0)
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 woke 0\.5 s early"):
        ledger.stepped(FIBER, 0, "client", 1.5)


def test_ledger_refuses_an_early_step_of_a_sleeper_that_was_lost(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 0.0, 2.0)
    ledger.lost("client")
    ledger.arrived([(FIBER, 1)], "worker-1")
    ledger.sleeps_on(FIBER, 2.0)
    with pytest.raises(InvariantBroken, match="woke 1 s early"):
        ledger.stepped(FIBER, 1, "worker-1", 1.0)


def test_ledger_refuses_an_early_step_of_a_sleeper_that_has_travelled(ledger: Ledger) -> None:
    ledger.sleeps(FIBER, 0.0, 2.0)
    ledger.left([(FIBER, 0)], "client")
    ledger.arrived([(FIBER, 1)], "worker-1")
    with pytest.raises(InvariantBroken, match="woke 1 s early"):
        ledger.stepped(FIBER, 1, "worker-1", 1.0)


def test_ledger_refuses_a_departure_from_a_process_that_does_not_have_the_fiber(
    placed: Ledger,
) -> None:
    with pytest.raises(InvariantBroken, match="is sent away by client, but it is worker-1"):
        placed.left([(FIBER, 1)], "client")


def test_ledger_refuses_a_second_departure_of_a_fiber_on_its_way(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match="is sent away by client, but it is on its way"):
        ledger.left([(FIBER, 0)], "client")


def test_ledger_refuses_the_arrival_of_a_fiber_that_has_not_left(ledger: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 arrives at worker-1 .* it is client"):
        ledger.arrived([(FIBER, 1)], "worker-1")


def test_ledger_refuses_a_second_arrival_of_a_fiber(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 arrives at worker-2 .* it is worker-1"):
        placed.arrived([(FIBER, 2)], "worker-2")


def test_ledger_refuses_a_journey_in_the_epoch_of_the_last_one(placed: Ledger) -> None:
    placed.left([(FIBER, 1)], "worker-1")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 goes from epoch 1 to epoch 1"):
        placed.arrived([(FIBER, 1)], "worker-2")


def test_ledger_refuses_a_first_journey_in_epoch_0(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 goes from epoch 0 to epoch 0"):
        ledger.arrived([(FIBER, 0)], "worker-1")


def test_ledger_refuses_an_end_at_a_process_that_does_not_have_the_fiber(placed: Ledger) -> None:
    with pytest.raises(InvariantBroken, match="ends at client, but it is worker-1"):
        placed.ended(FIBER, "client")


def test_ledger_refuses_a_second_end_of_a_fiber(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    with pytest.raises(InvariantBroken, match="ends at client, but it is ended"):
        ledger.ended(FIBER, "client")


# -- losses -----------------------------------------------------------------------------------


def test_ledger_refuses_a_step_of_a_fiber_that_was_lost_with_its_process(placed: Ledger) -> None:
    placed.made([OTHER], "client")
    placed.lost("worker-1")
    assert placed.stranded() == [OTHER]
    with pytest.raises(InvariantBroken, match="it is gone with its process"):
        placed.stepped(FIBER, 1, "worker-1", 0.0)


def test_ledger_keeps_the_fibers_of_other_processes_after_a_loss(placed: Ledger) -> None:
    placed.lost("client")
    placed.stepped(FIBER, 1, "worker-1", 0.0)


def test_ledger_keeps_the_end_of_a_fiber_before_the_loss_of_its_process(ledger: Ledger) -> None:
    ledger.ended(FIBER, "client")
    ledger.lost("client")
    with pytest.raises(InvariantBroken, match="it is ended"):
        ledger.stepped(FIBER, 0, "client", 0.0)


def test_ledger_lists_fibers_that_have_not_ended_as_stranded(ledger: Ledger) -> None:
    third = fiber_id(2, 0)
    ledger.made([OTHER, third], "client")
    ledger.left([(OTHER, 0)], "client")
    ledger.ended(third, "client")
    assert ledger.stranded() == [FIBER, OTHER]


def test_ledger_counts_a_fiber_as_lost_that_the_coordinator_never_heard_of(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    ledger.lost("client")
    assert ledger.stranded() == []


def test_ledger_keeps_a_fiber_that_had_reached_the_coordinator(ledger: Ledger) -> None:
    ledger.left([(FIBER, 0)], "client")
    ledger.offered([(FIBER, 0)])
    ledger.lost("client")
    assert ledger.stranded() == [FIBER]
    assert ledger.arrived([(FIBER, 1)], "worker-1") == []


def test_ledger_keeps_a_fiber_whose_departure_arrives_after_its_process_has_ended(
    ledger: Ledger,
) -> None:
    ledger.left([(FIBER, 0)], "client")
    ledger.lost("client")
    ledger.offered([(FIBER, 0)])
    assert ledger.arrived([(FIBER, 1)], "worker-1") == []


# -- fibers that come back --------------------------------------------------------------------


def test_ledger_lets_a_lost_fiber_come_back_in_a_higher_epoch(placed: Ledger) -> None:
    placed.sleeps(FIBER, 0.0, 9.0)
    placed.lost("worker-1")
    assert placed.arrived([(FIBER, 2)], "worker-2") == [FIBER]
    placed.stepped(FIBER, 2, "worker-2", 1.0)  # it may have been at something else before its sleep
    placed.ended(FIBER, "worker-2")


def test_ledger_refuses_a_lost_fiber_that_comes_back_in_its_old_epoch(placed: Ledger) -> None:
    placed.lost("worker-1")
    with pytest.raises(InvariantBroken, match=r"fiber 1\.3 goes from epoch 1 to epoch 1"):
        placed.arrived([(FIBER, 1)], "worker-2")


def test_ledger_lets_a_fiber_come_back_whose_end_nobody_knows(placed: Ledger) -> None:
    placed.ended(FIBER, "worker-1")
    placed.lost("worker-1")
    assert placed.arrived([(FIBER, 2)], "worker-2") == [FIBER]


def test_ledger_refuses_a_fiber_that_has_ended_and_comes_back(placed: Ledger) -> None:
    placed.ended(FIBER, "worker-1")
    with pytest.raises(InvariantBroken, match="arrives at worker-2 while it is not"):
        placed.arrived([(FIBER, 2)], "worker-2")


@pytest.mark.parametrize("outcome", [b"1", None])
def test_ledger_refuses_a_fiber_that_comes_back_when_its_end_is_known(
    placed: Ledger, outcome: bytes | None
) -> None:
    placed.ended(FIBER, "worker-1")
    placed.told(FIBER, outcome)
    placed.lost("worker-1")
    with pytest.raises(InvariantBroken, match="comes back, but others know how it ended"):
        placed.arrived([(FIBER, 2)], "worker-2")


def test_ledger_refuses_a_fiber_that_ends_in_two_ways(placed: Ledger) -> None:
    placed.told(FIBER, b"1")
    placed.told(FIBER, b"1")
    placed.told(FIBER, None)  # told to a member that asks when its process is lost
    with pytest.raises(InvariantBroken, match="has ended in two ways"):
        placed.told(FIBER, b"2")


# -- the story --------------------------------------------------------------------------------


def test_ledger_tells_the_story_of_the_fiber_whose_rule_is_broken() -> None:
    history = History()
    ledger = Ledger(history)
    history.add(0.25, "client", "has started {}", [FIBER])
    history.add(0.5, "client", "has started {}", [OTHER])
    ledger.made([FIBER, OTHER], "client")
    with pytest.raises(InvariantBroken) as caught:
        ledger.ended(FIBER, "worker-1")
    assert caught.value.story == ["0.250000 client: has started 1.3"]
    assert str(caught.value).splitlines()[1:] == ["0.250000 client: has started 1.3"]
