"""Results: every function and method on every kind of Result."""

from __future__ import annotations

import copy
import doctest
import inspect
import operator
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Never

import pytest

from distio import errors as errors_module
from distio import result as result_module
from distio.errors import DomainErrors, MatchError, MultipleExceptions, TracedException
from distio.result import (
    ComputationStatus,
    Errors,
    Ok,
    Panic,
    Result,
    error,
    errors,
    ok,
    panic,
    pure,
    returns_result,
    safe,
    seq,
    sequence,
    traverse,
    zip,
)
from distio.result._result import BaseResult

AnyResult = Result[Any, Any]

BAD = TracedException(ValueError("bad"), "trace of bad")
WORSE = TracedException(KeyError("worse"), "trace of worse")

OK: AnyResult = Ok(1)
ERRORS: AnyResult = Errors(["x", "y"])
PANIC: AnyResult = Panic([BAD], ["z"])
ALL = [OK, ERRORS, PANIC]
AS_THEY_WERE = repr(ALL)


class Oops(Exception):
    """The exception that functions under test raise."""


def fail(*args: object) -> Never:
    raise Oops(*args)


def swap(traced: TracedException) -> TracedException:
    return WORSE if traced is BAD else BAD


def is_oops(result: object) -> bool:
    """Whether a result is a Panic on just one Oops, without errors."""
    return (
        isinstance(result, Panic)
        and [type(traced.exception) for traced in result.exceptions] == [Oops]
        and not result.errors
    )


@pytest.mark.parametrize("module", [result_module, errors_module])
def test_examples_in_docstrings_are_true(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


# -- the three kinds ----------------------------------------------------------------------------


@pytest.mark.parametrize("result", ALL)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_result_survives_a_journey(result: AnyResult, protocol: int) -> None:
    # exceptions that were pickled are equal to no others, so compare their texts
    assert repr(pickle.loads(pickle.dumps(result, protocol))) == repr(result)


@pytest.mark.parametrize("result", ALL)
def test_results_are_equal_by_field(result: AnyResult) -> None:
    assert result == copy.copy(result)
    assert sum(result == other for other in ALL) == 1


@pytest.mark.parametrize("result", ALL)
def test_result_has_no_dict(result: AnyResult) -> None:
    assert not hasattr(result, "__dict__")


def test_result_fields_can_be_given_by_name() -> None:
    assert Ok(success=1) == OK
    assert Errors(errors=["x", "y"]) == ERRORS
    assert Panic(errors=["z"], exceptions=[BAD]) == PANIC


def kind_of(result: AnyResult) -> str:
    match result:
        case Ok(value):
            return f"ok {value}"
        case Errors(errs):
            return f"errors {errs}"
        case Panic(exceptions, errs):
            return f"panic {len(exceptions)} {errs}"


def test_results_are_matched_by_position() -> None:
    assert [kind_of(result) for result in ALL] == ["ok 1", "errors ['x', 'y']", "panic 1 ['z']"]


@pytest.mark.parametrize(
    ("result", "is_ok", "is_error", "is_panic", "status"),
    [
        (OK, True, False, False, ComputationStatus.SUCCEEDED),
        (ERRORS, False, True, False, ComputationStatus.FAILED),
        (PANIC, False, False, True, ComputationStatus.FAILED),
    ],
)
def test_result_tells_its_kind_and_status(
    result: AnyResult, is_ok: bool, is_error: bool, is_panic: bool, status: ComputationStatus
) -> None:
    assert (result.is_ok(), result.is_error(), result.is_panic()) == (is_ok, is_error, is_panic)
    assert result.to_computation_status() is status


def test_computation_statuses_are_numbers() -> None:
    assert (ComputationStatus.FAILED, ComputationStatus.SUCCEEDED) == (0, 1)
    assert isinstance(OK.to_computation_status(), ComputationStatus)


# -- methods in pairs ---------------------------------------------------------------------------

# name of the method, its arguments, and its values on OK, ERRORS and PANIC
METHODS: list[tuple[str, tuple[Any, ...], Any, Any, Any]] = [
    ("fold", (str, tuple, lambda *both: both), "1", ("x", "y"), ([BAD], ["z"])),
    ("map", (str,), Ok("1"), ERRORS, PANIC),
    ("flat_map", (lambda n: Ok(n + 1),), Ok(2), ERRORS, PANIC),
    ("flat_map", (lambda n: Errors([n]),), Errors([1]), ERRORS, PANIC),
    ("flat_map", (lambda n: Panic([WORSE], [n]),), Panic([WORSE], [1]), ERRORS, PANIC),
    ("tri_map", (str, len, swap), Ok("1"), Errors([1, 1]), Panic([WORSE], [1])),
    ("map_error", (str.upper,), OK, Errors(["X", "Y"]), Panic([BAD], ["Z"])),
    ("catch", (lambda errs: Ok(errs),), OK, Ok(["x", "y"]), PANIC),
    ("catch", (lambda errs: Errors(errs[:1]),), OK, Errors(["x"]), PANIC),
    ("map_panic", (swap,), OK, ERRORS, Panic([WORSE], ["z"])),
    ("recover", (lambda exns, errs: Ok((exns, errs)),), OK, ERRORS, Ok(([BAD], ["z"]))),
    ("recover", (lambda exns, errs: Errors(errs),), OK, ERRORS, Errors(["z"])),
]


@pytest.mark.parametrize("prefix", ["", "unsafe_"])
@pytest.mark.parametrize(("name", "args", "of_ok", "of_errors", "of_panic"), METHODS)
def test_method_of_a_result_handles_each_kind(
    prefix: str, name: str, args: tuple[Any, ...], of_ok: Any, of_errors: Any, of_panic: Any
) -> None:
    made = [getattr(result, prefix + name)(*args) for result in ALL]
    assert made == [of_ok, of_errors, of_panic]
    assert repr(ALL) == AS_THEY_WERE


# name of the method, its arguments that raise, and on which Results they are called
RAISING: list[tuple[str, tuple[Any, ...], list[AnyResult]]] = [
    ("fold", (fail, fail, fail), ALL),
    ("fold_raise", (fail, fail), [OK, ERRORS]),
    ("map", (fail,), [OK]),
    ("flat_map", (fail,), [OK]),
    ("tri_map", (fail, fail, fail), ALL),
    ("tri_map", (str, fail, swap), [ERRORS, PANIC]),
    ("tri_map", (str, str, fail), [PANIC]),
    ("map_error", (fail,), [ERRORS, PANIC]),
    ("catch", (fail,), [ERRORS]),
    ("map_panic", (fail,), [PANIC]),
    ("recover", (fail,), [PANIC]),
]


@pytest.mark.parametrize(("name", "args", "called_on"), RAISING)
def test_method_of_a_result_makes_a_panic_of_an_exception_and_its_unsafe_twin_raises(
    name: str, args: tuple[Any, ...], called_on: list[AnyResult]
) -> None:
    for result in called_on:
        assert is_oops(getattr(result, name)(*args))
        with pytest.raises(Oops):
            getattr(result, f"unsafe_{name}")(*args)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exception_that_ends_the_process_passes_through_a_result(stop: type[BaseException]) -> None:
    def interrupt(_: object) -> Never:
        raise stop

    with pytest.raises(stop):
        OK.map(interrupt)
    with pytest.raises(stop):
        returns_result(interrupt)(1)


SAFE_METHODS = [
    name.removeprefix("unsafe_")
    for name in vars(Result)
    if name.startswith("unsafe_") and name != "unsafe_get"
]


@pytest.mark.parametrize("name", SAFE_METHODS)
def test_safe_method_is_found_under_its_own_name(name: str) -> None:
    method = getattr(Result, name)
    assert pickle.loads(pickle.dumps(method)) is method
    unsafe = getattr(Result, f"unsafe_{name}")
    assert list(inspect.signature(method).parameters) == list(inspect.signature(unsafe).parameters)


def test_map_panic_traces_exceptions_that_are_not_traced() -> None:
    made = PANIC.map_panic(lambda traced: RuntimeError(str(traced.exception)))
    assert isinstance(made, Panic)
    assert isinstance(made.exceptions[0], TracedException)
    assert repr(made.exceptions[0].exception) == "RuntimeError('bad')"
    assert made.errors == ["z"]


def test_result_of_a_fourth_kind_is_a_match_error() -> None:
    class Fourth(BaseResult[Any, Any]):
        """A class that isn't one of the three."""

    fourth: BaseResult[Any, Any] = Fourth()
    for method, arity in ((fourth.unsafe_fold, 3), (fourth.unsafe_fold_raise, 2)):
        with pytest.raises(MatchError, match="expected Ok, Errors or Panic"):
            method(*[fail] * arity)
    with pytest.raises(MatchError):
        fourth.unsafe_get()
    assert fourth.to_computation_status() is ComputationStatus.FAILED


# -- raising ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "unsafe_"])
def test_fold_raise_folds_ok_and_errors(prefix: str) -> None:
    assert getattr(OK, prefix + "fold_raise")(str, len) == "1"
    assert getattr(ERRORS, prefix + "fold_raise")(str, len) == 2


@pytest.mark.parametrize(
    "raising",
    [
        lambda result: result.unsafe_fold_raise(fail, fail),
        lambda result: result.raise_on_panic(),
        lambda result: result.unsafe_get(),
    ],
)
def test_panic_is_raised_as_multiple_exceptions(raising: Callable[[AnyResult], object]) -> None:
    with pytest.raises(MultipleExceptions) as raised:
        raising(Panic([BAD, WORSE], ["z"]))
    assert (raised.value.exceptions, raised.value.errors) == ([BAD, WORSE], ["z"])


def test_fold_raise_makes_a_panic_of_a_panic() -> None:
    made = PANIC.fold_raise(fail, fail)
    assert isinstance(made, Panic)
    [traced] = made.exceptions
    assert isinstance(traced.exception, MultipleExceptions)
    assert (traced.exception.exceptions, traced.exception.errors) == ([BAD], ["z"])


def test_raise_on_panic_returns_ok_and_errors() -> None:
    assert OK.raise_on_panic() is OK
    assert ERRORS.raise_on_panic() is ERRORS


def test_unsafe_get_returns_the_value_or_raises_the_errors() -> None:
    assert OK.unsafe_get() == 1
    with pytest.raises(DomainErrors) as raised:
        ERRORS.unsafe_get()
    assert raised.value.errors == ["x", "y"]


# -- many in one --------------------------------------------------------------------------------


def stray(value: object) -> TracedException:
    """The exception that stands for a value that is no Result."""
    return TracedException(MatchError(f"expected a Result, but got {value!r}"), "")


def shown(result: AnyResult) -> object:
    """A result without stack traces, which are different each time."""
    if isinstance(result, Panic):
        return [repr(traced.exception) for traced in result.exceptions], result.errors
    return result


# the Results, and their zip
GATHERED: list[tuple[list[Any], AnyResult]] = [
    ([], Ok([])),
    ([OK], Ok([1])),
    ([Ok(1), Ok("two"), Ok(None)], Ok([1, "two", None])),
    ([OK, ERRORS, OK, error("w")], Errors(["x", "y", "w"])),
    ([ERRORS, PANIC, error("w"), Panic([WORSE], ["v"]), OK],
     Panic([BAD, WORSE], ["x", "y", "z", "w", "v"])),
    ([Panic([BAD], [])], Panic([BAD], [])),
    ([OK, 3, ERRORS, PANIC], Panic([stray(3), BAD], ["x", "y", "z"])),
    ([None], Panic([stray(None)], [])),
    ([OK, Errors([])], Errors([])),
    ([Panic([], []), OK, Errors([])], Panic([], [])),
]  # fmt: skip


@pytest.mark.parametrize(("results", "gathered"), GATHERED)
def test_zip_returns_all_values_or_merges_all_failures(
    results: list[Any], gathered: AnyResult
) -> None:
    assert shown(zip(results)) == shown(gathered)
    assert shown(zip(iter(results))) == shown(gathered)
    assert shown(zip(*results)) == shown(gathered)


@pytest.mark.parametrize(("results", "gathered"), GATHERED)
def test_sequence_returns_the_last_value_or_merges_all_failures(
    results: list[Any], gathered: AnyResult
) -> None:
    expected = gathered.map(lambda values: values[-1] if values else None)
    assert shown(sequence(results)) == shown(expected)
    assert shown(sequence(iter(results))) == shown(expected)
    assert shown(sequence(*results)) == shown(expected)


@pytest.mark.parametrize("gather", [zip, sequence, lambda *results: OK.zip(*results)])
def test_value_that_is_no_result_is_traced(gather: Callable[..., AnyResult]) -> None:
    made = gather(OK, "no Result")
    assert isinstance(made, Panic)
    [traced] = made.exceptions
    assert isinstance(traced, TracedException)
    assert "test_value_that_is_no_result_is_traced" in traced.stack_trace
    assert str(traced.exception) == "expected a Result, but got 'no Result'"


def test_zip_takes_a_string_for_no_list_of_results() -> None:
    text: Any = "ab"
    assert shown(zip(text)) == shown(Panic([stray("ab")], []))


def test_zip_leaves_its_results_as_they_were() -> None:
    first: AnyResult = Panic([BAD], ["x"])
    made = zip(first, Panic([WORSE], ["y"]))
    assert made == Panic([BAD, WORSE], ["x", "y"])
    assert first == Panic([BAD], ["x"])


def test_zip_method_includes_the_result_itself() -> None:
    assert OK.zip() == Ok([1])
    assert OK.zip(Ok(2), Ok(3)) == Ok([1, 2, 3])
    assert ERRORS.zip(OK, PANIC) == Panic([BAD], ["x", "y", "z"])


@pytest.mark.parametrize("name", ["ap", "unsafe_ap"])
def test_ap_calls_the_function_or_merges_all_failures(name: str) -> None:
    def call(function: AnyResult, *args: AnyResult) -> AnyResult:
        result: AnyResult = getattr(function, name)(*args)
        return result

    assert call(Ok(lambda: 0)) == Ok(0)
    assert call(Ok(lambda a, b: a - b), Ok(5), Ok(2)) == Ok(3)
    assert call(Ok(fail), ERRORS, PANIC) == Panic([BAD], ["x", "y", "z"])
    assert call(ERRORS, error("w")) == Errors(["x", "y", "w"])


def test_ap_of_a_function_that_raises_is_a_panic() -> None:
    function: AnyResult = Ok(fail)
    assert is_oops(function.ap(OK))
    with pytest.raises(Oops):
        function.unsafe_ap(OK)


@pytest.mark.parametrize("inner", ALL)
def test_flatten_of_an_ok_returns_the_inner_result(inner: AnyResult) -> None:
    nested: Result[Any, AnyResult] = Ok(inner)
    assert nested.flatten() is inner


@pytest.mark.parametrize("failure", [ERRORS, PANIC])
def test_flatten_of_a_failure_returns_it(failure: AnyResult) -> None:
    assert failure.flatten() is failure


def test_traverse_returns_all_values_or_merges_all_failures() -> None:
    def check(n: int) -> Result[str, int]:
        if n == 0:
            return fail(n)
        return Ok(n * 10) if n > 0 else error(f"{n} is too small")

    assert traverse([], check) == Ok([])
    assert traverse(iter([1, 2]), check) == Ok([10, 20])
    assert traverse(l=[1, -1, -2], f=check) == Errors(["-1 is too small", "-2 is too small"])
    assert shown(traverse([-1, 0, 1, 0, -2], check)) == (
        ["Oops(0)", "Oops(0)"],
        ["-1 is too small", "-2 is too small"],
    )


# -- making one ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ok, pure])
def test_ok_and_pure_make_an_ok(make: Callable[[Any], AnyResult]) -> None:
    assert make([1]) == Ok([1])


def test_error_takes_any_value_for_one_error() -> None:
    assert error("too long") == Errors(["too long"])
    assert error([1, 2]) == Errors([[1, 2]])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), []),
        ((404,), [404]),
        (("too long",), ["too long"]),
        ((b"\1\2",), [b"\1\2"]),
        (("a", "b"), ["a", "b"]),
        ((["a", "b"],), ["a", "b"]),
        ((("a", "b"),), ["a", "b"]),
        ((iter("ab"),), ["a", "b"]),
        (([],), []),
        ((["a"], ["b"]), [["a"], ["b"]]),
    ],
)
def test_errors_takes_arguments_or_one_iterable(args: tuple[Any, ...], expected: list[Any]) -> None:
    made = errors(*args)
    assert made == Errors(expected)


def test_errors_does_not_keep_the_list() -> None:
    given = ["a"]
    made = errors(given)
    given.append("b")
    assert made == Errors(["a"])


@pytest.mark.parametrize(
    "args", [(BAD, WORSE), ([BAD, WORSE],), (iter([BAD, WORSE]),), ((BAD, WORSE),)]
)
def test_panic_takes_arguments_or_one_iterable(args: tuple[Any, ...]) -> None:
    args = copy.copy(args)
    assert panic(*args, errors=iter("xy")) == Panic([BAD, WORSE], ["x", "y"])


def test_panic_without_errors_has_none() -> None:
    assert panic(BAD) == Panic([BAD], [])
    assert panic() == Panic([], [])


def test_panic_traces_exceptions() -> None:
    made = panic(Oops(1), BAD)
    assert isinstance(made, Panic)
    traced, bad = made.exceptions
    assert repr(traced.exception) == "Oops(1)"
    assert "test_panic_traces_exceptions" in traced.stack_trace
    assert bad is BAD


def test_panic_takes_an_iterable_exception_for_one_exception() -> None:
    class Batch(Exception):
        def __iter__(self) -> Iterator[object]:
            raise AssertionError("an exception is one exception")

    batch = Batch()
    made = panic(batch)
    assert isinstance(made, Panic)
    assert made.exceptions[0].exception is batch


# -- decorators ---------------------------------------------------------------------------------


@safe
def halved(n: int, *, by: int = 2) -> Result[str, int]:
    """A doc."""
    return Ok(n // by) if n % by == 0 else error(f"{n} is odd")


@returns_result
def quotient(n: int, *, by: int = 2) -> float:
    """A doc."""
    return n / by


def test_safe_makes_a_panic_of_an_exception_and_keeps_a_result() -> None:
    assert halved(4) == Ok(2)
    assert halved(3) == Errors(["3 is odd"])
    assert halved(9, by=3) == Ok(3)
    with pytest.raises(ZeroDivisionError) as raised:
        operator.mod(1, 0)  # CPython words it in one way or the other
    assert shown(halved(1, by=0)) == ([repr(raised.value)], [])


def test_returns_result_makes_an_ok_of_a_value_and_a_panic_of_an_exception() -> None:
    assert quotient(4) == Ok(2.0)
    assert quotient(9, by=3) == Ok(3.0)
    assert shown(quotient(1, by=0)) == (["ZeroDivisionError('division by zero')"], [])


@pytest.mark.parametrize(("decorated", "name"), [(halved, "halved"), (quotient, "quotient")])
def test_decorated_function_keeps_its_identity(
    decorated: Callable[..., AnyResult], name: str
) -> None:
    assert (decorated.__name__, decorated.__doc__) == (name, "A doc.")
    assert list(inspect.signature(decorated).parameters) == ["n", "by"]
    assert pickle.loads(pickle.dumps(decorated)) is decorated


# -- seq ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "last"),
    [
        ((1,), 1),
        ((None,), None),
        ((1, 2, 3), 3),
        (([1, 2, 3],), 3),
        (((1, 2),), 2),
        (({"a": 1, "b": 2},), "b"),
        ((range(5),), 4),
        (([1], [2]), [2]),
        ((1, []), []),
    ],
)
def test_seq_returns_its_last_value(args: tuple[Any, ...], last: Any) -> None:
    assert seq(*args) == last


def test_seq_runs_through_a_generator() -> None:
    seen: list[int] = []

    def see(n: int) -> int:
        seen.append(n)
        return n

    assert seq(see(n) for n in range(3)) == 2
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("args", [(), ([],), (iter(()),)])
def test_seq_without_values_is_a_value_error(args: Iterable[Any]) -> None:
    with pytest.raises(ValueError, match="seq: expected at least one value"):
        seq(*args)
