"""The progress of traverse_par and zip_par: as calls, and as a bar."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from distio import IO, Errors, Ok, io
from distio._display.display import Display
from distio._display.meter import Meter, Shown
from distio._display.surface import Surface
from distio.io._progress import Bar
from distio.runtime import progress as runtime_progress  # before a test replaces what it imports
from tests.conftest import PATIENCE, Run, shared_cluster
from tests.harness.items import SLOW, exceptions_of, square, squares

Program = IO[Any, Any, Any]


def told(program: Callable[..., Program], run: Run) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    run(program(progress=lambda done, total: seen.append((done, total))))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("at_most", [None, 1, 3])
def test_progress_grows_to_the_total(run: Run, at_most: int | None) -> None:
    seen = told(partial(io.traverse_par, range(50), square, at_most=at_most), run)
    assert seen[-1] == (50, 50)
    assert seen == sorted(set(seen))
    assert {total for _, total in seen} == {50}


def test_progress_of_items_that_fail_counts_them(run: Run) -> None:
    programs = [io.error(1), io.pure(2), io.panic(ValueError(3))]
    assert told(partial(io.zip_par, programs, at_most=2, fail_fast=False), run)[-1] == (3, 3)
    assert told(partial(io.zip_par, programs, fail_fast=False), run)[-1] == (3, 3)


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
    assert sorted(ended) == result.errors  # an item that sleeps still is cancelled


def test_progress_that_is_no_function_is_a_type_error() -> None:
    wrong: Any = 1
    with pytest.raises(TypeError, match="progress is a function, True, a label or None"):
        io.traverse_par([1], square, at_most=1, progress=wrong)
    with pytest.raises(TypeError, match="run: progress is a function, True, a label or None"):
        io.pure(1).run(None, progress=wrong)


def test_progress_false_is_no_progress() -> None:
    assert io.traverse_par([1, 2], square, progress=False).run(None) == Ok([1, 4])
    assert io.traverse_par([1, 2], square, at_most=1, progress=False).run(None) == Ok([1, 4])


# -- bars -------------------------------------------------------------------------------------


class Seen(Surface):
    """A surface that remembers what it was to draw."""

    def __init__(self) -> None:
        self.shown: dict[str, list[Shown]] = {}

    def next_look(self, now: float) -> float:
        return now

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        for meter in meters:
            if (shown := meter.look(now)) is not None:
                self.shown.setdefault(shown.label, []).append(shown)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The lines that the bars of a test show, each at least once."""
    surface = Seen()
    display = Display(lambda: surface, shows_all=True)
    monkeypatch.setattr("distio._display.display.shared", display)
    monkeypatch.setattr(runtime_progress, "shared", display)
    return surface


@pytest.mark.parametrize("item", [square, io.error])
def test_bar_shows_its_label_and_all_items_in_the_end(
    seen: Seen, item: Callable[[int], Program]
) -> None:
    program = io.traverse_par(range(7), item, at_most=2, progress="squares", fail_fast=False)
    result = program.run(None)
    assert result == (squares(7) if item is square else Errors([*range(7)]))
    last = seen.shown["squares"][-1]
    assert (last.done, last.total, last.is_over) == (7, 7, True)


def test_bars_within_a_run_with_a_bar_share_the_display(seen: Seen) -> None:
    inner = [
        io.traverse_par(range(3), square, at_most=1, progress="a"),
        io.traverse_par(range(3), square, at_most=1, progress=True).named("b"),
    ]
    assert io.zip_par(inner).run(None, progress="run").is_ok()
    lasts = {label: shown[-1] for label, shown in seen.shown.items()}
    assert {
        label: (each.done, each.is_over) for label, each in lasts.items() if label != "run"
    } == {
        "a": (3, True),
        "b": (3, True),
    }
    assert lasts["run"].done == lasts["run"].total


@pytest.mark.parametrize("place", ["threads", "cluster", "submitted"])
def test_progress_of_a_run_counts_its_fibers_to_the_last(place: str) -> None:
    told: list[tuple[int, int | None]] = []

    def progress(ended: int, known: int | None) -> None:
        told.append((ended, known))

    program = io.zip_par([io.zip_par(io.pure(n), io.pure(n)) for n in range(4)])
    if place == "threads":
        assert program.run(None, 2, progress=progress).is_ok()
    elif place == "cluster":
        assert program.run(None, on=shared_cluster(), progress=progress).is_ok()
    else:
        both = program.then(io.sleep(SLOW))  # else it may be over before it is waited for
        assert shared_cluster().submit(both, None, progress=progress).result().is_ok()
    assert told[-1] == (13, 13)
    assert told == sorted(told)


@pytest.mark.usefixtures("seen")
def test_wait_that_ends_before_its_run_watches_it_no_longer() -> None:
    handle = shared_cluster().submit(io.sleep(PATIENCE), None, progress="run")
    with pytest.raises(TimeoutError):
        handle.result(0.0)
    watches = shared_cluster()._host.member.features.watches
    assert watches.leftovers() == {"watched runs": {}}
    handle.cancel()
    assert handle.result(progress=False).is_panic()


def test_progress_of_a_run_that_raises_harms_nothing_but_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def progress(ended: int, known: int | None) -> None:
        raise ValueError("no more")

    assert io.pure(1).run(None, progress=progress) == Ok(1)
    assert "progress is shown no more: ValueError: no more" in caplog.text


def test_progress_of_run_async_is_shown(seen: Seen) -> None:
    assert asyncio.run(io.pure(1).run_async(None, progress="run")) == Ok(1)
    assert seen.shown["run"][-1].done == 1


def test_bar_moves_with_its_fiber_to_another_process() -> None:
    bar = Bar("pages", 3)
    copy = pickle.loads(pickle.dumps(bar))
    copy(1, 3)
    for each in (bar, copy):
        each.close()


def test_bar_is_not_shown_without_a_terminal_if_it_takes_no_time(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = io.zip_par(io.pure(1), io.pure(2), progress=True)
    assert program.run(None, progress=True) == Ok((1, 2))
    assert capfd.readouterr() == ("", "")
