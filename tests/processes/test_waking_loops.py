"""A signal is heard by the event loop that waits for a program."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from distio import io
from distio.runtime.waking_loops import signals_wake
from tests.conftest import PATIENCE


@pytest.fixture
def own_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("own_handler")
def test_handler_that_cancels_the_task_of_a_program_is_heard_while_the_loop_waits() -> None:
    """A notebook's kernel has such a handler: it changes the loop without waking it."""
    cancelled: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        signal.signal(signal.SIGUSR2, lambda *_: task.cancel() and None)
        long = io.sleep(PATIENCE).on_cancel(io.defer(cancelled.append, "cancelled"))
        await io.defer(os.kill, os.getpid(), signal.SIGUSR2).then(long).run_async(None)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert cancelled == ["cancelled"]


def test_wake_up_of_others_is_left_in_its_place() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR2, partial(int))
        before = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(before)
        with signals_wake(loop):
            assert signal.set_wakeup_fd(before) == before
        loop.remove_signal_handler(signal.SIGUSR2)
        assert signal.set_wakeup_fd(-1) == -1
        with signals_wake(loop):
            assert signal.set_wakeup_fd(-1) != -1
        assert signal.set_wakeup_fd(-1) == -1

    asyncio.run(main())
