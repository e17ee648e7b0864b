"""Checkpoints: opening one makes instances of the coordinator's own classes, and nothing else."""

from __future__ import annotations

import pickle
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from distio.coordination.coordinator import Coordinator
from distio.coordination.membership.handshakes import Handshakes
from distio.protocol.endings import Cause
from distio.runtime.journal.checkpoints import Damaged, _Unpickler, dump
from tests.harness.journals import ignore


def no_blob(number: int) -> bytes:
    raise AssertionError(number)


def test_checkpoint_that_nobody_could_open_is_not_written() -> None:
    board = Handshakes(Coordinator(), ignore)
    board.machine.state.stale = Path("/")  # type: ignore[assignment]  # no part of a coordinator
    file = BytesIO()
    with pytest.raises(Damaged, match="a checkpoint doesn't hold pathlib"):
        dump(board, file)
    assert not file.getvalue()


class Color(Enum):
    RED = 1


class Harmful:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self._call = call, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    "harmful",
    [
        Harmful(print, "harm"),
        Harmful(eval, "1"),
        Harmful(getattr, Coordinator, "__init__"),
        Harmful(getattr, Handshakes, "__subclasses__"),
        Harmful(getattr, Cause, "__members__"),
        Harmful(getattr, Color, "RED"),
    ],
    ids=["print", "eval", "of a class", "of its type", "of an enum", "of a strange enum"],
)
def test_pickle_that_would_call_something_else_is_damaged(harmful: Harmful) -> None:
    with pytest.raises(Damaged):
        _Unpickler(BytesIO(pickle.dumps(harmful)), no_blob).load()


def test_member_of_an_enum_is_opened_as_any_python_pickles_it() -> None:
    for payload in (Cause.FINISHED, Harmful(getattr, Cause, "FINISHED")):
        assert _Unpickler(BytesIO(pickle.dumps(payload)), no_blob).load() is Cause.FINISHED
