"""Payloads that are blobs are in the journal once."""

from __future__ import annotations

import gc
from io import BytesIO
from pathlib import Path
from typing import final
from weakref import ref

import pytest

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Heard, Input, Ticked, Turn, decode, encode
from distio.coordination.journal.payloads import detached_of, with_bytes, with_numbers
from distio.errors import JournalError
from distio.protocol import messages as m
from distio.protocol.codec import DETACH_BYTES, Batch, MalformedFrame, from_member
from distio.protocol.pieces import Pieces, digest_of
from distio.runtime.journal.checkpoints import dump, load
from distio.runtime.journal.journal import Journal
from distio.runtime.journal.limits import Limits
from tests.harness.journals import fill, ignore, make, opened, record_of_saving, state_of, take_up

SMALL, LARGE = b"s" * 5_000, b"l" * (DETACH_BYTES + 1)


def heard(*payloads: bytes, now: float = 0.0) -> Heard:
    """A batch of offers with these payloads, as a coordinator hears it."""
    offers = [m.Offer([m.Chunk(1, [(n, 0)], payload)]) for n, payload in enumerate(payloads)]
    frames = from_member.encode(offers)
    detached = detached_of(from_member.read(frames), Blobs(_none))
    return Heard(now, b"address", [frames[0], *detached])


def _none(number: int) -> bytes:
    raise AssertionError(f"blob {number} isn't read")


@final
class Part:
    """A part that is in shared memory."""

    def __init__(self, label: bytes, data: bytes) -> None:
        self.label = label
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def digest(self) -> bytes:
        return digest_of(self._data)

    def read(self) -> bytes:
        return self._data

    def view(self) -> memoryview:
        return memoryview(self._data)

    private = view


def shared(*parts: Part) -> Batch[m.MemberMessage]:
    """An offer for each of these parts, each behind a small piece, as the coordinator reads it."""
    chunks = [m.Chunk(1, [(n, 0)], Pieces([SMALL, part])) for n, part in enumerate(parts)]
    frames = from_member.encode([m.Offer([each]) for each in chunks], share=lambda part: part.label)
    by_label = {part.label: part for part in parts}
    return from_member.read(frames, by_label.__getitem__)


def payload_of(batch: Batch[m.MemberMessage], index: int = 0) -> Pieces:
    """The payload of an offer."""
    offer = batch.messages[index]
    assert isinstance(offer, m.Offer)
    payload = offer.chunks[0].payload
    assert isinstance(payload, Pieces)
    return payload


def test_part_of_many_payloads_is_one_blob_and_its_turn_refers_to_that() -> None:
    blobs, part = Blobs(_none), Part(b"label", LARGE)
    batch = shared(part, part)
    frames = detached_of(batch, blobs)
    kept = [blobs(payload_of(batch, index)) for index in (0, 1)]

    assert sorted(map(len, blobs.fresh.values())) == [len(SMALL), len(SMALL), len(LARGE)]
    assert frames[1] == frames[3]
    assert len(frames[1]) < 100
    assert [each.load() for each in kept] == [SMALL + LARGE] * 2


def test_part_of_a_turn_that_is_taken_up_again_is_read_from_its_blob() -> None:
    live, part = Blobs(_none), Part(b"label", LARGE)
    batch = shared(part)
    frames = detached_of(batch, live)
    kept = live(payload_of(batch))
    stored = dict(live.fresh)
    again = Blobs(stored.__getitem__)
    (offer,) = from_member.encode(batch.messages, share=lambda part: b"")[:1]
    replayed = from_member.read([offer, *frames], again.take)
    taken = again(payload_of(replayed))
    again.fresh.clear()

    assert taken.load() == kept.load() == SMALL + LARGE
    assert again.next_number == live.next_number


def test_part_that_was_dropped_and_is_taken_up_again_is_needed() -> None:
    blobs = Blobs(_none)
    part = blobs.take(b"00 7 99")
    del part
    assert blobs.dropped == [7]
    part = blobs.take(b"00 7 99")

    assert blobs.take(b"00 7 99") is part
    assert (blobs.dropped, blobs.alive, blobs.next_number) == ([], {7}, 8)


def test_part_is_left_to_memory_that_lasts_as_long_as_the_journal() -> None:
    blobs, part = Blobs(_none), Part(b"label", LARGE)
    blobs.trusts_memory = True
    kept = blobs.keep_part(part)
    assert blobs.fresh == {kept.blob.number: b""}
    assert kept.read() == LARGE


def test_part_in_memory_that_lasts_stays_there_until_its_drop_is_committed() -> None:
    blobs, part = Blobs(_none), Part(b"label", LARGE)
    blobs.trusts_memory = True
    kept = blobs.keep_part(part)
    blobs.commit()
    lives = ref(part)
    del part, kept
    gc.collect()
    assert (lives() is None, blobs.alive) == (False, set())
    blobs.commit()
    assert lives() is None


@pytest.mark.parametrize("told", [b"", b"00", b"00 x 1", b"zz 1 1"])
def test_reference_to_no_part_is_refused(told: bytes) -> None:
    with pytest.raises(MalformedFrame):
        Blobs(_none).take(told)


def test_checkpoint_has_the_numbers_of_parts_and_not_their_bytes() -> None:
    blobs = Blobs(_none)
    batch = shared(Part(b"label", LARGE))
    detached_of(batch, blobs)
    board = make(blobs)
    board.outgoing[b""] = [m.Outcomes([1], [payload_of(batch)])]
    file = BytesIO()
    dump(board, file)
    assert len(file.getvalue()) < len(LARGE)
    file.seek(0)
    copy, found = load(file, blobs.fresh.__getitem__)
    (told,) = copy.outgoing[b""]

    assert isinstance(told, m.Outcomes)
    assert told.payloads == [SMALL + LARGE]
    assert found.alive == blobs.alive


def test_private_journal_needs_its_parts_in_shared_memory(tmp_path: Path) -> None:
    journal = Journal(tmp_path, complain=ignore, is_private=True)
    board = fill(journal)
    kept = journal.blobs.keep_part(Part(b"l", LARGE))
    take_up(journal, board, [Ticked(journal.now())])
    board.outgoing[b""] = [m.Outcomes([1], [Pieces([kept])])]
    journal.checkpoint_now(board)
    journal.require_parts()
    journal.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < len(LARGE)

    journal = Journal(tmp_path, complain=ignore, is_private=True)
    board = journal.recover(make)
    with pytest.raises(JournalError, match="1 large values of the journal"):
        journal.require_parts()
    (part,) = journal.blobs.parts
    part.shared = Part(b"l", LARGE)
    journal.require_parts()
    journal.close()


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


@pytest.mark.slow
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
