"""Cuts: checkpoints that a journal keeps to look back at, with the blobs that they need."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from distio.coordination.journal.inputs import decode
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.identity import ANYBODY
from distio.coordination.settings import Settings
from distio.coordination.state.store import InMemory
from distio.errors import JournalError
from distio.protocol.codec import Batch
from distio.protocol.messages import CancelRun, Hello, Listen, RenewLease
from distio.protocol.version import PROTOCOL, PYTHON
from distio.runtime.decider import Decider
from distio.runtime.journal.database import FILE, Database
from distio.runtime.journal.inspecting import compact, damages_of, show
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.reading import NoSuchCut, reading
from distio.runtime.journal.store import NotWritten
from tests.harness.journals import ignore, make, never, opened, state_of, take_up
from tests.harness.journals import record_of_saving as record
from tests.harness.journals import states as states_of
from tests.unit.journal.test_journal import checkpoints_of, end_checkpoint

EVERY: Final = 5
LAST: Final = 35


def keeping(directory: Path, cuts: int) -> Journal:
    """The journal in a directory, which keeps so many cuts."""
    return opened(directory, Limits(cuts=cuts))


def go_on(journal: Journal, *, last: int = LAST, every: int = EVERY) -> Handshakes:
    """Take up turns, and make a checkpoint after each fifth one, or what is given."""
    board = journal.recover(make)
    for number, turn in enumerate(record()[journal._turn : last], journal._turn + 1):
        take_up(journal, board, decode(turn).inputs)
        if number % every == 0:
            journal.checkpoint_now(board)
    return board


def check_kept(directory: Path, turns: list[int]) -> None:
    """Check that these cuts are there, whole, and nothing else that only other cuts need."""
    assert [each.cut for each in show(directory).cuts] == turns
    assert checkpoints_of(directory) == sorted(f"turn-{turn}.checkpoint" for turn in turns)
    needed = set[int]()
    for turn in turns:
        with reading(directory, turn) as moment:
            assert moment.turn == turn
            assert state_of(moment.found.board) == states_of(record)[turn]
            needed |= moment.found.blobs.alive
            there = {*moment.store.blobs()}
    assert there == needed
    assert [*damages_of(directory)] == []


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [0, 1, 2, 3, 99])
def test_last_checkpoints_stay_with_exactly_the_blobs_that_they_need(
    cuts: int, tmp_path: Path
) -> None:
    journal = keeping(tmp_path, cuts)
    go_on(journal, last=LAST)
    journal.close()
    made = [*range(EVERY, LAST + 1, EVERY)]
    check_kept(tmp_path, made[-max(cuts, 1) :])


@pytest.mark.slow
def test_blob_that_came_and_went_between_two_cuts_stays_for_none(tmp_path: Path) -> None:
    journal = keeping(tmp_path, 3)
    go_on(journal, last=30, every=15)  # one comes in turn 16, and isn't needed after turn 27
    journal.close()
    check_kept(tmp_path, [15, 30])


@pytest.mark.slow
@pytest.mark.parametrize("ended_at", range(16, 21))
def test_cuts_stay_when_a_process_ends_in_the_middle_and_another_goes_on(
    ended_at: int, tmp_path: Path
) -> None:
    for last in (ended_at, ended_at + 1, LAST):
        journal = keeping(tmp_path, 3)
        go_on(journal, last=last)
        (tmp_path / "turn-999.checkpoint").write_bytes(b"complete, but nothing begins there")
        journal.close()
    journal = keeping(tmp_path, 3)
    journal.recover(make)  # which sweeps
    journal.close()
    check_kept(tmp_path, [LAST - 2 * EVERY, LAST - EVERY, LAST])


@pytest.mark.slow
def test_cuts_that_are_too_many_go_with_the_next_checkpoint(tmp_path: Path) -> None:
    journal = keeping(tmp_path, 6)
    go_on(journal, last=30)
    journal.close()
    journal = keeping(tmp_path, 2)
    board = journal.recover(make)
    assert [each.cut for each in show(tmp_path).cuts] == [5, 10, 15, 20, 25, 30]
    take_up(journal, board, decode(record()[30]).inputs)
    journal.checkpoint_now(board)
    journal.close()
    check_kept(tmp_path, [30, 31])


@pytest.mark.slow
def test_cuts_stay_as_they_are_when_a_checkpoint_cannot_be_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = keeping(tmp_path, 3)
    board = go_on(journal, last=16)

    def fail(*_: Any) -> bool:
        raise NotWritten("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "begin_at", fail)
        journal.checkpoint_now(board)
    with reading(tmp_path, 5) as moment:
        assert state_of(moment.found.board) == states_of(record)[5]
    take_up(journal, board, decode(record()[16]).inputs)
    journal.checkpoint_now(board)
    journal.close()
    check_kept(tmp_path, [10, 15, 17])


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [0, 3])
def test_checkpoint_is_there_if_it_was_adopted_and_nobody_could_say_so(
    cuts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = keeping(tmp_path, cuts)
    board = go_on(journal, last=16)
    begin_at = Database.begin_at

    def begin_and_break(database: Database, *arguments: Any) -> bool:
        begin_at(database, *arguments)
        raise NotWritten("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "begin_at", begin_and_break)
        journal.checkpoint_now(board)
    journal.close()
    journal = keeping(tmp_path, cuts)
    assert state_of(journal.recover(make)) == states_of(record)[16]
    journal.close()
    check_kept(tmp_path, [10, 15, 16] if cuts else [16])


def test_reader_of_a_cut_keeps_what_it_reads_when_the_cut_goes(tmp_path: Path) -> None:
    journal = keeping(tmp_path, 2)
    board = go_on(journal, last=12)
    with reading(tmp_path, 5) as moment:
        for number in (12, 13):
            take_up(journal, board, decode(record()[number]).inputs)
            journal.checkpoint_now(board)
        for blob in moment.found.blobs.alive:
            assert moment.store.blob(blob)
    with (
        pytest.raises(NoSuchCut, match=r"has no cut 5; those that it has: 13, 14"),
        reading(tmp_path, 5),
    ):
        pass
    journal.close()


@pytest.mark.slow
def test_compact_keeps_as_many_cuts_as_there_were(tmp_path: Path) -> None:
    journal = keeping(tmp_path, 3)
    go_on(journal, last=17)
    journal.close()
    compact(tmp_path, ignore)
    check_kept(tmp_path, [10, 15, 17])


# -- when -------------------------------------------------------------------------------------


def due(journal: Journal) -> tuple[bool, float | None]:
    return journal.is_checkpoint_due, journal.seconds_to_cut


@pytest.mark.slow
def test_cut_is_due_a_while_after_the_first_change_that_the_last_one_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    journal = opened(tmp_path, Limits(cuts=3, seconds=60.0))
    board = journal.recover(make)
    assert due(journal) == (False, None)
    take_up(journal, board, decode(record()[0]).inputs)
    assert due(journal) == (False, 60.0)
    now[0] += 40.0
    take_up(journal, board, decode(record()[1]).inputs)
    assert due(journal) == (False, 20.0)
    now[0] += 20.0
    assert due(journal) == (True, 0.0)
    journal.begin_checkpoint(board)
    take_up(journal, board, decode(record()[2]).inputs)
    assert due(journal) == (False, None)  # while one is made, none is begun
    end_checkpoint(journal)
    assert due(journal) == (False, 60.0)
    journal.close()
    assert [each.cut for each in show(tmp_path).cuts] == [2]


def test_member_that_only_renews_its_lease_makes_no_cut_due(tmp_path: Path) -> None:
    settings = Settings(
        grace=1.0, max_losses=3, keep_seconds=1.0, absence=1.0, lease=1.0, outage=1.0
    )
    journal = keeping(tmp_path, 3)
    decider = Decider(settings, InMemory, journal)
    decider.commit(never)
    journal.checkpoint_now(decider.board)
    assert decider.seconds_to_checkpoint is None
    decider.hear(b"stranger", Batch([CancelRun(1)], [], 1), [], ANYBODY)
    hello = Hello(PROTOCOL, PYTHON, "client", 1, "host", 1, b"token", proof=b"proof")
    for address, begins in ((b"member", hello), (b"ear", Listen(b"token"))):
        decider.hear(address, Batch([begins], []), [], ANYBODY)
    for message, is_change in ((RenewLease(5.0), False), (CancelRun(1), True)):
        decider.hear(b"member", Batch([message], [], int(is_change)), [], ANYBODY)
        assert (decider.seconds_to_checkpoint is not None) is is_change
    journal.close()


def test_journal_that_keeps_no_cuts_makes_none(tmp_path: Path) -> None:
    journal = opened(tmp_path, Limits(seconds=0.0))
    board = journal.recover(make)
    take_up(journal, board, decode(record()[0]).inputs)
    assert due(journal) == (False, None)
    journal.close()


# -- damage -----------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A journal that has cuts, and that nobody holds."""
    journal = keeping(tmp_path, 3)
    go_on(journal, last=17)
    journal.close()
    return tmp_path


def test_damage_of_a_former_checkpoint_is_named_and_stops_nobody(directory: Path) -> None:
    path = directory / "turn-5.checkpoint"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    [damage] = damages_of(directory)
    assert f"the checkpoint {path} can't be opened: its checksum is wrong" in damage
    journal = keeping(directory, 3)
    assert state_of(journal.recover(make)) == states_of(record)[17]
    journal.close()


def test_former_checkpoint_that_is_missing_is_named(directory: Path) -> None:
    (directory / "turn-10.checkpoint").unlink()
    [damage] = damages_of(directory)
    assert "turn-10.checkpoint can't be opened: No such file or directory" in damage


def test_row_of_a_cut_that_is_damaged_is_refused_since_it_says_which_blobs_go(
    directory: Path,
) -> None:
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as db:
        db.execute("UPDATE cuts SET turn = 7 WHERE turn = 5")
    [damage] = damages_of(directory)
    assert "cut 7 isn't what was written" in damage
    with pytest.raises(JournalError, match="cut 7 isn't what was written"):
        keeping(directory, 3).recover(make)


def test_blob_that_only_a_cut_needs_and_that_is_missing_is_named(directory: Path) -> None:
    with reading(directory) as now:
        alive = now.found.blobs.alive
        only = {*now.store.blobs()} - alive
    assert only, "the test has no such blob"
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as db:
        db.execute(f"DELETE FROM blobs WHERE number = {min(only)}")
    damages = [*damages_of(directory)]
    assert damages
    assert all(f"blob {min(only)} is missing" in each for each in damages)
