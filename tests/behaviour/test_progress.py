"""The progress of traverse_par and zip_par: as calls, and as a bar."""

from __future__ import annotations

import io as text
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from distio import IO, Errors, Ok, io
from distio.io._progress import Bar
from tests.conftest import Run
from tests.harness.items import SLOW, exceptions_of, square, squares

Program = IO[Any, Any, Any]


def told(program: Callable[..., Program], run: Run) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    run(program(progress=lambda done, total: seen.append((done, total))))
    return seen


@pytest.mark.parametrize("at_most", [None, 1, 3])
def test_progress_grows_to_the_total(run: Run, at_most: int | None) -> None:
    seen = told(partial(io.traverse_par, range(50), square, at_most=at_most), run)
    assert seen[-1] == (50, 50)
    assert seen == sorted(set(seen))
    assert {total for _, total in seen} == {50}


def test_progress_of_items_that_fail_counts_them(run: Run) -> None:
    programs = [io.error(1), io.pure(2), io.panic(ValueError(3))]
    assert told(partial(io.zip_par, programs, at_most=2), run)[-1] == (3, 3)
    assert told(partial(io.zip_par, programs), run)[-1] == (3, 3)


@pytest.mark.parametrize("at_most", [None, 4])
def test_progress_is_reported_while_other_items_go_on(
    run_in_process: Run, at_most: int | None
) -> None:
    """Each item waits until those before it were reported as done."""
    seen: list[tuple[int, int | None]] = []

    def item(n: int, tries: int = 10_000) -> Program:
        if not tries:
            return io.error("nobody says so")
        return (
            io.pure(n) if len(seen) >= n else io.sleep(0.001).then(io.defer_io(item, n, tries - 1))
        )

    program = io.traverse_par(
        range(4), item, at_most=at_most, progress=lambda *told: seen.append(told)
    )
    assert run_in_process(program) == Ok([0, 1, 2, 3])
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_progress_of_a_generator_has_no_total(run_in_process: Run) -> None:
    seen = told(partial(io.traverse_par, iter(range(9)), square, at_most=2), run_in_process)
    assert seen[-1] == (9, None)
    assert {total for _, total in seen} == {None}


def test_progress_without_items_is_not_reported(run_in_process: Run) -> None:
    assert told(partial(io.traverse_par, [], square, at_most=2), run_in_process) == []


def test_progress_that_raises_stops_further_items_and_comes_first(run_in_process: Run) -> None:
    begun: list[int] = []
    ended: list[int] = []
    calls: list[int] = []

    def item(n: int) -> Program:
        begin, end = io.defer(begun.append, n), io.defer(ended.append, n)
        return begin.then(io.sleep(SLOW), end, io.error(n))

    def progress(done: int, total: int | None) -> None:
        calls.append(done)
        raise ValueError("no more")

    program = io.traverse_par(range(100), item, at_most=2, progress=progress)
    result: Any = run_in_process(program)
    assert exceptions_of(result) == ["no more"]
    assert calls == [1]
    assert len(begun) < 100
    assert sorted(begun) == sorted(ended) == result.errors


@pytest.mark.parametrize("progress", [1, "yes"])
def test_progress_that_is_no_function_is_a_type_error(progress: Any) -> None:
    with pytest.raises(TypeError, match="progress is a function, True or None"):
        io.traverse_par([1], square, at_most=1, progress=progress)


def test_progress_false_is_no_progress() -> None:
    assert io.traverse_par([1, 2], square, progress=False).run(None) == Ok([1, 4])
    assert io.traverse_par([1, 2], square, at_most=1, progress=False).run(None) == Ok([1, 4])


class Terminal(text.StringIO):
    def isatty(self) -> bool:
        return True


SHOW_CURSOR = "\x1b[?25h"
ERASE_LINE = "\x1b[2K"


@pytest.mark.parametrize("item", [square, io.error])
def test_bar_is_shown_and_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch, item: Callable[[int], Program]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    result = io.traverse_par(range(7), item, at_most=2, progress=True).run(None)
    assert result == (squares(7) if item is square else Errors([*range(7)]))
    shown = terminal.getvalue()
    assert "7/7" in shown
    assert SHOW_CURSOR in shown
    last_bar = shown.rindex("7/7")
    assert ERASE_LINE in shown[last_bar:]


def test_bar_that_is_never_closed_is_gone_with_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C, for example, no more of the program is run."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar()
    bar(1, 2)
    assert SHOW_CURSOR not in terminal.getvalue()
    del bar
    assert SHOW_CURSOR in terminal.getvalue()


def test_bar_is_not_shown_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    program = io.zip_par(io.pure(1), io.pure(2), progress=True)
    assert program.run(None) == Ok((1, 2))
    assert capfd.readouterr() == ("", "")
