"""Private journals: what is committed survives the end of the process, and files don't grow."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from distio.coordination.journal.inputs import Ticked, decode
from distio.errors import JournalError
from distio.protocol.pieces import joined
from distio.runtime.journal import log
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.log import Log
from tests.harness.journals import (
    TURNS,
    fill,
    ignore,
    make,
    record,
    record_of_saving,
    state_of,
    states,
    take_up,
)

SMALL: Final = 10_000
"""A segment of so many bytes holds a few turns of the records of tests."""


def private(
    directory: Path, limits: Limits | None = None, complain: Callable[[str], None] = ignore
) -> Journal:
    return Journal(directory, complain=complain, limits=limits, is_private=True)


def log_of(journal: Journal) -> Log:
    assert journal._log is not None
    return journal._log


def segments_of(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


@pytest.fixture(params=[SMALL, log._MOST_BYTES], ids=["small segments", "one segment"])
def segments(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How large segments are."""
    monkeypatch.setattr(log, "_MOST_BYTES", request.param)


@pytest.mark.usefixtures("segments")
@pytest.mark.parametrize("checkpoint_at", [None, 1, 20, TURNS])
def test_private_journal_that_is_taken_up_gives_the_same_coordinator(
    checkpoint_at: int | None, tmp_path: Path
) -> None:
    journal = private(tmp_path)
    fill(journal, checkpoint_at=checkpoint_at)
    journal.close()
    for _ in range(2):
        journal = private(tmp_path)
        assert state_of(journal.recover(make)) == states()[TURNS]
        assert journal._turn == TURNS
        journal.close()


@pytest.mark.slow
def test_private_journal_whose_last_turn_is_cut_short_is_as_it_was_before_it(
    tmp_path: Path,
) -> None:
    ended = tmp_path / "ended"
    journal = private(ended)
    board = fill(journal, last=TURNS - 1)
    before = log_of(journal)._segments[-1].end
    take_up(journal, board, decode(record()[TURNS - 1]).inputs)
    whole = log_of(journal)._segments[-1].end
    journal.close()
    for cut in (before + 1, before + 30, (before + whole) // 2, whole - 1):
        copy = tmp_path / f"cut at {cut}"
        shutil.copytree(ended, copy)
        os.truncate(segments_of(copy)[-1], cut)
        journal = private(copy)
        board = journal.recover(make)
        assert state_of(board) == states()[TURNS - 1]
        take_up(journal, board, decode(record()[TURNS - 1]).inputs)
        journal.close()
        journal = private(copy)
        assert state_of(journal.recover(make)) == states()[TURNS]
        journal.close()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_private_journal_with_a_changed_byte_is_refused_or_right(
    share: float, tmp_path: Path
) -> None:
    journal = private(tmp_path)
    fill(journal)
    journal.close()
    [segment] = segments_of(tmp_path)
    data = bytearray(segment.read_bytes())
    data[int(share * len(data))] ^= 0x10
    segment.write_bytes(data)
    try:
        journal = private(tmp_path)
        assert state_of(journal.recover(make)) == states()[TURNS]  # nobody needs what has changed
    except JournalError as error:
        assert "is damaged" in str(error)  # noqa: PT017 (either is right)
    journal.close()


def test_private_journal_with_a_changed_byte_in_the_head_of_its_last_record_is_refused(
    tmp_path: Path,
) -> None:
    """Its length is in there: the record isn't taken for one that was being written."""
    journal = private(tmp_path)
    board = fill(journal, last=TURNS - 1)
    begin = log_of(journal)._segments[-1].end
    take_up(journal, board, decode(record()[TURNS - 1]).inputs)
    journal.close()
    [segment] = segments_of(tmp_path)
    whole = segment.read_bytes()
    for at in range(begin, begin + log._LEAST):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        segment.write_bytes(changed)
        with pytest.raises(JournalError, match="is damaged"):
            private(tmp_path)


def test_private_journal_with_a_segment_that_is_cut_before_the_last_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_MOST_BYTES", SMALL)
    journal = private(tmp_path)
    fill(journal)
    journal.close()
    first, *others = segments_of(tmp_path)
    assert others
    os.truncate(first, first.stat().st_size - 1)
    with pytest.raises(JournalError, match=f"{first.name} is cut short"):
        private(tmp_path)


def test_private_journal_has_no_more_than_twice_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_MOST_BYTES", SMALL)
    journal = private(tmp_path)
    board = journal.recover(make)
    kept = journal.blobs(bytes(4_000))  # an old one that is needed to the end
    largest = 0
    for number, turn in enumerate(record_of_saving(), 1):
        take_up(journal, board, decode(turn).inputs)
        if number % 10 == 0:
            journal.checkpoint_now(board)
            needed = sum(segment.needed for segment in log_of(journal)._segments)
            files = sum(path.stat().st_size for path in segments_of(tmp_path))
            assert files <= 2 * needed + 3 * SMALL
            largest = max(largest, files)
    assert {*log_of(journal).blobs()} == journal.blobs.alive
    assert journal.blobs.next_number * 3_000 > 2 * largest  # so much came, and isn't there
    assert kept.load() == bytes(4_000)
    journal.close()
    journal = private(tmp_path)
    assert state_of(journal.recover(make)) == state_of(board)
    assert log_of(journal).blob(1) == bytes(4_000)
    journal.close()


def test_private_journal_that_cannot_be_written_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[str] = []
    journal = private(tmp_path, Limits(turns=5), complaints.append)
    board = fill(journal, last=10)
    former = {number: log_of(journal).blob(number) for number in journal.blobs.alive}
    assert Log.is_there(tmp_path)
    assert former

    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", refuse)
    blobs = [journal.blobs(bytes([n]) * 3_000) for n in range(2)]
    for _ in range(3):
        take_up(journal, board, [Ticked(journal.now())])
    [complaint] = complaints
    assert "can't be written (No space left on device), so the cluster goes on without" in complaint
    assert [joined(blob.load())[0] for blob in blobs] == [0, 1]
    assert former == {number: log_of(journal).blob(number) for number in former}
    assert not Log.is_there(tmp_path)
    assert not journal.is_checkpoint_due
    number = journal.blobs.next_number - 1
    del blobs
    take_up(journal, board, [Ticked(journal.now())])
    with pytest.raises(JournalError, match=f"blob {number} is missing"):
        log_of(journal).blob(number)
    journal.close()


def test_private_journal_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal").touch()
    with pytest.raises(JournalError, match="can't be used: File exists"):
        private(tmp_path / "journal")
