"""Seeded random numbers: each fiber has its own, the same in each run and in every place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio import IO, MatchError, Ok, child, io, resource, supervise
from distio.core.fiber import Fiber
from distio.core.random_stream import SEED_BITS, Stream
from distio.schedule import recurs
from distio.testing import MOVE_ON_WAKE, Crash, simulate
from tests.conftest import PLACES, Run, run_at

Program = IO[Any, Any, Any]

SEED = io.random_seed


def numbers(generator: random.Random) -> list[int]:
    return [generator.getrandbits(64) for _ in range(3)]


def value_of(result: Any) -> Any:
    assert isinstance(result, Ok), result
    return result.success


def everywhere(program: Program) -> Any:
    """The value of a program that has the same in each place, however its fibers move."""
    expected = program.run(None)
    for place in PLACES[1:]:
        assert run_at(place, program) == expected
    for seed in range(3):
        assert simulate(program, seed=seed, components=MOVE_ON_WAKE).result == expected
    return value_of(expected)


def flat(value: Any) -> Iterator[int]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)
    elif value is not None:
        yield value


def all_differ(*values: Any) -> bool:
    found = [*flat(values)]
    return len({*found}) == len(found)


# -- seeds ------------------------------------------------------------------------------------


def test_random_seed_in_one_fiber_gives_another_number_each_time() -> None:
    seeds = everywhere(io.zip([SEED] * 5).seeded(1))
    assert all_differ(seeds)
    assert all(0 <= seed < 2**SEED_BITS for seed in seeds)


@pytest.mark.parametrize("seed", [0, -1, 2**300, True + 1])
def test_seeded_with_any_whole_number_repeats(seed: int) -> None:
    assert SEED.seeded(seed).run(None) == io.seeded(seed, SEED).run(None)


def test_seeded_with_different_seeds_gives_different_numbers() -> None:
    seeds = [0, 1, -1, 255, 256, -256, 2**64, 2**128, -(2**128), 2**300]
    assert all_differ([value_of(SEED.seeded(seed).run(None)) for seed in seeds])


def test_seeded_ends_with_its_program_also_if_that_fails() -> None:
    failing = SEED.then(io.error("no")).seeded(2).catch(io.pure)
    plain, around = everywhere(io.zip(SEED, SEED).seeded(1)), io.zip(SEED, failing, SEED).seeded(1)
    first, _, second = everywhere(around)
    assert (first, second) == plain


def test_seeded_within_seeded_has_the_numbers_of_its_own_seed() -> None:
    outer, inner = everywhere(io.zip_par(SEED, SEED.seeded(5)).seeded(1))
    assert inner == value_of(SEED.seeded(5).run(None))
    assert outer != inner


@pytest.mark.parametrize("seed", ["1", 1.0, None, True])
def test_seeded_with_a_value_that_is_no_whole_number_is_a_match_error(seed: Any) -> None:
    with pytest.raises(MatchError, match="seeded: the seed is a whole number, but got"):
        io.seeded(seed, SEED)
    with pytest.raises(MatchError, match="seeded: the seed is a whole number, but got"):
        SEED.seeded(seed)


def test_seeded_of_a_value_that_is_no_program_is_a_match_error() -> None:
    with pytest.raises(MatchError, match="seeded: expected an IO"):
        io.seeded(1, print)  # type: ignore[arg-type]  # the mistake


def test_random_seeds_without_a_seed_differ_in_each_fiber_and_each_run(run: Run) -> None:
    program = io.zip_par([io.zip(SEED, io.zip_par([SEED] * 2))] * 4)
    once, again = value_of(run(program)), value_of(program.run(None))
    assert all_differ(once, again)


def test_random_seeds_without_a_seed_depend_on_that_of_the_simulation() -> None:
    program = io.zip_par([SEED] * 3)
    runs = [value_of(simulate(program, seed=seed).result) for seed in (7, 7, 8)]
    assert runs[0] == runs[1]
    assert all_differ(runs[1:])


def test_seeded_does_not_decide_the_numbers_of_io_random(run: Run) -> None:
    drawn = value_of(run(io.zip_par([io.random] * 3).seeded(1)))
    assert drawn != value_of(io.zip_par([io.random] * 3).seeded(1).run(None))


# -- generators -------------------------------------------------------------------------------


def test_random_generators_are_seeded_by_the_seeds_of_their_fiber() -> None:
    drawn = everywhere(io.zip([io.random_generator.map(numbers)] * 2).seeded(1))
    seeds = value_of(io.zip([SEED] * 2).seeded(1).run(None))
    assert drawn == [numbers(random.Random(seed)) for seed in seeds]


@pytest.mark.slow
def test_random_generator_that_moves_with_its_fiber_goes_on() -> None:
    def draw_slowly(generator: random.Random) -> Program:
        draw = io.defer(generator.getrandbits, 64)
        return io.zip([io.sleep(0.001).then(draw) for _ in range(3)])

    drawn = everywhere(io.zip_par([io.random_generator.flat_map(draw_slowly)] * 2).seeded(1))
    seeds = value_of(io.zip_par([SEED] * 2).seeded(1).run(None))
    assert drawn == [numbers(random.Random(seed)) for seed in seeds]


@io.do
async def draws_directly() -> list[int]:
    first = await io.random_generator
    drawn = [first.getrandbits(64)]
    await io.sleep(0.001)
    second = await io.random_generator
    drawn += [first.getrandbits(64), second.getrandbits(64)]
    await io.sleep(0.001)
    return [*drawn, first.getrandbits(64), await SEED]


@pytest.mark.slow
def test_function_that_is_repeated_after_a_move_draws_the_same() -> None:
    drawn = everywhere(io.zip_par([draws_directly()] * 3).seeded(1))
    assert all_differ(drawn)


@pytest.mark.slow
def test_numpy_generators_seeded_by_random_seed_draw_the_same_everywhere() -> None:
    numpy = pytest.importorskip("numpy")

    def normal(seed: int) -> Any:
        return numpy.random.default_rng(seed).normal(size=3).tolist()

    assert all_differ(everywhere(io.zip_par([SEED.map(normal)] * 4).seeded(1)))


# -- places in the tree -----------------------------------------------------------------------

FIVE = [io.zip(SEED, io.zip_par([SEED] * 2))] * 5


def identity(program: Program) -> Program:
    return program


def opened(program: Program) -> resource.Resource[Any, Any, Any]:
    return resource.Resource(program.map(lambda value: (value, lambda _: io.pure(None))))


STARTED: dict[str, Callable[[], Program]] = {
    "zip_par": lambda: io.zip_par(FIVE),
    "fail_fast": lambda: io.zip_par(FIVE, fail_fast=True),
    "one at a time": lambda: io.zip_par(FIVE, at_most=1),
    "three at a time": lambda: io.zip_par(FIVE, at_most=3, fail_fast=True),
    "of an iterator": lambda: io.zip_par(iter(FIVE), at_most=2),
    "with progress": lambda: io.traverse_par(FIVE, identity, progress=lambda done, total: None),
    "traverse_par": lambda: io.traverse_par(FIVE, identity),
    "parallel": lambda: (
        io.parallel(FIVE)
        .flat_map(io.wait)
        .flat_map(lambda results: io.zip([io.from_result(result) for result in results]))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", STARTED)
def test_fibers_started_together_have_streams_by_their_order(how: str) -> None:
    together = value_of(io.zip(SEED, io.zip_par(FIVE), SEED, SEED).seeded(1).run(None))
    # an iterator can be gone through once, and can't travel
    if how == "of an iterator":
        program = io.zip(SEED, STARTED[how](), SEED, SEED).seeded(1)
        assert value_of(program.run(None)) == together
    else:
        assert everywhere(io.zip(SEED, STARTED[how](), SEED, SEED).seeded(1)) == together
    assert all_differ(together)


@pytest.mark.slow
def test_items_that_share_a_chunk_have_streams_of_their_own() -> None:
    program = io.traverse_par(range(500), lambda n: SEED, at_most=2).seeded(1)
    assert all_differ(everywhere(program))
    assert everywhere(program) == value_of(io.zip_par([SEED] * 500).seeded(1).run(None))


def test_resources_opened_at_the_same_time_have_streams_of_their_own() -> None:
    both = resource.zip_par(opened(SEED), opened(SEED))
    assert all_differ(everywhere(both.use(io.pure).zip(SEED).seeded(1)))


@pytest.mark.slow
def test_race_gives_each_runner_a_stream_of_its_own() -> None:
    slow = io.sleep(1000).then(SEED)
    program = io.zip(io.race(slow, SEED), io.first_ok(SEED.then(io.error(1)), SEED), SEED)
    assert all_differ(everywhere(program.seeded(1)))


@pytest.mark.slow
def test_race_gives_each_runner_a_stream_by_its_place() -> None:
    slow = io.sleep(1000).then(SEED)
    of_two = value_of(io.zip_par(SEED, SEED).seeded(1).run(None))
    assert everywhere(io.race(slow, SEED).seeded(1)) == of_two[1]
    assert everywhere(io.race(SEED, slow).seeded(1)) == of_two[0]


@pytest.mark.slow
def test_fibers_of_a_scope_have_streams_by_the_order_in_which_they_start() -> None:
    def start_all(scope: io.Scope) -> Program:
        started = io.zip([scope.start(io.zip(SEED, SEED)) for _ in range(3)])
        return io.zip(SEED, started.flat_map(io.wait).map(lambda all: [value_of(r) for r in all]))

    assert all_differ(everywhere(io.zip(io.scope(start_all), SEED).seeded(1)))


@pytest.mark.slow
def test_program_that_is_retried_draws_anew() -> None:
    def fails(seeds: list[int]) -> Program:
        return io.error(seeds)

    tried = io.zip_par([SEED] * 2).flat_map(fails).retry(recurs(2)).catch(io.pure)
    repeated = everywhere(io.zip(tried, SEED.repeat(recurs(2))).seeded(1))
    plain = value_of(io.zip([io.zip_par([SEED] * 2)] * 3).seeded(1).run(None))
    assert repeated[0] == [plain[2]]


# -- programs whose order, or length, depends on chance -----------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_program_after_a_timeout_draws_the_same_wherever_the_timeout_came(steps: int) -> None:
    part = io.zip(SEED, io.zip_par([SEED] * 2))
    cut = io.zip([part] * steps).then(io.sleep(1000)).timeout(0.001, io.pure(None))
    uncut = io.pure(None).timeout(1000)
    assert everywhere(io.zip(cut, part).seeded(1)) == everywhere(io.zip(uncut, part).seeded(1))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_program_after_a_failed_scope_draws_the_same_wherever_the_scope_was_cut(steps: int) -> None:
    part = io.zip(SEED, io.zip_par([SEED] * 2))

    def cut(scope: io.Scope) -> Program:
        start = scope.start(io.sleep(0.001).then(io.error("cut")))
        return start.then(io.zip([part] * steps), io.sleep(1000))

    def whole(scope: io.Scope) -> Program:
        return io.error("cut")

    programs = [io.scope(f).catch(lambda _: part).seeded(1) for f in (cut, whole)]
    assert everywhere(programs[0]) == everywhere(programs[1])


def silent(name: str, result: Any, attempt: int) -> Program:
    return io.pure(None)


@pytest.mark.slow
def test_supervised_child_draws_anew_in_each_life_and_the_same_everywhere() -> None:
    def fails(seeds: Any) -> Program:
        return io.error(seeds)

    def drawn(exceptions: Any, errors: Any) -> Program:
        return io.zip(io.pure(errors), SEED)

    last: list[Any] = []
    for lives in (1, 2, 3):
        part = child(io.zip(SEED, io.zip_par([SEED] * 2)).flat_map(fails), restart="transient")
        watched = supervise(part, max_restarts=lives - 1, on_restart=silent)
        (seeds,), after = everywhere(watched.recover(drawn).seeded(1))
        assert all_differ(seeds, after)
        last.append(seeds)
    assert all_differ(last)


def lives_of(delays: tuple[float, float]) -> dict[str, list[int]]:
    """The numbers that each child, and each hook for it, has drawn in one run, life by life."""
    seen: dict[str, list[int]] = {}

    def note(name: str, drawn: int) -> None:
        seen.setdefault(name, []).append(drawn)

    def runs(name: str, delay: float) -> Program:
        draw = SEED.flat_map(lambda drawn: io.defer(note, name, drawn))
        return io.sleep(delay).then(draw, io.error("again"))

    def told(name: str, result: Any, attempt: int) -> Program:
        return SEED.flat_map(lambda drawn: io.defer(note, f"hook of {name}", drawn))

    children = [child(runs(name, delay), name) for name, delay in zip("ab", delays)]
    gives_up = supervise(*children, max_restarts=4, within_seconds=100, on_restart=told)
    after = gives_up.recover(lambda *_: io.pure(None)).then(SEED)
    main = after.flat_map(lambda drawn: io.defer(note, "after", drawn))
    value_of(main.seeded(1).run(None))  # in this process: all fibers share `seen`
    return seen


def test_restarted_children_draw_by_their_places_and_lives_alone() -> None:
    quick, slow = 0.001, 0.004
    runs = [lives_of(delays) for delays in ((quick, slow), (slow, quick))]
    longest = {
        name: max((run.get(name, []) for run in runs), key=len)
        for name in ("a", "b", "hook of a", "hook of b", "after")
    }
    for run in runs:
        for name, seeds in run.items():
            assert seeds == longest[name][: len(seeds)]
    assert len(longest["a"]) + len(longest["b"]) >= 5  # as many restarts as there may be, and one
    assert len(longest["after"]) == 1
    assert all_differ([*longest.values()])


# -- generated trees --------------------------------------------------------------------------


@dataclass(frozen=True)
class Draw:
    """One number."""


@dataclass(frozen=True)
class InTurn:
    """Parts of one fiber."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class AtOnce:
    """Fibers that start together."""

    parts: tuple[Any, ...]
    at_most: int | None
    fail_fast: bool


@dataclass(frozen=True)
class InScope:
    """Fibers that start one after another in a scope."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Limited:
    """A part that may be cut, but isn't."""

    part: Any


@dataclass(frozen=True)
class Slow:
    """A part that comes late, and that may move before."""

    part: Any
    seconds: float


def trees() -> st.SearchStrategy[Any]:
    def extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        parts = st.lists(inner, max_size=4).map(tuple)
        return st.one_of(
            st.builds(InTurn, parts),
            st.builds(AtOnce, parts, st.sampled_from([None, 1, 2, 3]), st.booleans()),
            st.builds(InScope, parts),
            st.builds(Limited, inner),
            st.builds(Slow, inner, st.sampled_from([0.0, 0.001, 0.002])),
        )

    return st.recursive(st.just(Draw()), extend, max_leaves=12)


def to_io(tree: Any) -> Program:
    match tree:
        case InTurn(parts):
            return io.zip([*map(to_io, parts)])
        case AtOnce(parts, at_most, fail_fast):
            return io.traverse_par(parts, to_io, at_most=at_most, fail_fast=fail_fast)
        case InScope(parts):
            return io.scope(_Starting(parts))
        case Limited(part):
            return to_io(part).timeout(1000)
        case Slow(part, seconds):
            return io.sleep(seconds).then(to_io(part))
    return SEED


@dataclass(frozen=True)
class _Starting:
    parts: tuple[Any, ...]

    def __call__(self, scope: io.Scope) -> Program:
        started = io.zip([scope.start(to_io(part)) for part in self.parts])
        return started.flat_map(io.wait).map(lambda results: [*map(value_of, results)])


def expected(tree: Any, stream: Stream) -> Any:
    """The numbers that a direct evaluator draws."""
    match tree:
        case InTurn(parts):
            return [expected(part, stream) for part in parts]
        case AtOnce(parts, _, _):
            group = stream.next_group()
            return [expected(part, group.stream_of(n)) for n, part in enumerate(parts)]
        case InScope(parts):
            within = stream.next_group().stream_of()
            return [expected(part, within.next_group().stream_of(0)) for part in parts]
        case Limited(part):
            return expected(part, stream.next_group().stream_of())
        case Slow(part, _):
            return expected(part, stream)
    return stream.next_seed()


EXAMPLES = {"1 thread": 60, "4 threads": 60, "cluster": 30, "simulation": 30, "restless": 60}
"""The number of trees that are run in each place."""


@pytest.mark.slow
@pytest.mark.parametrize("place", EXAMPLES)
def test_generated_program_draws_the_numbers_of_the_evaluator(place: str) -> None:
    @settings(max_examples=EXAMPLES[place])
    @given(trees(), st.integers())
    def check(tree: Any, seed: int) -> None:
        program = to_io(tree).seeded(seed)
        if place == "restless":
            result = simulate(program, seed=seed % 1000, components=MOVE_ON_WAKE).result
        else:
            result = run_at(place, program)
        drawn = expected(tree, Stream.of_seed(seed))
        assert value_of(result) == drawn
        assert all_differ(drawn)

    check()


# -- losses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fiber_that_survives_a_loss_draws_the_same_as_without_it(seed: int) -> None:
    draw = io.zip(SEED, io.sleep(0.01), SEED, io.zip_par([SEED] * 2)).attempt()
    program = io.parallel([draw] * 6).flat_map(io.wait).seeded(1)
    expected = value_of(program.run(None))
    results = value_of(simulate(program, seed=seed, faults=[Crash()]).result)
    survived = [(e, r) for e, r in zip(expected, results) if isinstance(r, Ok)]
    assert survived
    assert all(of_the_run == alone for alone, of_the_run in survived)


# -- the cost ---------------------------------------------------------------------------------


def test_program_without_a_seed_makes_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a stream was made")

    monkeypatch.setattr(Stream, "__init__", refuse)
    assert Fiber(1, 1, SEED, None).stream is None
    program = io.zip_par(io.traverse_par(range(3), io.pure, at_most=2), io.pure(1).timeout(1))
    assert program.run(None) == Ok(([0, 1, 2], 1))
