"""The output of fibers, which arrives in whole lines, whatever else is printed.

Several workers write to one pipe, terminal or file, and each has several threads. So a line is
kept until it is complete, thread by thread, and is then written by one call of the system. A pipe
takes up to PIPE_BUF bytes without tearing them; for longer lines the writers take turns, by a lock
on the file that they share.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import Any, Final, final

__all__ = ["Turns", "WholeLines", "end_output", "keep_lines_whole", "note_output", "pieces_of"]

_LONGEST_KEPT: Final = 1 << 20
"""A text without an end of line is kept up to this length (in characters)."""
_PATIENCE_SECONDS: Final = 1.0
"""How long the end of a process may wait for a thread that writes."""


_notes: Final[list[Callable[[bytes], None]]] = []
"""Called with all that is about to be written."""


class Turns:
    """The turns of threads of this process to write to a file."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """In a forked child nobody writes, whoever did so in the parent."""
        self.mutex = threading.RLock()  # a signal handler may print, too


@final
class WholeLines(TextIOWrapper):
    """A text stream that writes lines when they are complete, and the rest when it is flushed.

    Args:
        stream: the one that it replaces, on the same descriptor.
        turns: shared by all streams on the same file.
    """

    def __init__(self, stream: TextIOWrapper, turns: Turns) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
            write_through=stream.write_through,
        )
        self.mode = "w"  # type: ignore[misc]  # Python sets it, too, on those that it makes
        self._replaced = stream  # it would close the descriptor if it died
        self._turns = turns
        self._partial: dict[int, StringIO] = {}
        """By thread: the text after its last end of line."""
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child has lines of its own to write; those of its parent are the parent's."""
        self._turns.renew()
        self._partial = {}

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread = threading.get_ident()
        end = text.rfind("\n") + 1
        with self._turns.mutex:
            if end:
                self._keep(thread, text[:end])
                self._emit(thread)
            if end < len(text) and self._keep(thread, text[end:]) > _LONGEST_KEPT:
                self._emit(thread)
        return len(text)

    def flush(self) -> None:
        """Write what this thread has left without an end of line."""
        with self._turns.mutex:
            self._emit(threading.get_ident())

    def end(self) -> None:
        """Write what all threads have left without an end of line; none of them writes any more.

        The process is to end now. The mutex stays locked, lest it ends in the middle of a line.
        A thread that has been writing for long, perhaps to a pipe that nobody reads, isn't waited
        for.
        """
        if self._turns.mutex.acquire(timeout=_PATIENCE_SECONDS):
            for thread in list(self._partial):
                self._emit(thread)
            self.buffer.flush()

    def _keep(self, thread: int, text: str) -> int:
        """Keep text, with the mutex held; return how much there is."""
        if thread not in self._partial:
            self._partial[thread] = StringIO()
        self._partial[thread].write(text)
        return self._partial[thread].tell()

    def _emit(self, thread: int) -> None:
        """Write what is kept for a thread, with the mutex held."""
        kept = self._partial.pop(thread, None)
        self.buffer.flush()  # text that was written as bytes comes before
        if kept is not None:
            text = kept.getvalue().encode(self.encoding, self.errors or "strict")
            for note in _notes:
                note(text)
            try:
                _write(self.fileno(), text)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self.name) from None


def _write(descriptor: int, text: bytes) -> None:
    """Write whole lines while no other process writes one that takes part in this."""
    is_locked = _lock(descriptor)  # the system frees it with its process
    try:
        for piece in pieces_of(text, select.PIPE_BUF):
            written = os.write(descriptor, piece)
            while written < len(piece):
                written += os.write(descriptor, memoryview(piece)[written:])
    finally:
        if is_locked:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _lock(descriptor: int) -> bool:
    """Lock the file, if it can be locked; if it can't, up to PIPE_BUF bytes must do."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def pieces_of(text: bytes, at_most: int) -> Iterator[bytes]:
    """Cut a text into pieces of as many lines as have room; a line that is too long is one piece.

    >>> list(pieces_of(b"a\\nb\\nlonger\\nc", 4))
    [b'a\\nb\\n', b'longer\\n', b'c']
    """
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > at_most:
            end = text.rfind(b"\n", start, start + at_most) + 1
            end = end or text.find(b"\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def keep_lines_whole() -> None:
    """Let the standard streams of this process be such ones."""
    turns: defaultdict[tuple[int, int], Turns] = defaultdict(Turns)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, TextIOWrapper) and not isinstance(stream, WholeLines):
            file = os.fstat(stream.fileno())
            whole = WholeLines(stream, turns[file.st_dev, file.st_ino])
            setattr(sys, name, whole)
            setattr(sys, f"__{name}__", whole)


def note_output(note: Callable[[bytes], None]) -> None:
    """Call this with all text that is about to be written from now on, by any thread."""
    _notes.append(note)


def end_output() -> None:
    """Write what is left, at the end of a process, where nobody hears of a failure any more."""
    for stream in (sys.__stdout__, sys.__stderr__, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if isinstance(stream, WholeLines):
                stream.end()
            elif stream is not None:
                stream.flush()
