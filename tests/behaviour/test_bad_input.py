"""Messages about bad input: what was expected, what came, where, and what to do."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
import reprlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from distio import IO, Actor, Cluster, MatchError, Ok, io, resource
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.protocol.requests import FINISHED
from tests.conftest import Run
from tests.harness.bad_input import five, here, text

Program = IO[Any, Any, Any]

bad: Any = 5
no_function: Any = None


# -- functions that must return an IO ---------------------------------------------------------

RETURNS_NO_IO: dict[str, Callable[[Any], Any]] = {
    "defer_io": lambda f: io.defer_io(f),
    "rec": lambda f: io.rec(f),
    "defer_read_io": lambda f: io.defer_read_io(f),
    "flat_map": lambda f: io.pure(1).flat_map(f),
    "catch": lambda f: io.error(1).catch(f),
    "recover": lambda f: io.panic(ValueError()).recover(f),
    "on_failure": lambda f: io.error(1).on_failure(f),
    "finally_": lambda f: io.pure(1).finally_(f),
    "traverse": lambda f: io.traverse([1, 2], f),
    "traverse_par": lambda f: io.traverse_par([1], f),
    "traverse_par of some": lambda f: io.traverse_par([1], f, at_most=1),
    "bracket to use": lambda f: io.bracket(io.pure(1), f, lambda _, result: io.from_result(result)),
    "bracket to release": lambda f: io.bracket(io.pure(1), io.pure, f),
}


@pytest.mark.parametrize("name", RETURNS_NO_IO)
def test_function_that_returns_no_io_is_named_with_its_place(run: Run, name: str) -> None:
    said = text(run(RETURNS_NO_IO[name](five)))
    wrap = "if it is a plain function, wrap it: lambda item: io.defer(f, item)"
    advice = wrap if name.startswith("traverse") else "io.pure makes an IO of a value"
    assert said == (
        f"{name.split()[0]}: expected an IO from {here(five)}, but got 5 of type int; {advice}"
    )


@pytest.mark.parametrize("name", ["flat_map", "traverse", "traverse_par"])
@pytest.mark.parametrize("value", [0, "", [], False], ids=repr)
def test_false_value_in_place_of_an_io_is_refused_as_any_other(name: str, value: Any) -> None:
    said = text(RETURNS_NO_IO[name](lambda _: value).run(None))
    assert f"but got {value!r} of type {type(value).__name__}" in said
    assert said.startswith(f"{name}: expected an IO from ")


@pytest.mark.parametrize("program", [io.pure(0), io.sleep(1), io.pure(1).map(str)], ids=repr)
def test_truth_of_a_program_is_refused_with_what_to_do(program: Program) -> None:
    with pytest.raises(MatchError, match=r"await it in a function of io\.do, .*`is not None`"):
        bool(program)
    assert program is not None
    assert program in [program]
    assert program == program


def test_program_whose_await_was_forgotten_in_a_condition_is_a_panic_that_says_so() -> None:
    @io.do
    async def bought() -> str:
        forgotten: Any = io.pure(False)
        return "yes" if forgotten else "no"

    assert "await it in a function of io.do" in text(bought().run(None))


def a_generator() -> Iterator[Program]:
    yield io.pure(1)


async def a_coroutine() -> int:
    return 1


INSTEAD_OF_IO: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, "but got None; a function needs `return` before its IO"),
    "0": (lambda: 0, "but got 0 of type int; io.pure"),
    "text": (lambda: "text", "but got 'text' of type str; io.pure"),
    "a coroutine": (a_coroutine, "io.from_coroutine makes an IO of an async function"),
    "a generator": (a_generator, "a function with `yield` is no program"),
    "a Result": (lambda: Ok(1), "io.from_result makes an IO of a Result"),
    "a list": (lambda: [io.pure(1)], "of type list; io.zip and io.zip_par make one IO of a list"),
    "a resource": (lambda: resource.pure(1), "call its method use or with_"),
    "a function": (lambda: five, f"but got {here(five)}; call the function"),
    "a class": (lambda: IO, "call the function if it returns an IO"),
    "many lines": (lambda: Lines(), "but got <one two> of type Lines; io.pure"),
}


class Lines:
    def __repr__(self) -> str:
        return "<one\ntwo>"


@pytest.mark.parametrize("name", INSTEAD_OF_IO)
def test_match_error_shows_the_value_and_what_to_do_about_it(run: Run, name: str) -> None:
    function, said = INSTEAD_OF_IO[name]
    assert said in text(run(io.defer_io(function)))
    assert "\n" not in text(run(io.defer_io(function)))


def test_match_error_of_a_handler_without_a_value_says_what_it_is_called_with(run: Run) -> None:
    nothing: Any = {"busy": None}.get
    said = text(run(io.error("busy").catch(lambda errors: nothing(errors[0]))))
    assert "if there is nothing to do: io.pure(None); the function is called with the list" in said


def test_match_error_of_a_fiber_in_place_of_an_io_advises_io_wait(run: Run) -> None:
    first: Any = lambda fibers: fibers[0]  # noqa: E731 (of a type that hides the mistake)
    program = io.parallel(io.pure(1)).flat_map(first)
    assert "io.wait makes an IO of fibers" in text(run(program))


@pytest.mark.parametrize("fuel", range(1, 6))
def test_match_error_names_its_function_even_if_other_fibers_run_in_between(fuel: int) -> None:
    fiber = Fiber(1, 1, io.pure(1).map(abs).flat_map(five), None)
    while step(fiber, fuel) is not FINISHED:
        pass
    assert text(fiber.outcome()).startswith(f"flat_map: expected an IO from {here(five)}")


def test_match_error_names_a_function_without_a_place(run: Run) -> None:
    function: Any = max
    assert "from the function max, but got 2" in text(run(io.defer_io(function, 1, 2)))


# -- functions --------------------------------------------------------------------------------

TAKES_A_FUNCTION: dict[str, Callable[[Any], Any]] = {
    "map": io.pure(1).map,
    "flat_map": io.pure(1).flat_map,
    "contra_map_read": io.pure(1).contra_map_read,
    "catch": io.pure(1).catch,
    "map_error": io.pure(1).map_error,
    "recover": io.pure(1).recover,
    "map_panic": io.pure(1).map_panic,
    "finally_": io.pure(1).finally_,
    "on_failure": io.pure(1).on_failure,
    "defer": io.defer,
    "defer_io": io.defer_io,
    "rec": io.rec,
    "safe": io.safe,
    "defer_read": io.defer_read,
    "defer_read_io": io.defer_read_io,
    "async_": io.async_,
    "blocking": io.blocking,
    "on_main_thread": io.on_main_thread,
    "from_coroutine": io.from_coroutine,
    "from_future": io.from_future,
    "actor": io.actor,
    "traverse": lambda f: io.traverse([], f),
    "traverse_par": lambda f: io.traverse_par([], f),
    "bracket": lambda f: io.bracket(io.pure(1), f, five),
    "bracket ": lambda f: io.bracket(io.pure(1), io.pure, f),
}


@pytest.mark.parametrize("name", TAKES_A_FUNCTION)
def test_operation_refuses_at_once_a_value_that_is_no_function(name: str) -> None:
    said = f"{name.strip()}: expected a function, but got {{}}; give the function, not what it"
    for wrong, shown in ((None, "None"), (io.pure(1), "IO(Pure(1)) of type IO")):
        with pytest.raises(MatchError, match=re.escape(said.format(shown))):
            TAKES_A_FUNCTION[name](wrong)


def test_match_error_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        io.defer(bad)


# -- lists of programs ------------------------------------------------------------------------

TAKES_PROGRAMS: dict[str, Callable[..., Any]] = {
    "then": lambda *ios: io.pure(1).then(*ios),
    "then_keep": lambda *ios: io.pure(1).then_keep(*ios),
    "zip": lambda *ios: io.zip(*ios),
    "zip ": lambda *ios: io.pure(1).zip(*ios),
    "ap": lambda *ios: io.pure(max).ap(*ios),
    "sequence": lambda *ios: io.sequence(*ios),
    "zip_par": lambda *ios: io.zip_par(*ios),
    "zip_par ": lambda *ios: io.pure(1).zip_par(*ios),
    "parallel": lambda *ios: joined(io.parallel(*ios)),
    "parallel ": lambda *ios: joined(io.pure(1).parallel(*ios)),
}


def joined(fibers: Program) -> Program:
    """Fail as the fibers do."""
    return fibers.flat_map(io.wait).flat_map(lambda all: io.traverse(all, io.from_result))


@pytest.mark.parametrize("name", TAKES_PROGRAMS)
def test_match_error_names_the_place_of_a_wrong_value_in_a_list_of_programs(
    run: Run, name: str
) -> None:
    make = TAKES_PROGRAMS[name]
    for program in (make(io.pure(1), 3, io.pure(2)), make([io.pure(1), 3, io.pure(2)])):
        outcome = run(program)
        assert text(outcome) == (
            f"{name.strip()}: expected an IO as number 2 of 3, but got 3 of type int; "
            f"io.pure makes an IO of a value"
        )


@pytest.mark.parametrize("name", TAKES_PROGRAMS)
def test_match_error_of_a_single_value_that_is_no_program_has_no_place(run: Run, name: str) -> None:
    said = f"{name.strip()}: expected an IO, but got "
    assert text(run(TAKES_PROGRAMS[name](5))).startswith(f"{said}5 of type int; ")
    assert text(run(TAKES_PROGRAMS[name](None))).startswith(f"{said}None; ")
    assert text(run(TAKES_PROGRAMS[name]({"a": io.pure(1)}))).startswith(f"{said}'a' of type str")


def test_match_error_has_the_line_that_built_the_program(run: Run) -> None:
    frame = inspect.currentframe()
    assert frame is not None
    program, line = io.zip(io.pure(1), bad), frame.f_lineno
    outcome: Any = run(program)
    (traced,) = outcome.exceptions
    assert f'File "{__file__}", line {line}, in test_match_error_has_the_line' in traced.stack_trace


def test_traverse_of_a_value_that_is_no_iterable_is_a_match_error(run: Run) -> None:
    for name, program in (
        ("traverse", io.traverse(bad, io.pure)),
        ("traverse_par", io.traverse_par(bad, io.pure)),
        ("traverse_par", io.traverse_par(bad, io.pure, at_most=1)),
    ):
        said = text(run(program))
        assert said == f"{name}: expected a list or another iterable, but got 5 of type int"


def test_traverse_takes_any_iterable_of_python(run: Run) -> None:
    class Old:
        def __getitem__(self, index: int) -> int:
            return [7, 8][index]

    items: Any = Old()
    assert io.traverse(items, io.pure).run(None) == Ok([7, 8])
    assert io.traverse_par(items, io.pure).run(None) == Ok([7, 8])


def test_zip_of_a_dict_asks_for_its_values(run: Run) -> None:
    programs: Any = {"a": io.pure(1)}
    assert text(run(io.zip(programs))).endswith("; give the values() of the dict")


def test_zip_of_a_text_is_a_match_error(run: Run) -> None:
    said = "zip: expected an IO, but got 'ab' of type str; io.pure makes an IO of a value"
    assert text(run(io.zip("ab"))) == said  # type: ignore[arg-type]


def test_zip_par_of_a_value_that_is_no_program_is_a_match_error_with_at_most(run: Run) -> None:
    said = "zip_par: expected an IO, but got 5 of type int"
    assert text(run(io.zip_par(io.pure(1), bad, at_most=1))).startswith(said)


def test_ap_of_a_value_that_is_no_function_is_a_match_error(run: Run) -> None:
    said = "ap: expected a function, but got 1 of type int"
    assert text(run(io.pure(1).ap(io.pure(2)))).startswith(said)  # type: ignore[misc]


# -- fibers, times, results, exceptions -------------------------------------------------------


@pytest.mark.parametrize("wrong", [5, None, "x", io.pure(1), [[]]], ids=repr)
def test_wait_for_a_value_that_is_no_fiber_is_a_match_error(run: Run, wrong: Any) -> None:
    said = text(run(io.wait(wrong)))
    assert said.startswith("wait: expected a fiber that parallel returned, but got ")
    assert said.endswith("as in io.parallel(...).flat_map(io.wait)")


def test_wait_for_several_lists_of_fibers_is_a_match_error(run: Run) -> None:
    fibers = io.parallel(io.pure(1))
    twice: Any = lambda found: io.wait(found, found)  # noqa: E731 (of a type that hides the mistake)
    assert "but got [<Fiber" in text(run(fibers.flat_map(twice)))


@pytest.mark.parametrize("wrong", ["1", None, math.nan, math.inf, 10**400, True], ids=reprlib.repr)
def test_sleep_of_a_time_that_is_no_finite_number_is_a_match_error(run: Run, wrong: Any) -> None:
    said = "sleep: expected a number of seconds, finite, but got "
    assert text(run(io.sleep(wrong))).startswith(said)
    said = "sleep_until: expected a moment like time.time(), finite, but got "
    assert text(run(io.sleep_until(wrong))).startswith(said)


def test_from_result_of_a_value_that_is_no_result_is_a_match_error(run: Run) -> None:
    said = "from_result: expected a Result (Ok, Errors or Panic), but got 5 of type int"
    assert text(run(io.from_result(bad))) == said


@pytest.mark.parametrize("wrong", ["text", None, ValueError, 5], ids=repr)
def test_panic_of_a_value_that_is_no_exception_is_a_match_error(wrong: Any) -> None:
    said = re.escape(f"expected an exception, but got {wrong!r}; give one, like ValueError('why')")
    with pytest.raises(MatchError, match=said):
        io.panic(wrong)


@pytest.mark.parametrize("wrong", ["text", 5], ids=repr)
def test_panic_with_errors_that_are_no_list_is_a_match_error(wrong: Any) -> None:
    said = re.escape(f"panic: errors is a list of them, but got {wrong!r}; give [{wrong!r}]")
    with pytest.raises(MatchError, match=said):
        io.panic(ValueError(), errors=wrong)


def test_map_panic_to_a_value_that_is_no_exception_is_a_match_error(run: Run) -> None:
    said = text(run(io.panic(ValueError()).map_panic(five)))
    assert said.startswith(f"map_panic: expected an exception from {here(five)}, but got 5 of")


# -- async functions and others ---------------------------------------------------------------


@pytest.mark.parametrize("make", [io.defer, io.blocking, io.on_main_thread])
def test_async_function_in_place_of_a_plain_one_is_a_match_error(
    run: Run, make: Callable[..., Program]
) -> None:
    said = text(run(make(a_coroutine)))
    assert said.startswith(f"{make.__name__}: expected a value from {here(a_coroutine)}, but got ")
    assert said.endswith("; io.from_coroutine makes an IO of an async function")


async def doubled(n: int) -> int:
    return 2 * n


def test_map_with_an_async_function_is_a_match_error(run: Run) -> None:
    said = text(run(io.pure(5).map(doubled)))
    assert said.startswith(f"map: expected a value from {here(doubled)}, but got <coroutine ")
    assert said.endswith("; io.from_coroutine makes an IO of an async function")


@pytest.mark.parametrize("make", [io.defer, io.blocking, io.from_coroutine, io.pure(1).map])
def test_coroutine_in_place_of_a_function_is_a_match_error(make: Callable[..., Any]) -> None:
    with pytest.raises(MatchError, match=r"write io\.from_coroutine\(f, \*args\)"):
        make(a_coroutine())


async def takes_a_callback(context: Any, callback: Any) -> None:
    """Never awaited."""


def test_async_function_that_takes_a_callback_is_a_match_error(run: Run) -> None:
    said = text(run(io.async_(takes_a_callback)))
    assert said.startswith(f"async_: expected a value from {here(takes_a_callback)}, but got ")


def test_plain_function_in_place_of_a_coroutine_or_future_is_a_match_error(run: Run) -> None:
    said = text(run(io.from_coroutine(five)))
    assert said.startswith(f"from_coroutine: expected a coroutine from {here(five)}, but got 5 of")
    said = text(run(io.from_future(five)))
    assert said.startswith(f"from_future: expected a future from {here(five)}, but got 5 of type")


async def numbers() -> AsyncIterator[int]:
    yield 1


def test_async_generator_in_place_of_a_coroutine_is_a_match_error(run: Run) -> None:
    wrong: Any = numbers
    said = text(run(io.from_coroutine(wrong)))
    assert said.startswith(f"from_coroutine: expected a coroutine from {here(numbers)}, but got ")
    assert said.endswith("; read it by `async for` in an async function, and give that")


def test_callback_called_with_a_value_that_is_no_result_is_a_match_error(run: Run) -> None:
    def call_back(context: Any, callback: Any) -> None:
        callback(5)

    assert text(run(io.async_(call_back))) == (
        "the callback given by async_ takes a Result (Ok, Errors or Panic), but it was called "
        "with 5 of type int; give it Ok(value)"
    )


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["2", None, 2.5, True, 0, -3], ids=repr)
def test_run_refuses_a_pool_without_threads(wrong: Any) -> None:
    expected = f"run: pool_size, the number of threads: expected a number from 1, but got {wrong!r}"
    with pytest.raises(TypeError, match=re.escape(expected)):
        io.pure(1).run(None, wrong)
    with pytest.raises(TypeError, match=re.escape(expected)):
        asyncio.run(io.pure(1).run_async(None, wrong))


def test_run_accepts_the_name_of_raffiot_for_the_idle_time() -> None:
    assert io.pure(1).run(None, 1, nighttime=0.1) == Ok(1)


@pytest.mark.parametrize("wrong", ["cluster", 5, Cluster], ids=repr)
def test_run_refuses_a_value_that_is_no_cluster(wrong: Any) -> None:
    with pytest.raises(MatchError, match=r"run: `on` takes a Cluster, but got .*; make one with"):
        io.pure(1).run(None, on=wrong)
    with pytest.raises(MatchError, match=r"run: `on` takes a Cluster, but got .*; make one with"):
        asyncio.run(io.pure(1).run_async(None, on=wrong))


@pytest.mark.parametrize("wrong", ["2", 2.5, True], ids=repr)
def test_at_most_and_progress_of_a_wrong_type_are_a_match_error_of_their_function(
    wrong: Any,
) -> None:
    with pytest.raises(TypeError, match=f"zip_par: at_most is a whole number .* got {wrong!r}"):
        io.zip_par(io.pure(1), at_most=wrong)
    with pytest.raises(TypeError, match="traverse_par: progress is a function, True, a label"):
        io.traverse_par([1], io.pure, progress=1)  # type: ignore[arg-type]


def test_at_refuses_a_value_that_is_no_actor() -> None:
    with pytest.raises(MatchError, match=r"Actor\.call: expected a function, but got None"):
        Actor[Any](1, 2, "list").call(no_function)
