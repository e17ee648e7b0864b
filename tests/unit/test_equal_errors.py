"""distio's exceptions are equal if they are of one class and carry the same data."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import io, result
from distio.errors import (
    BasePanicGroup,
    Cancelled,
    Closed,
    ClusterClosed,
    ClusterError,
    Deadlock,
    DistioError,
    DomainErrors,
    ForeignException,
    InvariantBroken,
    MatchError,
    MultipleExceptions,
    PanicGroup,
    ProcessExit,
    TimedOut,
    TooManyRestarts,
    TracedException,
    WorkerLost,
)
from distio.result import Errors, Ok, Panic, Result


def panicked(text: str) -> Panic[Any, Any]:
    """A panic that is made anew each time."""
    return Panic([TracedException(MatchError(text), "")], [])


# each with an exception that carries other data
DIFFERENT: list[tuple[BaseException, BaseException]] = [
    (MatchError("a"), MatchError("b")),
    (Cancelled("1.1"), Cancelled("1.2")),
    (DomainErrors(["a", {}]), DomainErrors(["a", []])),
    (
        MultipleExceptions([TracedException(MatchError("a"), "")], []),
        MultipleExceptions([TracedException(MatchError("b"), "")], []),
    ),
    (MultipleExceptions([], [[1]]), MultipleExceptions([], [[2]])),
    (PanicGroup("two", [MatchError("a")]), PanicGroup("two", [MatchError("b")])),
    (PanicGroup("one", [MatchError("a")]), PanicGroup("two", [MatchError("a")])),
    (BasePanicGroup("g", [Cancelled("1.1")]), BasePanicGroup("g", [Cancelled("1.2")])),
    (DistioError("a"), DistioError("b")),
    (Deadlock("a"), Deadlock("b")),
    (WorkerLost("w", "exit 1"), WorkerLost("w", "exit 2")),
    (
        WorkerLost("w", "exit 1", ProcessExit(memory=1)),
        WorkerLost("w", "exit 1", ProcessExit(memory=2)),
    ),
    (TimedOut(1.0), TimedOut(2.0)),
    (TooManyRestarts("a", 1, 5.0), TooManyRestarts("a", 2, 5.0)),
    (ForeignException("a.A", "no"), ForeignException("a.B", "no")),
    (InvariantBroken("a", ["born"]), InvariantBroken("a", ["lost"])),
    (ClusterError("a"), ClusterClosed("a")),
    (MatchError("a"), DistioError("a")),
]


@pytest.mark.parametrize(("exception", "other"), DIFFERENT)
def test_exception_with_equal_data_is_equal(exception: BaseException, other: BaseException) -> None:
    same = copy.copy(exception)
    same.__cause__ = ValueError("why")
    same.add_note("seen elsewhere")
    assert same is not exception
    assert same == exception
    assert hash(same) == hash(exception)
    assert exception != other
    assert not exception == other  # noqa: SIM201 (both operators are meant)
    assert len({exception, same, other}) == 2


@pytest.mark.parametrize("exception", [each for each, _ in DIFFERENT])
def test_exception_after_a_journey_is_equal(exception: BaseException) -> None:
    assert pickle.loads(pickle.dumps(exception)) == exception


def test_exceptions_without_data_are_equal() -> None:
    assert Closed() == Closed()
    assert len({Closed(), Closed()}) == 1


def test_group_made_of_a_tuple_equals_one_made_of_a_list() -> None:
    assert PanicGroup("g", (MatchError("a"),)) == PanicGroup("g", [MatchError("a")])


def test_exception_of_another_class_is_never_equal() -> None:
    class Special(MatchError):
        pass

    assert Special("a") != MatchError("a")
    assert MatchError("a") != "a"


def test_subclass_with_data_of_its_own_compares_it() -> None:
    class Coded(MatchError):
        def __init__(self, message: str, code: int) -> None:
            super().__init__(message)
            self.code = code

    assert Coded("a", 1) == Coded("a", 1)
    assert Coded("a", 1) != Coded("a", 2)


def test_exception_stays_in_a_set_when_its_errors_grow() -> None:
    errors = DomainErrors([1])
    known = {errors}
    errors.errors.append(2)
    assert errors in known


# -- laws of Results and programs, on panics that are made twice --------------------------------


@pytest.mark.slow
@given(st.text(), st.text())
def test_result_of_panics_obeys_the_laws_of_raffiot(u: str, v: str) -> None:
    ok: Result[Any, str] = Ok(u)
    join = Ok[Any, Any](lambda a, b: a + b)
    assert result.panic(TracedException(MatchError(u), "")) == panicked(u)
    assert join.ap(ok, panicked(v)) == panicked(v)
    assert result.zip(ok, panicked(v)) == panicked(v)
    assert result.zip(result.error(u), panicked(v)) == Panic(panicked(v).exceptions, [u])
    assert panicked(u).map(len) == panicked(u)
    assert panicked(u).flat_map(lambda _: ok) == panicked(u)
    assert panicked(u).catch(lambda _: ok) == panicked(u)
    assert panicked(u).recover(lambda _, errors: ok) == ok
    assert panicked(u).map_panic(lambda _: TracedException(MatchError(v), "")) == panicked(v)
    assert panicked(u).map_error(len) == panicked(u)
    assert Errors([u]).map_panic(lambda _: MatchError(v)) == Errors([u])
    assert (panicked(u) == panicked(v)) == (u == v)


@pytest.mark.slow
@given(st.text(), st.text())
def test_program_that_panics_obeys_the_laws_of_raffiot(u: str, v: str) -> None:
    def fails(text: str) -> Any:
        return io.panic(TracedException(MatchError(text), ""))

    assert fails(u).run(None) == panicked(u)
    assert io.zip(io.pure(u), fails(v)).run(None) == panicked(v)
    assert fails(u).catch(io.pure).run(None) == panicked(u)
    assert fails(u).attempt().run(None) == Ok(panicked(u))
    assert fails(u).on_failure(io.pure).run(None) == Ok(panicked(u))
    assert io.from_result(panicked(u)).run(None) == panicked(u)
    mapped = fails(u).map_panic(lambda _: TracedException(MatchError(u + v), ""))
    assert mapped.run(None) == panicked(u + v)


@pytest.mark.slow
@given(st.lists(st.text()))
def test_merge_of_equal_parts_is_equal(texts: list[str]) -> None:
    parts = [MultipleExceptions(panicked(text).exceptions, [text]) for text in texts]
    traced = [TracedException(MatchError(text), "") for text in texts]
    merged: MultipleExceptions[str] = MultipleExceptions.merge(*parts)
    assert merged == MultipleExceptions(traced, texts)
