"""The leader listens to the coordinator: an idle thread of the pool, or the link thread."""

from __future__ import annotations

from distio.runtime.lead import Lead, Plan


def test_idle_thread_leads_if_nobody_does() -> None:
    lead = Lead()
    assert lead.take()
    assert lead.is_with_pool
    assert not lead.take()


def test_idle_thread_does_not_lead_while_the_guard_does() -> None:
    lead = Lead()
    assert [lead.look(), lead.look()] == [Plan.LOOK, Plan.LEAD]
    assert lead.is_with_guard
    assert not lead.take()


def test_guard_leads_if_nobody_has_led_since_its_last_look() -> None:
    lead = Lead()
    lead.take()
    assert lead.look() is Plan.LOOK
    lead.give_up()
    assert lead.look() is Plan.LOOK
    assert lead.look() is Plan.LEAD


def test_guard_looks_again_as_long_as_threads_take_the_lead_and_give_it_up() -> None:
    lead = Lead()
    for _ in range(3):
        lead.take()
        lead.give_up()
        assert lead.look() is Plan.LOOK


def test_guard_sleeps_when_a_thread_has_led_all_the_while_and_is_roused_when_it_ceases() -> None:
    lead = Lead()
    lead.take()
    assert [lead.look(), lead.look()] == [Plan.LOOK, Plan.SLEEP]
    assert [lead.guard_waits, lead.give_up()] == [True, True]
    lead.rouse()
    assert [lead.guard_waits] == [False]
    assert [lead.look(), lead.look()] == [Plan.LOOK, Plan.LEAD]


def test_thread_that_ceases_to_lead_rouses_no_guard_that_looks_by_itself() -> None:
    lead = Lead()
    lead.take()
    lead.look()
    assert not lead.give_up()


def test_guard_that_has_heard_something_lets_an_idle_thread_lead() -> None:
    lead = Lead()
    lead.look()
    lead.look()
    lead.guard_heard(is_pool_idle=True)
    assert lead.take()
    assert lead.look() is Plan.LOOK


def test_guard_that_has_heard_something_goes_on_if_the_pool_is_busy() -> None:
    lead = Lead()
    lead.look()
    lead.look()
    lead.guard_heard(is_pool_idle=False)
    assert not lead.take()
    assert lead.look() is Plan.LEAD


def test_guard_leads_again_if_the_thread_that_was_idle_has_found_work() -> None:
    lead = Lead()
    lead.look()
    lead.look()
    lead.guard_heard(is_pool_idle=True)
    assert [lead.look(), lead.look()] == [Plan.LOOK, Plan.LEAD]


def test_guard_that_leads_goes_on_until_it_has_heard_something() -> None:
    lead = Lead()
    lead.look()
    assert [lead.look(), lead.look()] == [Plan.LEAD, Plan.LEAD]


def test_no_thread_begins_to_lead_while_the_socket_is_reserved() -> None:
    lead = Lead()
    lead.is_reserved = True
    assert not lead.take()
    lead.is_reserved = False
    assert lead.take()
