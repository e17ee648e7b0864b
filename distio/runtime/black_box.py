"""A black box: what a process notes of itself, so that it can be read when the process is no more.

It is a small file in memory, which the program makes that starts the process. Both map it. The
process notes what each executor has in hand, the last lines of its output, and now and then its
memory. Python's faulthandler writes to the end of the file where a crash was. Nothing is flushed:
what a process has stored is there, however it ends.

Rules
-----
- A note is a few stores of one word each. A word is stored whole. The id of the fiber is cleared
  first and stored last, so a note that is half done counts as none: no code of users ran then.
- A slot belongs to one executor, or to one function of a fiber that runs on another thread. When no
  slot is free, that is noted: the box doesn't know all that was in hand.
- A forked child of the process notes nothing in its parent's box.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import threading
from typing import Any, Final, NamedTuple, final

from distio.coordination.executor.hands import Hand, work_in_hand
from distio.core.fiber import Fiber
from distio.protocol.ids import label_of
from distio.protocol.messages import InHand
from distio.runtime.forks import drop_in_children
from distio.runtime.systems import make_memory_file, resident_bytes

__all__ = ["BlackBox", "Contents", "make_black_box"]

_WORD: Final = 8
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

# the header, in words
_MEMORY, _OVERFLOWS, _WRITTEN = range(3)
_HEADER: Final = 64
"""Bytes."""

# a slot, in words
_FIBER, _HEAD, _OTHERS, _NAMED = range(4)
_NUMBERS: Final = 4 * _WORD
_NAME: Final = 96
"""Bytes of a fiber's name that are kept."""
_SLOT: Final = _NUMBERS + _NAME
_SLOTS: Final = 128

_OUTPUT: Final = _HEADER + _SLOTS * _SLOT
_MOST_OUTPUT: Final = 16 * 1024
_LATEST_OUTPUT: Final = _MOST_OUTPUT // 2
"""The last bytes of the output: none of these is overwritten by a piece that is half written."""
_SIZE: Final = -(_OUTPUT + _MOST_OUTPUT) // _PAGE_BYTES * -_PAGE_BYTES
_MOST_LINES: Final = 20
_MOST_STACK: Final = 4_000
_INTERPRETER: Final = os.path.join("distio", "core", "interpreter.py")


class Contents(NamedTuple):
    """The notes in a black box."""

    in_hand: list[InHand] | None
    """None: there was more than the box had room for."""
    running: tuple[str, ...]
    """The fibers of it, in words."""
    memory: int | None
    """Bytes of resident memory; None: that was never noted."""
    output: tuple[str, ...]
    """The last lines."""
    stack: str
    """The report of a crash."""


@final
class _Slot:
    """The slot where one executor notes its work."""

    __slots__ = ("_free", "_is_plain", "_name", "_words")

    def __init__(self, memory: memoryview, free: list[_Slot]) -> None:
        self._free = free
        self._words: Any = memory[:_NUMBERS].cast("Q")
        self._name = memory[_NUMBERS:]
        self._is_plain = True
        """Whether the last note was that of one fiber without a name."""

    def take(self, work: Any) -> None:
        """Note that this work is about to be done."""
        words = self._words
        words[0] = 0  # _FIBER, and below _HEAD: this is done for each piece of work
        fiber = work if type(work) is Fiber else getattr(work, "fiber", None)
        if type(fiber) is Fiber and fiber.name is None and self._is_plain:
            tree = fiber.tree
            words[1] = fiber.id if tree is None else tree.head.id
            words[0] = fiber.id
        else:
            self._take_other(work)

    def _take_other(self, work: Any) -> None:
        noted = work_in_hand(work)
        if noted is None:
            return
        name: str | None = getattr(getattr(work, "fiber", work), "name", None)
        encoded = (name or "").encode(errors="replace")[:_NAME]
        self._name[: len(encoded)] = encoded
        words = self._words
        words[_HEAD], words[_OTHERS], words[_NAMED] = noted.head, noted.has_others, len(encoded)
        words[_FIBER] = noted.fiber
        self._is_plain = not (noted.has_others or encoded)

    def put_down(self) -> None:
        """Note that there is no work."""
        self._words[_FIBER] = 0

    def leave(self) -> None:
        """Give back the slot: its executor notes nothing any more."""
        self.put_down()
        self._free.append(self)

    def read(self) -> tuple[InHand, str] | None:
        """The note, and the fiber in words; None: there is none."""
        fiber, head, others, length = self._words
        if not fiber:
            return None
        name = bytes(self._name[:length]).decode(errors="replace")
        return InHand(fiber, head, bool(others)), label_of(fiber, name)

    def drop(self) -> None:
        """Note nothing any more: the box is another process's."""
        self._name = memoryview(bytearray(_NAME))
        self._words = memoryview(bytearray(_NUMBERS)).cast("Q")


@final
class _Overflow:
    """Stands for a slot when there is none: the box doesn't know all that is in hand."""

    def __init__(self, header: Any) -> None:
        self._header = header
        self._header[_OVERFLOWS] += 1

    def take(self, work: Any) -> None:
        """Note nothing: there is no slot."""

    def put_down(self) -> None:
        """Do nothing: nothing was noted."""

    def leave(self) -> None:
        """The box may know all again."""
        self._header[_OVERFLOWS] -= 1


def make_black_box() -> int:
    """The descriptor of an empty one.

    Raises:
        OSError: the system refuses, and why.
    """
    descriptor = make_memory_file("distio-black-box")
    try:
        os.truncate(descriptor, _SIZE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@final
class BlackBox:
    """A mapped black box.

    Args:
        descriptor: of a file that `make_black_box` has made; closed by `close`.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = memoryview(mmap.mmap(descriptor, _SIZE))
        self._header: Any = self._memory[:_HEADER].cast("Q")
        starts = range(_HEADER, _OUTPUT, _SLOT)
        self._free: list[_Slot] = []
        self._slots = [_Slot(self._memory[start : start + _SLOT], self._free) for start in starts]
        self._free += reversed(self._slots)
        self._output = self._memory[_OUTPUT : _OUTPUT + _MOST_OUTPUT]
        self._mutex = threading.RLock()  # a signal handler may print, too
        self._here = threading.local()
        """The hand of a thread that is an executor."""
        self._has_handler = False
        """Whether a crash of this process is reported here."""

    # -- the process that notes -----------------------------------------------------------

    def hold(self) -> None:
        """Let this process note from now on, and its forked children not."""
        os.set_inheritable(self.descriptor, False)
        drop_in_children(self)
        Fiber.on_rename = self._note_name
        self.note_memory()
        if not faulthandler.is_enabled():  # else somebody wants to read it elsewhere
            os.lseek(self.descriptor, _SIZE, os.SEEK_SET)
            faulthandler.enable(self.descriptor, all_threads=False)
            self._has_handler = True

    def drop_in_child(self) -> None:
        """The box belongs to the parent."""
        Fiber.on_rename = None
        self._mutex = threading.RLock()
        self._unmap()
        if self._has_handler:
            faulthandler.disable()

    def hand_of_thread(self) -> Hand:
        """Make a hand as `hand` does, for an executor that this thread is."""
        hand = self._here.hand = self.hand()
        return hand

    def _note_name(self, fiber: Fiber) -> None:
        """The fiber that this thread steps has another name."""
        hand = getattr(self._here, "hand", None)
        if hand is not None:
            hand.take(fiber)

    def hand(self) -> Hand:
        """A free slot; if there is none, that is noted."""
        with self._mutex:
            return self._free.pop() if self._free else _Overflow(self._header)

    def note_memory(self) -> None:
        """Note how much memory of the machine this process has."""
        with contextlib.suppress(OSError):
            self._header[_MEMORY] = resident_bytes()

    def note_output(self, text: bytes) -> None:
        """Note what the process is about to print."""
        text = text[-_LATEST_OUTPUT:]
        with self._mutex:
            start = self._header[_WRITTEN] % _MOST_OUTPUT
            first = min(len(text), _MOST_OUTPUT - start)
            self._output[start : start + first] = text[:first]
            self._output[: len(text) - first] = text[first:]
            self._header[_WRITTEN] += len(text)

    # -- the process that reads -----------------------------------------------------------

    def close(self) -> None:
        """Close the box, which is read no more; may be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            self._unmap()

    def _unmap(self) -> None:
        """Let go of the memory now, since it holds a descriptor: the slots refer to each other."""
        self._memory = memoryview(b"")
        self._header = memoryview(bytearray(_HEADER)).cast("Q")
        self._output = memoryview(bytearray(_MOST_OUTPUT))
        for slot in self._slots:
            slot.drop()

    def read(self) -> Contents:
        """Read the whole box, when the other process has ended."""
        noted = [note for slot in self._slots if (note := slot.read()) is not None]
        in_hand = None if self._header[_OVERFLOWS] else [work for work, _ in noted]
        running = tuple(label for _, label in noted)
        memory = self._header[_MEMORY] or None
        return Contents(in_hand, running, memory, self._last_lines(), self._read_stack())

    def _last_lines(self) -> tuple[str, ...]:
        written = self._header[_WRITTEN]
        end = written % _MOST_OUTPUT
        whole = bytes(self._output[end:]) + bytes(self._output[:end])
        latest = whole[-min(written, _LATEST_OUTPUT) :] if written else b""
        lines = latest.decode(errors="replace").splitlines()
        if written > _LATEST_OUTPUT:
            lines = lines[1:]  # its beginning is cut off
        return tuple(lines[-_MOST_LINES:])

    def _read_stack(self) -> str:
        """The report of a crash, from user code on: the calls of distio's own above it are cut."""
        report = os.pread(self.descriptor, _MOST_STACK, _SIZE).decode(errors="replace")
        kept = []
        for line in report.splitlines():
            if _INTERPRETER in line:
                break
            kept.append(line)
        return "\n".join(kept)
