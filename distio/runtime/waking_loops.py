"""Signals while the event loop of the main thread waits.

Python calls a handler that it has for a signal, and then goes on with the wait: a handler that has
something done by its loop, like that of a notebook's kernel, isn't heard before something else
wakes the loop. So as long as a program runs, each signal writes to a socket that the loop reads.
"""

from __future__ import annotations

import signal
import socket
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from distio.runtime.main_thread import is_main_thread

__all__ = ["signals_wake"]


@contextmanager
def signals_wake(loop: AbstractEventLoop) -> Iterator[None]:
    """Let the loop look around after each signal, unless something has it do so already."""
    if not is_main_thread():
        yield
        return
    before = signal.set_wakeup_fd(-1)
    if before != -1:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        yield
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        try:
            loop.add_reader(reader, _clear, reader)
        except NotImplementedError:  # some loops of Windows have no readers
            yield
            return
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            if (now := signal.set_wakeup_fd(-1)) != writer.fileno():
                signal.set_wakeup_fd(
                    now, warn_on_full_buffer=False
                )  # somebody has set another one since
            loop.remove_reader(reader)


def _clear(reader: socket.socket) -> None:
    with suppress(BlockingIOError):
        reader.recv(4096)
