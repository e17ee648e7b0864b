"""Context variables on a journey: which travel, which stay, and functions of io.do that move."""

from __future__ import annotations

import decimal
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextvars import Context, ContextVar
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distio import IO, Ok, Queue, Var, carry, io
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.ops.bounded import Chunk
from distio.core.replay import dispose
from distio.core.snapshot import dump_fibers, load_fibers
from distio.errors import NotDeterministic
from distio.protocol.requests import FINISHED, NOW, SWITCHED, CallPrimitive, PrimitiveRef, Sleep
from distio.testing import MOVE_ON_WAKE, simulate
from tests.conftest import shared_cluster

Program = IO[Any, Any, Any]

user = carry(ContextVar("user", default="nobody"))
trace = carry(ContextVar[list[str]]("trace"))
"""A variable without a default, whose values are changed in place."""
plain = ContextVar("plain", default="nothing")
"""A variable that doesn't travel."""

NUMBERS = count()
NOTED: list[str] = []

PAUSE = io.sleep(0.001)


def moving(program: Program) -> Any:
    """Run a program in a child that moves at each `PAUSE`, and return its Result."""
    simulation = simulate(io.zip_par(program), components=MOVE_ON_WAKE)
    assert simulation.stayed == ()
    assert simulation.result is not None
    return simulation.result.map(lambda values: values[0])


def resting(program: Program) -> Any:
    """As `moving`, but the child doesn't move."""
    return program.run(None)


@pytest.fixture(params=[moving, resting], ids=["moving", "resting"])
def run(request: pytest.FixtureRequest) -> Callable[[Program], Any]:
    """Run a program in an empty context."""

    def run(program: Program) -> Any:
        return Context().run(request.param, program)

    return run


def set_user(name: str) -> None:
    user.set(name)


def set_plain(value: str) -> None:
    plain.set(value)


def bad() -> None:
    raise ValueError("no")


def note_down(item: str) -> None:
    NOTED.append(item)


def set_precision_once() -> None:
    if not NOTED:
        NOTED.append("begun")
        decimal.getcontext().prec = 9


def note_all(items: tuple[str, ...]) -> None:
    NOTED.extend(items)


def next_number() -> int:
    return next(NUMBERS)


def digits() -> int:
    return len(str(decimal.Decimal(1) / 3)) - 2


# -- functions of io.do -----------------------------------------------------------------------


@io.do
async def thirds(*precisions: int) -> list[int]:
    """The digits within each precision, each in the one before, and after each."""
    found = []
    if precisions:
        with decimal.localcontext() as context:
            context.prec = precisions[0]
            await PAUSE
            found.append(digits())
            found += await thirds(*precisions[1:])
            await PAUSE
        await PAUSE
    return [*found, digits()]


def test_decimal_precision_is_the_same_after_each_move(run: Any) -> None:
    assert run(thirds(5, 9, 40)) == Ok([5, 9, 40, 40, 9, 5, 28])


def test_decimal_precision_set_in_place_is_the_same_after_a_move(run: Any) -> None:
    def set_precision(prec: int) -> None:
        decimal.getcontext().prec = prec

    @io.do
    async def change() -> list[int]:
        found = [digits()]
        decimal.getcontext().prec = 9
        await PAUSE
        found.append(digits())
        await PAUSE.then(io.defer(set_precision, 12), PAUSE)
        found.append(digits())
        with decimal.localcontext() as context:
            await PAUSE
            context.prec += 1
            await PAUSE
            found.append(digits())
        await PAUSE
        return [*found, digits()]

    assert run(change()) == Ok([28, 9, 12, 13, 12])


def test_decimal_flags_and_traps_travel(run: Any) -> None:
    @io.do
    async def divide() -> tuple[bool, Any]:
        decimal.setcontext(decimal.ExtendedContext)
        quotient = decimal.Decimal(1) / 0
        await PAUSE
        return decimal.getcontext().flags[decimal.DivisionByZero], quotient

    assert run(divide()) == Ok((True, decimal.Decimal("Infinity")))


@io.do
async def set_and_reset(var: ContextVar[Any], *values: str) -> list[str]:
    found = [var.get()]
    if values:
        token = var.set(values[0])
        await PAUSE
        found += await set_and_reset(var, *values[1:])
        await PAUSE
        var.reset(token)
        await PAUSE
    return [*found, var.get()]


FOUND = ["nobody", "Ada", "Alan", "Alan", "Ada", "nobody"]


def test_token_resets_its_variable_after_moves(run: Any) -> None:
    assert run(set_and_reset(user, "Ada", "Alan")) == Ok(FOUND)


def test_token_resets_a_variable_that_had_no_value_before(run: Any) -> None:
    @io.do
    async def unset() -> Any:
        token = trace.set([])
        await PAUSE
        trace.reset(token)
        await PAUSE
        return trace.get("none")

    assert run(unset()) == Ok("none")


def test_function_below_another_finds_the_values_that_were_set_there(run: Any) -> None:
    @io.do
    async def main() -> list[Any]:
        token = user.set("Grace")
        found = await io.defer_io(set_and_reset, user, "Ada")
        await PAUSE
        user.reset(token)
        return [*found, user.get()]

    assert run(main()) == Ok(["Grace", "Ada", "Ada", "Grace", "nobody"])


def test_value_set_by_an_awaited_program_is_kept_after_moves(run: Any) -> None:
    @io.do
    async def main() -> list[str]:
        found = []
        for name in ["Ada", "Alan"]:
            before = user.get()
            await io.defer(set_user, name).then(PAUSE)
            found.append(f"{before}, {user.get()}")
            await PAUSE.then(io.defer(set_user, f"late {name}"))
            found.append(user.get())
            await PAUSE
        return found

    late = ["nobody, Ada", "late Ada", "late Ada, Alan", "late Alan"]
    assert run(main()) == Ok(late)


def test_awaited_program_finds_the_values_that_its_function_set(run: Any) -> None:
    @io.do
    async def main() -> str:
        user.set("Ada")
        return await PAUSE.then(PAUSE, io.defer(user.get))

    assert run(main()) == Ok("Ada")


def test_value_that_an_awaited_program_sets_after_a_move_is_found(run: Any) -> None:
    @io.do
    async def main() -> list[str]:
        await PAUSE.then(io.defer(set_plain, "set there"))
        found = plain.get()
        await io.yield_
        return [found, plain.get()]

    assert run(main()) == Ok(["set there", "set there"])


def test_value_stays_the_object_that_the_function_holds(run: Any) -> None:
    @io.do
    async def main() -> list[str]:
        notes = ["first"]
        trace.set(notes)
        await PAUSE
        notes.append("second")
        await PAUSE
        trace.get().append("third")
        await PAUSE
        return [*trace.get(), "and", *notes]

    notes = ["first", "second", "third"]
    assert run(main()) == Ok([*notes, "and", *notes])


def start_trace() -> None:
    trace.set(["first"])


def note(word: str) -> None:
    trace.get().append(word)


def test_value_that_was_found_may_be_changed_by_awaited_programs(run: Any) -> None:
    @io.do
    async def append() -> list[str]:
        for word in ["second", "third"]:
            await PAUSE.then(io.defer(note, word), PAUSE)
        return trace.get()

    found = io.defer(start_trace).then(append())
    assert run(found) == Ok(["first", "second", "third"])


def test_function_that_changes_a_found_value_is_not_deterministic() -> None:
    @io.do
    async def append() -> list[str]:
        trace.get().append("second")
        await PAUSE
        return trace.get()

    result = Context().run(moving, io.defer(start_trace).then(append()))
    (traced,) = result.exceptions
    assert isinstance(traced.exception, NotDeterministic)
    assert "by changing the value of a context variable" in str(traced.exception)


def test_function_that_sets_another_value_when_it_is_repeated_is_not_deterministic() -> None:
    @io.do
    async def main() -> str:
        set_user(f"user {next_number()}")
        await PAUSE
        return user.get()

    result = Context().run(moving, main())
    (traced,) = result.exceptions
    assert isinstance(traced.exception, NotDeterministic)
    assert "found other values in the context variables user" in str(traced.exception)


def test_function_that_handles_a_failure_finds_the_variables_of_that_moment(run: Any) -> None:
    @io.do
    async def main() -> list[str]:
        found = []
        token = user.set("Ada")
        try:
            await PAUSE.then(io.defer(set_user, "changed"), io.defer(bad))
        except ValueError:
            found.append(user.get())
            await PAUSE
            found.append(user.get())
            user.reset(token)
        await PAUSE
        return [*found, user.get()]

    assert run(main()) == Ok(["changed", "changed", "nobody"])


def test_function_begun_anew_begins_with_the_values_that_it_has_set(run: Any) -> None:
    @io.do
    async def main(rounds: int) -> str:
        user.set(f"{user.get()}, {rounds}")
        await PAUSE
        if rounds:
            await io.restart_from(rounds - 1)
        return user.get()

    assert run(main(2)) == Ok("nobody, 2, 1, 0")


def test_resource_of_a_function_is_released_with_its_variables(run: Any) -> None:
    @io.do
    async def main() -> list[str]:
        found = []
        counter = await Var.create(0)
        token = user.set("Ada")
        async with counter.lock():
            await PAUSE
            found.append(user.get())
        await PAUSE
        user.reset(token)
        return [*found, user.get()]

    assert run(main()) == Ok(["Ada", "nobody"])


@pytest.mark.slow
def test_function_that_is_cancelled_runs_its_finally_with_its_variables(run: Any) -> None:
    @io.do
    async def main() -> None:
        token = user.set("Ada")
        try:
            await PAUSE.then(io.sleep(1_000_000))
        finally:
            await PAUSE
            found = user.get()
            user.reset(token)
            await io.error(f"{found}, {user.get()}")

    assert run(main().timeout(0.05, io.pure(None))).errors == ["Ada, nobody"]


def test_function_cancelled_on_its_way_keeps_the_answer_that_it_was_given() -> None:
    @io.do
    async def main() -> None:
        queue = await Queue.create()
        user.set("Ada")
        note_down(await queue.take())
        await PAUSE

    fiber = Fiber(1, 1, main(), None)
    fiber.variables = Context()
    fiber.variables.run(step, fiber)
    fiber.value = PrimitiveRef(1, "queue")
    fiber.variables.run(step, fiber)
    assert type(fiber.request) is CallPrimitive
    fiber.value = "item"
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(1, [(1, 1)], payload)
    copy.cancel(0)  # the cancel arrives while the item is on its way
    assert copy.variables is not None
    assert copy.variables.run(step, copy) is SWITCHED
    NOTED.clear()
    copy.variables.run(step, copy)
    assert NOTED == ["item"]


@pytest.mark.slow
def test_chunk_of_functions_that_move_begins_each_item_with_the_same_values(run: Any) -> None:
    @io.do
    async def work(item: int) -> tuple[str, int, str]:
        before, own = user.get(), digits()
        user.set(f"item {item}")
        decimal.getcontext().prec = 9
        await PAUSE
        return before, own, user.get()

    @io.do
    async def main() -> Any:
        user.set("Ada")
        decimal.getcontext().prec = 20
        return await io.traverse_par(range(40), work, at_most=2)

    assert run(main()) == Ok([("Ada", 20, f"item {n}") for n in range(40)])


def test_chunk_that_moves_begins_each_item_with_the_same_values() -> None:
    def work(item: int) -> Program:
        before = user.get()
        user.set(f"item {item}")
        return PAUSE.then(io.defer(lambda: (before, user.get())))

    fiber = Fiber(1, 1, Chunk([0, 1, 2], work), None)
    fiber.variables = Context()
    fiber.variables.run(user.set, "Ada")
    while (request := fiber.variables.run(step, fiber)) is not FINISHED:
        if request is NOW:
            fiber.value = 0.0
        elif type(request) is Sleep:
            payload, _ = dump_fibers([fiber])
            (fiber,) = load_fibers(1, [(1, 1)], payload)
        assert fiber.variables is not None
    assert fiber.value.values == [("Ada", f"item {n}") for n in range(3)]


# -- variables that don't travel --------------------------------------------------------------


def found_elsewhere(program: Program) -> Any:
    simulation = simulate(program, components=MOVE_ON_WAKE)
    return simulation.result, [*simulation.stayed]


def test_child_finds_the_default_of_a_variable_that_does_not_travel() -> None:
    program = io.defer(plain.set, "set").then(io.zip_par(io.defer(plain.get)))
    assert found_elsewhere(program) == (Ok(("nothing",)), [])


def test_fiber_that_has_begun_stays_with_a_value_that_does_not_travel() -> None:
    keeps = io.defer(plain.set, "set").then(PAUSE, io.defer(plain.get))
    result, stayed = found_elsewhere(io.zip_par(keeps))
    assert result == Ok(("set",))
    (reason,) = stayed
    assert "the context variable 'plain' that would not travel" in reason


def test_child_of_a_finalizer_travels_whatever_its_parent_has_set() -> None:
    started = io.zip_par(io.defer(plain.get))
    program = io.defer(set_plain, "set").then(io.pure(0).finally_(lambda _: started.map(note_all)))
    NOTED.clear()
    assert found_elsewhere(program) == (Ok(0), [])
    assert NOTED == ["nothing"]


def test_function_that_omits_to_set_a_variable_when_repeated_is_not_deterministic() -> None:
    @io.do
    async def main() -> int:
        set_precision_once()
        await PAUSE
        return digits()

    NOTED.clear()
    result = Context().run(moving, main())
    (traced,) = result.exceptions
    assert isinstance(traced.exception, NotDeterministic)
    assert "found other values in the context variables decimal_context" in str(traced.exception)


def test_fiber_moves_again_when_it_has_reset_a_variable_that_does_not_travel() -> None:
    result, stayed = found_elsewhere(io.zip_par(set_and_reset(plain, "Ada").then(PAUSE)))
    assert len(stayed) == 1
    assert result == Ok((None,))


@io.do
async def divisions(*modes: Any) -> list[str]:
    """The handling of a division by zero within each mode, and after each."""
    found: list[str] = []
    if modes:
        with np.errstate(divide=modes[0]):
            await PAUSE
            found.append(np.geterr()["divide"])
            found += await divisions(*modes[1:])
            await PAUSE
        await PAUSE
    return [*found, np.geterr()["divide"]]


def test_numpy_error_state_is_the_same_after_each_move(run: Any) -> None:
    modes = "raise", "ignore", "call"
    assert run(divisions(*modes)) == Ok([*modes, "call", "ignore", "raise", "warn"])


def complain(kind: str, flag: int) -> None:
    NOTED.append(f"complaint about {kind}")


def test_numpy_error_state_is_that_of_the_parent_with_its_function_and_buffer() -> None:
    def calculate() -> tuple[str, int]:
        np.ones(1) / 0
        return np.geterr()["under"], np.getbufsize()

    def test() -> Any:
        np.seterr(divide="call", under="raise")
        np.seterrcall(complain)
        np.setbufsize(16 * 1024)
        return found_elsewhere(io.zip_par(io.defer(calculate)))

    NOTED.clear()
    assert Context().run(test) == (Ok((("raise", 16 * 1024),)), [])
    assert NOTED == ["complaint about divide by zero"]


def test_function_that_sets_another_numpy_error_state_when_repeated_is_not_deterministic() -> None:
    @io.do
    async def main() -> str:
        np.seterr(divide="raise" if not NOTED else "ignore")
        NOTED.append("begun")
        await PAUSE
        return str(np.geterr()["divide"])

    NOTED.clear()
    (traced,) = Context().run(moving, main()).exceptions
    assert isinstance(traced.exception, NotDeterministic)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("no bytes of this")


def set_unpicklable() -> None:
    trace.set([Unpicklable()])  # type: ignore[list-item]


def test_value_that_cannot_be_pickled_keeps_a_child_at_home() -> None:
    child = io.defer(lambda: type(trace.get()[0]).__name__)
    program = io.defer(set_unpicklable).then(io.zip_par(child))

    def test() -> Any:
        return found_elsewhere(program)

    result, (reason,) = Context().run(test)
    assert result == Ok(("Unpicklable",))
    assert "context variable 'trace'" in reason
    assert "no bytes of this" in reason


def test_warning_names_the_variable_whose_value_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="distio")
    program = io.defer(set_unpicklable).then(io.zip_par(io.defer(os.getpid)))
    assert program.run(None, on=shared_cluster()) == Ok((os.getpid(),))
    assert "context variable 'trace'" in caplog.text


@pytest.mark.slow
def test_variable_that_no_module_has_keeps_a_child_at_home() -> None:
    local = ContextVar("local", default="here")
    result, (reason,) = found_elsewhere(io.zip_par(io.defer(lambda: local.get())))
    assert result == Ok(("here",))
    assert "captured variable 'local'" in reason
    assert "context variable 'local' is no attribute of a module" in reason


def test_awaited_program_whose_value_cannot_travel_keeps_the_function() -> None:
    @io.do
    async def main() -> str:
        await io.defer(set_unpicklable)
        await io.defer(start_trace)
        await PAUSE
        return "done"

    result, (reason,) = found_elsewhere(io.zip_par(main()))
    assert result == Ok(("done",))
    assert "context variable 'trace'" in reason


# -- functions that are abandoned -------------------------------------------------------------


def test_dispose_runs_a_function_in_a_context_that_no_other_sees() -> None:
    async def main() -> None:
        with decimal.localcontext() as context:
            context.prec = 5
            user.set("Ada")
            try:
                await io.pure(1)
            finally:
                user.set("disposed")

    def test() -> tuple[int, str]:
        coroutine = main()
        Context().run(coroutine.send, None)
        dispose(coroutine)
        return digits(), user.get()

    assert Context().run(test) == (28, "nobody")


def test_function_that_moves_leaves_the_context_of_others_alone() -> None:
    """The coroutine that stays behind may be collected in the middle of another fiber."""

    async def third() -> None:
        with decimal.localcontext() as context:
            context.prec = 5
            await io.sleep(1)

    fiber = Fiber(1, 1, io.do(third)(), None)
    fiber.variables = Context()
    fiber.variables.run(step, fiber)

    def test() -> int:
        decimal.getcontext().prec = 40
        fiber.stack.clear()
        return digits()

    assert Context().run(test) == 40


# -- real processes ----------------------------------------------------------------------------

SCRIPT = """
import os
from contextvars import ContextVar, copy_context

import distio
from distio import Cluster, io

user = distio.carry(ContextVar("user", default="nobody"))
depth = ContextVar("depth", default=0)
home = os.getpid()


def look():
    return user.get(), depth.get(), os.getpid() != home


def set_user(name):
    user.set(name)
    depth.set(2)


@io.do
async def serve(name):
    user.set(name)
    await io.sleep(0.001)
    (child,) = await io.zip_par([io.defer(look)])
    return look(), child[0]


with Cluster.local(workers=2) as cluster:
    print(io.zip_par(io.defer(look)).run(None, on=cluster))
    set_user("caller")
    print(io.zip_par(io.defer(look)).run(None, on=cluster))
    print(io.zip_par([serve(name) for name in ["Ada", "Alan"]]).run(None, on=cluster))
    print(cluster.submit(io.defer(look), None).result(60))
    print(io.zip_par(io.pure(user)).run(None, on=cluster).success[0] is user)
    print(look())
"""


@pytest.mark.slow
def test_variables_of_a_script_travel_to_real_processes(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Ok(success=(('nobody', 0, True),))",
        "Ok(success=(('caller', 0, True),))",
        "Ok(success=[(('Ada', 0, True), 'Ada'), (('Alan', 0, True), 'Alan')])",
        "Ok(success=('caller', 0, True))",
        "True",
        "('caller', 2, False)",
    ]
