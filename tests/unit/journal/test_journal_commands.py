"""`distio journal`: what it says of a journal, and what it leaves alone."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from distio.cli import main as cli
from distio.runtime.journal.database import FILE
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.lock import describe
from tests.harness.journals import TURNS, fill, make, opened, state_of, states

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `distio journal`; returns its exit code, and what is on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["distio", "journal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A journal that nobody holds."""
    journal = opened(tmp_path)
    fill(journal, checkpoint_at=20)
    journal.close()
    return tmp_path


def change(directory: Path, statement: str) -> None:
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as db:
        db.executescript(statement)


@pytest.mark.slow
def test_check_of_a_whole_journal_says_what_it_has(directory: Path, call: Call) -> None:
    assert call("check", directory) == (
        0,
        f"{directory} is whole: {TURNS} turns, {TURNS - 20} of them since the last checkpoint, "
        f"and 1 blobs\n",
        "",
    )


@pytest.mark.slow
def test_check_of_a_journal_names_each_damage(directory: Path, call: Call) -> None:
    change(
        directory,
        "UPDATE turns SET inputs = x'00' WHERE number IN (25, 33); UPDATE blobs SET bytes = x'00'",
    )
    code, out, err = call("check", directory)
    assert (code, out) == (1, f"{directory}: 3 damages found\n")
    assert err.splitlines() == [
        f"distio: {what} isn't what was written" for what in ("turn 25", "turn 33", "blob 1")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM turns WHERE number = 30", "turn 30 is missing"),
        ("DELETE FROM about", "its first row is missing"),
        ("DELETE FROM blobs", "blob 1 is missing"),
    ],
)
def test_check_of_a_journal_finds_what_is_missing(
    statement: str, said: str, directory: Path, call: Call
) -> None:
    change(directory, statement)
    code, out, err = call("check", directory)
    assert (code, out) == (1, f"{directory}: 1 damage found\n")
    assert said in err


def test_check_of_a_journal_opens_its_checkpoint(directory: Path, call: Call) -> None:
    (directory / "turn-20.checkpoint").write_bytes(b"what is this?")
    code, _, err = call("check", directory)
    assert code == 1
    assert "turn-20.checkpoint can't be opened: it doesn't begin as a checkpoint does" in err


@pytest.mark.slow
def test_check_changes_nothing(directory: Path, call: Call) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    call("check", directory)
    call("show", directory)
    after = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert {name: data for name, data in after.items() if name in before} == before
    assert {name for name in after if after[name]} - set(before) <= {f"{FILE}-shm"}


def test_show_tells_what_is_in_a_journal(directory: Path, call: Call) -> None:
    code, out, err = call("show", directory)
    assert (code, err) == (0, "")
    assert f"journal   {directory}\n" in out
    assert "holder    none; the last one was process " in out
    assert f"turns     {TURNS}, {TURNS - 20} since the checkpoint\n" in out
    assert "runs      1\n" in out


@pytest.mark.slow
def test_show_of_a_journal_that_is_held_says_by_whom(tmp_path: Path, call: Call) -> None:
    journal = opened(tmp_path)
    fill(journal, last=10, checkpoint_at=5)
    code, out, _ = call("show", tmp_path, "--json")
    journal.close()
    assert code == 0
    contents = json.loads(out)
    assert contents["held_by"].startswith("process ")
    assert (contents["turn"], contents["turns_to_replay"]) == (10, 5)
    assert contents["bytes"].keys() == {"database", "write-ahead log", "checkpoint"}
    assert contents["members"][0]["name"].startswith("worker 1 (process ")
    assert contents["runs"][0]["alive"] > 1


@pytest.mark.slow
def test_show_lists_the_cuts_of_a_journal(tmp_path: Path, call: Call) -> None:
    journal = opened(tmp_path, Limits(cuts=3))
    board = fill(journal, last=10, checkpoint_at=5)
    journal.checkpoint_now(board)
    journal.close()
    code, out, _ = call("show", tmp_path, "--json")
    contents = json.loads(out)
    assert [each["cut"] for each in contents["cuts"]] == [5, 10]
    assert contents["bytes"].keys() >= {"checkpoint", "former checkpoints"}
    code, out, err = call("show", tmp_path)
    assert (code, err) == (0, "")
    lines = [f"  cut {each['cut']}: as of {describe(each['as_of'])}" for each in contents["cuts"]]
    assert "\n".join(["cuts      2", *lines]) in out


@pytest.mark.parametrize("command", ["check", "show", "compact"])
def test_journal_that_is_not_there_is_not_made(command: str, tmp_path: Path, call: Call) -> None:
    code, _, err = call(command, tmp_path / "none")
    assert code == (1 if command == "check" else 64)
    assert err == f"distio: there is no journal in {tmp_path / 'none'}; check the path\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_compact_makes_a_checkpoint_of_the_last_turn(directory: Path, call: Call) -> None:
    before = (directory / FILE).stat().st_size
    assert call("compact", directory) == (0, f"{directory} begins at its last turn now\n", "")
    assert (directory / f"turn-{TURNS}.checkpoint").exists()
    assert (directory / FILE).stat().st_size < before
    journal = opened(directory)
    assert state_of(journal.recover(make)) == states()[TURNS]
    assert journal._turns == 0
    journal.close()


@pytest.mark.slow
def test_compact_is_refused_while_a_coordinator_holds_the_journal(
    tmp_path: Path, call: Call
) -> None:
    journal = opened(tmp_path)
    fill(journal, last=5)
    code, _, err = call("compact", tmp_path)
    journal.close()
    assert code == 64
    assert "another coordinator holds the journal in" in err
