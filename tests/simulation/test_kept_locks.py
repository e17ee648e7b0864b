"""A section under a kept lock is finished before anybody else enters, though workers are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from distio import IO, Ok, Resource, io, resource
from distio.testing import Crash, Disconnect, Fault, simulate

Program = IO[Any, Any, Any]
Lock = Resource[Any, Any, None]

WRITTEN: list[tuple[int, str]] = []
"""The words that sections have written outside of distio: all processes of a simulation are one."""

LOSSES: tuple[Sequence[Fault], ...] = (
    [Crash("worker-1", at=0.01), Crash()],
    [Crash(), Crash()],
    [Disconnect(returns_after=0.01), Crash()],
)


def write(key: int, what: str) -> None:
    WRITTEN.append((key, what))


def section(key: int) -> Program:
    """Two writes, between which a worker may be lost."""
    first, second = io.defer(write, key, "first"), io.defer(write, key, "second")
    return first.then(io.yield_, io.sleep(0.004), second)


def enter_one_by_one(make: Program, take: Callable[[Lock], Lock]) -> Program:
    """Six fibers on workers that take the lock."""

    def all_of_them(lock: Lock) -> Program:
        taken = take(lock)
        return io.zip_par([io.yield_.then(taken.with_(section(key))) for key in range(6)])

    return make.flat_map(all_of_them)


def is_mixed() -> bool:
    """Whether one section has written between the first and the second write of another."""
    inside: int | None = None
    for key, what in WRITTEN:
        if inside not in (None, key):
            return True
        inside = key if what == "first" else None
    return False


def runs(make: Program, take: Callable[[Lock], Lock], seeds: int = 20) -> Iterator[bool]:
    """Whether sections were mixed, in runs with two losses each."""
    for losses in LOSSES:
        for seed in range(seeds):
            WRITTEN.clear()
            done = simulate(
                lambda: enter_one_by_one(make, take), seed=seed, threads=1, faults=losses
            )
            assert done.result == Ok([None] * 6)
            yield is_mixed()


LOCKS = {
    "a lock": resource.reentrant_lock,
    "a semaphore": resource.semaphore(1),
    "a lock with a name": io.pure(resource.lock("door")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCKS)
def test_section_under_a_kept_lock_is_finished_before_another_begins(name: str) -> None:
    assert not any(runs(LOCKS[name], lambda lock: lock.kept()))


@pytest.mark.slow
def test_section_under_another_lock_may_be_left_half_done() -> None:
    """Its fiber begins the section again, but may find others in it."""
    assert any(runs(LOCKS["a lock"], lambda lock: lock))


@pytest.mark.slow
def test_kept_lock_excludes_those_that_take_it_otherwise_until_it_is_given_back() -> None:
    """Only the section of the fiber that keeps it is finished first."""

    def all_of_them(lock: Lock) -> Program:
        locks = [lock.kept() if key == 0 else lock for key in range(6)]
        return io.zip_par([each.with_(section(key)) for key, each in enumerate(locks)])

    main = resource.reentrant_lock.flat_map(all_of_them)
    for seed in range(20):
        WRITTEN.clear()
        done = simulate(lambda: main, seed=seed, threads=1, faults=[Crash(), Crash()])
        assert done.result == Ok([None] * 6)
        keys = [key for key, _ in WRITTEN]
        of_0 = [n for n, each in enumerate(WRITTEN) if each[0] == 0]
        assert keys[of_0[0] : of_0[-1] + 1] == [0] * len(of_0)
