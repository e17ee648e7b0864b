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
