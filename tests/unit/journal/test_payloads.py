"""Payloads that are blobs are in the journal once."""

from __future__ import annotations

from pathlib import Path

import pytest

from distio.coordination.journal.inputs import Heard, Input, Ticked, Turn, decode, encode
from distio.coordination.journal.payloads import detached_of, with_bytes, with_numbers
from distio.protocol import messages as m
from distio.protocol.codec import DETACH_BYTES, from_member
from distio.runtime.journal.limits import Limits
from tests.harness.journals import fill, opened, record_of_saving, state_of, take_up

SMALL, LARGE = b"s" * 5_000, b"l" * (DETACH_BYTES + 1)


def heard(*payloads: bytes, now: float = 0.0) -> Heard:
    """A batch of offers with these payloads, as a coordinator hears it."""
    offers = [m.Offer([m.Chunk(1, [(n, 0)], payload)]) for n, payload in enumerate(payloads)]
    frames = from_member.encode(offers)
    return Heard(now, b"address", [frames[0], *detached_of(from_member.read(frames))])


def payloads_of(input: Input) -> list[bytes]:
    """The payloads in the frames of an input."""
    assert isinstance(input, Heard)
    return [offer.chunks[0].payload for offer in from_member.decode(input.frames)]  # type: ignore[attr-defined]  # mypy: of any message


def in_a_turn(
    inputs: list[Input], next_numbers: list[int], blobs: dict[int, bytes]
) -> tuple[int, list[Input]]:
    """How many bytes the turn has, and its inputs as they are taken up again."""
    data = encode(Turn(0.0, with_numbers(inputs, next_numbers, blobs), 0))
    whole, size = with_bytes(decode(data).inputs, blobs.__getitem__)
    assert size <= sum(map(len, blobs.values()))
    return len(data), whole


@pytest.mark.parametrize("payload", [SMALL, LARGE])
def test_payload_that_is_a_blob_is_not_in_its_turn(payload: bytes) -> None:
    one = heard(payload)
    kept = payloads_of(one)[0] if payload is SMALL else one.frames[1]
    assert isinstance(kept, bytes)
    size, (again,) = in_a_turn([one], [5], {5: kept})
    assert size < 200
    assert again == one


def test_payloads_of_several_inputs_are_found_where_they_came() -> None:
    inputs: list[Input] = [Ticked(0.0), heard(SMALL, b"few"), Ticked(1.0), heard(LARGE, b"m" * 999)]
    first = payloads_of(inputs[1])[0]
    assert isinstance(inputs[3], Heard)
    large = inputs[3].frames[1]
    assert isinstance(large, bytes)
    size, again = in_a_turn(inputs, [7, 7, 8, 8], {7: first, 8: large})
    assert size < 1_500
    assert again == inputs


def test_payload_that_is_no_blob_any_more_stays_in_its_turn() -> None:
    one = heard(SMALL)
    size, (again,) = in_a_turn([one], [5], {})
    assert size > len(SMALL)
    assert again == one


@pytest.mark.parametrize("is_private", [False, True])
def test_journal_takes_up_turns_whose_payloads_are_blobs(is_private: bool, tmp_path: Path) -> None:
    with_turns = tmp_path / "journal"
    journal = opened(with_turns, is_private=is_private)
    board = fill(journal, last=0)
    for turn in record_of_saving()[:150]:
        take_up(journal, board, decode(turn).inputs)
    blobs = sum(map(len, map(journal._store.blob, journal._store.blobs())))
    turns = sum(len(data) for _, data in journal._store.turns_after(0))
    assert blobs > 50_000
    assert turns < blobs
    sizes, state = (journal._bytes, journal._blob_bytes), state_of(board)
    journal.close()
    journal = opened(with_turns, is_private=is_private)
    assert state_of(fill(journal, last=0)) == state
    # so the next checkpoint is due as early as before
    assert (journal._bytes, journal._blob_bytes) == sizes
    journal.close()


def test_checkpoint_is_due_when_blobs_have_many_bytes(tmp_path: Path) -> None:
    journal = opened(tmp_path, Limits(blob_bytes=50_000))
    board = fill(journal, last=0)
    due = []
    for turn in record_of_saving()[:150]:
        take_up(journal, board, decode(turn).inputs)
        due.append(journal.is_checkpoint_due)
    assert not due[0]
    assert due[-1]
    journal.checkpoint_now(board)
    assert not journal.is_checkpoint_due
    journal.close()
