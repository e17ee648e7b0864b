"""The types that checkers infer of `variables`: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

from distio import (
    IO,
    Resource,
    UpdateResult,
    Val,
    Var,
    io,
    resource,
)


def double(n: int) -> int:
    return 2 * n


def show(n: int) -> IO[Any, Never, str]:
    return io.pure(str(n))


def add(n: int) -> tuple[int, str]:
    return n + 1, "more"


def add_io(n: int) -> IO[Any, Any, tuple[int, str]]:
    return io.pure((n + 1, "more"))


def add_rs(n: int) -> Resource[Any, Any, tuple[int, str]]:
    return resource.pure((n + 1, "more"))


def shown(val: int) -> Val[str]:
    return Val(str(val))


def variables(var: Var[int]) -> None:
    assert_type(Var.create(5), IO[Any, Never, Var[int]])
    assert_type(Var.create_rs(5), Resource[Any, Never, Var[int]])
    assert_type(var.get(), IO[Any, Never, int])
    assert_type(var.get_rs(), Resource[Any, Never, int])
    assert_type(var.set(6), IO[Any, Never, None])
    assert_type(var.set_rs(6), Resource[Any, Never, None])
    assert_type(var.get_and_set(6), IO[Any, Never, int])
    assert_type(var.get_and_set_rs(6), Resource[Any, Never, int])
    assert_type(var.update(add), IO[Any, Never, UpdateResult[int, str]])
    assert_type(var.update_io(add_io), IO[Any, Any, UpdateResult[int, str]])
    assert_type(var.update_rs(add_rs), Resource[Any, Any, UpdateResult[int, str]])
    assert_type(var.traverse(show), IO[Any, Never, Var[str]])
    assert_type(Var.zip(var, var), IO[Any, Never, tuple[int, int]])
    assert_type(var.zip_with(var), IO[Any, Never, tuple[int, int]])
    assert_type(var.ap(var), IO[Any, Never, Any])
    assert_type(var.lock(), Resource[Any, Never, None])


def vals(val: Val[int]) -> None:
    assert_type(Val.pure(5), Val[int])
    assert_type(val.get(), int)
    assert_type(val.get_io(), IO[Any, Never, int])
    assert_type(val.get_rs(), Resource[Any, Never, int])
    assert_type(val.map(str), Val[str])
    assert_type(val.traverse(show), IO[Any, Never, Val[str]])
    assert_type(val.flat_map(shown), Val[str])
    assert_type(Val(val).flatten(), Val[int])
    assert_type(Val.zip(val, val), Val[tuple[int, int]])
    assert_type(val.zip_with(val), Val[tuple[int, int]])
    assert_type(Val(double).ap(val), Val[Any])
    assert_type(val.value, int)
