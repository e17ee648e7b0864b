"""A failure that nobody waits for is logged once, when its run ends."""

from __future__ import annotations

import pytest

from distio import Ok, io


def divide() -> float:
    return 1 / 0


def test_a_failure_that_nobody_waits_for_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert io.parallel(io.defer(divide), io.errors("lost")).map(len).run(None) == Ok(2)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "nobody waited for it" in texts[0]
    assert "in divide" in texts[0]
    assert "ZeroDivisionError" in texts[0]
    assert "lost" in texts[1]


def test_a_failure_that_somebody_waits_for_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waited_at_once = io.parallel(io.defer(divide)).flat_map(io.wait)
    waited_late = io.parallel(io.defer(divide)).flat_map(
        lambda fibers: io.sleep(0.01).then(io.wait(fibers))
    )
    for program in (waited_at_once, waited_late):
        assert program.run(None, 2).is_ok()
    assert not caplog.records


def test_the_failure_of_the_root_is_its_result_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert io.defer(divide).run(None).is_panic()
    assert not caplog.records


def test_who_has_lost_a_race_needs_no_notice(caplog: pytest.LogCaptureFixture) -> None:
    assert io.first_ok(io.error("down"), io.error("down, too"), io.pure("up")).run(None).is_ok()
    assert io.first_ok(io.error("down"), io.error("down, too")).run(None).is_error()
    assert io.race(io.pure(1), io.defer(divide)).run(None) == Ok(1)
    assert not caplog.records


def test_a_failure_that_is_no_longer_waited_for_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails_late = io.parallel(io.sleep(0.03).then(io.defer(divide)))
    gave_up = fails_late.flat_map(lambda fibers: io.wait(fibers).timeout(0.01, io.pure("gave up")))
    assert gave_up.run(None) == Ok("gave up")
    (record,) = caplog.records
    assert "nobody waited for it" in record.getMessage()


def test_a_cancellation_needs_no_notice_but_what_fails_beside_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = io.parallel(io.sleep(1000)).flat_map(lambda fibers: fibers[0].cancel_soon())
    assert quiet.run(None).is_ok()
    assert not caplog.records
    stuck = io.sleep(1000).finally_(lambda _: io.defer(divide))
    loud = io.parallel(stuck).flat_map(lambda fibers: io.sleep(0.01).then(fibers[0].cancel_soon()))
    assert loud.run(None).is_ok()
    (record,) = caplog.records
    assert "in divide" in record.getMessage()
