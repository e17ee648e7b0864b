"""The end of a fiber."""

from __future__ import annotations

from typing import Final, final

from distio.protocol.requests.base import Request

__all__ = ["FINISHED", "Finished"]


@final
class Finished(Request):
    """The fiber has ended; its outcome is its value or its failure."""

    __slots__ = ()
    is_visible = True

    def __reduce__(self) -> str:
        return "FINISHED"


FINISHED: Final = Finished()
