"""The types that checkers infer of direct style: nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never, assert_type

from distio import IO, DomainErrors, Resource, io, resource


@io.do
async def measured(text: str, *, times: int = 1) -> int:
    try:
        length = await io.pure(len(text))
    except DomainErrors as failure:
        assert_type(failure.errors, list[Any])
        raise
    assert_type(length, int)
    async with resource.pure(text) as same:
        assert_type(same, str)
    return length * times


async def plain(n: int) -> str:
    return str(n)


class Shop:
    @io.do
    async def price(self, name: str) -> float:
        total = await measured(name)
        assert_type(total, int)
        return total / 2


assert_type(measured("a", times=2), IO[Any, Any, int])
assert_type(Shop().price("a"), IO[Any, Any, float])
as_function: Callable[[int], IO[Any, Any, str]] = io.do(plain)
assert_type(io.restart_from(1, times=2), IO[Any, Never, Never])


async def awaited(program: IO[None, str, list[int]], opened: Resource[None, Never, bytes]) -> None:
    assert_type(await program, list[int])
    async with opened as content:
        assert_type(content, bytes)
