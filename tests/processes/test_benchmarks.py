"""The benchmarks: each question can be asked, and no candidate can keep the others waiting."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.harness import Question, ask
from benchmarks.harness.asking import HERE, Entry, bounded_run
from benchmarks.harness.command import main
from benchmarks.harness.question import find_questions
from benchmarks.harness.report import find_scripts, write_report
from tests.harness.questions import LEFT, QUESTIONS

ROOT = Path(__file__).parents[2]
WAITS, HANGS = QUESTIONS
TINY = [
    question
    for question in find_questions().values()
    if question.count("tiny") and question.candidates_for("tiny", peers=False)
]


@pytest.mark.slow
@pytest.mark.parametrize("question", TINY, ids=lambda question: question.name)
def test_question_without_peers_prints_what_each_candidate_took(
    question: Question, capsys: pytest.CaptureFixture[str]
) -> None:
    main([question], ["--tiny", "--no-peers", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["question"], found["unit"], found["size"]) == (
        question.name,
        question.unit,
        "tiny",
    )
    assert len(found["candidates"]) == len(question.candidates_for("tiny", peers=False))
    for candidate in found["candidates"]:
        assert candidate["failure"] == "", candidate
        assert len(candidate["values"]) == len(candidate["processor"]) == 1
        assert candidate["of"] == "distio"
        assert candidate["version"]


@pytest.mark.slow
def test_report_takes_up_each_file_once() -> None:
    """A file that has no questions runs as a script, unless it has a target of its own."""
    asked = {Path(question.file).stem for question in find_questions().values()}
    scripts = find_scripts()
    assert {"tiny_calls", "loss"} <= asked
    assert {"durable", "memory"} <= set(scripts)
    assert not asked & set(scripts)
    assert not {"soak", "glance", "_timing"} & set(scripts)


@pytest.mark.slow
def test_candidate_that_fails_or_is_missing_says_so_and_the_others_go_on() -> None:
    answer = ask(WAITS)
    one, half, fails, missing = answer.entries
    assert one.values == [8.0] * 3
    assert half.values == [4.0] * 3
    assert (fails.values, fails.failure) == ([], "fails: ZeroDivisionError")
    assert "raise ZeroDivisionError" in fails.said
    assert (missing.values, missing.failure) == ([], "isn't installed")


@pytest.mark.slow
def test_candidate_that_hangs_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEFT, str(tmp_path / "pid"))
    (entry,) = ask(HANGS, "tiny").entries
    assert entry.failure == "takes more than 3 s"
    with contextlib.suppress(psutil.NoSuchProcess):  # or nobody has asked how it ended
        left = psutil.Process(int((tmp_path / "pid").read_text()))
        assert left.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_script_that_takes_too_long_is_ended() -> None:
    assert bounded_run(["sleep", "1000"], HERE, 0.1) is None
    assert bounded_run(["sh", "-c", "echo so; exit 3"], HERE, 60) == "so\n\nexit code 3"


@pytest.mark.slow
def test_report_has_a_table_of_what_was_measured_and_why_the_rest_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("benchmarks.harness.report.draw", lambda _, path: drawn.append(path))
    write_report([WAITS], "quick", tmp_path, scripts=False)
    page = (tmp_path / "report.md").read_text()
    assert "| one | 4.00 (4.00–4.00) | 1.00 | " in page
    assert "| fails | — |  |  | of 4, fails: ZeroDivisionError |" in page
    assert [path.relative_to(tmp_path).as_posix() for path in drawn] == ["report/waits.svg"]
    assert "(report/waits.svg)" in page
    found = json.loads((tmp_path / "report.json").read_text())
    assert [each["question"] for each in found["answers"]] == ["waits"]


def test_first_look_leaves_out_what_is_slow_to_start() -> None:
    question = find_questions()["round-trip"]
    assert {"dask", "Ray"} & {each.name for each in question.candidates}
    quick = {each.name for each in question.candidates_for("quick")}
    assert {"distio", "ProcessPoolExecutor"} <= quick
    assert not {"dask", "Ray"} & quick


@pytest.mark.slow
def test_questions_take_turns() -> None:
    """Another place is measured beside this one, in the same rounds."""
    one = WAITS.candidates[0]
    entries = [Entry(one, HERE), Entry(one, replace(HERE, name="again"))]
    assert [each.name for each in ask(WAITS, "quick", entries).entries] == ["one", "one, again"]
    assert [each.values for each in entries] == [[4.0] * 2] * 2
