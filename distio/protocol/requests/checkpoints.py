"""Requests that keep something from being done again."""

from __future__ import annotations

from typing import Final, final

from distio.protocol.requests.base import Request

__all__ = ["SAVE", "Checkpoint", "Save"]


@final
class Checkpoint(Request):
    """Wait until a snapshot of this fiber is stored; answered by None.

    The fiber of the snapshot is after the checkpoint.
    """

    __slots__ = ("number",)
    can_wait = True
    state = "waits until a snapshot of it is stored"
    action = "waits until a snapshot of it is stored"

    def __init__(self) -> None:
        self.number = 0
        """The number of the wait, which the member gives."""

    def __reduce__(self) -> tuple[type[Checkpoint], tuple[()]]:
        return Checkpoint, ()


@final
class Save(Request):
    """Let a snapshot of this fiber leave before anything else; the fiber keeps its outcome."""

    __slots__ = ()
    must_be_seen = True
    action = "has ended a step"

    def __reduce__(self) -> str:
        return "SAVE"


SAVE: Final = Save()
