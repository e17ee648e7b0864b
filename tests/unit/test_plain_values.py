"""Values of built-in types: pickle's own pickler writes them, and they open as what they were."""

from __future__ import annotations

import pickle
from collections import namedtuple
from enum import IntEnum
from typing import Any

import pytest

from distio import Errors, Ok, Panic
from distio.core import outcomes
from distio.core.ops.bounded import ChunkResult
from distio.core.outcomes import (
    PackedValue,
    dump_item,
    dump_outcome,
    dump_small,
    dump_value,
    load_outcome,
)
from distio.core.pickling.plain import is_plain
from distio.result import _result


class Text(str):
    __slots__ = ()


class Level(IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")
ROUND: list[Any] = []
ROUND.append(ROUND)

PLAIN_VALUES: list[Any] = [
    None,
    True,
    -(2**70),
    2.5,
    "a \ud800",
    b"bytes",
    (),
    (1, ("two", [3.0, {4: b"five", (6,): None}])),
    [[]] * 9,
]
OTHER_VALUES: list[Any] = [
    Text("a"),
    [Text("a")],
    Level.LOW,
    Point(1, 2),
    {1},
    {Text("a"): 1},
    {"a": object},
    (1, [lambda: None]),
    [1] * 1000,
    [[1] * 40] * 3,
    ROUND,
    [Ok(1)],
]


@pytest.mark.parametrize("value", PLAIN_VALUES, ids=repr)
def test_plain_value_is_told(value: Any) -> None:
    assert is_plain(value)


@pytest.mark.parametrize("value", OTHER_VALUES, ids=lambda value: f"{value!r:.20}")
def test_other_value_is_none(value: Any) -> None:
    assert not is_plain(value)


@pytest.mark.parametrize("value", PLAIN_VALUES, ids=repr)
def test_plain_value_is_dumped_without_rules_and_opens_as_what_it_was(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "dump", None)
    outcome = load_outcome(dump_outcome(Ok(value)).payload)
    item = PackedValue(dump_item(value).payload).open()
    kept = PackedValue(dump_value(value, "a value")[0]).open()
    assert isinstance(outcome, Ok)
    for opened in (outcome.success, item, kept):
        assert opened == value
        assert repr(opened) == repr(value)  # tuples are tuples, True isn't 1


def test_list_that_is_in_a_plain_value_twice_stays_one() -> None:
    part = [1]
    opened = load_outcome(dump_outcome(Ok([part, part])).payload)
    assert isinstance(opened, Ok)
    assert opened.success[0] is opened.success[1]


@pytest.mark.parametrize("result", [Ok(Ok(1)), Ok([Ok(1)]), Ok(Errors(["no"])), Errors([1])])
def test_result_in_an_outcome_stays_a_result(result: Any) -> None:
    assert load_outcome(dump_outcome(result).payload) == result


def test_result_that_pickle_makes_again_looks_for_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = pickle.dumps(Ok(1))
    monkeypatch.setattr(_result, "missing", None)
    assert pickle.loads(payload) == Ok(1)


@pytest.mark.parametrize(
    "value",
    [None, True, 1.5, 7, "x" * 256, b"x" * 256, ChunkResult([None], [], 0.5)],
    ids=lambda value: repr(value)[:20],
)
def test_small_outcome_is_pickled_at_once_as_others_are(value: Any) -> None:
    assert dump_small(value) == dump_outcome(Ok(value))


@pytest.mark.parametrize(
    "value",
    [
        "x" * 257,
        b"x" * 257,
        1 << 300,
        (1,),
        Ok(1),
        Text("a subclass"),
        ChunkResult([None, None], [], 0.5),
        ChunkResult([[1]], [], 0.5),
        ChunkResult([None], [(0, Panic([], []))], 0.5),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_outcome_that_is_not_small_is_not_pickled_at_once(value: Any) -> None:
    assert dump_small(value) is None
