"""Exceptions: their texts, their data, and their journeys."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distio import errors
from distio.errors import (
    BasePanicGroup,
    Cancelled,
    Closed,
    ClusterClosed,
    ClusterError,
    Deadlock,
    DistioBug,
    DistioError,
    DomainErrors,
    FiberUnreachable,
    ForeignException,
    HandshakeRefused,
    InDoubt,
    InvariantBroken,
    JournalError,
    KeyRefused,
    MainThreadAway,
    MatchError,
    MultipleExceptions,
    NotDeterministic,
    NotImportable,
    NotPicklable,
    PanicGroup,
    ProcessExit,
    RunRefused,
    RunUnknown,
    SimulationLimit,
    TimedOut,
    TooManyRestarts,
    TracedException,
    Where,
    WorkerLost,
    WrongOutcome,
)
from distio.result import Ok, Panic, panic, zip
from distio.result._result import BaseResult


def traced(message: str) -> TracedException:
    """An exception that is never raised; its text tells it from others."""
    return TracedException(ValueError(message), f"trace of {message}")


# each exception with the text of its str()
EXCEPTIONS: list[tuple[BaseException, str]] = [
    (Cancelled("1.7"), "fiber 1.7 was cancelled"),
    (TimedOut(2.5), "timed out after 2.5 s"),
    (Closed(), "the queue was closed"),
    (Closed("topic"), "the topic was closed"),
    (
        TooManyRestarts("fetch", 3, 5.0),
        "the supervisor gives up: child 'fetch' has ended again, after 3 restarts within 5 s",
    ),
    (
        MainThreadAway(),
        "on_main_thread: expected the main thread of this process to run a program or to wait for "
        "one, but it does something else; call run, run_async or RunHandle.result on it",
    ),
    (NotImportable("no such module"), "no such module"),
    (MatchError("no IO"), "no IO"),
    (MatchError(message="no IO"), "no IO"),
    (
        MultipleExceptions([traced("a")], ["lost"]),
        "\nValueError: a\ntrace of a\nError: lost",
    ),
    (MultipleExceptions(errors=[], exceptions=[]), "no exceptions, no errors"),
    (DomainErrors(["too long", 404]), "too long; 404"),
    (DomainErrors(errors=[]), "no errors"),
    (WrongOutcome("Panic has no success"), "Panic has no success"),
    (DistioError("anything"), "anything"),
    (Deadlock("1 waits for 2, 2 waits for 1"), "1 waits for 2, 2 waits for 1"),
    (
        WorkerLost("worker 3", "killed by SIGKILL"),
        "worker 3 was lost, and this fiber with it: killed by SIGKILL",
    ),
    (WorkerLost(reason="exit 1", worker="w"), "w was lost, and this fiber with it: exit 1"),
    (
        InDoubt(fiber="2.5", function="charge"),
        "nobody knows whether fiber 2.5 has called charge, which io.once calls at most once: its "
        "worker was lost meanwhile; look whether it has happened, and call it again only if it "
        "hasn't",
    ),
    (
        WorkerLost("w", "exit 1", ProcessExit(exit_code=1)),
        "w was lost, and this fiber with it: exit 1",
    ),
    (
        WorkerLost(
            "w",
            "killed by SIGABRT",
            ProcessExit(
                signal="SIGABRT",
                out_of_memory=True,
                memory=3 * 2**20,
                running=("3.1", "3.2 (fetch)"),
                stack="Fatal Python error: Aborted\nline 2",
                output=("one", "two"),
            ),
        ),
        "w was lost, and this fiber with it: killed by SIGABRT "
        "(out of memory, with 3 MB; it ran fibers 3.1, 3.2 (fetch))\n"
        "  crash:\n    Fatal Python error: Aborted\n    line 2\n  last output:\n    one\n    two",
    ),
    (FiberUnreachable("the run of fiber 5 is over"), "the run of fiber 5 is over"),
    (NotPicklable("f -> variable lock -> Lock"), "f -> variable lock -> Lock"),
    (NotDeterministic("f did something else"), "f did something else"),
    (
        PanicGroup("several failures", [ValueError(1), DomainErrors(["no"])]),
        "several failures (2 sub-exceptions)",
    ),
    (
        BasePanicGroup("several failures", [ValueError(1), Cancelled("1.7")]),
        "several failures (2 sub-exceptions)",
    ),
    (ForeignException("lib.Odd", "it broke"), "lib.Odd: it broke"),
    (ForeignException(message="it broke", type_name="lib.Odd"), "lib.Odd: it broke"),
    (ClusterError("no port is free"), "no port is free"),
    (HandshakeRefused("other version"), "other version"),
    (KeyRefused("no such key"), "no such key"),
    (RunUnknown("no run 'nightly'"), "no run 'nightly'"),
    (JournalError("turn 3 is missing"), "turn 3 is missing"),
    (RunRefused("it goes on"), "it goes on"),
    (ClusterClosed("its program ended"), "its program ended"),
    (SimulationLimit("too long"), "too long"),
    (DistioBug(message="no fiber 7"), "no fiber 7 (this is a bug in distio: please report it)"),
    (
        InvariantBroken("no fiber 7", ["it was born", "it was lost"]),
        "no fiber 7 (this is a bug in distio: please report it)\nit was born\nit was lost",
    ),
]


@pytest.mark.parametrize(("exception", "text"), EXCEPTIONS)
def test_exception_has_a_text_of_its_data(exception: BaseException, text: str) -> None:
    assert str(exception) == text


def plain(state: object) -> object:
    """Exceptions of users are equal to themselves only: take their text instead."""
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    if isinstance(state, list):
        return [plain(item) for item in state]
    return str(state) if isinstance(state, TracedException) else state


@pytest.mark.parametrize(("exception", "text"), EXCEPTIONS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_exception_survives_a_journey(exception: BaseException, text: str, protocol: int) -> None:
    arrived = pickle.loads(pickle.dumps(exception, protocol))
    assert type(arrived) is type(exception)
    assert str(arrived) == text
    assert plain(vars(arrived)) == plain(vars(exception))


def test_exceptions_under_test_are_all_classes_of_the_module() -> None:
    classes = {getattr(errors, name) for name in errors.__all__} - {
        ProcessExit,
        TracedException,
        Where,
    }
    assert {type(exception) for exception, _ in EXCEPTIONS} == classes


def test_exception_travels_with_its_notes() -> None:
    lost = WorkerLost("w", "exit 1")
    lost.add_note("while indexing")
    assert pickle.loads(pickle.dumps(lost)).__notes__ == ["while indexing"]


@pytest.mark.parametrize("kind", [Deadlock, WorkerLost, NotPicklable, ClusterError, DistioBug])
def test_exceptions_of_distio_are_distio_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, DistioError)


@pytest.mark.parametrize(
    "kind", [HandshakeRefused, JournalError, KeyRefused, RunUnknown, RunRefused, ClusterClosed]
)
def test_cluster_exceptions_are_cluster_errors(kind: type[Exception]) -> None:
    assert issubclass(kind, ClusterError)


def test_exceptions_of_raffiot_are_matched_by_position() -> None:
    match MultipleExceptions.merge(ValueError("a"), errors=["b"]):
        case MultipleExceptions([TracedException(exception, _)], [error]):
            assert (str(exception), error) == ("a", "b")
        case other:
            pytest.fail(f"not matched: {other!r}")
    match DomainErrors([1]):
        case DomainErrors([n]):
            assert n == 1
        case other_errors:
            pytest.fail(f"not matched: {other_errors!r}")


# -- traced -------------------------------------------------------------------------------------


def broken() -> int:
    raise ValueError("on purpose")


def caught() -> ValueError:
    try:
        broken()
    except ValueError as exception:
        return exception
    raise AssertionError("nothing was raised")


def functions_in(trace: str) -> list[str]:
    """The names of the functions of its frames, outermost first."""
    frames = [line for line in trace.splitlines() if line.startswith('  File "')]
    return [line.rpartition(" in ")[2] for line in frames]


def test_traced_exception_keeps_the_traceback_of_a_caught_one() -> None:
    exception = caught()
    expected = "".join(traceback.format_exception(exception))
    assert TracedException.in_except_clause(exception) == TracedException(exception, expected)
    assert functions_in(expected) == ["caught", "broken"]


def test_traceback_leaves_out_frames_of_distio_above_user_code() -> None:
    result = Ok[str, int](1).map(lambda _: broken())
    assert isinstance(result, Panic)
    [panicked] = result.exceptions
    assert functions_in(panicked.stack_trace) == ["<lambda>", "broken"]
    assert panicked.stack_trace.endswith("ValueError: on purpose\n")


def test_traceback_keeps_frames_of_distio_below_user_code() -> None:
    def user(_: int) -> int:
        return Ok[str, int](1).unsafe_map(lambda _: broken()).unsafe_get()

    result = Ok[str, int](1).map(user)
    assert isinstance(result, Panic)
    names = functions_in(result.exceptions[0].stack_trace)
    assert names == ["user", "unsafe_map", "<lambda>", "broken"]


def test_traceback_without_user_frames_begins_with_the_place_in_user_code() -> None:
    nothing: Any = None
    result = Ok[str, int](1).map(nothing)
    assert isinstance(result, Panic)
    names = functions_in(result.exceptions[0].stack_trace)
    place = names.index("test_traceback_without_user_frames_begins_with_the_place_in_user_code")
    assert names[place + 1 :] == ["wrapper", "map", "unsafe_map"]


def test_traceback_of_a_mistake_in_a_program_has_no_frames_of_distio() -> None:
    class Stray(BaseResult[str, int]):
        """A fourth kind of Result, which there is not."""

    result = Stray().fold(lambda n: n, len, lambda _, errs: len(errs))
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, MatchError)
    names = functions_in(result.exceptions[0].stack_trace)
    assert names[-1] == "test_traceback_of_a_mistake_in_a_program_has_no_frames_of_distio"


def test_tracing_leaves_the_exception_as_it_was() -> None:
    result = Ok[str, int](1).map(lambda _: broken())
    assert isinstance(result, Panic)
    trace = result.exceptions[0].exception.__traceback__
    assert trace is not None
    assert trace.tb_frame.f_globals["__name__"] == "distio.result._result"


def test_traceback_includes_the_causes() -> None:
    try:
        try:
            broken()
        except ValueError as exception:
            raise KeyError("missing") from exception
    except KeyError as exception:
        trace = TracedException.in_except_clause(exception).stack_trace
    assert "ValueError: on purpose" in trace
    assert trace.endswith("KeyError: 'missing'\n")


def here() -> TracedException:
    return TracedException.with_stack_trace(ValueError("never raised"))


def test_traced_exception_that_was_not_raised_has_the_place_of_the_call() -> None:
    place = here()
    assert functions_in(place.stack_trace)[-1] == "here"
    assert errors.__file__ not in place.stack_trace
    assert place.stack_trace.endswith("ValueError: never raised\n")


def test_traced_exception_that_was_not_raised_has_a_place_in_user_code() -> None:
    def user() -> Panic[object, object]:
        result = panic([ValueError("a")])
        assert isinstance(result, Panic)
        return result

    assert functions_in(user().exceptions[0].stack_trace)[-1] == "user"
    mistake: Any = 3
    stray = zip([mistake])
    assert isinstance(stray, Panic)
    names = functions_in(stray.exceptions[0].stack_trace)
    assert names[-1] == "test_traced_exception_that_was_not_raised_has_a_place_in_user_code"


def test_traced_exception_is_not_traced_again() -> None:
    once = traced("a")
    assert TracedException.in_except_clause(once) is once
    assert TracedException.with_stack_trace(once) is once
    assert TracedException.ensure_traced(once) is once


def test_ensure_traced_prefers_the_traceback_of_the_exception() -> None:
    raised = TracedException.ensure_traced(caught())
    assert functions_in(raised.stack_trace) == ["caught", "broken"]
    place = TracedException.ensure_traced(ValueError("never raised"))
    expected = "test_ensure_traced_prefers_the_traceback_of_the_exception"
    assert functions_in(place.stack_trace)[-1] == expected


@pytest.mark.parametrize("trace", [TracedException.ensure_traced, panic, MultipleExceptions.merge])
def test_tracing_a_value_that_is_no_exception_is_a_type_error(
    trace: Callable[[Any], object],
) -> None:
    with pytest.raises(TypeError, match="expected an exception, but got 'oops'"):
        trace("oops")


def test_ensure_list_traced_takes_any_iterable() -> None:
    def both() -> Iterator[ValueError | TracedException]:
        yield ValueError("a")
        yield traced("b")

    first, second = TracedException.ensure_list_traced(both())
    assert str(first.exception) == "a"
    assert second == TracedException(second.exception, "trace of b")


def test_traced_exception_shows_its_exception_before_its_trace() -> None:
    assert str(traced("a")) == "ValueError: a\ntrace of a"


def test_traced_exception_without_a_text_is_shown() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert str(TracedException(Mute(), "its trace")).endswith("its trace")
    assert "Mute" in TracedException.ensure_traced(Mute()).stack_trace


def test_traced_exceptions_are_equal_by_field() -> None:
    exception = ValueError("a")
    assert TracedException(exception, "x") == TracedException(exception, "x")
    assert TracedException(exception, "x") != TracedException(exception, "y")
    assert TracedException(exception, "x") != TracedException(ValueError("a"), "x")


def test_traced_exception_survives_a_journey() -> None:
    arrived = pickle.loads(pickle.dumps(traced("a")))
    assert (repr(arrived.exception), arrived.stack_trace) == ("ValueError('a')", "trace of a")


# -- merged -------------------------------------------------------------------------------------


def texts(merged: MultipleExceptions[object]) -> str:
    return " ".join(str(exn.exception) for exn in merged.exceptions)


def test_merge_keeps_the_order() -> None:
    inner = MultipleExceptions([traced("c"), traced("d")], ["y"])
    outer = MultipleExceptions([traced("b"), TracedException(inner, ""), traced("e")], ["x"])
    merged: MultipleExceptions[object] = MultipleExceptions.merge(
        traced("a"), outer, [traced("f"), (traced("g"), [traced("h")])], traced("i"), errors=["w"]
    )
    assert texts(merged) == "a b c d e f g h i"
    assert merged.errors == ["w", "x", "y"]


def test_merge_takes_iterators() -> None:
    merged: MultipleExceptions[object] = MultipleExceptions.merge(
        (traced(name) for name in "ab"), traced("c"), errors=iter("xy")
    )
    assert texts(merged) == "a b c"
    assert merged.errors == ["x", "y"]


def test_merge_traces_exceptions_that_are_not_traced() -> None:
    merged: MultipleExceptions[object] = MultipleExceptions.merge(ValueError("a"))
    assert isinstance(merged, MultipleExceptions)
    assert isinstance(merged.exceptions[0], TracedException)


def test_merge_leaves_its_arguments_alone() -> None:
    nested = MultipleExceptions([traced("a"), traced("b")], ["x"])
    given = ["w"]
    merged = MultipleExceptions.merge(nested, traced("c"), errors=given)
    merged.errors.append("z")
    assert (len(nested.exceptions), nested.errors, given) == (2, ["x"], ["w"])


def test_merge_takes_an_iterable_exception_for_one_exception() -> None:
    class Batch(Exception):
        def __iter__(self) -> Iterator[object]:
            raise AssertionError("an exception is one exception")

    batch = Batch()
    merged: MultipleExceptions[object] = MultipleExceptions.merge(batch, traced("a"))
    assert merged.exceptions[0].exception is batch


def test_merge_of_nothing_is_empty() -> None:
    merged: MultipleExceptions[object] = MultipleExceptions.merge()
    assert (merged.exceptions, merged.errors) == ([], [])
