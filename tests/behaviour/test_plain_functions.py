"""`map`, `starmap`, `as_completed`, `submit`: a function and a list, without any program."""

from __future__ import annotations

import decimal
import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy
import pytest

import distio
from distio import io
from distio._plain import _feed, _places
from distio._plain._session import Session
from distio.errors import ClusterClosed, MatchError, NotPicklable, WorkerLost
from distio.protocol.messages import AwaitOutcomes, Offer
from distio.runtime.current import origin
from tests.conftest import PATIENCE

Place = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[distio.Cluster]:
    """One cluster for these tests: a cancelled function may still run when its test is over."""
    with distio.Cluster.local(workers=2) as cluster:
        yield cluster


@pytest.fixture(params=["threads", "cluster"])
def place(request: pytest.FixtureRequest) -> Place:
    """Where calls run: an argument of `map` and the others."""
    return (
        {"threads": 2} if request.param == "threads" else {"on": request.getfixturevalue("cluster")}
    )


class Told(Exception):
    """An exception of the user's own."""


def inverse(n: int) -> float:
    if n == 0:
        raise Told("zero has none")
    return 1 / n


@pytest.mark.slow
def test_map_yields_values_in_the_order_of_items(place: Place) -> None:
    def late(n: int) -> int:
        time.sleep(0.02 if n == 0 else 0)
        return n * n

    assert list(distio.map(late, range(300), **place)) == [n * n for n in range(300)]


@pytest.mark.slow
def test_map_of_several_iterables_ends_with_the_shortest(place: Place) -> None:
    assert list(distio.map(pow, [2, 3, 4], [5, 2], **place)) == [32, 9]
    assert list(distio.map(pow, [], [1], **place)) == []


def test_generator_that_nobody_iterates_says_what_has_made_it() -> None:
    assert repr(distio.map(abs, [1])).startswith("<generator object distio.map at ")


@pytest.mark.slow
def test_starmap_spreads_its_items(place: Place) -> None:
    assert list(distio.starmap(pow, [(2, 5), (3, 2)], **place)) == [32, 9]


@pytest.mark.slow
def test_as_completed_yields_each_value_with_the_index_of_its_item(place: Place) -> None:
    found = list(distio.as_completed(lambda n: n * n, range(100), **place))
    assert sorted(found) == [(n, n * n) for n in range(100)]


def test_as_completed_yields_first_what_is_finished_first() -> None:
    first_may_end = threading.Event()

    def wait(n: int) -> bool:
        return n > 0 or first_may_end.wait(PATIENCE)

    pairs = distio.as_completed(wait, range(2), threads=2)
    assert next(pairs) == (1, True)
    first_may_end.set()
    assert list(pairs) == [(0, True)]


@pytest.mark.slow
def test_map_takes_no_more_items_than_are_used(place: Place) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for n in itertools.count():
            taken.append(n)
            yield n

    values = distio.map(slow_identity, numbers(), **place)
    assert taken == []
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    values.close()
    assert len(taken) < 3 + 16 * 4 + 1


def slow_identity(n: int) -> int:
    time.sleep(0.016)  # longer than items that travel together
    return n


def test_map_that_is_closed_closes_the_generator_of_its_items(place: Place) -> None:
    is_closed = False

    def numbers() -> Iterator[int]:
        nonlocal is_closed
        try:
            yield from itertools.count()
        finally:
            is_closed = True

    items = numbers()  # which lives on, so that it isn't its own end that closes it
    values = distio.map(abs, items, **place)
    assert next(values) == 0
    values.close()
    assert is_closed


def test_map_raises_the_exception_of_the_function_where_its_item_is(place: Place) -> None:
    values = distio.map(inverse, [1, 2, 0, 4], **place)
    assert [next(values), next(values)] == [1, 0.5]
    with pytest.raises(Told, match="zero has none") as caught:
        next(values)
    notes = "\n".join(caught.value.__notes__)
    assert "at index 2 of map: 0" in notes
    if "on" in place:
        assert "on worker" in notes
        assert 'raise Told("zero has none")' in notes


def test_map_takes_no_items_after_a_failure(place: Place) -> None:
    items = iter(range(10**9))
    with pytest.raises(Told):
        list(distio.map(inverse, items, **place))
    assert next(items) < 10**6


def test_map_with_return_exceptions_computes_all_items(place: Place) -> None:
    values: list[Any] = list(distio.map(inverse, [0, 1, 0, 2], return_exceptions=True, **place))
    assert values[1::2] == [1, 0.5]
    assert [type(each) for each in values[::2]] == [Told, Told]


def test_exception_of_the_iterable_comes_after_the_values_before_it(place: Place) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise Told("no more")

    values = distio.map(inverse, items(), **place)
    assert [next(values), next(values)] == [1, 0.5]
    with pytest.raises(Told, match="no more"):
        next(values)


def test_map_tells_its_progress(place: Place) -> None:
    told: list[Any] = []
    list(distio.map(abs, range(50), progress=lambda *each: told.append(each), **place))
    assert told[-1] == (50, 50)
    assert told == sorted(told)
    list(distio.map(abs, iter(range(5)), progress=lambda *each: told.append(each), **place))
    assert told[-1] == (5, None)


def test_function_that_cannot_travel_fails_and_does_not_run_here(cluster: distio.Cluster) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match=r"captured variable 'lock'.*threads=4"):
        list(distio.map(lambda n: lock.locked(), range(3), on=cluster))


def test_value_that_cannot_travel_says_where_it_was_and_what_to_return(
    cluster: distio.Cluster,
) -> None:
    with pytest.raises(NotPicklable, match="like a list in place of a generator") as caught:
        list(distio.map(lambda n: (each for each in [n]), [5], on=cluster))
    assert any(note.startswith("at index 0 of map") for note in caught.value.__notes__)


def test_call_in_a_chunk_that_cannot_travel_is_among_the_items_of_the_chunk(
    cluster: distio.Cluster,
) -> None:
    items: list[Any] = [*range(40), threading.Lock()]
    with pytest.raises(NotPicklable) as caught:
        list(distio.map(type, items, on=cluster))
    (place,) = caught.value.__notes__
    assert re.search(r"at (index 40|one of the indexes \d+ to 40) of map", place)
    assert "can't travel: item 40: type _thread.lock can't be pickled" in str(caught.value)


# -- context variables ------------------------------------------------------------------------

SHOP: ContextVar[Any] = distio.carry(ContextVar("SHOP", default="none"))


def third() -> str:
    return str(decimal.Decimal(1) / 3)


@pytest.mark.slow
def test_call_finds_the_context_of_decimal_and_the_variables_of_its_caller(place: Place) -> None:
    with decimal.localcontext() as context:
        context.prec = 5
        token = SHOP.set("bakery")
        asked = distio.map(lambda _: (SHOP.get(), third()), range(3), **place)
        pairs = distio.as_completed(lambda _: SHOP.get(), [0], **place)
        with distio.Executor(**place) as executor:
            future = executor.submit(third)
            SHOP.reset(token)
            context.prec = 9
            assert future.result() == "0.33333"
            assert executor.submit(third).result() == "0.333333333"
            assert list(executor.map(lambda _: SHOP.get(), [0])) == ["none"]
    assert list(asked) == [("bakery", "0.33333")] * 3
    assert list(pairs) == [(0, "bakery")]


@pytest.mark.slow
def test_call_does_not_find_what_the_one_before_has_set(place: Place) -> None:
    def take(n: int) -> tuple[str, int]:
        found = SHOP.get(), decimal.getcontext().prec
        SHOP.set(f"number {n}")
        decimal.getcontext().prec = n + 1
        return found

    assert set(distio.map(take, range(50), **place)) == {("none", 28)}
    assert (SHOP.get(), decimal.getcontext().prec) == ("none", 28)


def test_variable_that_cannot_travel_is_named(cluster: distio.Cluster) -> None:
    token = SHOP.set(LOCK)
    try:
        with pytest.raises(NotPicklable, match="context variable 'SHOP': type _thread"):
            list(distio.map(abs, [1], on=cluster))
    finally:
        SHOP.reset(token)


@pytest.mark.slow
def test_objects_of_a_manager_of_multiprocessing_are_shared_with_workers(
    cluster: distio.Cluster,
) -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        queue, table, lock = manager.Queue(), manager.dict(), manager.Lock()

        def note(n: int) -> None:
            with lock:
                table[n] = n * n
            queue.put(os.getpid())

        list(distio.map(note, range(3), on=cluster))
        assert dict(table) == {0: 0, 1: 1, 2: 4}
        assert os.getpid() not in {queue.get() for _ in range(3)}
        assert list(distio.starmap(dict, [(table,)], on=cluster)) == [dict(table)]


class Unmade:
    def __reduce__(self) -> Any:
        return inverse, (0,)


@pytest.mark.parametrize(
    ("f", "item", "process"),
    [(lambda _: Unmade(), 1, "this process"), (type, Unmade(), "the worker with process id ")],
)
def test_object_that_cannot_be_made_again_says_in_which_process_that_was(
    f: Callable[[Any], Any], item: Any, process: str, cluster: distio.Cluster
) -> None:
    with pytest.raises(Told) as caught:
        list(distio.map(f, [item], on=cluster))
    first = caught.value.__notes__[0]
    assert first.startswith(f"raised while pickle made an object again that came to {process}")


LOCK: Any = threading.Lock()


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda on: list(distio.map(abs, [LOCK], on=on)), "item 0: "),
        (lambda on: list(distio.starmap(pow, [(2, LOCK)], on=on)), "argument 2 of item 0: "),
        (lambda on: distio.Executor(on=on).submit(max, 2, LOCK).result(), "argument 2: "),
        (lambda on: distio.Executor(on=on).submit(inverse, n=LOCK).result(), "argument 'n': "),
        (lambda on: list(distio.map(Holds(LOCK), [1], on=on)), "the function, attribute 'lock' "),
    ],
)
def test_call_that_cannot_travel_names_the_part_of_it(
    call: Callable[[distio.Cluster], Any], part: str, cluster: distio.Cluster
) -> None:
    with pytest.raises(NotPicklable) as caught:
        call(cluster)
    assert f"a call for a worker can't travel: {part}" in str(caught.value)
    assert "type _thread.lock can't be pickled" in str(caught.value)
    assert all(str(caught.value) not in note for note in getattr(caught.value, "__notes__", []))


class Holds:
    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def __call__(self, n: int) -> int:
        return n


def test_exception_of_a_call_tells_of_its_worker_and_of_no_fiber(
    cluster: distio.Cluster,
) -> None:
    with pytest.raises(Told) as caught:
        list(distio.map(inverse, [1, 0], on=cluster))
    (note,) = caught.value.__notes__
    assert re.match(r"at index 1 of map: 0\non worker \d+ \(.*\)\nTraceback ", note)
    with distio.Executor(on=cluster) as executor, pytest.raises(Told) as caught:
        executor.submit(inverse, 0).result()
    (note,) = caught.value.__notes__
    assert re.match(r"on worker \d+ \(.*\)\nTraceback ", note)


@pytest.mark.slow
def test_function_with_a_large_part_travels_once_in_a_map(cluster: distio.Cluster) -> None:
    table = Table()
    seen = list(distio.map(table.opened, range(12), on=cluster))
    assert table.pickles == 1
    assert [n for n, _ in seen] == list(range(12))
    assert len({opened for _, opened in seen}) <= 2  # once in each worker


def test_outcomes_of_calls_that_start_together_are_asked_for_by_one_message(
    cluster: distio.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    groups: list[int] = []
    host: Any = cluster._host
    say, watch = host._lines.say, Session._watch

    def note_group(self: Session, errands: list[Any], handles: list[Any]) -> Any:
        groups.append(len(errands))
        return watch(self, errands, handles)

    def note_said(batch: list[Any]) -> None:
        said.extend(batch)
        say(batch)

    monkeypatch.setattr(host._lines, "say", note_said)
    monkeypatch.setattr(Session, "_watch", note_group)
    with distio.Executor(on=cluster) as executor:
        executor.submit(abs, 0).result()  # then it is known that they are short
        futures = [executor.submit(abs, n) for n in range(100)]
        assert [future.result() for future in futures] == list(range(100))
    asked: list[Any] = [each.fibers for each in said if isinstance(each, AwaitOutcomes)]
    offers = [each for each in said if isinstance(each, Offer) and each.are_awaited]
    asked += [chunk.fibers for each in offers for chunk in each.chunks]
    assert sum(groups) == sum(map(len, asked)) == 101
    assert len(asked) <= len(groups)


def attached_here(item: Any) -> int:
    """How many bytes of attachments the process that makes this call has."""
    time.sleep(0.005)  # so that few items travel together
    here: Any = origin()
    runs = [*here.host.member.state.runs.values()]
    return sum(len(data) for run in runs for data in [*run.attachments.values()])


@pytest.mark.slow
def test_large_items_of_a_long_map_do_not_all_stay_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_feed, "_LEAST_BYTES", 2**20)
    size, count = 2**18, 100
    items = (numpy.full(size, n, dtype=numpy.uint8) for n in range(count))
    with distio.Cluster.local(workers=1) as cluster:
        seen = list(distio.map(attached_here, items, on=cluster))
        assert max(seen) < size * count / 2
        assert list(distio.map(abs, range(3), on=cluster)) == [0, 1, 2]


class Table:
    """An object with a large part, which counts how often it is pickled."""

    def __init__(self) -> None:
        self.cells = bytes(100_000)
        self.pickles = 0
        self.name = ""

    def __getstate__(self) -> dict[str, Any]:
        self.pickles += 1
        return vars(self)

    def opened(self, n: int) -> tuple[int, str]:
        time.sleep(0.02)  # a chunk of its own
        self.name = self.name or f"{os.getpid()} {time.perf_counter_ns()}"
        return n, self.name


@pytest.mark.slow
def test_items_that_take_longer_than_was_thought_are_shared_out_again() -> None:
    counts: dict[int, int] = {}

    def work(n: int) -> int:
        counts[threading.get_ident()] = counts.get(threading.get_ident(), 0) + (n >= 2_000)
        time.sleep(0.031 if n >= 2_000 else 0)
        return n

    assert list(distio.map(work, iter(range(2_008)), threads=2)) == list(range(2_008))
    assert max(counts.values()) <= 6


@pytest.mark.slow
def test_map_that_is_closed_begins_no_call_that_was_to_follow_one_under_way(tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    os.mkfifo(gate)
    there_before = {*threading.enumerate()}

    def work(n: int) -> int:
        with begun.open("a") as file:
            file.write(f"{n}\n")
        if n == 14:
            gate.read_bytes()
        return n

    with distio.Cluster.local(workers=1, threads=2) as cluster:
        values = distio.map(work, range(5_000), on=cluster)
        assert [next(values) for _ in range(6)] == list(range(6))
        with gate.open("wb"):  # which waits for call 14
            values.close()
            # what the worker hears afterwards, it hears later
            assert list(distio.map(abs, [-1], on=cluster)) == [1]
        for thread in {*threading.enumerate()} - there_before:
            if thread.name == "distio-session":
                thread.join()
    calls = [int(line) for line in begun.read_text().split()]
    assert 13 in calls
    assert 15 not in calls


@pytest.mark.slow
def test_map_within_a_call_does_not_wait_for_its_own_place(place: Place) -> None:
    def total(n: int) -> int:
        return sum(distio.map(abs, range(n), threads=2))

    assert list(distio.map(total, range(6), **place)) == [sum(range(n)) for n in range(6)]


@pytest.fixture
def workers() -> Iterator[None]:
    """Workers of this process are gone with the test: others don't expect any."""
    yield
    _places._close_workers()


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_worker_processes_serve_all_calls_of_a_program() -> None:
    def process(n: int) -> int:
        return os.getpid()

    first = set(distio.map(process, range(20), workers=1))
    assert first == set(distio.map(process, range(20), workers=1))
    assert os.getpid() not in first
    # in a worker, it is the worker that computes
    assert first == set(distio.map(lambda n: next(distio.map(process, [n])), [1], workers=1))


@pytest.mark.slow
def test_session_that_was_used_for_a_while_ends_and_its_workers_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_places, "_SESSION_SECONDS", 0.0)
    list(distio.map(abs, [1], workers=1))
    workers = _places._shared.workers
    assert workers is not None
    session = workers.session
    list(distio.map(abs, [1], workers=1))
    assert _places._shared.workers is workers
    assert workers.session is not session
    assert session.is_over


@pytest.mark.slow
def test_item_that_ends_its_workers_is_the_one_that_fails(tmp_path: Path) -> None:
    def work(n: int) -> int:
        if n == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with distio.Cluster.local(workers=1, max_losses=1) as cluster:
        values = distio.map(work, range(3), on=cluster)
        assert next(values) == 0
        with pytest.raises(WorkerLost, match="SIGKILL") as caught:
            next(values)
    assert caught.value.__notes__ == ["at index 1 of map"]
    text = str(caught.value)
    assert "was lost, and this call with it" in text
    assert "1 worker was lost while the call ran there" in text
    assert "fiber" not in text


@pytest.mark.slow
def test_map_on_a_closed_cluster_says_so() -> None:
    with distio.Cluster.local(workers=1) as cluster:
        pass
    with pytest.raises(ClusterClosed):
        next(distio.map(abs, [1], on=cluster))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distio.map(3, [1]), "map: expected a function"),  # type: ignore[call-overload]
        (lambda: distio.map(abs), "but got no items"),  # type: ignore[call-overload]
        (lambda: distio.map(abs, 3), "expected an iterable"),  # type: ignore[call-overload]
        (lambda: distio.map(abs, [1], threads="2"), "threads is a whole number from 1"),  # type: ignore[call-overload]
        (lambda: distio.map(abs, [1], threads=1, workers=1), "threads and workers; give one"),
        (lambda: distio.map(abs, [1], on=3), "takes a Cluster"),  # type: ignore[call-overload]
        (lambda: distio.map(abs, [1], progress=3), "progress is a function"),  # type: ignore[call-overload]
        (lambda: distio.as_completed([1]), r"concurrent\.futures\.as_completed"),  # type: ignore[call-overload]
        (lambda: distio.submit(a_coroutine), "is a coroutine's"),
        (lambda: distio.map([1], abs), r"the function comes first: distio\.map\(f, items\)"),  # type: ignore[call-overload]
        (lambda: distio.starmap([1], abs), "the function comes first"),  # type: ignore[call-overload]
    ],
)
def test_wrong_argument_is_refused_at_once(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(MatchError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distio.map(abs, [1], n_jobs=4), "map has no argument n_jobs; use workers=4"),  # type: ignore[call-overload]
        (lambda: distio.as_completed(abs, [1], verbose=10), "use progress=True"),  # type: ignore[call-overload]
        (lambda: distio.Executor(n_jobs=4), "use max_workers=4"),  # type: ignore[call-arg]
        (lambda: distio.Executor(workers=4), "use max_workers=4"),  # type: ignore[call-arg]
    ],
)
def test_argument_of_another_library_says_which_one_is_meant(
    call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_workers_below_one_say_how_to_get_all_cores() -> None:
    with pytest.raises(ValueError, match="or left out for all cores, but got -1"):
        distio.map(abs, [1], workers=-1)


def test_function_that_returns_a_coroutine_fails_at_its_item(place: Place) -> None:
    with pytest.raises(MatchError, match="a coroutine of a_coroutine") as caught:
        list(distio.map(lambda n: a_coroutine() if n else n, [0, 1], **place))
    assert caught.value.__notes__[0].startswith("at index 1 of map: 1")


@pytest.mark.parametrize("program", [io.pure(1), io.defer(abs, -1)], ids=["pure", "defer"])
def test_function_that_returns_a_program_fails_at_its_item(program: Any, place: Place) -> None:
    with pytest.raises(MatchError, match=r"returned a program, .*io\.traverse_par") as caught:
        list(distio.map(lambda n: program if n else n, [0, 1], **place))
    assert caught.value.__notes__[0].startswith("at index 1 of map: 1")


async def a_coroutine() -> None:
    """Do nothing: nobody would await the coroutine."""


def run_script(text: str, *, interrupt_at: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a script; interrupt it when it has written this."""
    command = [sys.executable, "-u", "-c", text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        if interrupt_at:
            assert process.stdout.readline().strip() == interrupt_at
            process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE)
    return process.returncode, out, error


@pytest.mark.slow
def test_interrupt_leaves_map_at_once_and_the_program_can_go_on() -> None:
    script = """
import distio, threading, time
def work(n):
    if n == 0:
        print("begun", flush=True)
    time.sleep(n and 1000)
    return n
values = distio.map(work, range(3), workers=2)
try:
    print(list(values))
except KeyboardInterrupt:
    print(list(distio.map(abs, range(3), workers=2)))
"""
    code, out, error = run_script(script, interrupt_at=b"begun")
    assert (code, out) == (0, b"[0, 1, 2]\n"), error


@pytest.mark.slow
def test_program_ends_when_all_that_it_has_submitted_is_done() -> None:
    script = """
import distio, time
def work():
    time.sleep(0.1)
    print("done", flush=True)
distio.submit(work)
"""
    assert run_script(script) == (0, b"done\n", b"")


@pytest.mark.slow
def test_program_whose_calls_have_ended_ends_in_silence_however_short_the_grace_is() -> None:
    script = """
import distio
local = distio.Cluster.local
distio.Cluster.local = lambda **how: local(**{**how, "grace": 1e-6})
with distio.Executor(1) as executor:
    executor.submit(abs, 1).result()
list(distio.map(abs, range(3), workers=1))
next(distio.map(abs, range(100_000), workers=1))
"""
    for _ in range(3):
        assert run_script(script) == (0, b"", b"")
