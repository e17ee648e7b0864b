"""Changes of a program's process while it runs: told, and taken over by a worker."""

from __future__ import annotations

import csv  # noqa: F401 (its settings are read once it is imported)
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import distio
from distio._plain import _places
from distio._plain._process_state import Changes, ChangingState


def test_state_that_never_changed_has_no_changes() -> None:
    state = ChangingState()
    assert state.changes() is None
    assert state.changes() is None


def test_changes_tell_variables_directory_and_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OLD", "1")
    monkeypatch.setenv("SAME", "1")
    state, before = ChangingState(), sys.getrecursionlimit()
    monkeypatch.delenv("OLD")
    monkeypatch.setenv("NEW", "2")
    monkeypatch.chdir(tmp_path)
    try:
        sys.setrecursionlimit(before + 1)
        changes = state.changes()
    finally:
        sys.setrecursionlimit(before)
    settings = {"recursion_limit": before + 1}
    assert changes == Changes(1, {"OLD": None, "NEW": "2"}, str(tmp_path), settings)


def test_changes_that_were_undone_are_told_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, state = os.getcwd(), ChangingState()
    with monkeypatch.context() as meanwhile:
        meanwhile.setenv("NEW", "2")
        meanwhile.chdir(tmp_path)
        first = state.changes()
    second = state.changes()
    assert (first and first.number, second and second.number) == (1, 2)
    assert second == Changes(2, {"NEW": None}, home, {})
    assert state.changes() is second


def test_changes_from_a_removed_directory_name_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state, gone = ChangingState(), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    changes = state.changes()
    assert changes is not None
    assert changes.directory is None


def test_changes_name_no_setting_of_a_module_that_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = ChangingState()
    with monkeypatch.context() as meanwhile:
        meanwhile.delitem(sys.modules, "csv")
        changes = state.changes()
    assert changes is not None
    assert "csv_field_limit" not in changes.settings


def test_state_is_told_while_another_thread_deletes_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Vanishing(Mapping[str, str]):
        """An environment whose only variable is gone when it is asked for."""

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            return iter(["NEW"])

        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(os, "environ", Vanishing())
        changes = ChangingState().changes()
    assert changes is None


TAKES_OVER = """
import json, os, sys
from distio._plain._process_state import Changes
for each in json.loads(sys.argv[1]):
    Changes(*each).take_over()
    print(json.dumps([os.environ.get("OLD"), os.environ.get("NEW"), os.getcwd(),
                      sys.getrecursionlimit()]))
"""


def taken_over(*changes: Changes) -> list[Any]:
    command = [sys.executable, "-c", TAKES_OVER, json.dumps(changes)]
    environment = {**os.environ, "OLD": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_process_takes_over_changes_once_and_none_that_came_before(tmp_path: Path) -> None:
    home, there = os.getcwd(), str(tmp_path)
    late = Changes(2, {"OLD": None, "NEW": "2"}, there, {"recursion_limit": 2345})
    early = Changes(1, {"NEW": "1"}, home, {"recursion_limit": 1234})
    after = [None, "2", there, 2345]
    assert taken_over(early, late, early) == [["1", "1", home, 1234], after, after]


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_map_that_comes_later_finds_the_process_as_it_is_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def state(_: int) -> tuple[str, str | None, int]:
        return os.getcwd(), os.environ.get("NEW"), sys.getrecursionlimit()

    before = sys.getrecursionlimit()
    assert list(distio.map(state, [0])) == [(os.getcwd(), None, before)]
    try:
        with monkeypatch.context() as meanwhile:
            meanwhile.setenv("NEW", "2")
            meanwhile.chdir(tmp_path)
            sys.setrecursionlimit(before + 1)
            assert list(distio.map(state, [0])) == [(str(tmp_path), "2", before + 1)]
            assert distio.submit(state, 0).result() == (str(tmp_path), "2", before + 1)
    finally:
        sys.setrecursionlimit(before)
    assert list(distio.map(state, [0])) == [(os.getcwd(), None, before)]


@pytest.fixture
def workers() -> Iterator[None]:
    """Workers of this process are gone with the test: others don't expect any."""
    yield
    _places._close_workers()
