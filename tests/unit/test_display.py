"""Meters, the surfaces on which they are drawn, and the thread that draws them."""

from __future__ import annotations

import io as text
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

import distio
from distio._display.display import Display
from distio._display.meter import Counts, Meter, in_words
from distio._display.settings import settings, without_terminal
from distio._display.surface import Lines, Notebook, Surface, Terminal
from distio.errors import MatchError
from tests.conftest import PATIENCE

SHOW_CURSOR = "\x1b[?25h"


def meter(done: int, total: int | None, label: str = "") -> Meter:
    made = Meter(label)
    made.counts = Counts(done, total)
    made.begin(0.0)
    return made


# -- meters -----------------------------------------------------------------------------------


def test_meter_knows_its_rate_and_what_is_left() -> None:
    pages = meter(0, 100, "pages")
    pages.counts = Counts(20, 100)
    shown = pages.look(10.0)
    assert shown is not None
    assert 0 < shown.rate <= 2.0
    for second in range(11, 100):
        pages.counts = Counts(20 + (second - 10), 1000)
        shown = pages.look(float(second))
    assert shown is not None
    assert shown.rate == pytest.approx(1.0, abs=0.01)
    assert shown.seconds_left == pytest.approx(1000 - 109, rel=0.02)


def test_label_of_many_lines_is_one_short_line() -> None:
    shown = meter(1, None, "the\n\x1b[31m" + "x" * 1000).look(1.0)
    assert shown is not None
    assert "\n" not in in_words(shown)
    assert "\x1b" not in in_words(shown)
    assert len(in_words(shown)) < 100


# -- lines ------------------------------------------------------------------------------------


def test_lines_come_after_a_while_become_rarer_and_end_with_a_last_one() -> None:
    written: list[str] = []
    lines, pages = Lines(written.append, 10.0), meter(5, 50, "pages")
    times = []
    for second in range(1000):
        before = len(written)
        lines.draw([pages], float(second))
        if len(written) > before:
            times.append(second)
    assert times[:4] == [10, 20, 30, 40]
    assert len(times) < 30
    pages.is_over = True
    lines.draw([pages], 1000.0)
    assert written[-1] == "pages: 5 of 50 (10 %), 0.3/min, 16:40 in all"


def test_lines_of_what_is_over_soon_are_none() -> None:
    written: list[str] = []
    lines, pages = Lines(written.append, 10.0), meter(5, 50)
    lines.draw([pages], 0.0)
    assert lines.next_look(0.0) == 10.0
    pages.is_over = True
    lines.draw([pages], 9.0)
    assert written == []


# -- a terminal -------------------------------------------------------------------------------


class Screen(text.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.slow  # it imports rich
def test_terminal_shows_all_bars_below_each_other_and_they_are_gone_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    screen = Screen()
    terminal = Terminal(screen)
    both = [meter(3, 4, "pages"), meter(7, None, "[bold]")]
    terminal.draw(both, 0.1)
    assert screen.getvalue() == ""
    terminal.draw(both, 1.0)
    shown = screen.getvalue()
    assert "75 %" in shown
    assert "3/4" in shown
    assert "[bold]" in shown
    assert SHOW_CURSOR not in shown
    for each in both:
        each.is_over = True
    terminal.draw(both, 2.0)
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K" * 2)
    assert SHOW_CURSOR in screen.getvalue()


@pytest.mark.slow  # it imports rich
def test_forked_child_writes_to_its_own_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Screen())
    streams = sys.stdout, sys.stderr
    terminal, pages = Terminal(Screen()), meter(3, 4)
    terminal.draw([pages], 1.0)
    assert sys.stdout is not streams[0]
    terminal.abandon()
    assert (sys.stdout, sys.stderr) == streams
    pages.is_over = True
    terminal.draw([pages], 2.0)


PRINTING = """
from distio import io
say = io.sleep(0.1).then(io.defer(print, "said"))
inner = io.traverse_par(range(4), lambda n: say, at_most=1, progress="inner")
print(inner.run(None, progress="outer").is_ok())
"""


@pytest.mark.slow
def test_bars_on_a_terminal_keep_what_is_printed_out_of_it_if_it_goes_elsewhere() -> None:
    reader, terminal = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", PRINTING],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "DISTIO_PROGRESS": "auto"},
    )
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # on Linux, that is how a terminal ends
        while more := os.read(reader, 65536):
            shown += more
    os.close(reader)
    printed, _ = done.communicate(timeout=PATIENCE)
    assert printed == "said\n" * 4 + "True\n"
    text = shown.decode()
    assert "inner" in text
    assert "outer" in text
    assert "4/4" in text
    assert "said" not in text
    assert text.rindex(SHOW_CURSOR) > text.rindex("outer")


# -- a notebook -------------------------------------------------------------------------------


class Output:
    """The data that one output of a notebook has shown."""

    def __init__(self, data: dict[str, str]) -> None:
        self.shown = [data]

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.shown.append(data)


def test_notebook_changes_one_output_which_stays_and_is_escaped() -> None:
    outputs: list[Output] = []

    def display(data: dict[str, str], **_: Any) -> Output:
        outputs.append(Output(data))
        return outputs[-1]

    notebook, pages = Notebook(display), meter(1, 2, "<script>")
    for each in range(20):
        notebook.draw([pages], 1.0 + each)
    pages.is_over = True
    notebook.draw([pages], 30.0)
    (output,) = outputs
    assert len(output.shown) == 21
    assert output.shown[-1]["text/plain"] == "<script>: 1 of 2 (50 %), 2.0/min, 0:30 in all"
    assert "<script>" not in output.shown[-1]["text/html"]
    assert '<progress max="1" value="0.5000"' in output.shown[-1]["text/html"]


# -- the thread -------------------------------------------------------------------------------


class Slate(Surface):
    """A surface that a test looks at, or that fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.drawn: list[list[Meter]] = []
        self.is_drawn = threading.Event()

    def next_look(self, now: float) -> float:
        return now + 1000.0

    def draw(self, meters: Sequence[Meter], now: float) -> None:
        self.drawn.append(list(meters))
        self.is_drawn.set()
        if self.fails:
            raise OSError("it is closed")


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    before = {*threading.enumerate()}
    yield
    for thread in {*threading.enumerate()} - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.usefixtures("no_thread_is_left")
def test_display_draws_a_new_meter_at_once_and_one_that_is_over_before_end_returns() -> None:
    slate = Slate()
    display = Display(lambda: slate)
    first, second = Meter("first"), Meter("second")
    display.begin(first)
    slate.is_drawn.wait(PATIENCE)
    slate.is_drawn.clear()
    display.begin(second)
    slate.is_drawn.wait(PATIENCE)
    display.end(first, None)
    display.end(first)
    display.end(second, None)
    assert slate.drawn == [[first], [first, second], [first, second], [second]]


@pytest.mark.usefixtures("no_thread_is_left")
def test_display_whose_surface_fails_shows_nothing_more_and_tells_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slate = Slate(fails=True)
    display = Display(lambda: slate)
    meters = [Meter("first"), Meter("second")]
    for each in meters:
        display.begin(each)
        slate.is_drawn.wait(PATIENCE)
    for each in meters:
        display.end(each, None)
    assert len(slate.drawn) == 1
    assert "progress is shown no more: OSError: it is closed" in caplog.text


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("no_thread_is_left", "threads_take_turns_often")
def test_display_whose_last_meter_has_ended_chooses_its_surface_anew() -> None:
    chosen: list[Slate] = []
    is_chosen = threading.Event()

    def choose() -> Slate:
        chosen.append(Slate())
        is_chosen.set()
        return chosen[-1]

    display = Display(choose)
    for count in range(1, 300):  # sometimes the thread has not seen yet that none is left
        meter = Meter("")
        display.begin(meter)
        assert is_chosen.wait(PATIENCE), "it goes on with the surface of earlier meters"
        assert chosen[-1].is_drawn.wait(PATIENCE)
        is_chosen.clear()
        display.end(meter, None)
        assert len(chosen) == count


@pytest.mark.usefixtures("no_thread_is_left")
def test_display_that_a_signal_interrupts_shows_the_next_meter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slate, start = Slate(), threading.Thread.start
    display = Display(lambda: slate, shows_all=True)

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    first, second = Meter("first"), Meter("second")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            display.begin(first)
    display.end(first, None)
    slate.is_drawn.clear()
    display.begin(second)
    assert slate.is_drawn.wait(PATIENCE)
    display.end(second, None)
    assert slate.drawn[-1] == [second]


# -- as the user wishes -----------------------------------------------------------------------


def test_show_progress_holds_for_processes_that_are_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISTIO_PROGRESS", "auto")
    distio.show_progress("lines", seconds=30)
    assert os.environ["DISTIO_PROGRESS"] == "lines:30.0"
    assert settings() == ("lines", 30.0)


def test_show_progress_refuses_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = "loud"
    with pytest.raises(MatchError, match='expected "auto", "lines" or "off"'):
        distio.show_progress(wrong)
    with pytest.raises(MatchError, match="above 0"):
        distio.show_progress(seconds=0)
    monkeypatch.setenv("DISTIO_PROGRESS", "lines:often")
    with pytest.raises(MatchError, match="DISTIO_PROGRESS: expected auto, lines or off"):
        settings()


def test_worker_leaves_the_terminal_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distio._display.settings._Process.has_terminal", True)
    monkeypatch.setenv("DISTIO_PROGRESS", "auto:20")
    without_terminal()
    assert settings() == ("lines", 20.0)
    monkeypatch.setenv("DISTIO_PROGRESS", "off")
    assert settings().style == "off"


SCRIPT = """
import sys
from distio import io
{before}
print(io.traverse_par(range(4), lambda n: io.sleep(0.1), at_most=1, progress="naps").run(None))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", r"distio: naps: \d of 4 \(\d+ %\), .* so far"),
        ("sys.stderr.close()", r"^$"),
        ("sys.stderr = None", r"^$"),
    ],
)
def test_script_without_a_terminal_writes_lines_and_goes_on_when_it_cannot(
    before: str, expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "DISTIO_PROGRESS": "auto:0.15"},
        check=True,
    )
    assert done.stdout == "Ok(success=[None, None, None, None])\n"
    lines = done.stderr.splitlines() or [""]
    assert any(re.match(expected, line) for line in lines)
