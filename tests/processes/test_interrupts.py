"""Ctrl-C, and other ways to cancel a whole run from outside."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from distio import IO, Panic, io
from distio.errors import Cancelled
from tests.conftest import PATIENCE, shared_cluster
from tests.harness.cancelling import FOREVER
from tests.harness.running_scripts import Script, no_script_is_left

__all__ = ["no_script_is_left"]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_leaves_run_after_all_releases(threads: int) -> None:
    script = Script(f"waits.run(None, {threads})")
    script.says("started")
    script.interrupt()
    assert script.ends() == ("released\n", "KeyboardInterrupt")


@pytest.mark.slow
def test_ctrl_c_interrupts_a_blocking_call_on_the_main_thread() -> None:
    script = Script("blocks.run(None)")
    script.says("started")
    script.interrupt()
    assert script.ends() == ("released\n", "KeyboardInterrupt")


@pytest.mark.slow
def test_ctrl_c_cancels_fibers_on_a_cluster() -> None:
    script = Script(
        "with Cluster.local(workers=1) as cluster: io.zip_par(waits).run(None, on=cluster)"
    )
    script.says("started")
    script.interrupt()
    assert script.ends() == ("released\n", "KeyboardInterrupt")


@pytest.mark.slow
@pytest.mark.parametrize(
    "run",
    [
        "stuck.run(None)",
        "stuck.run(None, 2)",
        "with Cluster.local(workers=1) as cluster: stuck.run(None, on=cluster)",
    ],
)
def test_ctrl_c_names_a_slow_release_and_the_second_one_abandons_it(run: str) -> None:
    script = Script(run)
    script.says("started")
    script.interrupt()
    script.says("releasing")
    assert script.process.stderr is not None
    told = script.process.stderr.readline()
    assert told.startswith("interrupted; Ctrl-C again gives up what still goes on: fiber ")
    assert told.endswith("sleeps\n")
    script.interrupt()
    assert script.ends() == ("", "KeyboardInterrupt")


@pytest.mark.slow
def test_ctrl_c_cancels_runs_in_runs() -> None:
    script = Script("io.defer(lambda: waits.run(None)).then(io.yield_, started).run(None)")
    script.says("started")
    script.interrupt()
    assert script.ends() == ("released\n", "KeyboardInterrupt")


@pytest.mark.slow
def test_signal_handler_of_the_program_itself_is_left_alone() -> None:
    script = Script(
        # `print` could interrupt another one, and the stream refuses that
        "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'heard\\n')); "
        "io.zip_par(started, io.blocking(sys.stdin.readline)).run(None)"
    )
    script.says("started")
    script.interrupt()
    script.says("heard")


def test_keyboard_interrupt_of_user_code_leaves_run_after_all_releases() -> None:
    released: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    other = FOREVER.finally_(lambda _: io.defer(released.append, "released"))
    program = io.parallel(other).then(io.yield_, io.defer(interrupt))
    with pytest.raises(KeyboardInterrupt):
        program.run(None)
    assert released == ["released"]


# -- runs that were submitted, or awaited -----------------------------------------------------


def test_run_that_was_submitted_can_be_cancelled() -> None:
    run = shared_cluster().submit(io.zip_par([FOREVER] * 20), None)
    run.cancel()
    result = run.result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    assert {type(each.exception) for each in result.exceptions} == {Cancelled}
    run.cancel()


@pytest.mark.parametrize("place", ["here", "cluster"])
def test_run_is_cancelled_with_the_task_that_awaits_it(place: str) -> None:
    released: list[str] = []
    on: Any = shared_cluster() if place == "cluster" else None

    async def cancels() -> None:
        loop = asyncio.get_running_loop()
        started = asyncio.Event()

        def start() -> None:
            loop.call_soon_threadsafe(started.set)

        waits = io.defer(start).then(FOREVER)
        program: IO[Any, Any, Any] = waits.finally_(
            lambda _: io.sleep(0.02).then(io.defer(released.append, "released"))
        )
        task = asyncio.create_task(program.run_async(None, on=on))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert released == ["released"]

    asyncio.run(cancels())


def test_run_is_cancelled_with_its_task_before_it_has_begun() -> None:
    async def cancels() -> None:
        task = asyncio.create_task(FOREVER.run_async(None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancels())


def test_run_on_another_thread_leaves_signals_alone() -> None:
    found: list[Any] = []

    def look() -> None:
        io.defer(lambda: found.append(signal.getsignal(signal.SIGINT))).run(None)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
