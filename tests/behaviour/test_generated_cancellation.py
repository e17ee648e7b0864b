"""Programs that are cancelled anywhere: each opened resource is closed, and nothing is left.

The outcomes depend on the schedule, so tests check only what always holds. The simulation
itself checks that no fiber hangs, that no fiber, lock or timer is left, and that no fiber wakes
early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import Resource, io, resource
from distio.testing import Fault, Interrupt, simulate
from tests.harness.generated import (
    COUNTS,
    FILE,
    HARMFUL,
    HARMLESS,
    SEEDS,
    SHAPES,
    Io,
    count,
)
from tests.harness.programs import FOREVER

Build = Callable[[Resource[Any, Any, None]], Io]
"""A program, given a lock that all its parts share."""


STUCK = resource.from_open_close_io(
    io.defer(count, "opened"),
    lambda _, status: io.defer(count, "closed").then(io.error("stuck")),
)


def sleeper(milliseconds: int) -> Build:
    return lambda lock: io.sleep(milliseconds / 1000)


def held(of: Resource[Any, Any, Any], inner: Build) -> Build:
    return lambda lock: of.with_(inner(lock))


def locked(inner: Build) -> Build:
    return lambda lock: lock.with_(inner(lock))


def opened_with_lock(inner: Build) -> Build:
    return lambda lock: FILE.flat_map(lambda _: lock).flat_map(lambda _: FILE).with_(inner(lock))


def raced(inners: list[Build]) -> Build:
    return lambda lock: io.race([inner(lock) for inner in inners])


def first_ok(inners: list[Build]) -> Build:
    return lambda lock: io.first_ok([inner(lock) for inner in inners])


def together(inners: list[Build]) -> Build:
    return lambda lock: io.zip_par([inner(lock) for inner in inners])


def fast(inners: list[Build]) -> Build:
    return lambda lock: io.zip_par([inner(lock) for inner in inners], fail_fast=True)


def at_most_two(inners: list[Build]) -> Build:
    return lambda lock: io.traverse_par(
        range(len(inners)), lambda n: inners[n](lock), at_most=2, fail_fast=True
    )


def limited(milliseconds: int, inner: Build) -> Build:
    return lambda lock: inner(lock).timeout(milliseconds / 1000, io.pure("late"))


def scoped(inners: list[Build]) -> Build:
    def program(lock: Resource[Any, Any, None]) -> Io:
        first, *others = [inner(lock) for inner in inners]
        return io.scope(lambda s: io.sequence([*[s.start(each) for each in others], first]))

    return program


def nested(inner: Build) -> Build:
    return lambda lock: io.scope(lambda s: s.start(s.start(inner(lock)).then(inner(lock))))


def cancelled(milliseconds: int, inner: Build) -> Build:
    """The fiber ends by itself in the end: `parallel` doesn't cancel it with its parent."""
    return lambda lock: io.parallel(inner(lock).timeout(1.0)).flat_map(
        lambda fibers: io.sleep(milliseconds / 1000).then(fibers[0].cancel())
    )


def shielded(inner: Build) -> Build:
    return lambda lock: io.uncancelable(inner(lock).timeout(0.002))


def closing(inner: Build) -> Build:
    return lambda lock: FOREVER.timeout(0.001).finally_(lambda _: inner(lock).timeout(0.002))


def handled(inner: Build) -> Build:
    return lambda lock: inner(lock).attempt().then(io.yield_)


def awaited(inner: Build) -> Build:
    return lambda lock: _awaited(inner(lock), lock)


@io.do
async def _awaited(program: Io, lock: Resource[Any, Any, None]) -> None:
    async with FILE:
        try:
            await io.yield_
            async with FILE, lock:
                await program
        except Exception:  # noqa: BLE001 (all of them are meant)
            async with STUCK:
                await program
        finally:
            await _once_more()


@io.do
async def _once_more() -> None:
    async with FILE, FILE:
        await io.yield_


TIMES = st.integers(0, 4)
LEAVES: st.SearchStrategy[Build] = st.one_of(
    st.builds(sleeper, TIMES),
    st.sampled_from(
        [
            lambda lock: io.yield_,
            lambda lock: FOREVER,
            lambda lock: FOREVER,
            lambda lock: io.error("no"),
            lambda lock: io.panic(ValueError("bad")),
            lambda lock: io.sleep(0.003).then(io.error("later")),
        ]
    ),
)


def _more(inner: st.SearchStrategy[Build]) -> st.SearchStrategy[Build]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds(held, st.sampled_from([FILE, STUCK]), inner),
        st.builds(held, st.just(FILE), inner),
        *[st.builds(each, inner) for each in (locked, opened_with_lock, nested, shielded, awaited)],
        *[st.builds(each, inner) for each in (closing, handled)],
        *[st.builds(each, several) for each in (raced, first_ok, together, fast, scoped)],
        st.builds(at_most_two, several),
        *[st.builds(each, TIMES, inner) for each in (limited, cancelled)],
    )


PROGRAMS = st.recursive(LEAVES, _more, max_leaves=12)


@pytest.mark.slow
def test_resources_of_a_program_that_is_cancelled_anywhere_are_closed(examples: int) -> None:
    @settings(max_examples=examples)
    @given(PROGRAMS, SEEDS, SHAPES)
    def check(build: Build, seed: int, shape: tuple[int, int]) -> None:
        COUNTS.clear()
        program = resource.reentrant_lock.flat_map(build).timeout(0.01)
        simulation = simulate(program, members=shape[0], threads=shape[1], seed=seed)
        assert simulation.result is not None
        assert "Deadlock" not in repr(simulation.result)
        assert COUNTS["opened"] == COUNTS["closed"]
        assert simulation.virtual_seconds < 10  # no fiber is left that would wait for ever

    check()


@pytest.mark.slow
def test_resources_of_a_run_that_is_interrupted_are_closed(examples: int) -> None:
    @settings(max_examples=examples)
    @given(PROGRAMS, SEEDS, SHAPES, st.none() | st.sampled_from([0.0, 0.001, 0.005]))
    def check(build: Build, seed: int, shape: tuple[int, int], at: float | None) -> None:
        COUNTS.clear()
        program = resource.reentrant_lock.flat_map(build).timeout(1.0)
        simulation = simulate(
            program, members=shape[0], threads=shape[1], seed=seed, faults=[Interrupt(at=at)]
        )
        assert simulation.result is not None
        assert COUNTS["opened"] == COUNTS["closed"]
        assert simulation.virtual_seconds < 10

    check()


@pytest.mark.slow
def test_run_that_is_cancelled_while_members_are_lost_ends_and_leaves_nothing(
    examples: int,
) -> None:
    @settings(max_examples=examples)
    @given(PROGRAMS, SEEDS, SHAPES, st.lists(HARMFUL | HARMLESS, min_size=1, max_size=3))
    def check(build: Build, seed: int, shape: tuple[int, int], faults: list[Fault]) -> None:
        program = resource.reentrant_lock.flat_map(build).timeout(1.0)
        simulation = simulate(
            program,
            members=shape[0],
            threads=shape[1],
            seed=seed,
            faults=[*faults, Interrupt(at=0.005)],
        )
        assert simulation.virtual_seconds < 100

    check()
