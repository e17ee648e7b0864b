"""The log of daemons as JSON lines."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from distio.coordination.membership.rate_limited_log import Note
from distio.runtime.log_format import JsonLines, LogLevel, name_lines


def line(message: object, *args: Any, **fields: Any) -> dict[str, Any]:
    record = logging.LogRecord("distio.coordinator", logging.INFO, "f.py", 1, message, args, None)
    record.created = 1.5
    record.__dict__.update(fields)
    written = JsonLines().format(record)
    assert "\n" not in written
    parsed: dict[str, Any] = json.loads(written)
    return parsed


def test_json_line_has_time_level_logger_and_event() -> None:
    assert line("lost %s", "it\nall") == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "level": "info",
        "logger": "distio.coordinator",
        "event": "lost it\nall",
    }


def test_json_line_of_the_coordinator_says_which_member_it_is_about() -> None:
    told = line(Note("worker 3 joined", member=3))
    assert (told["event"], told["member"]) == ("worker 3 joined", 3)


def test_json_line_of_a_fiber_says_which_it_is() -> None:
    tags = {"distio_fiber": "2.7", "distio_run": "2.0", "distio_worker": "-", "distio_name": None}
    told = line("nearly full", **tags)
    assert (told["fiber"], told["run"]) == ("2.7", "2.0")
    assert not told.keys() & {"member", "name"}


def test_json_line_has_the_traceback_of_an_error() -> None:
    try:
        raise ValueError("no number")
    except ValueError as error:
        told = line("failed", exc_info=(type(error), error, error.__traceback__))
    assert "ValueError: no number" in told["error"]


def test_level_has_the_number_of_its_name() -> None:
    assert LogLevel.WARNING.number == logging.WARNING


def test_named_line_of_text_begins_with_the_name_and_one_of_json_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, structured = logging.StreamHandler(), logging.StreamHandler()
    structured.setFormatter(JsonLines())
    monkeypatch.setattr(logging.root, "handlers", [text, structured])
    name_lines("100%-1")
    record = logging.LogRecord("distio.worker", logging.INFO, "f.py", 1, "it is %s", ("so",), None)
    assert text.format(record).endswith(" 100%-1 distio.worker: it is so")
    assert json.loads(structured.format(record))["event"] == "it is so"
