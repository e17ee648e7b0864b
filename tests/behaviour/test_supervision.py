"""Supervisors, in every place: which children are started again, in which order, and the end."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from distio import IO, Errors, Ok, Panic, Result, Var, child, io, supervise
from distio.core.fiber import Handle
from distio.core.ops.base import Frame
from distio.core.supervisor import STRATEGIES, Restart, Strategy
from distio.errors import TooManyRestarts
from distio.testing import simulate
from tests.conftest import Run
from tests.harness.cancelling import FOREVER, cancelled_once, is_cancelled, says, with_notes

Program = IO[Any, Any, Any]
Notes = Var[Any]

MANY: Final = 1_000_000
"""A number of restarts at which no supervisor gives up."""


def quiet(name: str, result: Result[Any, Any], attempt: int) -> Program:
    return io.pure(None)


def told(notes: Notes) -> Callable[[str, Result[Any, Any], int], Program]:
    """A hook that notes each restart."""
    return lambda name, result, attempt: says(notes, f"{name} again, {attempt}")


def lives(notes: Notes, name: str, *others: Callable[[int], Program]) -> Program:
    """Note each life of a child, as in "a 1", and run the program made for it, the last one
    for all that follow."""

    def live(seen: Any) -> Program:
        count = seen.new_value.count(f"+{name}")
        return says(notes, f"{name} {count}").then(others[min(count, len(others)) - 1](count))

    return notes.update(partial(adding, f"+{name}")).flat_map(live)


def adding(it: object, seen: list[Any]) -> tuple[list[Any], None]:
    return [*seen, it], None


def without_marks(words: list[str]) -> list[str]:
    return [word for word in words if not word.startswith("+")]


def until(notes: Notes, *words: str) -> Program:
    """Wait until all these words were noted."""
    return notes.get().flat_map(
        lambda seen: (
            io.pure(None)
            if {*words} <= {*seen}
            else io.sleep(0.001).then(io.defer_io(until, notes, *words))
        )
    )


def shown(result: Any) -> Any:
    """A Result in a form that can be compared: exceptions by their texts."""
    if isinstance(result, Panic):
        return [str(traced.exception) for traced in result.exceptions], result.errors
    return result


def divide() -> float:
    return 1 / 0


# -- restarts -----------------------------------------------------------------------------------

ENDS: Final[dict[str, Program]] = {
    "Ok": io.pure("fine"),
    "Errors": io.error("no"),
    "Panic": io.defer(divide),
    "cancelled": io.current_fiber.flat_map(lambda fiber: fiber.cancel_soon()).then(FOREVER),
}
TOGETHER: Final[dict[Strategy, str]] = {
    "one_for_one": "b",
    "one_for_all": "abc",
    "rest_for_one": "bc",
}
"""The children that are started again when b is."""


def waits(notes: Notes, name: str) -> Program:
    """A child that notes its lives, and its cancellation."""
    return lives(notes, name, lambda n: FOREVER.on_cancel(says(notes, f"-{name}")))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("restart", "end"),
    [
        *[("permanent", end) for end in ENDS],
        *[("transient", end) for end in ENDS if end != "Ok"],
    ],
)
def test_child_that_ends_is_started_again_with_all_children_of_its_group(
    run: Run, strategy: Strategy, restart: Restart, end: str
) -> None:
    together = TOGETHER[strategy]

    def program(notes: Notes) -> Program:
        started = until(notes, "a 1", "c 1")
        b = lives(notes, "b", lambda n: started.then(ENDS[end]), lambda n: FOREVER)
        all_of_them = supervise(
            waits(notes, "a"),
            child(b, "b", restart),
            waits(notes, "c"),
            strategy=strategy,
            on_restart=told(notes),
        )
        over = until(notes, "b 2", *[f"{name} 2" for name in together]).then(says(notes, "over"))
        return io.zip_par(cancelled_once(notes, "over", all_of_them), over)

    result, words = run(with_notes(program)).unsafe_get()
    words = without_marks(words)
    assert result[0] == ["Cancelled"]
    restarted = words.index("b again, 1")
    assert sorted(words[:3]) == ["a 1", "b 1", "c 1"]
    assert words[3:restarted] == [f"-{name}" for name in reversed(together) if name != "b"]
    again = words[restarted + 1 : words.index("over")]
    assert sorted(again) == [f"{name} 2" for name in together]
    assert words[words.index("over") + 1 :] == ["-c", "-a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("restart", "end"),
    [("transient", "Ok"), *[("temporary", end) for end in ENDS]],
)
def test_child_that_is_not_started_again_leaves_the_others_alone(
    run: Run, strategy: Strategy, restart: Restart, end: str
) -> None:
    def program(notes: Notes) -> Program:
        def after_b(n: int) -> Program:
            return until(notes, "b over").then(io.pure(n))

        b = lives(notes, "b", lambda n: ENDS[end].finally_(lambda _: says(notes, "b over")))
        return supervise(
            child(lives(notes, "a", after_b), "a", "transient"),
            child(b, "b", restart),
            child(lives(notes, "c", after_b), "c", "transient"),
            strategy=strategy,
            on_restart=told(notes),
        )

    results, words = run(with_notes(program)).unsafe_get()
    assert sorted(without_marks(words)) == ["a 1", "b 1", "b over", "c 1"]
    assert (results[0], results[2]) == (Ok(1), Ok(1))
    if end == "cancelled":
        assert is_cancelled(results[1])
    else:
        expected = {"Ok": Ok("fine"), "Errors": Errors(["no"])}
        assert shown(results[1]) == expected.get(end, (["division by zero"], []))


def test_temporary_child_is_stopped_with_the_others_and_not_started_again(run: Run) -> None:
    def program(notes: Notes) -> Program:
        fails = until(notes, "a 1").then(io.error("no"))
        b = lives(notes, "b", lambda n: fails, lambda n: io.pure(n))
        return supervise(
            child(waits(notes, "a"), "a", "temporary"),
            child(b, "b", "transient"),
            strategy="one_for_all",
            on_restart=told(notes),
        )

    results, words = run(with_notes(program)).unsafe_get()
    assert is_cancelled(results[0])
    assert results[1] == Ok(2)
    assert sorted(without_marks(words)[:2]) == ["a 1", "b 1"]
    assert without_marks(words)[2:] == ["-a", "b again, 1", "b 2"]


def test_transient_child_that_had_ended_well_is_not_started_again_with_the_others(
    run: Run,
) -> None:
    """While c is started again, both b and a end: b first is taken up, which has failed."""

    def program(notes: Notes) -> Program:
        fibers = notes.get().map(lambda seen: [it for it in seen if isinstance(it, io.Fiber)])
        here = io.current_fiber.flat_map(lambda fiber: notes.update(partial(adding, fiber)))
        here = here.then(io.defer_io(until, notes, "pause"))

        def both_are_there(n: int) -> Program:
            again = io.sleep(0.001).then(io.defer_io(both_are_there, n))
            return fibers.flat_map(lambda found: io.error("no") if len(found) == 2 else again)

        def pause(name: str, result: Result[Any, Any], attempt: int) -> Program:
            waits = says(notes, "pause").then(fibers.flat_map(io.wait))
            return waits if name == "c" else io.pure(None)

        b = lives(notes, "b", lambda n: here.then(io.error("no")), io.pure)
        a = lives(notes, "a", lambda n: here.then(io.pure(n)))
        c = lives(notes, "c", both_are_there, lambda n: until(notes, "b 2"))
        children = [child(each, name, "transient") for each, name in ((b, "b"), (a, "a"), (c, "c"))]
        return supervise(children, strategy="rest_for_one", on_restart=pause)

    results, _ = run(with_notes(program)).unsafe_get()
    assert results == [Ok(2), Ok(1), Ok(None)]


def test_supervisor_without_children_returns_an_empty_list(run: Run) -> None:
    assert run(supervise()) == Ok([])
    assert run(supervise([])) == Ok([])


def test_supervisor_is_a_program_that_can_be_run_again(run: Run) -> None:
    program = supervise(child(io.error("no"), "a"), max_restarts=1, on_restart=quiet)
    results = run(io.zip(program.attempt(), program.attempt())).unsafe_get()
    assert [shown(each)[1] for each in results] == [["no"], ["no"]]


def test_children_have_the_context_and_their_own_names(run: Run) -> None:
    name = io.current_fiber.flat_map(lambda fiber: fiber.status()).map(lambda it: it.name)
    mine = [child(name, restart="transient"), child(name, "mine", "transient")]
    mine.append(child(io.read, restart="transient"))
    assert run(supervise(mine), 7) == Ok([Ok("child 1"), Ok("mine"), Ok(7)])


# -- at each restart ----------------------------------------------------------------------------


def test_on_restart_is_given_the_child_its_result_and_the_attempt(run: Run) -> None:
    def program(notes: Notes) -> Program:
        def tell(name: str, result: Result[Any, Any], attempt: int) -> Program:
            return notes.update(partial(adding, (name, shown(result), attempt)))

        ends = [io.error("no"), io.defer(divide), io.pure("well")]
        a = notes.get().flat_map(lambda seen: ends[len(seen)] if len(seen) < 3 else io.error("x"))
        return supervise(child(a, "a"), on_restart=tell).attempt()

    _, seen = run(with_notes(program)).unsafe_get()
    expected = [Errors(["no"]), (["division by zero"], []), Ok("well")]
    assert seen == [("a", each, attempt) for attempt, each in enumerate(expected, 1)]


def test_on_restart_runs_before_any_child_is_started_again(run: Run) -> None:
    def program(notes: Notes) -> Program:
        def tell(*_: Any) -> Program:
            return says(notes, "pause").then(io.sleep(0.01), says(notes, "paused"))

        a = lives(notes, "a", lambda n: io.error("no"), lambda n: io.pure(n))
        return supervise(child(a, restart="transient"), on_restart=tell)

    results, words = run(with_notes(program)).unsafe_get()
    assert results == [Ok(2)]
    assert without_marks(words) == ["a 1", "pause", "paused", "a 2"]


def test_on_restart_that_sleeps_can_be_cancelled_with_the_supervisor(run: Run) -> None:
    def program(notes: Notes) -> Program:
        def tell(*_: Any) -> Program:
            return says(notes, "pause").then(FOREVER)

        both = supervise(waits(notes, "a"), until(notes, "a 1"), on_restart=tell)
        return cancelled_once(notes, "pause", both)

    result, words = run(with_notes(program)).unsafe_get()
    assert result == ["Cancelled"]
    assert without_marks(words) == ["a 1", "pause", "-a"]


def raises(*_: Any) -> Program:
    raise ValueError("bad")


@pytest.mark.parametrize(
    ("on_restart", "expected"),
    [
        (lambda *_: io.error("can't tell"), Errors(["can't tell"])),
        (raises, (["bad"], [])),
    ],
)
def test_on_restart_that_fails_fails_the_supervisor(
    run: Run, on_restart: Any, expected: Any
) -> None:
    def program(notes: Notes) -> Program:
        both = supervise(waits(notes, "a"), until(notes, "a 1"), on_restart=on_restart)
        return both.attempt().map(shown)

    result, words = run(with_notes(program)).unsafe_get()
    assert result == expected
    assert without_marks(words) == ["a 1", "-a"]


def test_on_restart_that_returns_no_program_is_a_match_error(run: Run) -> None:
    bad: Any = lambda *_: 5  # noqa: E731 (its name is in the message)
    result = run(supervise(io.pure(1), on_restart=bad))
    assert isinstance(result, Panic)
    message = str(result.exceptions[0].exception)
    assert "supervise, on_restart: expected an IO from the function" in message
    assert "but got 5 of type int" in message


def test_restart_is_logged_by_default(
    run_in_process: Run, caplog: pytest.LogCaptureFixture
) -> None:
    ends = [io.pure("fine"), io.defer(divide), io.error("no")]
    program = io.defer_io(lambda: ends.pop())
    assert run_in_process(supervise(child(program, "a", "transient"))) == Ok([Ok("fine")])
    first, second = [record.getMessage() for record in caplog.records]
    assert first == "child 'a' has ended, and is started again (1): Errors(errors=['no'])"
    assert second.startswith("child 'a' has ended, and is started again (2): ")
    assert "in divide" in second


# -- too many restarts --------------------------------------------------------------------------


@pytest.mark.slow
def test_supervisor_after_too_many_restarts_stops_all_and_keeps_all_failures(run: Run) -> None:
    def stuck(notes: Notes, name: str) -> Program:
        return waits(notes, name).finally_(lambda _: io.error(f"{name} is stuck"))

    def program(notes: Notes) -> Program:
        fails = until(notes, "a 1", "c 1").then(io.panic(ValueError("bad"), errors=["no"]))
        b = lives(notes, "b", lambda n: fails)
        return supervise(
            waits(notes, "a"),
            child(b, "b"),
            stuck(notes, "c"),
            max_restarts=2,
            within_seconds=1000,
            on_restart=told(notes),
        ).attempt()

    result, words = run(with_notes(program)).unsafe_get()
    assert isinstance(result, Panic)
    first, second = result.exceptions
    assert isinstance(first.exception, TooManyRestarts)
    assert first.exception.args == ("b", 2, 1000)
    assert str(second.exception) == "bad"
    assert "ValueError: bad" in second.stack_trace
    assert result.errors == ["no", "c is stuck"]
    assert without_marks(words)[-2:] == ["-c", "-a"]
    assert [word for word in words if "again" in word] == ["b again, 1", "b again, 2"]
    assert words.count("+b") == 3


def test_child_that_ends_well_too_often_is_one_restart_too_many(run: Run) -> None:
    result = run(supervise(io.pure(1), max_restarts=0))
    assert shown(result) == (
        ["the supervisor gives up: child 'child 1' has ended again, after 0 restarts within 5 s"],
        [],
    )


def fails_each(seconds: float, count: int) -> Program:
    """A supervisor whose child has lives of so many seconds; only the last one ends well.
    The value is the supervisor's outcome."""

    def program(notes: Notes) -> Program:
        pause = io.sleep(seconds)
        fails = [lambda n: pause.then(io.error("no"))] * (count - 1)
        each = lives(notes, "a", *fails, lambda n: pause.then(io.pure("well")))
        supervisor = supervise(child(each, "a", "transient"), max_restarts=3, on_restart=quiet)
        return supervisor.attempt()

    return with_notes(program).map(lambda seen: seen[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "count", "gives_up_after"),
    [
        pytest.param(1, 4, None, id="as often as it may"),
        pytest.param(1, 5, 4, id="once more"),
        pytest.param(1.5, 99, 6, id="three times in less than five seconds"),
        pytest.param(1.75, 99, None, id="three times in a little more, for ever"),
    ],
)
def test_restarts_count_for_so_many_seconds(
    seconds: float, count: int, gives_up_after: float | None
) -> None:
    simulation = simulate(fails_each(seconds, count), members=1, latency=0)
    assert simulation.result is not None
    result = simulation.result.unsafe_get()
    if gives_up_after is None:
        assert result == Ok([Ok("well")])
        assert simulation.virtual_seconds == pytest.approx(seconds * count)
    else:
        assert isinstance(result.exceptions[0].exception, TooManyRestarts)
        assert simulation.virtual_seconds == pytest.approx(gives_up_after)


# -- supervisors of supervisors -----------------------------------------------------------------


@pytest.mark.slow
def test_inner_supervisor_that_gives_up_is_started_again_by_the_outer_one(run: Run) -> None:
    def program(notes: Notes) -> Program:
        work = lives(notes, "work", *[lambda n: io.error("no")] * 4, lambda n: io.pure(n))
        inner = supervise(child(work, "work", "transient"), max_restarts=1, on_restart=told(notes))
        return supervise(child(inner, "inner", "transient"), on_restart=told(notes))

    results, words = run(with_notes(program)).unsafe_get()
    assert results == [Ok([Ok(5)])]
    again = [word for word in words if "again" in word]
    assert again == [
        *["work again, 1", "inner again, 1"],
        *["work again, 1", "inner again, 2"],
    ]


def test_outer_supervisor_that_gives_up_keeps_the_failures_of_the_inner_one(run: Run) -> None:
    inner = supervise(child(io.error("no"), "work"), max_restarts=0)
    result = run(supervise(child(inner, "inner"), max_restarts=1, on_restart=quiet))
    assert isinstance(result, Panic)
    exceptions: list[Any] = [traced.exception for traced in result.exceptions]
    assert [type(each) for each in exceptions] == [TooManyRestarts] * 2
    assert [each.child for each in exceptions] == ["inner", "work"]
    assert result.errors == ["no"]


# -- stops --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_supervisor_that_is_cancelled_cancels_its_children_in_reverse_order(run: Run) -> None:
    def program(notes: Notes) -> Program:
        def slow(name: str) -> Program:
            releases = says(notes, f"{name} releases").then(io.sleep(0.01))
            return waits(notes, name).finally_(lambda _: releases.then(says(notes, f"{name} has")))

        both = supervise(slow("a"), supervise(slow("b"), slow("c")))
        ready = until(notes, "a 1", "b 1", "c 1").then(says(notes, "ready"))
        stopped = cancelled_once(notes, "ready", both).then(says(notes, "over"))
        return io.zip_par(stopped, ready)

    _, words = run(with_notes(program)).unsafe_get()
    expected = [word for name in "cba" for word in (f"-{name}", f"{name} releases", f"{name} has")]
    assert words[words.index("ready") + 1 :] == [*expected, "over"]


def test_supervisor_that_is_cancelled_adds_failures_of_releases_of_its_children(run: Run) -> None:
    def program(notes: Notes) -> Program:
        stuck = says(notes, "on").then(FOREVER).finally_(lambda _: io.error("stuck"))
        return cancelled_once(notes, "on", supervise(stuck))

    result, _ = run(with_notes(program)).unsafe_get()
    assert result == ["Cancelled", "stuck"]


def test_failure_of_the_release_of_a_stopped_child_is_given_to_on_restart(run: Run) -> None:
    def program(notes: Notes) -> Program:
        def tell(name: str, result: Result[Any, Any], attempt: int) -> Program:
            return says(notes, f"{name}: {result}")

        stuck = waits(notes, "a").finally_(lambda _: io.error("stuck"))
        fails = until(notes, "a 1").then(io.error("no"))
        b = lives(notes, "b", lambda n: fails, io.pure)
        children = child(stuck, "a", "temporary"), child(b, "b", "transient")
        return supervise(children, strategy="one_for_all", on_restart=tell)

    results, words = run(with_notes(program)).unsafe_get()
    assert results[0].errors == ["stuck"]
    assert results[1] == Ok(2)
    assert "b: Errors(errors=['no', 'stuck'])" in words


def test_child_that_cannot_be_cancelled_is_waited_for(run: Run) -> None:
    def program(notes: Notes) -> Program:
        whole = says(notes, "on").then(until(notes, "goes on"), says(notes, "whole"))
        main = cancelled_once(notes, "on", supervise(io.uncancelable(whole)))
        late = until(notes, "on").then(io.sleep(0.01), says(notes, "goes on"))
        return io.zip_par(main.then(says(notes, "over")), late)

    _, words = run(with_notes(program)).unsafe_get()
    assert words == ["on", "goes on", "whole", "over"]


# -- however often ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_restarts_by_the_ten_thousand_leave_nothing_behind(strategy: Strategy) -> None:
    counts: dict[int, int] = {}

    def count(name: str, result: Result[Any, Any], attempt: int) -> Program:
        if attempt in (100, 10_000):
            gc.collect()
            kinds = Handle, Frame
            counts[attempt] = sum(isinstance(each, kinds) for each in gc.get_objects())
        return io.pure(None)

    ends = [io.pure("well"), *[io.error("no")] * 10_000]
    fails = child(io.defer_io(lambda: ends.pop()), "fails", "transient")
    others = [child(io.yield_.then(io.pure(1)), None, "transient") for _ in range(2)]
    children = [fails, *others] if strategy == "rest_for_one" else [*others, fails]
    program = supervise(children, strategy=strategy, max_restarts=MANY, on_restart=count)
    assert program.run(None).map(len) == Ok(3)
    assert abs(counts[10_000] - counts[100]) < 20
