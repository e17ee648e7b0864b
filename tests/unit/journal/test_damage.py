"""A damaged journal is refused, or taken up as it was at some moment: never as something else."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from distio.errors import JournalError
from distio.runtime.journal.database import FILE
from distio.runtime.journal.replaying import version
from distio.runtime.journal.store import checksum_of
from tests.harness.journals import TURNS, fill, make, opened, state_of, states

CHECKPOINT_AT: Final = 20
CHECKPOINT: Final = f"turn-{CHECKPOINT_AT}.checkpoint"
LOG: Final = f"{FILE}-wal"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal whose holder has closed it."""
    directory = tmp_path_factory.mktemp("ended")
    journal = opened(directory)
    fill(journal, checkpoint_at=CHECKPOINT_AT)
    journal.close()
    return directory


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal whose holder was killed: its last turns are in the write-ahead log."""
    directory, kept = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("kept")
    journal = opened(directory)
    fill(journal, checkpoint_at=CHECKPOINT_AT)
    for name in (FILE, LOG, CHECKPOINT):
        shutil.copy(directory / name, kept)
    journal.close()
    return kept


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    def make_copy(directory: Path) -> Path:
        target = tmp_path / "copy"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(directory, target)
        return target

    return make_copy


def refusal(directory: Path) -> str:
    """Why a journal is refused; empty: it was taken up, as it was at some moment."""
    try:
        journal = opened(directory)
    except JournalError as error:
        return str(error)
    try:
        board = journal.recover(make)
        assert state_of(board) == states()[journal._turn]
    except JournalError as error:
        return str(error)
    finally:
        journal.close()
    return ""


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0x10]))


def places(path: Path, step: int) -> Iterator[int]:
    size = path.stat().st_size
    yield from range(step // 2, size, step)
    yield size - 1


# -- bytes that have changed ------------------------------------------------------------------


def check_flips(
    directory: Path, name: str, step: int, copy: Callable[[Path], Path]
) -> dict[bool, int]:
    """Change bytes, one after the other; return how often the journal was taken up, and wasn't."""
    found = {True: 0, False: 0}
    for place in places(directory / name, step):
        damaged = copy(directory)
        flip(damaged / name, place)
        why = refusal(damaged)
        assert not why or str(damaged) in why, (place, why)
        found[not why] += 1
    return found


FILES: Final = [("ended", FILE), ("ended", CHECKPOINT), ("killed", FILE), ("killed", LOG)]


@pytest.mark.slow
@pytest.mark.parametrize(("which", "name"), FILES)
def test_journal_with_a_changed_byte_is_refused_or_right(
    which: str, name: str, request: pytest.FixtureRequest, copy: Callable[[Path], Path]
) -> None:
    check_flips(request.getfixturevalue(which), name, 4_001, copy)


@pytest.mark.slow
@pytest.mark.parametrize(("which", "name"), FILES)
def test_journal_with_any_changed_byte_is_refused_or_right(
    which: str, name: str, request: pytest.FixtureRequest, copy: Callable[[Path], Path]
) -> None:
    step = int(os.environ.get("DAMAGE_STEP", "509")) * (5 if name == LOG else 1)
    found = check_flips(request.getfixturevalue(which), name, step, copy)
    # over the end of a damaged log, SQLite goes back; the sessions of members notice that
    assert found[name == LOG]


@pytest.mark.parametrize("where", [0, 10, 25, 40, -1])
def test_changed_byte_of_a_checkpoint_is_noticed_wherever_it_is(
    where: int, ended: Path, copy: Callable[[Path], Path]
) -> None:
    damaged = copy(ended)
    size = (damaged / CHECKPOINT).stat().st_size
    flip(damaged / CHECKPOINT, where % size)
    assert f"the checkpoint {damaged / CHECKPOINT} can't be opened" in refusal(damaged)


# -- files that are cut -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("which", "name"), FILES)
def test_journal_with_a_file_that_is_cut_is_refused_or_right(
    which: str, name: str, request: pytest.FixtureRequest, copy: Callable[[Path], Path]
) -> None:
    directory = request.getfixturevalue(which)
    size = (directory / name).stat().st_size
    refused = 0
    for length in (0, 1, 100, 512, 4_095, 4_096, 5_000, size // 2, size - 4_096, size - 1):
        damaged = copy(directory)
        os.truncate(damaged / name, max(0, length))
        refused += bool(refusal(damaged))
    assert refused == 10 or name != CHECKPOINT


@pytest.mark.parametrize("name", [FILE, CHECKPOINT])
def test_journal_with_a_file_that_is_missing_is_refused(
    name: str, ended: Path, copy: Callable[[Path], Path]
) -> None:
    damaged = copy(ended)
    (damaged / name).unlink()
    assert name in refusal(damaged)


@pytest.mark.parametrize("name", [FILE, CHECKPOINT])
def test_journal_with_a_directory_in_place_of_a_file_is_refused(
    name: str, ended: Path, copy: Callable[[Path], Path]
) -> None:
    damaged = copy(ended)
    (damaged / name).unlink()
    (damaged / name).mkdir()
    assert str(damaged) in refusal(damaged)


@pytest.mark.slow
def test_journal_without_its_log_is_as_it_was_before_it(
    killed: Path, copy: Callable[[Path], Path]
) -> None:
    damaged = copy(killed)
    (damaged / LOG).unlink()
    assert refusal(damaged) == ""


# -- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE turns SET number = 99 WHERE number = 30", "turn 30 is missing"),
        ("DELETE FROM turns WHERE number = 30", "turn 30 is missing"),
        ("DELETE FROM turns WHERE number = 21", "turn 21 is missing"),
        ("UPDATE turns SET inputs = x'00' WHERE number = 30", "turn 30 isn't what was written"),
        ("UPDATE turns SET inputs = 'text' WHERE number = 30", "turn 30 isn't what was written"),
        (
            "DELETE FROM turns WHERE number = 31; "
            "INSERT INTO turns SELECT 31, checksum, inputs FROM turns WHERE number = 30",
            "turn 31 isn't what was written",
        ),
        ("DELETE FROM blobs", "blob 1 is missing"),
        ("UPDATE blobs SET bytes = zeroblob(length(bytes))", "blob 1 isn't what was written"),
        ("DELETE FROM about", "its first row is missing"),
        ("UPDATE about SET about = '{}'", "its first row isn't what was written"),
        ("DROP TABLE turns", "no such table: turns"),
        ("DROP TABLE about", "no such table: about"),
        ("UPDATE about SET format = 7", "has format 7, and this distio writes format"),
        ("PRAGMA application_id = 0", "is no journal of distio"),
    ],
)
def test_journal_with_a_wrong_row_is_refused_and_says_which(
    statement: str, said: str, ended: Path, copy: Callable[[Path], Path]
) -> None:
    damaged = copy(ended)
    with closing(sqlite3.connect(damaged / FILE, isolation_level=None)) as db:
        db.executescript(statement)
    why = refusal(damaged)
    assert said in why
    assert str(damaged) in why


def test_checkpoint_of_another_turn_is_refused(ended: Path, copy: Callable[[Path], Path]) -> None:
    damaged = copy(ended)
    with closing(sqlite3.connect(damaged / FILE, isolation_level=None)) as db:
        [[about]] = db.execute("SELECT about FROM about")
        about = about.replace(b'"turn-20",20', b'"turn-20",25')
        checksum = checksum_of("its first row", about)
        db.execute("UPDATE about SET about = ?, checksum = ?", [about, checksum])
    assert "it is that of turn 20 in place of 25" in refusal(damaged)


def test_journal_of_another_version_is_refused_and_says_of_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    fill(journal, last=3)
    journal.close()
    monkeypatch.setattr("distio.runtime.journal.replaying.version", lambda: "protocol 99")
    assert f"was written by {version()}, and this is protocol 99" in refusal(tmp_path)


# -- directories ------------------------------------------------------------------------------


def test_directory_with_a_foreign_database_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.executescript("CREATE TABLE cats (name TEXT); PRAGMA user_version = 3")
    assert "is no journal of distio" in refusal(tmp_path)


def test_directory_with_a_text_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / FILE).write_text("Dear diary, " * 1_000)
    assert "file is not a database" in refusal(tmp_path)


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "can't be the directory of a journal" in refusal(tmp_path / "file")


def test_directory_to_which_others_can_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    assert f"others can write to {tmp_path}" in refusal(tmp_path)


def test_files_of_a_journal_are_for_their_user_alone(ended: Path) -> None:
    for path in ended.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directory_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o000)
    assert "Permission denied" in refusal(directory)


def test_journal_whose_first_holder_ended_while_it_made_the_database_begins_anew(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / f"{FILE}.partial").write_bytes(b"SQLite format 3\0" + bytes(1_000))
    assert refusal(tmp_path) == ""


def test_undamaged_journal_has_all_turns(ended: Path, copy: Callable[[Path], Path]) -> None:
    journal = opened(copy(ended))
    board = journal.recover(make)
    assert journal._turn == TURNS
    assert state_of(board) == states()[TURNS]
    journal.close()
