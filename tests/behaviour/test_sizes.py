"""None, many, and large: the same programs with unusual sizes."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

import pytest

from distio import IO, Cluster, Ok, Var, io
from tests.conftest import Run, shared_cluster

Program = IO[Any, Any, Any]

LARGE: Final = 50 * 1000 * 1000
"""Bytes."""
MANY: Final = 100_000


# -- none -------------------------------------------------------------------------------------


def test_parallel_wait_and_zip_par_of_no_programs_return_an_empty_list(run: Run) -> None:
    assert run(io.parallel()) == Ok([])
    assert run(io.parallel([])) == Ok([])
    assert run(io.wait()) == Ok([])
    assert run(io.wait([])) == Ok([])
    assert run(io.parallel([]).flat_map(io.wait)) == Ok([])
    assert run(io.zip_par([])) == Ok([])
    assert run(io.zip_par(io.parallel([]).flat_map(io.wait))) == Ok(([],))


def test_list_operations_on_no_programs_return_nothing(run: Run) -> None:
    assert run(io.zip([])) == Ok([])
    assert run(io.traverse([], io.pure)) == Ok([])
    assert run(io.sequence([])) == Ok(None)
    assert run(io.pure(1).then([])) == Ok(1)


# -- many -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", ["1 thread", "4 threads", "cluster"])
def test_fibers_by_the_hundred_thousand_run_at_once(how: str) -> None:
    program = io.parallel([io.pure(n) for n in range(MANY)]).flat_map(io.wait)
    if how == "cluster":
        result = program.run(None, on=shared_cluster())
    else:
        result = program.run(None, int(how.split()[0]))
    assert result == Ok([Ok(n) for n in range(MANY)])


@pytest.mark.slow
def test_fibers_by_the_hundred_thousand_run_without_a_wait() -> None:
    seen: list[int] = []
    program = io.parallel([io.defer(seen.append, n) for n in range(MANY)]).map(len)
    assert program.run(None, 4) == Ok(MANY)
    assert sorted(seen) == list(range(MANY))


# -- large ------------------------------------------------------------------------------------


def make(seed: int) -> bytes:
    """Bytes that don't repeat within a block, as many as `LARGE`."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(1_000))
    return (block * (LARGE // len(block) + 1))[:LARGE]


def digest(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return shared_cluster()


@pytest.mark.slow
def test_value_that_is_large_comes_from_a_worker(cluster: Cluster) -> None:
    program = io.zip_par([io.defer(make, n) for n in (1, 2)])
    result = program.run(None, on=cluster)
    assert isinstance(result, Ok)
    assert [digest(data) for data in result.success] == [digest(make(n)) for n in (1, 2)]


@pytest.mark.slow
def test_value_that_is_large_goes_from_worker_to_worker(cluster: Cluster) -> None:
    """Fibers look at the value until one of them is on another worker; the client sees a digest."""

    def look(maker: int, fibers: list[Any]) -> Program:
        if os.getpid() == maker:
            return io.pure(None)
        return io.wait(fibers).flat_map(lambda results: io.from_result(results[0])).map(digest)

    def go_round(home: Var[int], fibers: list[Any]) -> Program:
        one = home.get().flat_map(lambda maker: look(maker, fibers) if maker else io.pure(None))
        return io.zip_par([one] * 4).flat_map(
            lambda seen: next((io.pure(it) for it in seen if it), go_round(home, fibers))
        )

    def program(home: Var[int]) -> Program:
        maker = io.defer(os.getpid).flat_map(home.set).then(io.defer(make, 1))
        return io.parallel(maker).flat_map(lambda fibers: go_round(home, fibers))

    assert Var.create(0).flat_map(program).run(None, on=cluster) == Ok(digest(make(1)))


@pytest.mark.slow
def test_value_that_is_large_goes_to_a_worker(cluster: Cluster) -> None:
    data = make(3)
    assert io.zip_par(io.defer(digest, data)).run(None, on=cluster) == Ok((digest(data),))


@pytest.mark.slow
def test_value_that_is_large_in_a_variable_goes_everywhere(cluster: Cluster) -> None:
    def program(var: Var[bytes]) -> Program:
        fill = io.defer(make, 4).flat_map(var.set)
        look = var.get().map(digest)
        return io.zip_par(fill).then(io.zip_par(look, look))

    assert Var.create(b"").flat_map(program).run(None, on=cluster) == Ok((digest(make(4)),) * 2)
