"""`get` raises the user's own exception, and a field that a Result hasn't shows the failure."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from distio import IO, Errors, Ok, Panic, Result, TracedException, io
from distio.core.outcomes import dump_outcome, load_outcome
from distio.errors import Cancelled, DomainErrors, WrongOutcome

AnyResult = Result[Any, Any]


def by_pickle(result: AnyResult) -> AnyResult:
    arrived: AnyResult = pickle.loads(pickle.dumps(result))
    return arrived


def by_wire(result: AnyResult) -> AnyResult:
    return load_outcome(dump_outcome(result).payload)


def stays(result: AnyResult) -> AnyResult:
    return result


JOURNEYS = pytest.mark.parametrize("travels", [stays, by_pickle, by_wire])


class Refused(Exception):
    """Of the user."""


def refuse() -> None:
    try:
        raise KeyError("seat")
    except KeyError:
        raise Refused("row 5")  # noqa: B904 (the context is to be kept)


def raised_by(result: AnyResult) -> BaseException:
    try:
        result.get()
    except BaseException as exception:  # noqa: BLE001 (a Cancelled, too)
        return exception
    raise AssertionError(f"it has raised nothing: {result!r}")


def fails(f: Callable[[], Any] = refuse) -> IO[Any, Any, Any]:
    return io.zip_par(io.pure(1), io.defer(f).named("book"))


def test_get_of_an_ok_is_its_value() -> None:
    assert Ok(5).get() == 5


@JOURNEYS
def test_get_raises_the_exception_of_the_user(travels: Any) -> None:
    with pytest.raises(Refused, match="row 5"):
        travels(fails().run(None)).get()


def test_get_raises_the_very_object() -> None:
    mine = Refused("row 5")
    assert raised_by(io.panic(mine).run(None)) is mine
    assert raised_by(Errors([mine])) is mine


def test_get_raises_other_errors_as_domain_errors() -> None:
    assert raised_by(Errors(["a", "b"])) == DomainErrors(["a", "b"])
    assert raised_by(Errors([])) == raised_by(Panic([], [])) == DomainErrors([])


def test_get_of_several_failures_raises_a_group() -> None:
    error = ValueError("error")
    panic: Panic[Any, Any] = Panic([TracedException(Refused("row 5"), "")], ["text", error])
    caught: list[Any] = []
    try:
        panic.get()
    except* Refused as group:
        caught.append(group.exceptions)
    except* (ValueError, DomainErrors) as group:
        caught.append(group.exceptions)
    assert caught == [(panic.exceptions[0].exception,), (error, DomainErrors(["text"]))]
    assert isinstance(raised_by(panic), ExceptionGroup)


def test_get_with_a_cancellation_among_failures_raises_a_base_group() -> None:
    exceptions = [TracedException(each, "") for each in (Cancelled("1.1"), KeyError())]
    group = raised_by(Panic(exceptions, []))
    assert isinstance(group, BaseExceptionGroup)
    assert not isinstance(group, ExceptionGroup)


def test_get_of_a_cancelled_run_raises_cancelled() -> None:
    assert raised_by(Panic([TracedException(Cancelled("1.1"), "")], [])) == Cancelled("1.1")


@JOURNEYS
def test_get_tells_the_story_once(travels: Any) -> None:
    result = fails().run(None)
    for _ in range(3):
        result = travels(result)
        raised_by(result)
        text = "".join(traceback.format_exception(raised_by(result)))
        assert text.count("at index 1 of zip_par\nin fiber ") == 1
        assert text.count("in refuse\n    raise Refused") == 1
        assert text.count("in refuse\n    raise KeyError") == 1


def test_get_leaves_nothing_of_an_earlier_get_in_the_traceback() -> None:
    result = fails().run(None)
    lengths = {len(traceback.extract_tb(raised_by(result).__traceback__)) for _ in range(3)}
    assert len(lengths) == 1
    frames = traceback.extract_tb(raised_by(result).__traceback__)
    assert [frame.name for frame in frames][-2:] == ["raise_failure", "refuse"]


@pytest.mark.parametrize("travels", [stays, by_wire])  # Python's pickles have no chains
def test_get_keeps_the_chain_of_the_exception(travels: Any) -> None:
    result = travels(fails().run(None))
    try:
        raise OSError
    except OSError:
        assert repr(raised_by(result).__context__) == "KeyError('seat')"


def test_failure_that_get_has_raised_in_a_program_is_told_once() -> None:
    inner = by_wire(fails().run(None))
    outer = io.zip_par(io.defer(inner.get)).run(None)
    text = "".join(traceback.format_exception(raised_by(by_wire(outer))))
    assert text.count("in refuse\n    raise Refused") == 1
    assert "at index 0 of zip_par\n" in text
    assert "at index 1 of zip_par\n" in text


@dataclass(frozen=True)
class Frozen(Exception):
    seat: int


def test_get_adds_its_note_to_an_exception_that_is_frozen() -> None:
    exception = raised_by(Panic([TracedException(Frozen(5), "the story")], []))
    assert exception == Frozen(5)
    assert exception.__notes__ == ["the story"]


@pytest.mark.parametrize("travels", [by_pickle, by_wire])
def test_result_travels_after_its_exception_was_raised(travels: Any) -> None:
    result = fails().run(None)
    raised_by(result)
    assert "in refuse\n" in raised_by(travels(result)).__notes__[0]


def test_get_keeps_the_notes_of_the_user() -> None:
    mine = Refused("row 5")
    mine.add_note("ask at the desk")
    panic = Panic[Any, Any]([TracedException(mine, "the story")], [])
    assert raised_by(panic).__notes__ == raised_by(panic).__notes__
    assert mine.__notes__ == ["ask at the desk", "the story"]


# -- fields -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "name", "message", "cause"),
    [
        (fails().run(None), "success", "Panic has no success: .*Refused: row 5", Refused),
        (Errors(["sold out"]), "success", "Errors has no success: 'sold out'", DomainErrors),
        (Errors(["sold out"]), "exceptions", "Errors has no exceptions", DomainErrors),
        (Ok(5), "errors", "Ok has no errors: its value is 5", None),
        (Ok(5), "exceptions", "Ok has no exceptions", None),
    ],
)
def test_field_that_a_result_has_not_shows_what_it_has(
    result: AnyResult, name: str, message: str, cause: type | None
) -> None:
    with pytest.raises(WrongOutcome, match=message) as info:
        getattr(result, name)
    assert not hasattr(result, name)
    assert isinstance(info.value, AttributeError)
    assert type(info.value.__cause__) is (cause or type(None))


def test_other_attribute_of_a_result_is_an_attribute_error_that_says_what_to_use() -> None:
    with pytest.raises(AttributeError, match=r"'Ok' has no attribute 'value'; use result\.get\(\)"):
        Ok(5).value  # type: ignore[attr-defined]  # noqa: B018 (reading it is the test)


def test_name_that_pickle_asks_a_result_for_is_looked_up_without_any_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distio.result._result.missing", lambda *_: pytest.fail("takes time"))
    assert pickle.loads(pickle.dumps(Ok(5))) == copy.copy(Ok(5)) == Ok(5)
    with pytest.raises(AttributeError, match="'Ok' has no attribute '__setstate__'"):
        Ok(5).__setstate__  # type: ignore[attr-defined]  # noqa: B018 (reading it is the test)
