"""The set-up of a process in which other people's functions run as in their own program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from distio.runtime.black_box import BlackBox
from distio.runtime.ending_signals import OF_TERMINAL
from distio.runtime.forks import renew_in_children
from distio.runtime.launching import fill_standard_streams
from distio_worker.output import keep_lines_whole, note_output

__all__ = ["end_on", "hold_black_box", "leave_interrupts_to_program", "prepare_streams"]


def prepare_streams() -> None:
    """Let standard input be empty, and lines of output stay whole.

    A tool that a fiber starts finds the end of its input at once; it doesn't read what is meant
    for somebody else, and doesn't wait for what nobody types.
    """
    fill_standard_streams()
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # it was closed when Python started
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    keep_lines_whole()


def hold_black_box(descriptor: int) -> BlackBox:
    """Note in this black box what the process does and prints from now on.

    Args:
        descriptor: of the one that whoever has started the process has made.
    """
    box = BlackBox(descriptor)
    box.hold()
    note_output(box.note_output)
    return box


def leave_interrupts_to_program() -> None:
    """Ctrl-C in a terminal, and SIGHUP when it is closed, come to a whole group of processes; the
    program decides about them.

    They aren't ignored: the children of this process would inherit that. A handler they don't, if
    they are programs; forks of this process get Python's own. But if this process was started with
    one of them ignored, so was the program, and all stays as it is.
    """
    for number in OF_TERMINAL:
        usual = _usual(number)
        if signal.getsignal(number) is usual:
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)  # no system call of C code is cut short
            _in_forks(number, usual)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINAL)


def end_on(number: signal.Signals, end: Callable[[], None]) -> None:
    """Call `end` at this signal; in forks of this process it has its usual effect."""
    signal.signal(number, lambda *_: end())
    _in_forks(number, _usual(number))


def _usual(number: signal.Signals) -> signal._HANDLER:
    """The handler that Python gives this signal."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle what is the program's."""


def _in_forks(number: signal.Signals, usual: signal._HANDLER) -> None:
    ours = signal.getsignal(number)

    def restore() -> None:
        if signal.getsignal(number) is ours:  # unless a fiber has set another
            signal.signal(number, usual)

    renew_in_children(restore)
