"""Waking a thread that polls descriptors."""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import suppress
from typing import Final, final

from distio.runtime.forks import drop_in_children

__all__ = ["Waker"]

_MOST_AT_ONCE: Final = 4096


@final
class Waker:
    """A pipe that any thread, signal handler or finalizer writes to, and that one thread polls.

    The pipe belongs to this object: after `close`, a late `wake` writes to no other file.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._wakeup_before: int | None = None
        """The descriptor to which signals wrote before they woke this one."""
        self._poll: select.poll | None = None
        self._renew_guard()
        self.reader, self._writer = os.pipe()
        self._is_open = True
        os.set_blocking(self._writer, False)
        drop_in_children(self)

    def _renew_guard(self) -> None:
        # reentrant: a signal handler may wake in the midst of `wake` or `close`
        self._guard = threading.RLock()

    def hear_signals(self) -> None:
        """Wake for each signal that has a handler, until `close`; only for the main thread.

        Python calls a handler between two of its own instructions. A signal that comes after the
        last of them, and before the call of the system that waits, doesn't end that call.
        """
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def wake(self) -> None:
        """Let `reader` become readable; without effect after `close`."""
        with self._guard:
            if self._is_open:
                with suppress(BlockingIOError):  # a full pipe has woken its reader already
                    os.write(self._writer, b"!")

    def wait(self, milliseconds: int | None) -> bool:
        """Wait until it is woken, for no longer than that; return whether it was."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.reader, select.POLLIN)
        return bool(self._poll.poll(milliseconds))

    def clear(self) -> None:
        """Take out what has woken; the thread that polls calls this, and looks around then."""
        os.read(self.reader, _MOST_AT_ONCE)

    def close(self) -> None:
        """Close both ends; may be called again."""
        with self._guard:
            is_open, self._is_open = self._is_open, False
            if is_open:
                if self._wakeup_before is not None:
                    signal.set_wakeup_fd(self._wakeup_before)
                os.close(self._writer)
                os.close(self.reader)

    def __del__(self) -> None:
        self.close()

    def drop_in_child(self) -> None:
        """Close the copy of a forked child, in which another thread may have held the guard."""
        self._renew_guard()
        self.close()
