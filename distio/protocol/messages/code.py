"""Functions and classes that a pickle names, and that are others where it is to be opened."""

from typing import ClassVar

from distio.protocol.base import CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count
from distio.protocol.messages.placement import Chunk

__all__ = ["ChunkReturned", "CodeReported"]


class ChunkReturned(MemberMessage, frozen=True, gc=False):
    """Fibers go back as they came: code that their pickle names is other code here."""

    chunk: Chunk
    differences: list[str]
    """The functions and classes that differ, in words, and what has become of them."""


class CodeReported(CoordinatorMessage, frozen=True, gc=False):
    """A worker doesn't take fibers of your runs, since its code is another; or no worker does."""

    is_counted: ClassVar[bool] = False

    worker: str
    """Empty: no worker that is there takes them, so they wait for one."""
    differences: list[str]
    waiting: Count = 0
    """How many of your fibers wait."""
