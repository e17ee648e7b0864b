"""Supervisors that move, whose workers die, and under many seeds; and bad input to them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, Cluster, Errors, MatchError, Ok, Panic, Result, child, io, supervise
from distio.core.fiber import Fiber, Handle
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, load_fibers
from distio.core.supervisor import (
    RESTARTS,
    STRATEGIES,
    Policy,
    Restart,
    StartAgain,
    Strategy,
    Supervisor,
    Terminate,
)
from distio.errors import TooManyRestarts
from distio.protocol import requests as rq
from distio.testing import Crash, Fault, Interrupt, simulate
from tests.harness.generated import COUNTS, FILE, SEEDS, SHAPES

Program = IO[Any, Any, Any]

MANY: Final = 1_000_000


def quiet(name: str, result: Result[Any, Any], attempt: int) -> Program:
    return io.pure(None)


TOLD: list[tuple[int, bool, int]] = []
"""Of each restart: the child, whether it had ended well, and the number of the attempt."""


def tell(name: str, result: Result[Any, Any], attempt: int) -> Program:
    return io.defer(TOLD.append, (int(name), result.is_ok(), attempt))


# -- step by step -------------------------------------------------------------------------------


class Script:
    """Runs the fiber of a supervisor, and plays its children.

    After each answer, the fiber is pickled and made again.
    """

    def __init__(self, program: Program) -> None:
        self.fiber = Fiber(0, 0, program, None)
        self.said: list[Any] = []
        """Starts and cancellations of children; fibers are numbered in the order of starts."""
        self.ended: dict[int, Result[Any, Any]] = {}
        self.started = 0

    def go_on(self) -> Any:
        """Run until the supervisor has ended, or waits for a fiber."""
        while True:
            if self.fiber.request is not None:
                if not self.answer(self.fiber.request):
                    return None
                (self.fiber,) = load_fibers(0, [(0, 0)], dump_fibers([self.fiber])[0])
            request = step(self.fiber)
            if request is rq.FINISHED:
                return self.fiber.outcome()
            self.fiber.request = request

    def answer(self, request: Any) -> bool:
        fiber = self.fiber
        if isinstance(request, rq.Spawn):
            ids = [self.started + number for number, _ in enumerate(request.ios, 1)]
            self.started += len(ids)
            self.said.append(("starts", ids))
            fiber.value = [Handle(id) for id in ids]
        elif isinstance(request, rq.CancelFibers):
            ids = [handle.id for handle in request.handles]
            self.said.append(("cancels", ids))
            self.ended.update({id: Ok("cancelled") for id in ids})
        elif isinstance(request, rq.AwaitFibers):
            results = [self.ended.get(handle.id) for handle in request.handles]
            if sum(each is not None for each in results) < request.enough:
                return False
            fiber.value = results
        else:
            assert request is rq.NOW
            fiber.value = 0.0
        return True

    def end(self, **ended: Any) -> Any:
        self.ended.update({int(id[1:]): result for id, result in ended.items()})
        return self.go_on()


NO: Final[Any] = Errors(["no"])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", [("starts", [4])]),
        ("one_for_all", [("cancels", [3]), ("cancels", [1]), ("starts", [4, 5, 6])]),
        ("rest_for_one", [("cancels", [3]), ("starts", [4, 5])]),
    ],
)
def test_supervisor_that_moves_keeps_its_children(strategy: Strategy, expected: Any) -> None:
    script = Script(supervise([FILE.with_(io.pure(1))] * 3, strategy=strategy, on_restart=quiet))
    assert script.go_on() is None
    assert script.said == [("starts", [1, 2, 3])]
    assert script.end(_2=NO) is None
    assert script.said[1:] == expected
    script.said = []
    script.fiber.cancel(0)
    script.fiber.unwind(waits=True)
    assert isinstance(script.go_on(), Panic)
    alive = {"one_for_one": [3, 4, 1], "one_for_all": [6, 5, 4], "rest_for_one": [5, 4, 1]}
    assert script.said == [("cancels", [id]) for id in alive[strategy]]


def test_supervisor_restarts_two_ended_children_of_one_group_once() -> None:
    script = Script(supervise([io.pure(1)] * 3, strategy="one_for_all", on_restart=quiet))
    script.go_on()
    assert script.end(_1=NO, _2=NO) is None
    again = [("cancels", [3]), ("cancels", [2]), ("starts", [4, 5, 6])]
    assert script.said == [("starts", [1, 2, 3]), *again]


@pytest.mark.slow
def test_supervisor_keeps_the_depth_of_its_stack() -> None:
    script = Script(supervise([io.pure(1)] * 3, max_restarts=MANY, on_restart=quiet))
    script.go_on()
    depths = set()
    for number in range(1, 1001):
        assert script.end(**{f"_{number}": NO}) is None
        depths.add(len(script.fiber.stack))
        script.ended.clear()
    assert len(depths) == 1


def test_supervisor_takes_up_all_ended_children_before_it_looks_again() -> None:
    """A child that ends all the time must not hide the end of others."""
    TOLD.clear()
    children = [child(io.pure(1), str(place)) for place in range(3)]
    script = Script(supervise(children, max_restarts=9, on_restart=tell))
    script.go_on()
    # of 1 and 3, the first is started again as 4, which has ended at once, too
    assert script.end(_1=NO, _3=NO, _4=NO) is None
    assert [place for place, _, _ in TOLD] == [0, 2, 0]


# -- lost workers -------------------------------------------------------------------------------


def die_once(place: str) -> int:
    """Kill the worker in the first life, and return in the second."""
    try:
        Path(place, "been here").touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    Path(place, "pid").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead")


@pytest.mark.slow
def test_supervised_child_whose_worker_was_killed_goes_on_on_another(tmp_path: Path) -> None:
    seen: list[Any] = []

    def tell(name: str, result: Result[Any, Any], attempt: int) -> Program:
        return io.defer(seen.append, (name, result, attempt))

    dies = child(io.defer(die_once, str(tmp_path)), "dies", "transient")
    with Cluster.local(workers=2, threads=1) as cluster:
        workers = {process.pid for process in cluster._processes.workers}  # type: ignore[union-attr]  # local
        result: Any = supervise(dies, on_restart=tell).run(None, on=cluster)
    dead = int((tmp_path / "pid").read_text())
    assert result == Ok([Ok((workers - {dead}).pop())])
    assert seen == []  # the child goes on, so nobody starts it again


# -- under many seeds ---------------------------------------------------------------------------

End = tuple[str, int]
"""How a life ends, and after how many milliseconds."""
LIVES: Counter[int] = Counter()
"""The number of lives that each child has begun. (A simulated cluster is one process.)"""

ENDS: Final[dict[str, Program]] = {
    "well": io.pure(1),
    "badly": io.error("no"),
    "in a panic": io.panic(ValueError("bad")),
    "never": io.sleep(1_000_000),
    "stuck": io.error("no").finally_(lambda _: io.error("stuck")),
    "whole": io.uncancelable(io.sleep(0.002)),
}


def live(place: int, ends: Sequence[End]) -> Program:
    LIVES[place] += 1
    number = LIVES[place]
    end, milliseconds = ends[number - 1] if number <= len(ends) else ("never", 0)
    return FILE.with_(io.sleep(milliseconds / 1000).then(ENDS[end]))


@dataclass(frozen=True)
class Case:
    """A supervisor, and the ends of each child."""

    policy: Policy
    children: tuple[tuple[End, ...], ...]
    milliseconds: int
    """The time after which the supervisor is cancelled."""

    def program(self) -> Program:
        specs = [
            child(io.defer_io(live, place, ends), str(place), self.policy.restarts[place])
            for place, ends in enumerate(self.children)
        ]
        policy = self.policy
        return supervise(
            specs,
            strategy=policy.strategy,
            max_restarts=policy.max_restarts,
            within_seconds=policy.within_seconds,
            on_restart=tell,
        ).timeout(self.milliseconds / 1000, io.pure("cancelled"))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ends = st.lists(st.tuples(st.sampled_from([*ENDS]), st.integers(0, 3)), max_size=4).map(tuple)
    children = tuple(draw(st.lists(ends, min_size=1, max_size=4)))
    kinds: st.SearchStrategy[Restart] = st.sampled_from(RESTARTS)
    restarts = tuple([draw(kinds) for _ in children])
    policy = Policy(restarts, draw(st.sampled_from(STRATEGIES)), draw(st.integers(0, 5)), 1000.0)
    return Case(policy, children, draw(st.sampled_from([1, 5, 10, 1000])))


FAULTS = st.none() | st.builds(Crash) | st.builds(Interrupt, at=st.sampled_from([None, 0.005]))


@pytest.mark.slow
@pytest.mark.seeds(200)
def test_supervisor_restarts_as_its_machine_decides_and_leaves_nothing(examples: int) -> None:
    @settings(max_examples=examples)
    @given(cases(), SEEDS, SHAPES, FAULTS)
    def check(case: Case, seed: int, shape: tuple[int, int], fault: Fault | None) -> None:
        TOLD.clear()
        LIVES.clear()
        COUNTS.clear()
        members, threads = shape
        faults = [] if fault is None else [fault]
        program = case.program()
        # without snapshots: a life that goes on elsewhere would be counted twice
        simulation = simulate(
            program, members=members, threads=threads, seed=seed, faults=faults, snapshots="off"
        )
        assert simulation.virtual_seconds < 100
        check_restarts(case, simulation.result, is_quiet=fault is None)
        if not isinstance(fault, Crash):
            assert COUNTS["opened"] == COUNTS["closed"]

    check()


def check_restarts(case: Case, result: Any, is_quiet: bool) -> None:
    """Have the machine decide once more, by the arguments of each restart's hook.

    Args:
        case: the supervisor and its children.
        result: the outcome of the run.
        is_quiet: whether no worker was lost, and the run wasn't interrupted.
    """
    machine = Supervisor(case.policy)
    starts = Counter(machine.running)
    for place, is_ok, attempt in TOLD:
        decision = machine.ended(place, is_ok, 0.0)
        assert isinstance(decision, StartAgain)
        assert decision.attempt == attempt
        starts.update(machine.stopped(decision, set()))
    assert all(LIVES[place] <= starts[place] for place in LIVES)
    if isinstance(result, Ok) and result.success != "cancelled":
        assert len(result.success) == len(case.children)
        if is_quiet and case.policy.strategy == "one_for_one":
            assert starts == LIVES
    first = result.exceptions[0].exception if isinstance(result, Panic) else None
    if isinstance(first, TooManyRestarts):
        assert isinstance(machine.ended(int(first.child), False, 0.0), Terminate)


# -- bad input ----------------------------------------------------------------------------------

a_supervisor: Any = supervise
a_child: Any = child


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a_supervisor(5), "supervise: expected an IO, but got 5 of type int"),
        (lambda: a_supervisor([io.pure(1), None]), "supervise: expected an IO, but got None"),
        (lambda: a_child(5), "child: expected an IO, but got 5 of type int"),
        (lambda: a_child(io.pure(1), ""), "child: expected a name, but got '' of type str"),
        (lambda: a_child(io.pure(1), 5), "child: expected a name, but got 5 of type int"),
        (
            lambda: a_child(io.pure(1), restart="always"),
            "child: restart is 'permanent' or 'transient' or 'temporary', but got 'always'",
        ),
        (
            lambda: a_supervisor(io.pure(1), strategy=1),
            "supervise: strategy is 'one_for_one' or 'one_for_all' or 'rest_for_one', but got 1",
        ),
        (
            lambda: a_supervisor(io.pure(1), max_restarts=1.5),
            "supervise: max_restarts is a whole number from 0, but got 1.5 of type float",
        ),
        (
            lambda: a_supervisor(io.pure(1), max_restarts=True),
            "supervise: max_restarts is a whole number from 0, but got True of type bool",
        ),
        (
            lambda: a_supervisor(io.pure(1), within_seconds=0),
            "supervise, within_seconds: expected a number of seconds above 0, but got 0",
        ),
        (
            lambda: a_supervisor(io.pure(1), within_seconds="5"),
            "supervise, within_seconds: expected a number of seconds above 0, finite, but got '5'",
        ),
        (
            lambda: a_supervisor(io.pure(1), on_restart=5),
            "supervise, on_restart: expected a function, but got 5 of type int",
        ),
    ],
)
def test_supervise_refuses_bad_input_at_once(make: Any, message: str) -> None:
    with pytest.raises(MatchError) as refused:
        make()
    assert str(refused.value).startswith(message)


def test_supervise_with_less_than_no_restarts_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="max_restarts is a whole number from 0, but got -1"):
        a_supervisor(io.pure(1), max_restarts=-1)
