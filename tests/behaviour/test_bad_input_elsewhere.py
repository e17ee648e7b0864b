"""Messages about bad input to resources, variables, values, clusters and simulations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from distio import (
    IO,
    Cluster,
    MatchError,
    Panic,
    Resource,
    Val,
    Var,
    io,
    resource,
)
from distio.errors import ClusterClosed, ClusterError
from distio.runtime.addresses import check_url
from distio.testing import Crash, Disconnect, Pause, explore, simulate
from tests.conftest import Run, repr_without_address, shared_cluster
from tests.harness.bad_input import five, here, text

Program = IO[Any, Any, Any]

wrong: Any = 5
a_text: Any = "x"
no_resource: Any = 1
one: Any = resource.pure(1)


# -- resources --------------------------------------------------------------------------------

TAKES_A_FUNCTION: dict[str, Callable[[Any], Any]] = {
    "resource.from_async_with": resource.from_async_with,
    "Resource.use": one.use,
    "Resource.map": one.map,
    "Resource.flat_map": one.flat_map,
    "Resource.contra_map_read": one.contra_map_read,
    "Resource.catch": one.catch,
    "Resource.recover": one.recover,
    "Resource.on_failure": one.on_failure,
    "Resource.map_error": one.map_error,
    "Resource.map_panic": one.map_panic,
    "Resource.finally_": one.finally_,
    "defer": resource.defer,
    "resource.defer_resource": resource.defer_resource,
    "resource.defer_read_resource": resource.defer_read_resource,
    "resource.from_open_close": lambda f: resource.from_open_close(f, five),
    "resource.from_open_close ": lambda f: resource.from_open_close(five, f),
    "resource.from_open_close_io": lambda f: resource.from_open_close_io(io.pure(1), f),
    "resource.traverse": lambda f: resource.traverse([], f),
    "Val.map": Val(1).map,
    "Val.traverse": Val(1).traverse,
    "Val.flat_map": Val(1).flat_map,
    "explore: check": lambda f: explore(io.pure(1), None, f or wrong),
}


@pytest.mark.parametrize("name", TAKES_A_FUNCTION)
def test_operation_refuses_at_once_a_value_that_is_no_function(name: str) -> None:
    said = f"{name.strip()}: expected a function, but got "
    with pytest.raises(MatchError, match=re.escape(said)):
        TAKES_A_FUNCTION[name](None)
    with pytest.raises(MatchError, match=re.escape(f"{said}5 of type int; give the function")):
        TAKES_A_FUNCTION[name](5)


TAKES_A_PROGRAM: dict[str, Callable[[Any], Any]] = {
    "Resource": Resource,
    "Resource.with_": one.with_,
    "Resource.with_ ": resource.lock("a").with_,
    "resource.lift_io": resource.lift_io,
    "resource.from_io_resource": resource.from_io_resource,
    "resource.from_open_close_io": lambda it: resource.from_open_close_io(it, five),
    "resource.from_with": resource.from_with,
    "bracket": lambda it: io.bracket(it, io.pure, five),
    "Cluster.run": lambda it: shared_cluster().run(it, None),
    "Cluster.submit": lambda it: shared_cluster().submit(it, None),
    "simulate": simulate,
}


@pytest.mark.parametrize("name", TAKES_A_PROGRAM)
def test_operation_refuses_at_once_a_value_that_is_no_program(name: str) -> None:
    said = re.escape(f"{name.strip()}: expected an IO, but got 5 of type int; io.pure makes an IO")
    with pytest.raises(MatchError, match=said):
        TAKES_A_PROGRAM[name](5)


RETURNS_NO_RESOURCE: dict[str, Callable[[Any], Any]] = {
    "Resource.flat_map": one.flat_map,
    "Resource.catch": lambda f: resource.error(1).catch(f),
    "Resource.recover": lambda f: resource.panic(ValueError()).recover(f),
    "Resource.on_failure": lambda f: resource.error(1).on_failure(f),
    "Resource.finally_": one.finally_,
    "resource.defer_resource": resource.defer_resource,
    "resource.defer_read_resource": resource.defer_read_resource,
    "resource.traverse": lambda f: resource.traverse([1], f),
}


@pytest.mark.parametrize("name", RETURNS_NO_RESOURCE)
def test_function_that_returns_no_resource_is_named_with_its_place(run: Run, name: str) -> None:
    assert text(run(RETURNS_NO_RESOURCE[name](five).use(io.pure))) == (
        f"{name}: expected a Resource from {here(five)}, but got 5 of type int; "
        f"resource.pure makes a Resource of it"
    )


def test_function_that_returns_an_io_is_advised_to_lift_it(run: Run) -> None:
    program = one.flat_map(lambda _: io.pure(1)).use(io.pure)
    assert text(run(program)).endswith("; resource.lift_io makes a Resource of it")


IS_NO_RESOURCE: dict[str, Callable[[], Any]] = {
    "Resource.flatten": lambda: one.flatten(),
    "Resource.then": lambda: one.then(1),
    "Resource.zip": lambda: one.zip(1),
    "Resource.zip_par": lambda: one.zip_par(1),
    "Resource.ap": lambda: one.ap(1),
    "resource.zip": lambda: resource.zip(one, 1),  # type: ignore[call-overload]
    "resource.zip_par": lambda: resource.zip_par([one, 1]),  # type: ignore[list-item]
    "resource.from_io_resource": lambda: resource.from_io_resource(io.pure(no_resource)),
}


@pytest.mark.parametrize("name", IS_NO_RESOURCE)
def test_operation_names_a_value_that_is_no_resource(run: Run, name: str) -> None:
    # `then` and `zip_par` refuse the value when they are called, which here is a panic, too
    program = io.defer_io(lambda: IS_NO_RESOURCE[name]().use(io.pure))
    assert text(run(program)).startswith(f"{name}: expected a Resource, but got 1 of type int; ")


def test_use_of_a_resource_by_a_function_that_returns_no_io_is_a_match_error(run: Run) -> None:
    said = text(run(one.use(five)))
    assert said.startswith(f"Resource.use: expected an IO from {here(five)}, but got 5 of type int")


def test_close_of_a_resource_by_a_function_that_returns_no_io_is_a_match_error(run: Run) -> None:
    said = text(run(resource.from_open_close_io(io.pure(1), five).use(io.pure)))
    assert said.startswith(f"closing a resource: expected an IO from {here(five)}, but got 5 of")


@pytest.mark.parametrize("computed", [1, (1, 2), (1, five, 3)], ids=repr_without_address)
def test_resource_whose_program_computes_no_pair_is_a_match_error(run: Run, computed: Any) -> None:
    made: Any = Resource(io.pure(computed))
    for each in (made, made.map(str), made.flat_map(resource.pure), made.attempt(), one.zip(made)):
        outcome = run(each.use(io.pure))
        assert isinstance(outcome, Panic)
        assert len(outcome.exceptions) == 1
        assert text(outcome).startswith("Resource: expected that its program computes a value and")


def test_ap_of_a_resource_that_is_no_function_is_a_match_error(run: Run) -> None:
    said = text(run(one.ap(one).use(io.pure)))
    assert said.startswith("Resource.ap: expected a function, but got 1 of type int")


def test_from_with_of_a_value_that_is_no_context_manager_is_a_match_error(run: Run) -> None:
    assert text(run(resource.from_with(io.pure(5)).use(io.pure))) == (  # type: ignore[arg-type]
        "resource.from_with: expected a context manager, but got 5 of type int; "
        "give the program that makes one, like io.defer(open, path)"
    )


def test_resource_traverse_of_a_value_that_is_no_iterable_is_a_match_error(run: Run) -> None:
    said = text(run(resource.traverse(wrong, resource.pure).use(io.pure)))
    assert said == "resource.traverse: expected a list or another iterable, but got 5 of type int"


@pytest.mark.parametrize("tokens", [0, -1, True, "3", 1.5, None], ids=repr)
def test_tokens_below_one_or_not_whole_are_a_match_error(run: Run, tokens: Any) -> None:
    said = f": expected a number from 1, but got {tokens!r}"
    assert text(run(resource.semaphore(tokens))).startswith(f"semaphore{said}")
    assert text(run(resource.rate_limit(tokens, 1))).startswith(f"rate_limit{said}")


@pytest.mark.parametrize("seconds", [0, -1, True, "3", math.nan, math.inf, 10**400, None])
def test_window_that_is_no_number_of_seconds_is_a_match_error(run: Run, seconds: Any) -> None:
    said = "rate_limit: expected a number of seconds above 0"
    assert text(run(resource.rate_limit(1, seconds))).startswith(said)


@pytest.mark.parametrize("name", ["", 3, b"lock"], ids=repr)
def test_lock_name_that_is_no_text_is_a_match_error(run: Run, name: Any) -> None:
    said = f": expected a name, but got {name!r} of type {type(name).__name__}; give a str"
    assert text(run(resource.semaphore(1, name=name))).startswith(f"semaphore{said}")
    assert text(run(resource.rate_limit(1, 1, name=name))).startswith(f"rate_limit{said}")
    with pytest.raises(MatchError, match=re.escape(f"lock{said}")):
        resource.lock(name)


# -- variables and values ---------------------------------------------------------------------

UPDATES: dict[str, Callable[[Any, Any], Any]] = {
    "Var.update": lambda var, f: var.update(f),
    "Var.update_io": lambda var, f: var.update_io(lambda n: io.pure(f(n))),
    "Var.update_rs": lambda var, f: var.update_rs(lambda n: resource.pure(f(n))).use(io.pure),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("computed", [1, None, (1, 2, 3), "ab"], ids=repr)
def test_update_by_a_function_that_returns_no_pair_is_a_match_error(
    run: Run, name: str, computed: Any
) -> None:
    said = text(run(Var.create(0).flat_map(lambda var: UPDATES[name](var, lambda _: computed))))
    assert said.startswith(f"{name}: expected a pair (new value, what is returned) from the funct")
    assert f"{__file__}:" in said
    assert f"but got {'None' if computed is None else repr(computed) + ' of type'}" in said
    assert said.endswith("; if nothing is returned, give (new value, None)")


@pytest.mark.parametrize("name", ["update", "update_io", "update_rs", "traverse"])
def test_variable_method_refuses_a_value_that_is_no_function(run: Run, name: str) -> None:
    said = text(run(Var.create(0).flat_map(lambda var: getattr(var, name)(None))))
    assert said.startswith(f"Var.{name}: expected a function, but got None; ")


@pytest.mark.parametrize("name", ["update_io", "traverse"])
def test_variable_method_refuses_a_function_that_returns_no_io(run: Run, name: str) -> None:
    said = text(run(Var.create(0).flat_map(lambda var: getattr(var, name)(five))))
    assert said.startswith(f"Var.{name}: expected an IO from {here(five)}, but got 5 of type int")


def test_update_rs_by_a_function_that_returns_no_resource_is_a_match_error(run: Run) -> None:
    update: Any = five
    said = text(run(Var.create(0).flat_map(lambda var: var.update_rs(update).use(io.pure))))
    assert said.startswith(f"Var.update_rs: expected a Resource from {here(five)}, but got 5 of")


@pytest.mark.parametrize("name", ["zip", "zip_with", "ap"])
def test_variable_method_names_a_value_that_is_no_variable(run: Run, name: str) -> None:
    said = text(run(Var.create(0).flat_map(lambda var: getattr(var, name)(5))))
    assert said.startswith(f"Var.{name}: expected a Var, but got 5 of type int; Var.create(value)")


def test_ap_of_a_variable_that_holds_no_function_is_a_match_error(run: Run) -> None:
    said = text(run(Var.create(0).flat_map(lambda var: var.ap(var))))
    assert said.startswith("Var.ap: expected a function, but got 0 of type int")


def test_var_that_is_made_without_create_is_a_match_error() -> None:
    with pytest.raises(MatchError, match=re.escape("got 5 of type int; Var.create(value) is the")):
        Var(wrong)


def test_val_method_names_a_value_that_is_no_val() -> None:
    calls: dict[str, Callable[[], object]] = {
        "Val.flatten: expected a Val, but got 1 of": lambda: Val(1).flatten(),  # type: ignore[misc]
        "Val.zip: expected a Val, but got 5 of type int": lambda: Val.zip(5),  # type: ignore[call-overload]
        "Val.ap: expected a Val, but got 5 of type int": lambda: Val(max).ap(5),
        "Val.ap: expected a function, but got 1 of type int": lambda: Val(1).ap(Val(5)),
        f"Val.flat_map: expected a Val from {here(five)}, but got 5": lambda: Val(1).flat_map(five),
    }
    for said, call in calls.items():
        with pytest.raises(MatchError, match=re.escape(said)):
            call()


def test_val_traverse_by_a_function_that_returns_no_io_is_a_match_error(run: Run) -> None:
    said = text(run(Val(1).traverse(five)))
    assert said.startswith(f"Val.traverse: expected an IO from {here(five)}, but got 5 of type int")


# -- clusters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, True, 1.5], ids=repr)
def test_local_cluster_without_workers_or_threads_is_a_cluster_error(number: Any) -> None:
    said = "a local cluster takes at least 1 worker of at least 1 thread, but got "
    with pytest.raises(ClusterError, match=re.escape(f"{said}workers={number!r}; give whole")):
        Cluster.local(number)
    with pytest.raises(ClusterError, match=re.escape(f"{said}threads={number!r}; give whole")):
        Cluster.local(1, number)


def test_local_cluster_of_what_are_no_workers_is_a_match_error() -> None:
    with pytest.raises(
        MatchError, match=r"a number of workers from 1, or a list of Worker, but got"
    ):
        Cluster.local("2")  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("url", [None, 5, "", "localhost:7077", "tcp://localhost:99999"], ids=repr)
def test_url_without_a_host_or_a_port_is_a_cluster_error(url: Any) -> None:
    said = f"but got {url!r}; give one like tcp://127.0.0.1:7077"
    with pytest.raises(ClusterError, match=re.escape(said)):
        check_url(url)
    with pytest.raises(ClusterError, match=re.escape(said)):
        Cluster.connect(url)


@pytest.mark.parametrize("timeout", ["x", None, 0, -1, math.nan], ids=repr)
def test_connect_timeout_that_is_no_number_of_seconds_is_a_match_error(timeout: Any) -> None:
    with pytest.raises(MatchError, match=r"Cluster\.connect: expected a number of seconds above 0"):
        Cluster.connect("tcp://127.0.0.1:7077", timeout=timeout)


def test_result_timeout_that_is_no_number_of_seconds_is_a_match_error() -> None:
    submitted = shared_cluster().submit(io.pure(1), None)
    with pytest.raises(MatchError, match="result: expected a number of seconds, finite, but got"):
        submitted.result(a_text)
    assert submitted.result().is_ok()


@pytest.mark.slow
def test_cluster_that_is_closed_says_so_and_what_to_do() -> None:
    cluster = Cluster.local(1)
    cluster.close()
    said = "this cluster is closed and runs nothing more; make another with Cluster.local or"
    outcome = io.pure(1).run(None, on=cluster)
    assert isinstance(outcome, Panic)
    (traced,) = outcome.exceptions
    assert isinstance(traced.exception, ClusterClosed)
    assert str(traced.exception).startswith(said)
    with pytest.raises(ClusterClosed, match=re.escape(said)):
        cluster.submit(io.pure(1), None)


# -- simulations ------------------------------------------------------------------------------

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"members": True}, "members is a number from 1, but got True"),
    ({"threads": "2"}, "threads is a number from 1, but got '2'"),
    ({"max_steps": 0}, "max_steps is a number from 1, but got 0"),
    ({"seed": "x"}, "seed is a whole number, but got 'x'"),
    ({"seed": True}, "seed is a whole number, but got True"),
    ({"latency": True}, "latency is a number of seconds, or (least, most), but got True"),
    ({"latency": (2, 1)}, "latency is a number of seconds, or (least, most), but got (2, 1)"),
    ({"max_virtual_seconds": "x"}, "max_virtual_seconds is a number of seconds from 0, or math."),
    ({"max_virtual_seconds": math.nan}, "max_virtual_seconds is a number of seconds from 0"),
    ({"max_virtual_seconds": -1}, "max_virtual_seconds is a number of seconds from 0"),
    ({"schedule": 5}, "a schedule is a list like '3:1 9:2' (which choice, what was chosen), but"),
    (
        {"faults": [Crash]},
        "faults is a list of Crash(), Fail(), Pause(), Partition(), Disconnect(), FullDisk(), "
        "Interrupt(), Leave(), Restart(), Shutdown(), SlowDisk() and Stop(), but got [<cl",
    ),
]


@pytest.mark.parametrize(("option", "said"), OPTIONS)
def test_simulate_refuses_an_option_of_a_wrong_kind(option: dict[str, Any], said: str) -> None:
    with pytest.raises(MatchError, match=re.escape(said)):
        simulate(io.pure(1), **option)


def test_simulate_names_the_function_that_returns_no_program() -> None:
    said = f"simulate: expected an IO from {here(five)}, but got 5 of type int"
    with pytest.raises(MatchError, match=re.escape(said)):
        simulate(five)
    with pytest.raises(MatchError, match=re.escape(said)):
        explore(five, None, None, [1])


def test_explore_refuses_seeds_that_are_no_whole_numbers() -> None:
    with pytest.raises(MatchError, match="explore: seeds: expected a list or another iterable"):
        explore(io.pure(1), None, None, wrong)
    with pytest.raises(MatchError, match="explore: a seed is a whole number, but got 'x'"):
        explore(io.pure(1), None, None, ["x"])  # type: ignore[list-item]


FAULTS: dict[str, Callable[[], object]] = {
    "Crash: process is a name like 'worker-1', or None, but got 5": lambda: Crash(wrong),
    "Crash: at is a number of seconds from 0, but got 'x'": lambda: Crash(at=a_text),
    "Pause: seconds is a number of seconds from 0, but got inf": lambda: Pause(seconds=math.inf),
    "Disconnect: returns_after is a number of seconds from 0, but got -1": lambda: Disconnect(
        None, 0, -1
    ),
}


@pytest.mark.parametrize("said", FAULTS)
def test_fault_refuses_names_and_times_of_a_wrong_kind(said: str) -> None:
    with pytest.raises(MatchError, match=re.escape(said)):
        FAULTS[said]()
