"""Generated programs have the outcome that a direct evaluator computes, wherever they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings

from tests.conftest import run_at
from tests.harness.programs import (
    Adopt,
    Apply,
    Arrow,
    Async,
    AtMost,
    Attempt,
    Bound,
    Crash,
    Defer,
    Fail,
    Fibers,
    Function,
    On,
    Program,
    Pure,
    Raises,
    Read,
    Several,
    Some,
    Start,
    Traverse,
    comparable,
    expected,
    programs,
    to_io,
)

CONTEXT = 7

EXAMPLES = {"1 thread": 150, "4 threads": 150, "cluster": 60}
"""The number of programs that are run in each place."""


@pytest.mark.slow
@pytest.mark.parametrize("place", EXAMPLES)
def test_generated_program_has_the_outcome_of_the_evaluator(place: str) -> None:
    @settings(max_examples=EXAMPLES[place])
    @given(programs(threads=True))
    def check(program: Program) -> None:
        ran = run_at(place, to_io(program), CONTEXT)
        assert comparable(ran) == comparable(expected(program, CONTEXT))

    check()


# -- the evaluator, by hand -------------------------------------------------------------------

FAILED = Fail(("a", "b"))
CRASHED = Crash((("KeyError", 1),), ("e",))
RAISES = Raises("ValueError", 2)
WAIT_FOR_ALL = Fibers("wait", "all")
HOLD = Fibers("hold", "all")

KEY, VALUE = ("KeyError", (1,)), ("ValueError", (2,))


def handled(how: str) -> list[Any]:
    """Outcomes of handlers that return a value, return Errors, return a Panic, and raise."""
    arrows: list[Arrow] = [Bound(), Fail(("c",)), Crash((("ValueError", 2),), ("c",)), RAISES]
    return [
        comparable(expected(On(how, program, arrow), CONTEXT))
        for program in (FAILED, CRASHED)
        for arrow in arrows
    ]


ERRORS = ("Errors", ["a", "b"])
PANIC = ("Panic", [KEY], ["e"])
NEW = [("Errors", ["c"]), ("Panic", [VALUE], ["c"])]
RAISED_ON_ERRORS = ("Panic", [VALUE], ["a", "b"])
RAISED_ON_PANIC = ("Panic", [KEY, VALUE], ["e"])


def test_evaluator_computes_the_outcomes_of_handlers() -> None:
    assert handled("catch") == [("Ok", ["a", "b"]), *NEW, RAISED_ON_ERRORS, *[PANIC] * 4]
    assert handled("recover") == [*[ERRORS] * 4, ("Ok", ([KEY], ["e"])), *NEW, RAISED_ON_PANIC]
    assert handled("on_failure") == [
        *[("Ok", ERRORS), *NEW, RAISED_ON_ERRORS],
        *[("Ok", PANIC), *NEW, RAISED_ON_PANIC],
    ]
    assert handled("finally_") == [
        ERRORS,
        ("Errors", ["c", "a", "b"]),
        ("Panic", [VALUE], ["c", "a", "b"]),
        RAISED_ON_ERRORS,
        PANIC,
        ("Panic", [KEY], ["c", "e"]),
        ("Panic", [VALUE, KEY], ["c", "e"]),
        ("Panic", [VALUE, KEY], ["e"]),
    ]
    assert handled("flat_map") == [*[ERRORS] * 4, *[PANIC] * 4]


PAIR = Function("pair", 0)
TROUBLE = Function("trouble", 0)

BY_HAND: dict[str, tuple[Program, Any]] = {
    "map": (Apply("map", Pure(1), PAIR), ("Ok", (0, 1))),
    "map that raises": (Apply("map", Pure(1), RAISES), ("Panic", [VALUE], [])),
    "map of a failure": (Apply("map", FAILED, RAISES), ERRORS),
    "defer that raises": (Defer(RAISES, 1), ("Panic", [VALUE], [])),
    "flat_map": (On("flat_map", Pure(1), Several("zip", (Bound(), Read()))), ("Ok", [1, 7])),
    "map_error": (Apply("map_error", FAILED, PAIR), ("Errors", [(0, "a"), (0, "b")])),
    "map_error of a panic": (Apply("map_error", CRASHED, PAIR), ("Panic", [KEY], [(0, "e")])),
    "map_error that raises": (Apply("map_error", CRASHED, RAISES), RAISED_ON_PANIC),
    "map_panic": (
        Apply("map_panic", CRASHED, TROUBLE),
        ("Panic", [("Trouble", (0, "KeyError"))], ["e"]),
    ),
    "map_panic of errors": (Apply("map_panic", FAILED, RAISES), ERRORS),
    "map_panic that raises": (Apply("map_panic", CRASHED, RAISES), RAISED_ON_PANIC),
    "finally_ of a value": (On("finally_", Pure(1), FAILED), ERRORS),
    "attempt": (Attempt(CRASHED), ("Ok", PANIC)),
    "contra_map_read": (
        Several("zip", (Apply("contra_map_read", Read(), Function("add", 1)), Read())),
        ("Ok", [8, 7]),
    ),
    "then": (Several("then", (Pure(1), Pure(2))), ("Ok", 2)),
    "then_keep": (Several("then_keep", (Pure(1), Pure(2))), ("Ok", 1)),
    "sequence of none": (Several("sequence", ()), ("Ok", None)),
    "zip stops": (Several("zip", (FAILED, CRASHED)), ERRORS),
    "zip_par does not": (Several("zip_par", (FAILED, CRASHED)), ("Panic", [KEY], ["a", "b", "e"])),
    "traverse_par": (AtMost("list", (1, 2, 3), Bound(), 2), ("Ok", [1, 2, 3])),
    "traverse_par keeps all failures": (
        AtMost("iterable", (1, 2), On("flat_map", Bound(), Several("zip", (FAILED,))), 1),
        ("Errors", ["a", "b", "a", "b"]),
    ),
    "wait for some, then all": (
        Start((Pure(1), FAILED), Some(1, "reversed")),
        ("Ok", [ERRORS, ("Ok", 1)]),
    ),
    "traverse": (Traverse((1, 2), Bound()), ("Ok", [1, 2])),
    "async_ called twice": (Async("twice", 1), ("Ok", (7, 1))),
    "async_ that raises": (Async("raise", 1), ("Panic", [("Trouble", (1,))], [])),
    "wait, backwards": (
        Start((Pure(1), FAILED), Fibers("wait", "reversed")),
        ("Ok", [ERRORS, ("Ok", 1)]),
    ),
    "wait twice for one": (
        Start((Pure(1), Pure(2)), Fibers("wait", (0, 0, 1))),
        ("Ok", [("Ok", 2), ("Ok", 2), ("Ok", 1)]),
    ),
    "join": (Start((Pure(1), FAILED), Fibers("join", "all")), ERRORS),
    "an older sibling": (
        Start((Pure(1),), Start((WAIT_FOR_ALL,), Fibers("join", (0,)))),
        ("Ok", [[("Ok", 1)]]),
    ),
    "handles as values": (Start((Pure(1),), HOLD), ("Ok", ["fiber"])),
    "grandchildren": (
        Start(
            (Start((Pure(1), FAILED), Fibers("hold", "all")),), Adopt(WAIT_FOR_ALL, WAIT_FOR_ALL)
        ),
        ("Ok", [("Ok", 1), ERRORS]),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_evaluator_and_run_have_the_outcome_that_was_computed_by_hand(name: str) -> None:
    program, outcome = BY_HAND[name]
    assert comparable(expected(program, CONTEXT)) == outcome
    assert comparable(to_io(program).run(CONTEXT)) == outcome


# -- the strategy -----------------------------------------------------------------------------


def operations(part: Any) -> Iterator[Program]:
    """A program, and all programs in it."""
    if isinstance(part, Program):
        yield part
    for inner in parts(part):
        yield from operations(inner)


def parts(part: Any) -> list[Any]:
    if is_dataclass(part):
        return [getattr(part, field.name) for field in fields(part)]
    return [*part] if isinstance(part, tuple) else []


def generations(part: Any) -> int:
    """The number of generations of fibers."""
    match part:
        case Start(children, body) if children:
            return max(1 + generations(children), generations(body))
        case Several("zip_par", children) if children:
            return 1 + generations(children)
        case AtMost(_, items, arrow, _) if items:
            return 1 + generations(arrow)
    return max(map(generations, parts(part)), default=0)


@pytest.mark.slow
def test_strategy_draws_each_kind_of_operation() -> None:
    found: Counter[str] = Counter()
    depths: Counter[int] = Counter()
    sizes: list[int] = []

    @settings(max_examples=400, derandomize=True, database=None)
    @given(programs())
    def draw(program: Program) -> None:
        found.update(type(each).__name__ for each in operations(program))
        found.update(getattr(each, "how", "") for each in operations(program))
        depths[generations(program)] += 1
        sizes.append(sum(1 for _ in operations(program)))

    draw()
    names = {each.__name__ for each in Program.__subclasses__()}
    methods = {"map", "map_error", "map_panic", "contra_map_read", "flat_map"}
    handlers = {"catch", "recover", "on_failure", "finally_"}
    several = {"zip", "sequence", "then", "then_keep", "zip_par"}
    fibers = {"hold", "wait", "join"}
    limited = {"list", "iterable"}
    within = {"lock", "twice", "semaphore", "resource", "update", "blocking", "coroutine"}
    assert names | methods | handlers | several | fibers | limited | within <= found.keys()
    assert depths[0]
    assert depths[4]
    assert max(sizes) < 200
    assert sorted(sizes)[200] > 3
