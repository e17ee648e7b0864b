"""The journal of a coordinator: what is committed is there, and nothing is lost of it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from distio.coordination.journal.inputs import Ticked, decode
from distio.errors import JournalError
from distio.runtime.journal.database import Database
from distio.runtime.journal.journal import Access, Journal, JournalLost
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.store import NotWritten
from tests.conftest import PATIENCE
from tests.harness.disks import fill_disk, small_disk_at
from tests.harness.journaled import await_file
from tests.harness.journals import (
    TURNS,
    fill,
    make,
    never,
    opened,
    record,
    state_of,
    states,
    take_up,
)

TINY: Final = Limits(turns=10)


def end_checkpoint(journal: Journal) -> None:
    """Wait until the fork of a journal has written its checkpoint."""
    assert journal.child is not None
    assert select.select([journal.child], [], [], PATIENCE)[0]
    journal.end_checkpoint()


def checkpoints_of(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*checkpoint*"))


# -- turns and checkpoints --------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint_at", [None, 1, 9, 10, 20, TURNS])
def test_journal_that_is_taken_up_gives_the_same_coordinator(
    checkpoint_at: int | None, tmp_path: Path
) -> None:
    journal = opened(tmp_path)
    fill(journal, checkpoint_at=checkpoint_at)
    journal.close()
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[TURNS]
    assert journal._turn == TURNS
    journal.close()


def test_journal_that_is_taken_up_twice_keeps_the_blobs_that_its_turns_need(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    board = fill(journal)
    kept = journal.blobs(bytes(5_000))
    take_up(journal, board, [Ticked(journal.now())])
    del kept  # a turn since the checkpoint has needed it
    blobs = [*journal._store.blobs()]
    assert set(blobs) > journal.blobs.alive
    for _ in range(2):
        journal.close()
        journal = opened(tmp_path)
        board = journal.recover(make)
        assert [*journal._store.blobs()] == blobs
    take_up(journal, board, [Ticked(journal.now())])
    journal.checkpoint_now(board)
    assert {*journal._store.blobs()} == journal.blobs.alive
    journal.close()


@pytest.mark.slow
def test_checkpoint_of_a_fork_is_that_of_the_turn_in_which_it_began(tmp_path: Path) -> None:
    journal = opened(tmp_path, TINY)
    board = journal.recover(make)
    began = 0
    for number, turn in enumerate(record(), 1):
        take_up(journal, board, decode(turn).inputs)
        if journal.is_checkpoint_due:
            journal.begin_checkpoint(board)
            began = number
        elif began and number == began + 3:
            end_checkpoint(journal)
            assert checkpoints_of(tmp_path) == [f"turn-{began}.checkpoint"]
    assert began > 2 * TINY.turns
    journal.close()
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[TURNS]
    journal.close()


def test_fork_that_writes_a_checkpoint_keeps_the_journal_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    board = fill(journal, last=10)
    began = tmp_path / "began"

    def write(*_: Any) -> None:
        began.touch()
        signal.pause()

    monkeypatch.setattr(Journal, "_write_checkpoint", write)
    journal.begin_checkpoint(board)
    await_file(began)
    child, journal._child = journal._child, None
    journal.close()
    try:
        opened(tmp_path).close()
    finally:
        assert child is not None
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert journal.child is not None
        os.close(journal.child)


def test_journal_that_is_closed_ends_the_fork_that_writes_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    board = fill(journal, last=10)
    monkeypatch.setattr(Journal, "_write_checkpoint", lambda *_: signal.pause())
    journal.begin_checkpoint(board)
    child = journal._child
    journal.close()
    assert child is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[10]
    journal.close()


def test_checkpoint_that_was_begun_only_is_swept_up(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, last=10, checkpoint_at=5)
    journal.close()
    (tmp_path / "turn-9.checkpoint").write_bytes(b"complete, but the journal never began there")
    (tmp_path / "turn-9.checkpoint.partial").write_bytes(b"incomp")
    journal = opened(tmp_path)
    journal.recover(make)
    assert checkpoints_of(tmp_path) == ["turn-5.checkpoint"]
    journal.close()


def test_checkpoint_that_cannot_be_written_is_told_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[str] = []
    journal = Journal(tmp_path, complain=complaints.append)
    board = fill(journal, last=10, checkpoint_at=5)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write_checkpoint", fail)
        journal.begin_checkpoint(board)
        end_checkpoint(journal)
        take_up(journal, board, decode(record()[10]).inputs)
        journal.checkpoint_now(board)
    assert complaints == [
        f"no checkpoint could be made in {tmp_path} ({why}No space left on device); the journal "
        f"grows until one can"
        for why in ("", "[Errno 28] ")
    ]
    assert checkpoints_of(tmp_path) == ["turn-5.checkpoint"]
    journal.close()
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[11]
    journal.close()


def test_former_checkpoint_stays_while_a_reader_needs_the_log(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    board = fill(journal, last=10, checkpoint_at=5)
    reader = Database(tmp_path, None)
    journal.checkpoint_now(board)
    assert checkpoints_of(tmp_path) == ["turn-10.checkpoint", "turn-5.checkpoint"]
    assert reader.about().base.turn == 5
    reader.close()
    take_up(journal, board, decode(record()[10]).inputs)
    journal.checkpoint_now(board)
    assert checkpoints_of(tmp_path) == ["turn-11.checkpoint"]
    journal.close()


# -- what can't be written --------------------------------------------------------------------


def test_turn_that_cannot_be_written_is_written_later_and_told_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[str] = []
    journal = Journal(tmp_path, complain=complaints.append)
    fill(journal, last=5)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    commit, failures = Database.commit, iter(range(125))

    def fail(database: Database, *arguments: Any) -> None:
        if next(failures, None) is not None:
            raise NotWritten("database or disk is full")
        commit(database, *arguments)

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    monkeypatch.setattr(Database, "commit", fail)
    inputs = decode(record()[5]).inputs
    for each in inputs:
        journal.note(each)
    journal.commit(wait)
    *stands, goes_on = complaints
    stands_still = (
        f"the journal in {tmp_path} can't be written (database or disk is full), so the cluster "
        f"stands still; it goes on as soon as that is mended"
    )
    assert stands == [stands_still] * 3
    assert goes_on == f"the journal in {tmp_path} is written again, and the cluster goes on"
    journal.close()
    journal = opened(tmp_path)
    journal.recover(make)
    assert journal._turn == 6
    journal.close()


def test_journal_that_cannot_be_written_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)
    fill(journal, last=5)

    def fail(*_: Any) -> None:
        raise NotWritten("database or disk is full")

    monkeypatch.setattr(Database, "commit", fail)
    journal.note(Ticked(journal.now()))
    with pytest.raises(JournalLost, match=r"it was told to, while the journal in .* couldn't be"):
        journal.commit(lambda seconds: True)
    journal.close()


def test_blob_that_is_damaged_while_it_is_needed_stops_the_coordinator(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    fill(journal, last=15)
    database = journal._store
    assert isinstance(database, Database)
    database._connection.execute("UPDATE blobs SET bytes = zeroblob(length(bytes))")
    with pytest.raises(JournalError, match="blob 1 isn't what was written"):
        journal.blobs.load(1)
    journal.note(Ticked(journal.now()))
    with pytest.raises(JournalLost, match="blob 1 isn't what was written"):
        journal.commit(never)
    journal.close()


def test_database_that_is_damaged_while_it_is_written_stops_the_coordinator(
    tmp_path: Path,
) -> None:
    journal = opened(tmp_path)
    fill(journal, last=5)
    database = journal._store
    assert isinstance(database, Database)
    database._connection.execute("DROP TABLE turns")
    journal.note(Ticked(journal.now()))
    with pytest.raises(JournalLost, match="no such table: turns; restore a copy"):
        journal.commit(never)
    journal.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with small_disk_at(tmp_path / "disk", 1) as directory:
        yield directory


def test_full_disk_stops_the_journal_until_there_is_room(small_disk: Path) -> None:
    complaints: list[str] = []
    journal = Journal(small_disk, complain=complaints.append)
    fill(journal, last=10)
    ballast = small_disk / "ballast"
    fill_disk(ballast)

    def make_room(seconds: float) -> bool:
        ballast.unlink()
        return False

    numbers = 0
    while not complaints:  # what is left of the last page of the file takes some turns
        journal.note(Ticked(journal.now()))
        journal.commit(make_room)
        numbers += 1
    assert len(complaints) == 2
    assert "can't be written (database or disk is full), so the cluster stands" in complaints[0]
    journal.close()
    journal = opened(small_disk)
    journal.recover(make)
    assert journal._turn == 10 + numbers
    journal.close()


def test_full_disk_at_start_is_a_clear_error(small_disk: Path) -> None:
    fill_disk(small_disk / "ballast")
    with pytest.raises(JournalError, match=r"full|No space left on device"):
        opened(small_disk)


def test_full_disk_at_start_harms_no_journal_that_is_there(small_disk: Path) -> None:
    journal = opened(small_disk)
    fill(journal, last=10)
    journal.close()
    fill_disk(small_disk / "ballast")
    with pytest.raises(JournalError, match=r"full|No space left on device"):
        opened(small_disk).recover(make)
    (small_disk / "ballast").unlink()
    journal = opened(small_disk)
    assert state_of(journal.recover(make)) == states()[10]
    journal.close()


# -- holders ----------------------------------------------------------------------------------


def test_second_holder_is_refused_and_told_who_is_the_first(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalError, match=rf"process {os.getpid()}, since .*--take-over if that"):
        opened(tmp_path)
    journal.close()


def test_former_holder_commits_nothing_after_another_has_taken_over(tmp_path: Path) -> None:
    former = opened(tmp_path)
    fill(former, last=10)
    journal = opened(tmp_path, access=Access.TAKE_OVER)
    assert state_of(journal.recover(make)) == states()[10]
    former.note(Ticked(former.now()))
    with pytest.raises(JournalLost, match=r"another coordinator \(process .*\) has taken"):
        former.commit(never)
    former.close()
    journal.close()
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[10]
    journal.close()


def test_former_holder_makes_no_checkpoint_after_another_has_taken_over(tmp_path: Path) -> None:
    complaints: list[str] = []
    former = Journal(tmp_path, complain=complaints.append)
    board = fill(former, last=10)
    journal = opened(tmp_path, access=Access.TAKE_OVER)
    journal.recover(make)
    former.checkpoint_now(board)
    assert [each.partition(" (")[0] for each in complaints] == ["another coordinator"]
    former.close()
    journal.close()
    journal = opened(tmp_path)
    assert state_of(journal.recover(make)) == states()[10]
    assert checkpoints_of(tmp_path) == []
    journal.close()


def take_over(directory: Path, at_once: threading.Barrier, is_open: threading.Barrier) -> str:
    """Take the journal over with others, and commit a turn; why that can't be, or nothing."""
    at_once.wait(PATIENCE)
    found: Journal | JournalError
    try:
        found = opened(directory, access=Access.TAKE_OVER)
    except JournalError as refused:
        found = refused
    is_open.wait(PATIENCE)
    if isinstance(found, JournalError):
        return str(found)
    try:
        board = found.recover(make)
        take_up(found, board, [Ticked(found.now())])
    except (JournalError, JournalLost) as lost:
        return str(lost)
    finally:
        found.close()
    return ""


@pytest.mark.slow
def test_of_those_that_take_over_at_once_one_goes_on_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    former = opened(tmp_path)
    fill(former, last=10)
    with ThreadPoolExecutor(3) as pool:
        for turns in range(10):
            barriers = threading.Barrier(3), threading.Barrier(3)
            ends = [pool.submit(take_over, tmp_path, *barriers) for _ in range(3)]
            goes_on, *told = sorted(end.result(PATIENCE) for end in ends)
            assert goes_on == ""
            assert all(each.startswith("another coordinator") for each in told), told
            with closing(Database(tmp_path, None)) as database:
                assert sum(1 for _ in database.turns_after(0)) == 11 + turns
    former.note(Ticked(former.now()))
    with pytest.raises(JournalLost, match="another coordinator"):
        former.commit(never)
    former.close()


def test_holder_after_a_take_over_keeps_others_out(tmp_path: Path) -> None:
    former = opened(tmp_path)
    journal = opened(tmp_path, access=Access.TAKE_OVER)
    former.close()
    with pytest.raises(JournalError, match=r"another coordinator holds"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_standby_waits_for_the_holder_that_has_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, standbys = opened(tmp_path), []
    has_opened = threading.Event()

    def flock(descriptor: int, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:
            has_opened.set()  # the file that the former holder has locked
        lock(descriptor, operation)

    lock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    thread = threading.Thread(
        target=lambda: standbys.append(opened(tmp_path, access=Access.STANDBY))
    )
    thread.start()
    assert has_opened.wait(PATIENCE)
    journal = opened(tmp_path, access=Access.TAKE_OVER)
    former.close()
    fill(journal, last=10)
    journal.close()
    thread.join(PATIENCE)
    (standby,) = standbys
    assert state_of(standby.recover(make)) == states()[10]
    standby.close()


def test_journal_that_is_read_has_no_later_turns(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    board = fill(journal, last=10)
    reader = Database(tmp_path, None)
    take_up(journal, board, decode(record()[10]).inputs)
    assert [number for number, _ in reader.turns_after(0)] == [*range(1, 11)]
    reader.close()
    journal.close()


def test_journal_that_is_read_and_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal in"):
        Database(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
