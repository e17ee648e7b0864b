"""A whole cluster in one thread, under a seed: what `simulate` promises."""

from __future__ import annotations

import gc
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from distio import IO, Errors, MatchError, Ok, Panic, Result, io
from distio.errors import (
    ClusterClosed,
    Deadlock,
    NotPicklable,
    SimulationLimit,
    WorkerLost,
)
from distio.protocol.ids import fiber_id, name_of
from distio.testing import Crash, Disconnect, Fail, Fault, Leave, Partition, Pause, simulate
from distio.testing.wires import Wire
from distio.testing.world import EPOCH
from tests.conftest import PATIENCE

Program = IO[Any, Any, Any]
History = list[str]

THREE_DAYS: Final = 3 * 24 * 3600.0
SEEDS: Final = range(100)


class Sticky:
    """A value that can't be pickled, so fibers that capture it stay and share it."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def __reduce__(self) -> NoReturn:
        raise TypeError("it is sticky")


class Brittle:
    """A value that can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return boom, ()


def boom(*_: Any) -> NoReturn:
    raise ValueError("boom")


def square(n: int) -> Program:
    return io.sleep(0.005).then(io.defer(lambda: n * n))


SQUARES: Final = io.zip_par([square(n) for n in range(3)]).map(sum)
SUM: Final = Ok[Any, Any](5)
FOREVER: Final[Program] = io.rec(lambda again: io.yield_.then(again))


def exceptions(outcome: Result[Any, Any] | None) -> list[BaseException]:
    """The exceptions of a Panic."""
    assert isinstance(outcome, Panic), outcome
    return [traced.exception for traced in outcome.exceptions]


def the_exception(outcome: Result[Any, Any] | None) -> BaseException:
    [exception] = exceptions(outcome)
    return exception


def lines(history: Any, *parts: str) -> History:
    """The lines that contain all of these parts."""
    return [line for line in history if all(part in line for part in parts)]


# -- results ----------------------------------------------------------------------------------


def test_simulation_has_the_result_of_the_program() -> None:
    assert simulate(io.pure(5)).result == Ok(5)
    assert simulate(SQUARES).result == SUM


def test_simulate_accepts_a_function_that_makes_the_program() -> None:
    calls: list[int] = []
    assert simulate(lambda: io.defer(calls.append, 1)).result == Ok(None)
    assert calls == [1]


def test_expected_failures_of_a_simulation_arrive_in_the_order_of_the_programs() -> None:
    program = io.zip_par(io.pure(1), io.errors("a", "b"), io.error("c"))
    assert simulate(program).result == Errors(["a", "b", "c"])


def test_panic_in_a_simulation_arrives_with_its_traceback() -> None:
    outcome = simulate(io.zip_par(io.pure(1), io.defer(boom))).result
    assert repr(the_exception(outcome)) == "ValueError('boom')"
    assert isinstance(outcome, Panic)
    assert "in boom" in outcome.exceptions[0].stack_trace
    assert outcome.errors == []


def test_children_in_a_simulation_read_the_context_of_their_parent() -> None:
    inner: Program = io.zip_par(io.read, io.read).contra_map_read(lambda c: c + 1)
    assert simulate(io.zip_par(io.read, inner, io.read), 41).result == Ok((41, (42, 42), 41))


def test_children_of_children_run_in_a_simulation() -> None:
    def tree(depth: int) -> Program:
        if depth == 0:
            return io.pure(1)
        return io.zip_par(io.defer_io(tree, depth - 1), io.defer_io(tree, depth - 1)).map(sum)

    assert simulate(tree(5)).result == Ok(32)


def test_wait_in_a_simulation_gives_each_kind_of_result() -> None:
    started = io.parallel(io.sleep(0.1).then(io.pure(1)), io.error("e"), io.defer(boom))
    outcome = simulate(started.flat_map(io.wait)).result
    assert isinstance(outcome, Ok)
    first, second, third = outcome.success
    assert (first, second) == (Ok(1), Errors(["e"]))
    assert repr(the_exception(third)) == "ValueError('boom')"


@pytest.mark.slow
def test_fiber_in_a_simulation_can_be_waited_for_by_any_fiber_that_gets_its_handle() -> None:
    started_elsewhere = io.zip_par(io.parallel(io.sleep(0.1).then(io.pure(7))))
    program = started_elsewhere.flat_map(
        lambda handles: io.zip_par(io.wait(handles[0]), io.wait(handles[0]))
    )
    for seed in range(10):
        assert simulate(program, seed=seed).result == Ok(([Ok(7)], [Ok(7)]))


def test_failure_in_a_simulation_that_no_fiber_waits_for_is_in_the_history() -> None:
    simulation = simulate(
        io.parallel(io.error("lost")).flat_map(lambda hs: io.sleep(1).map(lambda _: hs))
    )
    assert isinstance(simulation.result, Ok)
    [handle] = simulation.result.success
    assert lines(simulation.history, f"waited for the failed fiber {name_of(handle.id)}")


# -- callbacks --------------------------------------------------------------------------------


def test_callback_may_be_called_at_once() -> None:
    at_once = io.async_(lambda context, callback: callback(Ok(context)))
    assert simulate(at_once, 5).result == Ok(5)
    assert simulate(io.zip_par(at_once, at_once), 5).result == Ok((5, 5))


def test_callback_may_be_kept_and_called_by_a_sibling() -> None:
    def main() -> Program:
        kept = Sticky()
        call = io.defer(lambda: kept.items.pop()(Ok("called")))
        return io.zip_par(
            io.async_(lambda _, callback: kept.items.append(callback)),
            io.sleep(1).then(call),
        )

    for seed in range(10):
        simulation = simulate(main, seed=seed)
        assert simulation.result == Ok(("called", None))
        assert lines(simulation.history, "the callback of fiber", "is called")


def test_callback_may_be_called_by_another_thread() -> None:
    def call_from_thread(context: Any, callback: Any) -> None:
        threading.Thread(target=callback, args=(Ok("from outside"),)).start()

    assert simulate(io.async_(call_from_thread)).result == Ok("from outside")
    both = io.zip_par(io.async_(call_from_thread), io.async_(call_from_thread))
    assert simulate(both).result == Ok(("from outside", "from outside"))


def test_callback_from_another_thread_gives_the_same_history_early_or_late() -> None:
    def main(is_early: bool) -> Program:
        may_call = threading.Event()
        if is_early:
            may_call.set()

        def call_from_thread(context: Any, callback: Any) -> None:
            def call() -> None:
                may_call.wait(10)
                callback(Ok(1))

            thread = threading.Thread(target=call)
            thread.start()
            if is_early:
                thread.join()

        return io.zip_par(
            io.async_(call_from_thread), io.sleep(1).then(io.defer(lambda: may_call.set()))
        )

    early, late = (simulate(partial(main, is_early)) for is_early in (True, False))
    assert early.result == late.result == Ok((1, None))
    assert str(early.history) == str(late.history)


@pytest.mark.parametrize("is_child", [False, True])
def test_callback_that_is_dropped_is_a_deadlock(is_child: bool) -> None:
    dropping = io.async_(lambda context, callback: None)
    outcome = simulate(io.zip_par(dropping) if is_child else dropping).result
    deadlock = the_exception(outcome)
    assert isinstance(deadlock, Deadlock)
    assert re.search(r"fiber \d\.\d waits for a callback that nobody can call", str(deadlock))


def test_callback_that_is_dropped_in_a_cycle_of_references_is_a_deadlock() -> None:
    def drop(context: Any, callback: Any) -> None:
        cycle = [callback]
        cycle.append(cycle)

    assert isinstance(the_exception(simulate(io.async_(drop)).result), Deadlock)


# -- deadlocks --------------------------------------------------------------------------------


def wait_cycle() -> Program:
    """Two fibers that wait for each other."""
    handles = Sticky()

    def wait_for(index: int) -> Program:
        return io.sleep(0.01).then(io.defer_io(lambda: io.wait(handles.items[index])))

    return io.parallel(wait_for(1), wait_for(0)).flat_map(
        lambda started: io.defer(handles.items.extend, started).then(io.wait(started))
    )


@pytest.mark.slow
def test_fibers_that_wait_for_each_other_are_a_deadlock_that_names_them() -> None:
    for seed in range(20):
        simulation = simulate(wait_cycle, seed=seed)
        deadlock = the_exception(simulation.result)
        assert isinstance(deadlock, Deadlock)
        [started] = lines(simulation.history, "has started")
        first, second = started.split()[-2:]
        assert f"fiber {first} waits for fiber {second}" in str(deadlock)
        assert f"fiber {second} waits for fiber {first}" in str(deadlock)


# -- time -------------------------------------------------------------------------------------


def test_sleep_takes_no_real_time() -> None:
    before = time.monotonic()
    simulation = simulate(io.sleep(THREE_DAYS))
    assert time.monotonic() - before < 60
    assert THREE_DAYS <= simulation.virtual_seconds < THREE_DAYS + 1


@pytest.mark.slow
def test_sleep_never_ends_early() -> None:
    measured = io.zip(io.now, io.sleep(0.25), io.now)
    for seed in range(20):
        outcome = simulate(io.zip_par(measured, measured), seed=seed).result
        assert isinstance(outcome, Ok)
        for before, _, after in outcome.success:
            assert 0.25 - 1e-6 <= after - before < 0.26


def test_wall_clock_is_virtual() -> None:
    outcome = simulate(io.zip(io.now, io.sleep_until(EPOCH + 500), io.now)).result
    assert isinstance(outcome, Ok)
    before, _, after = outcome.success
    assert EPOCH <= before < EPOCH + 1
    assert EPOCH + 500 <= after < EPOCH + 501


def test_sleep_until_a_moment_in_the_past_takes_no_virtual_time() -> None:
    assert simulate(io.sleep_until(EPOCH - THREE_DAYS)).virtual_seconds < 1


def test_sleeps_at_the_same_time_pass_together() -> None:
    simulation = simulate(io.zip_par([io.sleep(100 + n) for n in range(8)]))
    assert 107 <= simulation.virtual_seconds < 108


def test_virtual_time_stands_still_while_a_fiber_can_run() -> None:
    program = io.zip_par(io.sequence([io.yield_] * 50), io.sleep(0.001), io.sleep(1))
    for seed in range(5):
        simulation = simulate(program, seed=seed, latency=0)
        yields = lines(simulation.history, "which yields")
        assert len(yields) == 50
        assert {line.split()[0] for line in yields} == {"0.000000"}


def test_latency_is_the_time_that_each_message_takes() -> None:
    child: Program = io.zip_par(io.pure(1))
    for seed in range(5):
        # the client says hello, is welcome, says that a run begins and ends, and hears it has
        alone = simulate(io.pure(1), seed=seed, latency=0.05)
        assert alone.virtual_seconds == pytest.approx(4 * 0.05)
        # a child goes to the coordinator and to a worker, and its outcome comes back likewise
        with_child = simulate(child, seed=seed, latency=0.05)
        assert with_child.virtual_seconds == pytest.approx(8 * 0.05)


def test_latency_lies_between_the_least_and_the_most() -> None:
    seconds = [
        simulate(io.pure(1), seed=seed, latency=(1, 2)).virtual_seconds for seed in range(20)
    ]
    assert 4 <= min(seconds) < max(seconds) <= 8


def test_clock_of_user_code_is_real() -> None:
    before = time.time()
    outcome = simulate(io.sleep(THREE_DAYS).then(io.defer(time.time))).result
    assert isinstance(outcome, Ok)
    assert before <= outcome.success <= time.time()


# -- choice -----------------------------------------------------------------------------------


def digest() -> str:
    """A digest of some histories."""
    text = ""
    for seed in range(5):
        text += str(simulate(SQUARES, seed=seed).history)
        text += str(simulate(wait_cycle, seed=seed, faults=[Pause()]).history)
        text += str(
            simulate(SQUARES, seed=seed, faults=[Crash(), Disconnect(returns_after=1)]).history
        )
    return sha256(text.encode()).hexdigest()[:16]


# The digest is the same with all versions of Python. A change of the simulation or of the protocol
# changes it; then write the new one down.
DIGEST: Final = "feb93790c4ef7e17"


@pytest.mark.slow
def test_seed_gives_the_same_history_each_time() -> None:
    for seed in range(10):
        first, second = (simulate(SQUARES, seed=seed) for _ in range(2))
        assert str(first.history) == str(second.history)
        assert repr(first) == repr(second)


@pytest.mark.slow
def test_seed_gives_the_same_history_on_every_machine() -> None:
    assert digest() == DIGEST


@pytest.mark.slow
def test_seed_gives_the_same_history_in_each_process() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"from {digest.__module__} import digest; print(digest())"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("0", "1")
    ]
    expected = digest()
    for process in processes:
        assert process.communicate(timeout=PATIENCE)[0].strip() == expected


@pytest.mark.slow
def test_seeds_give_different_histories() -> None:
    program = io.parallel(io.pure(1))
    histories = {
        simulate(program, seed=seed, members=1, threads=1, latency=0).history.fingerprint
        for seed in range(1000)
    }
    assert len(histories) > 500


@pytest.mark.slow
def test_seeds_give_the_first_work_to_different_workers() -> None:
    first = set()
    for seed in range(30):
        steps = lines(simulate(io.zip_par(io.pure(1)), seed=seed).history, "worker-", ": steps")
        first.add(steps[0].split()[1])
    assert first == {"worker-1:", "worker-2:", "worker-3:"}


@pytest.mark.slow
def test_seeds_let_fibers_of_one_process_go_in_different_orders() -> None:
    def main() -> Program:
        order = Sticky()

        def note(n: int) -> Program:
            return io.defer(lambda: order.items.append(n))

        notes = [note(n) for n in range(3)]
        return io.zip_par(notes).then(io.defer(lambda: tuple(order.items)))

    orders = set()
    for seed in range(40):
        outcome = simulate(main, seed=seed, members=1, threads=1).result
        assert isinstance(outcome, Ok)
        orders.add(outcome.success)
    assert len(orders) == 6


@pytest.mark.slow
def test_link_keeps_the_order_of_messages() -> None:
    program = io.sequence([io.parallel(io.pure(n)).then(io.yield_) for n in range(6)])
    offers = re.compile(r"Offer\((\d+\.\d+)\)")
    batches = set()
    for seed in range(20):
        history = simulate(program, seed=seed, members=1, latency=(0, 1)).history
        said = lines(history, "client: says", "Offer(")
        heard = lines(history, "coordinator: hears", "Offer(")
        assert offers.findall(str(said)) == offers.findall(str(heard))
        batches.add(len(said))
    assert max(batches) > 3


def test_wire_delivers_no_message_before_those_that_were_sent_earlier() -> None:
    class Reader:
        is_stale = False

    wire = Wire(Reader())
    wire.send([b"first"], 2.0)
    wire.send([b"second"], 1.0)
    assert (wire.arrival, wire.take()) == (2.0, [b"first"])
    assert (wire.arrival, wire.take()) == (2.0, [b"second"])
    assert wire.arrival == math.inf


def test_schedule_takes_the_place_of_the_seed() -> None:
    first, second = (simulate(SQUARES, seed=seed, schedule="3:1 40:2") for seed in (1, 2))
    assert str(first.history) == str(second.history)
    assert str(first.history) != str(simulate(SQUARES, schedule="").history)


# -- travelling -------------------------------------------------------------------------------


def test_fiber_that_travels_has_a_copy_of_its_values() -> None:
    seen: list[int] = []
    program = io.zip_par([io.defer(seen.append, n) for n in range(3)])
    simulation = simulate(program)
    assert simulation.result == Ok([None, None, None])
    assert (seen, simulation.stayed) == ([], ())


def test_outcome_that_travels_is_a_copy() -> None:
    original = [1, 2]
    outcome = simulate(io.zip_par(io.pure(original))).result
    assert outcome == Ok(([1, 2],))
    assert isinstance(outcome, Ok)
    assert outcome.success[0] is not original


def test_fiber_that_cannot_be_pickled_stays_and_is_in_the_history() -> None:
    sticky = Sticky()
    simulation = simulate(io.zip_par(io.defer(lambda: sticky.items.append(1)), io.pure(2)))
    assert simulation.result == Ok((None, 2))
    assert sticky.items == [1]
    [reason] = simulation.stayed
    assert "captured variable 'sticky'" in reason
    assert "it is sticky" in reason
    [told] = lines(simulation.history, "can't be pickled and stays")
    assert told.split()[1] == "client:"


def test_outcome_that_cannot_be_pickled_is_a_panic() -> None:
    exception = the_exception(simulate(io.zip_par(io.defer(Sticky))).result)
    assert isinstance(exception, NotPicklable)
    assert "it is sticky" in str(exception)


def test_outcome_that_cannot_be_unpickled_is_a_panic() -> None:
    outcome = simulate(io.zip_par(io.pure(1), io.defer(Brittle))).result
    assert repr(the_exception(outcome)) == "ValueError('boom')"


def test_fiber_that_cannot_be_unpickled_is_a_panic() -> None:
    brittle = Brittle()
    outcome = simulate(io.zip_par(io.pure(1), io.defer(lambda: brittle))).result
    assert repr(the_exception(outcome)) == "ValueError('boom')"


def test_root_whose_outcome_cannot_be_pickled_returns_it() -> None:
    outcome = simulate(io.defer(Sticky)).result
    assert isinstance(outcome, Ok)
    assert isinstance(outcome.success, Sticky)


# -- the history ------------------------------------------------------------------------------


def test_history_is_a_sequence_of_lines() -> None:
    history = simulate(SQUARES).history
    text = str(history).splitlines()
    assert len(history) == len(text) > 20
    assert [*history] == text
    assert (history[0], history[-1]) == (text[0], text[-1])
    assert (history[2:5], history[-3:]) == (text[2:5], text[-3:])
    assert text[3] in history
    with pytest.raises(IndexError):
        history[len(text)]


def test_history_lines_have_a_time_a_process_and_an_event() -> None:
    history = simulate(SQUARES).history
    parties = r"(client|coordinator|worker-[123])"
    assert all(re.fullmatch(rf"\d+\.\d{{6}} {parties}: .+", line) for line in history)
    seconds = [float(line.split()[0]) for line in history]
    assert seconds == sorted(seconds)


def test_history_of_a_fiber_is_its_whole_life() -> None:
    simulation = simulate(io.parallel(io.sleep(1), io.sleep(2)))
    assert isinstance(simulation.result, Ok)
    handle, _ = simulation.result.success
    name = name_of(handle.id)
    life = iter(simulation.history.of(handle))
    for event in (
        rf"client: fiber {name.split('.')[0]}.0 has started {name} ",
        rf"client: says .*Offer\({name}\)",
        rf"coordinator: hears .*Offer\({name}\)",
        rf"worker-\d: hears .*Place\({name}\)",
        rf"worker-\d: steps fiber {name}, which sleeps for 1 s",
        rf"worker-\d: says .*StartTimer\({name}\)",
        rf"worker-\d: hears .*TimerFired\({name}\)",
        rf"worker-\d: fiber {name} is ready",
        rf"worker-\d: steps fiber {name}, which ends",
        rf"worker-\d: fiber {name} has ended",
        rf"worker-\d: says .*Progress\({name}",
    ):
        assert any(re.search(event, line) for line in life), event


def test_history_of_a_fiber_is_every_line_about_it_and_no_other() -> None:
    simulation = simulate(SQUARES)
    [started] = lines(simulation.history, "has started")
    for name in started.split()[-3:]:
        about = re.compile(rf" .*(?<![\d.]){re.escape(name)}(?!\d)")
        assert simulation.history.of(name) == [*filter(about.search, simulation.history)]


def test_history_of_a_fiber_takes_its_handle_its_id_or_its_name() -> None:
    simulation = simulate(io.parallel(io.pure(1)))
    assert isinstance(simulation.result, Ok)
    [handle] = simulation.result.success
    history = simulation.history
    life = history.of(handle)
    assert len(life) > 5
    assert life == history.of(handle.id) == history.of(name_of(handle.id))
    assert life == history.of(f"fiber {name_of(handle.id)}")


def test_history_of_an_unknown_fiber_is_empty() -> None:
    assert simulate(io.pure(1)).history.of(fiber_id(9, 9)) == []


@pytest.mark.parametrize("name", ["", "1", "x", "1.x", "1.2.3", "worker-1"])
def test_history_of_a_name_that_is_no_fibers_is_refused(name: str) -> None:
    history = simulate(io.pure(1)).history
    with pytest.raises(
        MatchError, match=r"expected a fiber, its id, or its name as '1\.3', but got"
    ):
        history.of(name)


# -- faults -----------------------------------------------------------------------------------

LONG: Final = io.zip_par([io.sleep(1).then(square(n)) for n in range(3)]).map(sum)


@pytest.mark.slow
@pytest.mark.parametrize("process", [None, "client"])
@pytest.mark.parametrize("fault", [Pause, Partition])
def test_pause_or_partition_for_a_while_changes_no_result(
    fault: Callable[..., Fault], process: str | None
) -> None:
    seconds = []
    for seed in range(60):
        simulation = simulate(SQUARES, seed=seed, members=2, faults=[fault(process, seconds=5)])
        assert simulation.result == SUM
        seconds.append(simulation.virtual_seconds)
    assert max(seconds) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("process", ["client", "worker-1"])
def test_pause_for_long_changes_no_result(process: str) -> None:
    for seed in range(20):
        pause = Pause(process, at=0.5, seconds=3600)
        simulation = simulate(LONG, seed=seed, members=1, faults=[pause])
        assert simulation.result == SUM
        assert simulation.virtual_seconds >= 3600


def test_process_that_is_paused_does_nothing() -> None:
    history = simulate(LONG, faults=[Pause("worker-1", at=0.5, seconds=4)]).history
    theirs = lines(history, " worker-1: ")
    start = theirs.index("0.500000 worker-1: stands still for 4 s")
    assert theirs[start + 1] == "4.500000 worker-1: goes on"
    assert len(theirs) > start + 2


def test_process_that_is_cut_off_neither_receives_nor_sends_until_it_is_reached_again() -> None:
    program = io.zip_par([io.sequence([io.sleep(0.2)] * 4) for _ in range(2)])
    history = simulate(
        program, members=1, faults=[Partition("worker-1", at=0.5, seconds=4)]
    ).history
    start = history.index("0.500000 worker-1: is cut off for 4 s")
    end = history.index("4.500000 worker-1: is reached again")
    meanwhile = history[start:end]
    assert not lines(meanwhile, "worker-1: hears")
    assert not lines(meanwhile, "coordinator: hears", "StartTimer")
    assert lines(history[end:], "worker-1: hears", "TimerFired")


@pytest.mark.slow
def test_crash_leaves_the_right_result_or_a_panic_with_its_reason() -> None:
    panics = 0
    for seed in SEEDS:
        simulation = simulate(SQUARES, seed=seed, members=2, faults=[Crash()], snapshots="off")
        if simulation.result != SUM:
            panics += 1
            for exception in exceptions(simulation.result):
                assert isinstance(exception, WorkerLost)
                assert exception.reason == "killed by SIGKILL"
            assert lines(simulation.history, "worker-", ": crashes")
    assert 0 < panics < len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [Disconnect(seconds=60), Disconnect(returns_after=0.01), Partition(seconds=60)]
)
def test_broken_link_leaves_the_right_result_or_a_panic_with_its_reason(fault: Fault) -> None:
    panics = 0
    for seed in SEEDS:
        simulation = simulate(SQUARES, seed=seed, members=2, faults=[fault], snapshots="off")
        if simulation.result != SUM:
            panics += 1
            for exception in exceptions(simulation.result):
                assert isinstance(exception, WorkerLost)
                assert exception.reason in ("exited with code 0", "no sign of life")
    assert 0 < panics < len(SEEDS)


@pytest.mark.slow
def test_process_that_is_cut_off_for_long_is_taken_for_lost() -> None:
    fault = Partition("worker-1", at=0.5, seconds=60)
    endings = set()
    for seed in range(10):
        main = io.zip_par([io.sleep(100)] * 6)
        simulation = simulate(main, seed=seed, faults=[fault], snapshots="off")
        assert "0.500000 worker-1: is cut off for 60 s" in simulation.history
        assert "30.500000 worker-1: is held for lost" in simulation.history
        [end] = lines(simulation.history, "worker-1: ends: ")
        endings.add(end.partition("ends: ")[2])
        assert all(isinstance(exception, WorkerLost) for exception in exceptions(simulation.result))
    # the worker may lose its patience as well, or hear of it when it is reached again
    assert endings == {
        "the connection to the coordinator broke",
        "the coordinator had no sign of life from this process",
    }


@pytest.mark.slow
def test_cluster_is_closed_when_all_workers_have_crashed() -> None:
    crashes = [Crash(f"worker-{n}", at=0.1 * n) for n in (1, 2, 3)]
    for seed in SEEDS:
        program = io.parallel([io.sleep(1)] * 4).then(io.sleep(2))
        simulation = simulate(program, seed=seed, faults=crashes)
        closed = the_exception(simulation.result)
        assert isinstance(closed, ClusterClosed)
        assert "the last worker process was lost: killed by SIGKILL" in str(closed)
        assert 0.3 <= simulation.virtual_seconds < 0.4


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Disconnect("client", at=0.5, seconds=60), Partition("client", at=0.5, seconds=60)],
)
def test_cluster_is_closed_when_the_link_of_the_client_broke(fault: Fault) -> None:
    for seed in range(50):
        simulation = simulate(LONG.then(io.sleep(100)), seed=seed, faults=[fault])
        closed = the_exception(simulation.result)
        assert isinstance(closed, ClusterClosed)
        said = str(closed)
        assert "connection to the coordinator broke" in said or "no sign of life" in said


@pytest.mark.slow
def test_simulation_has_no_result_when_the_client_crashed() -> None:
    for seed in range(50):
        simulation = simulate(LONG, seed=seed, faults=[Crash("client", at=0.5)])
        assert simulation.result is None
        assert "0.500000 client: crashes" in simulation.history
        assert len(lines(simulation.history, "worker-", "hears", "RunEnded")) > 0


@pytest.mark.slow
def test_client_that_crashes_at_any_moment_leaves_nothing_behind() -> None:
    outcomes = [simulate(SQUARES, seed=seed, faults=[Crash("client")]).result for seed in SEEDS]
    assert outcomes.count(None) + outcomes.count(SUM) == len(SEEDS)
    assert 0 < outcomes.count(None) < len(SEEDS)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (Crash("worker-2", at=0.25), "0.250000 worker-2: crashes"),
        (Pause("client", at=0.5, seconds=2), "0.500000 client: stands still for 2 s"),
        (Partition("worker-3", at=0.75, seconds=3), "0.750000 worker-3: is cut off for 3 s"),
        (Disconnect("worker-1", at=1.25), "1.250000 worker-1: loses "),
    ],
)
def test_fault_comes_at_its_time(fault: Fault, line: str) -> None:
    history = simulate(io.sleep(2), faults=[fault]).history
    assert [each for each in history if each.startswith(line)]


@pytest.mark.slow
def test_fault_without_a_name_befalls_any_worker() -> None:
    victims = set()
    for seed in range(30):
        [line] = lines(simulate(io.sleep(1), seed=seed, faults=[Crash(at=0.5)]).history, "crashes")
        victims.add(line)
    assert victims == {f"0.500000 worker-{n}: crashes" for n in (1, 2, 3)}


@pytest.mark.slow
def test_fault_without_a_time_comes_at_any_moment() -> None:
    moments = set()
    for seed in range(20):
        history = simulate(SQUARES, seed=seed, faults=[Pause()]).history
        moments |= {line.split()[0] for line in lines(history, "stands still")}
    assert len(moments) > 10


@pytest.mark.slow
def test_disconnect_breaks_either_link_or_both() -> None:
    losses = set()
    for seed in range(30):
        [line] = lines(
            simulate(io.sleep(1), seed=seed, faults=[Disconnect("worker-1", at=0.5)]).history,
            "worker-1: loses",
        )
        losses.add(line.partition("loses ")[2])
    assert losses == {"its links", "the link it speaks on", "the link it listens on"}


@pytest.mark.slow
def test_worker_that_returns_is_another_member_and_gets_work() -> None:
    program = io.sleep(2).then(SQUARES)
    for seed in range(20):
        fault = Disconnect("worker-1", at=1, returns_after=0.5)
        simulation = simulate(program, seed=seed, members=2, faults=[fault])
        assert simulation.result == SUM
        first, second = lines(simulation.history, "worker-1: joins as member")
        assert first.split()[-1] != second.split()[-1]
        assert 1.5 <= float(second.split()[0]) < 1.6
        since = simulation.history[simulation.history.index(second) :]
        assert lines(since, "worker-1: steps fiber")


def test_worker_that_is_to_return_twice_returns_once() -> None:
    """Two workers of one name at a time would be one to the ledger."""
    breaks = [Disconnect("worker-1", at, returns_after=0.004) for at in (0.005, 0.006)]
    simulation = simulate(io.zip_par([io.sleep(0.1)] * 2), members=1, faults=breaks)
    assert simulation.result == Ok([None, None])
    assert str(simulation.history).count("worker-1: joins as member") == 2


def test_worker_that_does_not_return_is_gone() -> None:
    history = simulate(io.sleep(20), faults=[Disconnect("worker-1", at=1)]).history
    assert len(lines(history, "worker-1: joins as member")) == 1


# -- limits -----------------------------------------------------------------------------------


def test_program_that_never_ends_meets_the_limit_of_steps() -> None:
    with pytest.raises(SimulationLimit, match=r"after 500 steps .* raise max_steps; .*fiber 4\.0"):
        simulate(FOREVER, max_steps=500)
    assert simulate(io.sequence([io.yield_] * 300), max_steps=500).steps == 301


def test_program_that_takes_long_meets_the_limit_of_time() -> None:
    with pytest.raises(
        SimulationLimit, match=r"after 10 virtual seconds .* raise max_virtual_seconds; .*fiber"
    ):
        simulate(io.zip_par([io.sleep(100)] * 5), max_virtual_seconds=10)
    assert simulate(io.sleep(9), max_virtual_seconds=10).result == Ok(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members is a number from 1, but got 0"),
        ({"threads": 0}, "threads is a number from 1, but got 0"),
        ({"latency": (2, 1)}, r"latency is .*, but got \(2, 1\)"),
        ({"latency": -1}, "latency is .*, but got -1"),
        ({"latency": math.inf}, "latency is .*, but got inf"),
        ({"latency": math.nan}, "latency is .*, but got nan"),
        ({"schedule": "3:1 x"}, "a schedule is a list like '3:1 9:2' .* but it has 'x'"),
        ({"schedule": "3:1:2"}, "a schedule is a list like '3:1 9:2' .* but it has '3:1:2'"),
    ],
)
def test_simulate_refuses_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MatchError, match=message):
        simulate(io.pure(1), **options)


@pytest.mark.parametrize("number", [-1, math.nan])
def test_fault_refuses_times_below_0_seconds(number: float) -> None:
    with pytest.raises(MatchError, match="Crash: at is a number of seconds from 0, but got"):
        Crash(at=number)
    with pytest.raises(MatchError, match="Pause: seconds is a number of seconds from 0"):
        Pause(seconds=number)


@pytest.mark.parametrize("kind", [Crash, Fail, Pause, Partition, Disconnect, Leave])
def test_fault_that_the_coordinator_cannot_suffer_is_refused(kind: Callable[..., Fault]) -> None:
    with pytest.raises(MatchError, match=r"the 'coordinator' can't suffer this, .* Shutdown\(\)"):
        kind("coordinator")


def test_pause_in_the_handshake_is_only_a_pause() -> None:
    for process in ("client", "worker-1"):
        simulation = simulate(io.pure(1), faults=[Pause(process, at=0.0, seconds=30)])
        assert simulation.result == Ok(1)


def test_latency_of_minutes_loses_no_member() -> None:
    assert simulate(io.pure(1), latency=600).result == Ok(1)


@pytest.mark.parametrize("main", [5, None, lambda: 5, lambda: None])
def test_simulate_refuses_a_value_that_is_no_program(main: Any) -> None:
    with pytest.raises(
        MatchError, match=r"simulate: expected an IO( from the function .*)?, but got"
    ):
        simulate(main)


# -- the process around it --------------------------------------------------------------------


def interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "program",
    [io.defer(interrupt), io.zip_par(io.defer(interrupt)), io.zip_par(io.async_(interrupt))],
    ids=["root", "child", "callback"],
)
def test_simulation_is_left_by_ctrl_c_in_a_program(program: Program) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulate(program)
    assert gc.isenabled()


def test_simulation_leaves_garbage_collection_enabled() -> None:
    simulate(io.pure(1))
    assert gc.isenabled()
    with pytest.raises(SimulationLimit):
        simulate(FOREVER, max_steps=10)
    assert gc.isenabled()


def test_simulation_leaves_disabled_garbage_collection_disabled() -> None:
    gc.disable()
    try:
        simulate(io.pure(1))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_simulation_collects_no_garbage_while_it_goes_on() -> None:
    assert simulate(io.defer(gc.isenabled)).result == Ok(False)


def test_simulation_starts_no_threads() -> None:
    before = {*threading.enumerate()}  # some of other tests may end meanwhile
    outcome = simulate(io.zip_par([io.defer(threading.get_ident)] * 4)).result
    assert outcome == Ok([threading.get_ident()] * 4)
    assert {*threading.enumerate()} <= before


# -- still to come ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Crash(),
        Disconnect(),
        Disconnect(seconds=60),
        Disconnect(returns_after=0.01),
        Partition(seconds=60),
    ],
)
def test_lost_worker_changes_no_result(fault: Fault) -> None:
    for seed in range(50):
        assert simulate(SQUARES, seed=seed, faults=[fault]).result == SUM


@pytest.mark.slow
def test_fiber_that_sleeps_while_workers_are_lost_is_not_blamed_for_that() -> None:
    # whichever of the two workers has the fiber when one breaks, it is there for the next ones
    breaks = [
        Disconnect(f"worker-{1 + n % 2}", at=10.0 * (n + 1), returns_after=5.0) for n in range(6)
    ]
    # a fiber that sleeps longer than a minute is with the coordinator: no loss concerns it
    main = io.parallel(io.sleep(59)).flat_map(
        lambda started: io.wait(started).map(lambda results: (started[0], results[0]))
    )
    for seed in range(10):
        simulation = simulate(main, seed=seed, members=2, faults=breaks)
        assert isinstance(simulation.result, Ok)
        fiber, outcome = simulation.result.success
        assert outcome == Ok(None)
        assert len(lines(simulation.history.of(fiber), "goes on from its snapshot")) >= 3
        assert 59 <= simulation.virtual_seconds < 130  # it was saved before it began to sleep


@pytest.mark.slow
def test_fibers_that_move_to_and_fro_are_waited_for() -> None:
    """More fibers than threads, made on a worker: others ask for them, and some come home."""
    one = io.pure(1).zip(io.sleep(0.05))
    crowd = io.zip_par(io.defer_io(lambda: io.zip_par([one] * 12))).map(lambda all: len(all[0]))
    for seed in range(150):
        assert simulate(crowd, members=2, threads=1, seed=seed).result == Ok(12), seed
