"""The texts of Results stay within a screen, and say what they leave out."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from distio import Errors, Ok, Panic, Result, TracedException, io
from distio.result._text import shown

AnyResult = Result[Any, Any]


def recursion(depth: int) -> int:
    return recursion(depth - 1) + 1 if depth else 1 // depth


def through(depth: int) -> int:
    """Fail below lines that are all different."""
    code = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(depth))
    names: dict[str, Any] = {}
    exec(f"{code}\ndef f{depth}(): return 1 / 0", names)
    return int(names["f0"]())


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
NESTED: list[Any] = []
for _ in range(100_000):
    NESTED = [NESTED]


def panic(*exceptions: BaseException, stack_trace: str = "") -> AnyResult:
    return Panic([TracedException(each, stack_trace) for each in exceptions], [])


LARGE: dict[str, AnyResult] = {
    "list": Ok([*range(100_000)]),
    "dict": Ok({n: "x" * n for n in range(1000)}),
    "text": Ok("x" * 100_000),
    "lines": Ok(type("Lines", (), {"__repr__": lambda _: "line\n" * 1000})()),
    "nested": Ok(NESTED),
    "matrix": Ok([[n] * 1000 for n in range(1000)]),
    "errors": Errors([f"error {n}" for n in range(1000)]),
    "long errors": Errors(["x" * 10_000] * 1000),
    "results": Ok([panic(ValueError("x" * 1000))] * 100),
    "panic": panic(*[ValueError(f"no {n}") for n in range(1000)]),
    "long message": panic(ValueError("x" * 10_000), stack_trace="x" * 10_000),
    "traceback": io.defer(through, 200).run(None),
    "recursion": io.defer(recursion, 100_000).run(None),
    "panic and errors": Panic(
        [TracedException(ValueError("x\n" * 1000), "line\n" * 1000)], ["error"] * 1000
    ),
}


@pytest.mark.parametrize("result", LARGE.values(), ids=LARGE.keys())
def test_text_of_a_large_result_fits_on_a_screen(result: AnyResult) -> None:
    for text in (repr(result), str(result)):
        assert len(text) <= 2_000
        assert len(text.splitlines()) <= 25


@pytest.mark.parametrize("name", sorted(LARGE.keys() - {"nested", "recursion"}))
def test_text_of_a_large_result_says_how_much_is_left_out(name: str) -> None:
    left_out = r"… (and )?[\d,]+ more( errors| exceptions| characters| lines|\])|in all\)"
    assert re.search(left_out, repr(LARGE[name]))


def test_text_counts_what_it_leaves_out() -> None:
    text = repr(Errors([*range(1_000_000)]))
    last, left_out = re.findall(r"(\d+), … and ([\d,]+) more errors", text)[0]
    assert int(last) + 1 + int(left_out.replace(",", "")) == 1_000_000


@pytest.mark.parametrize(
    "value",
    [5, "five", b"\0", [], (), (1,), (1, [2, {}]), {"a": {1}}, set(), frozenset({1}), ITSELF, None],
    ids=repr,
)
def test_text_of_a_small_value_is_as_python_shows_it(value: Any) -> None:
    assert repr(Ok(value)) == f"Ok(success={value!r})"
    assert repr(Errors([value])) == f"Errors(errors=[{value!r}])"


def test_text_of_a_result_in_a_result_is_one_line() -> None:
    failed = panic(ValueError("no"), stack_trace="Traceback\n")
    results: list[AnyResult] = [Ok([1]), Errors(["a"]), failed]
    assert repr(Ok(results)) == (
        "Ok(success=[Ok(success=[1]), Errors(errors=['a']), "
        "Panic(exceptions=[ValueError('no')], errors=[])])"
    )


def test_text_of_a_value_whose_repr_raises_says_so() -> None:
    assert repr(Ok([Broken()])) == "Ok(success=[<Broken: its repr raises RuntimeError>])"
    assert shown(10**5000, 50) == "<int: its repr raises ValueError>"


def test_text_of_a_panic_begins_with_its_exception_and_the_frames_of_the_user() -> None:
    lines = repr(io.defer(through, 1).run(None)).splitlines()
    assert lines[0] == ("Panic(exceptions=[ZeroDivisionError('division by zero')], errors=[])")
    assert lines[1] == "Traceback (most recent call last):"
    assert "in through" in lines[2]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_text_of_a_panic_keeps_both_ends_of_a_long_traceback() -> None:
    lines = repr(io.defer(through, 200).run(None)).splitlines()
    assert any("in through" in line for line in lines)
    assert lines[-1] == "ZeroDivisionError: division by zero"


# -- notebooks --------------------------------------------------------------------------------


def html_of(result: Any) -> str:
    text = result._repr_html_()
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("result", LARGE.values(), ids=LARGE.keys())
def test_html_of_a_large_result_is_not_large(result: AnyResult) -> None:
    assert len(html_of(result)) < 50_000


def test_html_of_a_result_is_escaped() -> None:
    evil = "<script>alert('&')</script>"
    name = type(evil, (Exception,), {})(evil)
    results: list[AnyResult] = [Ok(evil), Errors([evil]), panic(name, stack_trace=evil)]
    for result in results:
        assert "<script" not in html_of(result)
        assert html.escape("<script>") in html_of(result)


def test_html_of_an_ok_is_that_of_its_value_if_that_has_one() -> None:
    table = type("Table", (), {"_repr_html_": lambda _: "<table></table>"})()
    refuses = type("Refuses", (), {"_repr_html_": lambda _: 1 / 0, "__repr__": lambda _: "plain"})()
    assert "<table></table>" in html_of(Ok(table))
    assert "plain" in html_of(Ok(refuses))


def test_html_of_a_panic_folds_all_exceptions_but_the_first() -> None:
    text = html_of(LARGE["panic"])
    assert text.count("<details open>") == 1
    assert text.count("<details>") == 9
    assert "… and 990 more exceptions" in text
    assert "<details open>" not in html_of(LARGE["traceback"])
