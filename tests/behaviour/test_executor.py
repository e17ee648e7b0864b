"""`distio.Executor`, beside what CPython's own tests of executors show."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, as_completed, wait
from pathlib import Path
from typing import Any

import pytest

import distio
from distio.errors import MatchError, NotPicklable
from tests.conftest import PATIENCE


@pytest.fixture(scope="module")
def cluster() -> Iterator[distio.Cluster]:
    with distio.Cluster.local(workers=2) as cluster:
        yield cluster


@pytest.fixture(params=["threads", "cluster"])
def executor(request: pytest.FixtureRequest) -> Iterator[distio.Executor]:
    on_threads = request.param == "threads"
    made = (
        distio.Executor(threads=2)
        if on_threads
        else distio.Executor(on=request.getfixturevalue("cluster"))
    )
    with made:
        yield made


@pytest.mark.slow
def test_future_has_the_value_of_its_call(executor: distio.Executor) -> None:
    def add(a: int, *, b: int) -> int:
        return a + b

    future = executor.submit(add, 1, b=2)
    assert isinstance(future, Future)
    assert future.result(PATIENCE) == 3


@pytest.mark.slow
def test_future_has_the_exception_of_its_call(executor: distio.Executor) -> None:
    future = executor.submit(divmod, 1, 0)
    assert isinstance(future.exception(PATIENCE), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        future.result()


@pytest.mark.slow
def test_functions_on_futures_take_those_of_an_executor(executor: distio.Executor) -> None:
    futures = [executor.submit(abs, n) for n in range(20)]
    assert {future.result() for future in as_completed(futures, PATIENCE)} == set(range(20))
    assert wait(futures, PATIENCE).done == set(futures)


@pytest.mark.slow
def test_event_loop_runs_functions_in_an_executor(executor: distio.Executor) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(executor.submit(abs, -1))
        return await loop.run_in_executor(executor, abs, -2) + await wrapped

    assert asyncio.run(main()) == 3


def test_calls_that_wait_for_others_do_not_take_their_place() -> None:
    with distio.Executor(threads=1) as executor:

        def fibonacci(n: int) -> int:
            if n < 2:
                return n
            parts = [executor.submit(fibonacci, n - 1), executor.submit(fibonacci, n - 2)]
            return sum(part.result(PATIENCE) for part in parts)

        assert executor.submit(fibonacci, 7).result(PATIENCE) == 13


def test_call_that_waits_in_the_executor_can_be_cancelled() -> None:
    may_end = threading.Event()
    with distio.Executor(threads=1) as executor:
        running = executor.submit(may_end.wait, PATIENCE)
        waiting = executor.submit(abs, 1)
        assert waiting.cancel()
        assert not running.cancel()
        may_end.set()
        assert running.result(PATIENCE)


@pytest.mark.slow
def test_map_with_a_buffer_takes_items_as_values_are_taken(executor: distio.Executor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    values = executor.map(abs, items(), buffersize=3, chunksize=2)
    assert len(taken) == 6
    assert next(values) == 0
    assert len(taken) == 8
    assert list(values) == list(range(1, 100))


def submit_for_ever(executor: distio.Executor) -> None:
    while True:  # until the executor has heard of what has failed
        executor.submit(abs, 1).exception(PATIENCE)


def test_short_calls_do_not_wait_behind_a_long_one_while_a_worker_is_free(
    cluster: distio.Cluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with distio.Executor(on=cluster) as executor:
        list(executor.map(abs, range(100)))  # then it is known that they are short
        long = executor.submit(pass_through, str(gate))
        try:
            short = [executor.submit(abs, n) for n in range(100)]
            assert [future.result(PATIENCE) for future in short] == list(range(100))
            assert not long.done()
        finally:
            opened = os.open(gate, os.O_RDWR)
            long.result(PATIENCE)
            os.close(opened)


def pass_through(gate: str) -> None:
    """Wait until somebody has opened a pipe for writing."""
    os.close(os.open(gate, os.O_RDONLY))


def test_failing_initializer_breaks_an_executor() -> None:
    with distio.Executor(threads=1, initializer=divmod, initargs=(1, 0)) as executor:
        future = executor.submit(abs, 1)
        with pytest.raises(BrokenExecutor, match="initializer has failed: ZeroDivisionError"):
            future.result(PATIENCE)
        with pytest.raises(BrokenExecutor):
            submit_for_ever(executor)


@pytest.mark.slow
def test_initializer_is_called_once_in_each_worker() -> None:
    def prepare(number: int) -> None:
        import os

        os.environ["PREPARED"] = os.environ.get("PREPARED", "") + str(number)

    def prepared() -> str | None:
        import os

        return os.environ.get("PREPARED")

    with distio.Executor(1, initializer=prepare, initargs=(7,)) as executor:
        assert [executor.submit(prepared).result(PATIENCE) for _ in range(2)] == ["7", "7"]


@pytest.mark.slow
def test_lost_cluster_breaks_an_executor() -> None:
    with distio.Cluster.local(workers=1) as cluster:
        executor = distio.Executor(on=cluster)
        assert executor.submit(abs, -1).result(PATIENCE) == 1
    with pytest.raises(BrokenExecutor):
        executor.submit(abs, 1).result(PATIENCE)
    executor.shutdown()


@pytest.mark.slow
def test_interrupt_leaves_the_block_of_an_executor_without_its_calls() -> None:
    begun, is_over = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        is_over.wait(PATIENCE)

    futures: list[Future[None]] = []

    def interrupted() -> None:
        with distio.Executor(threads=1) as executor:
            futures.extend([executor.submit(work) for _ in range(2)])
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    is_over.set()  # the function has run on all the time
    assert isinstance(futures[0].exception(), BrokenExecutor)
    assert futures[1].cancelled()


def test_executor_does_not_travel(executor: distio.Executor) -> None:
    with pytest.raises(NotPicklable, match="belongs to the process"):
        pickle.dumps(executor)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"threads": 0}, ValueError),
        ({"max_workers": 1, "threads": 1}, MatchError),
        ({"max_workers": "2"}, MatchError),
        ({"initializer": 3}, MatchError),
    ],
)
def test_wrong_argument_is_refused(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        distio.Executor(**arguments)


def test_executor_says_what_it_is() -> None:
    with distio.Executor(threads=2) as executor:
        assert repr(executor) == "<Executor of 2 threads, 0 calls pending>"
    assert repr(executor) == "<Executor of 2 threads, shut, 0 calls pending>"
