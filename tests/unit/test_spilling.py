"""Bytes that are kept in memory up to a limit, and in a file beyond it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from distio.runtime.spilling import Spill

LARGE = 10_000


def payload(n: int, size: int = LARGE) -> bytes:
    return n.to_bytes(4, "big") * (size // 4)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def spill(complaints: list[str], tmp_path: Path) -> Any:
    spill = Spill(3 * LARGE, complaints.append, str(tmp_path))
    yield spill
    spill.close()


def test_what_is_kept_is_loaded_as_it_was_wherever_it_is(spill: Spill) -> None:
    kept = [spill(payload(n, LARGE + 4 * n)) for n in range(20)]
    assert spill.in_memory <= 3 * LARGE < spill.in_file
    assert [each.load() for each in kept] == [payload(n, LARGE + 4 * n) for n in range(20)]


def test_no_file_is_made_while_memory_suffices(spill: Spill, tmp_path: Path) -> None:
    kept = [spill(payload(n)) for n in range(3)]
    assert (spill.in_memory, spill.in_file) == (3 * LARGE, 0)
    assert len(kept) == 3


def test_file_has_no_name(spill: Spill, tmp_path: Path) -> None:
    kept = [spill(payload(n)) for n in range(5)]
    assert spill.in_file
    assert list(tmp_path.iterdir()) == []
    assert len(kept) == 5


def test_memory_that_is_free_again_is_used_again(spill: Spill) -> None:
    for n in range(50):
        assert spill(payload(n)).load() == payload(n)
    assert (spill.in_memory, spill.in_file) == (0, 0)


def test_places_in_the_file_are_used_again(spill: Spill) -> None:
    stays = [spill(payload(n)) for n in range(3)]
    first = spill(payload(3))
    size = spill.in_file
    del first
    for n in range(4, 50):
        assert spill(payload(n)).load() == payload(n)
    assert spill.in_file == size
    assert [each.load() for each in stays] == [payload(n) for n in range(3)]


def test_small_payload_stays_in_memory(spill: Spill) -> None:
    kept = [spill(payload(n)) for n in range(3)] + [spill(b"small")]
    assert spill.in_file == 0
    assert kept[-1].load() == b"small"


def test_full_disk_costs_no_payload_and_is_told_once_a_minute(
    spill: Spill, complaints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    kept = [spill(payload(n)) for n in range(10)]
    assert [each.load() for each in kept] == [payload(n) for n in range(10)]
    (complaint,) = complaints
    assert "No space left on device" in complaint
    assert str(tmp_path) in complaint
    assert "TMPDIR" in complaint


def test_disk_that_has_room_again_is_used_again(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        kept = [spill(payload(n)) for n in range(5)]
    kept += [spill(payload(n)) for n in range(5, 10)]
    assert spill.in_file
    assert [each.load() for each in kept] == [payload(n) for n in range(10)]
