"""Generators of random numbers that fibers have captured: by name, or as copies with a warning."""

from __future__ import annotations

import calendar
import logging
import pickle
import random
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distio import IO, Ok, Panic, io
from distio.coordination.placement.tasks import PickleFibers
from distio.core.fiber import Fiber
from distio.core.ops.elsewhere import CallElsewhere
from distio.core.outcomes import dump_outcome, load_outcome
from distio.core.pickling.copies import shared_by_fibers, why_numbers_repeat
from distio.core.pickling.generators import Departures, Generators, state_of
from distio.core.snapshot import generators_in
from distio.errors import NotDeterministic
from distio.testing import MOVE_ON_WAKE, simulate
from tests.conftest import shared_cluster

Program = IO[Any, Any, Any]

numpy: Any = pytest.importorskip("numpy")


def copy_of(obj: Any) -> Any:
    result = load_outcome(dump_outcome(Ok([obj])).payload)
    assert isinstance(result, Ok), result
    return result.success[0]


def on_cluster(program: Program) -> Any:
    result = program.run(None, on=shared_cluster())
    assert isinstance(result, Ok), result
    return result.success


# -- by name ----------------------------------------------------------------------------------

HIDDEN: dict[str, Any] = {
    "builtin": random.random,
    "Python's": random.randint,
    "in place": random.shuffle,
    "NumPy's": numpy.random.normal,
    "NumPy's own module": numpy.random.mtrand.uniform,
    "no generator": calendar.prweek,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_method_of_an_instance_that_its_module_hides_is_pickled_by_name(name: str) -> None:
    assert copy_of(HIDDEN[name]).__self__ is HIDDEN[name].__self__


def test_method_that_its_module_has_by_another_name_is_pickled_with_its_instance() -> None:
    week: Any = calendar.week  # the method is formatweek
    assert copy_of(week).__self__ is not week.__self__


@pytest.mark.parametrize(
    "hidden", [HIDDEN["builtin"].__self__, numpy.random.mtrand._rand], ids=["random", "numpy"]
)
def test_instance_that_a_module_hides_is_pickled_by_name(hidden: Any) -> None:
    assert copy_of(hidden) is hidden
    assert copy_of(partial(hidden.seed, 5)).func.__self__ is hidden


def throw(dice: object) -> int:
    return 5


def test_method_of_an_instance_that_only_a_script_has_is_pickled_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = sys.modules["__main__"]
    dice = type("Dice", (), {"__module__": "__main__", "throw": throw})()
    monkeypatch.setattr(script, "throw", dice.throw, raising=False)
    assert copy_of(dice.throw).__self__ is not dice


def test_method_of_an_instance_of_an_inner_module_is_found_in_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = type("Dice", (), {"__module__": "board.pieces", "throw": throw})()
    for name, attributes in (("board", {"throw": dice.throw}), ("board.pieces", {})):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    assert copy_of(dice.throw).__self__ is dice


def test_method_of_a_module_that_was_made_at_run_time_is_not_pickled_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("made_on_the_way")
    kind = type("Dice", (random.Random,), {"__module__": "made_on_the_way"})
    dice = kind(5)
    vars(module).update(Dice=kind, _dice=dice, random=dice.random)
    monkeypatch.setitem(sys.modules, "made_on_the_way", module)
    assert Generators().reduce(dice.random, type(dice.random)) is None


@pytest.mark.parametrize(
    "draw",
    [
        partial(random.randint, 1, 10**9),
        partial(random.gauss, 0, 1),
        random.random,
        partial(numpy.random.normal),
        partial(secrets.choice, range(10**9)),
        partial(secrets.randbits, 64),
        random.SystemRandom().random,
    ],
)
def test_fibers_that_call_a_function_of_a_module_draw_different_numbers(
    draw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert len({*on_cluster(io.zip_par([io.defer(draw)] * 8))}) == 8
    assert warnings(caplog) == []


def test_system_generator_travels() -> None:
    assert type(copy_of(random.SystemRandom())) is random.SystemRandom


# -- copies -----------------------------------------------------------------------------------


def generators() -> Iterator[tuple[str, Any]]:
    yield "random.Random", random.Random(1)
    yield "numpy.random._generator.Generator", numpy.random.default_rng(1)
    yield "numpy.random.mtrand.RandomState", numpy.random.RandomState(1)
    yield "numpy.random._pcg64.PCG64", numpy.random.PCG64(1)


@pytest.fixture(params=[name for name, _ in generators()])
def generator(request: pytest.FixtureRequest) -> Any:
    """A new generator of each kind."""
    return dict(generators())[request.param]


def draw(generator: Any) -> Any:
    return getattr(generator, "random_raw", None) or generator.random()


class Holder:
    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def draw(self) -> Any:
        return draw(self.generator)


def programs_with(generator: Any) -> Iterator[Program]:
    """Programs that have captured a generator, one way or another."""
    yield io.defer(draw, generator)
    yield io.defer(partial(draw, generator))
    yield io.defer(lambda: draw(generator))
    yield io.defer(Holder(generator).draw)
    yield io.pure({"in a dict": [generator]})
    yield io.pure(None).flat_map(partial(io.defer, draw, generator))
    yield io.defer(generator.random if hasattr(generator, "random") else generator.random_raw)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "copy of one" in text]


def test_generators_in_a_fiber_are_found_in_any_place(generator: Any) -> None:
    for program in programs_with(generator):
        assert generators_in(Fiber(1, 1, program, None))[0] is generator
    assert generators_in(Fiber(1, 1, io.read, generator))[0] is generator


def test_generators_in_a_fiber_without_one_are_none() -> None:
    program = io.defer(random.random).flat_map(lambda x: io.defer(secrets.choice, [x]))
    assert generators_in(Fiber(1, 1, program, Holder(None))) == []


def test_generator_of_several_calls_of_a_plain_function_leads_to_seeds() -> None:
    dice = random.Random(1)
    fiber = Fiber(1, 1, CallElsewhere(draw, dice, [], ()), None)
    text = why_numbers_repeat(fiber, dice)
    assert text.startswith("several calls have taken along a copy of one random.Random (")
    assert text.endswith("np.random.SeedSequence(42).spawn(n) makes n of them")


@pytest.mark.parametrize("kind", [name for name, _ in generators()])
def test_generator_of_several_fibers_is_warned_of_once(kind: str) -> None:
    shared = dict(generators())[kind]
    simulation = simulate(io.zip_par([io.defer(draw, shared).map(str)] * 3))
    (text,) = simulation.copied
    assert text.startswith(f"several fibers have taken along a copy of one {kind} (operation ")
    assert text.endswith("io.random_generator makes one, and io.random_seed the seed of one")


SHARED = random.Random(5)


def one_after_another(program: Program) -> Program:
    return io.zip([io.parallel(program) for _ in range(3)])


WAYS: dict[str, Callable[[Any], Program]] = {
    "each in a chunk": lambda g: io.zip_par([io.defer(lambda: draw(g))] * 5),
    "many in a chunk": lambda g: io.zip_par([io.defer(lambda: draw(g))] * 200),
    "items": lambda g: io.traverse_par(range(9), lambda n: io.defer(draw, g), at_most=2),
    "a race": lambda g: io.race([io.defer(lambda: draw(g))] * 2),
    "one after another": lambda g: one_after_another(io.defer(lambda: draw(g))),
    "in a scope": lambda g: io.scope(
        lambda scope: io.zip([scope.start(io.defer(lambda: draw(g)))] * 2)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_generator_that_several_fibers_get_in_any_way_is_warned_of_once(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_cluster(WAYS[way](random.Random(1)))
    on_cluster(WAYS[way](random.Random(2)))
    (text,) = warnings(caplog)
    assert text.startswith("several fibers have taken along a copy of one random.Random (operation")
    assert "function " in text


def test_warning_names_the_variable_of_the_generator_and_its_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dice = random.Random(1)
    on_cluster(io.zip_par([io.defer(lambda: dice.random())] * 2))
    (record,) = [each for each in caplog.records if "copy of one" in each.message]
    assert (record.name, record.levelno) == ("distio", logging.WARNING)
    assert "captured variable 'dice'" in record.message
    assert f"({__file__}:" in record.message


def test_generator_of_one_submitted_run_is_fine_and_of_two_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dice = random.Random(1)
    program = io.defer(lambda: dice.random())
    shared_cluster().submit(program, None).result(timeout=60)
    assert warnings(caplog) == []
    shared_cluster().submit(program, None).result(timeout=60)
    assert len(warnings(caplog)) == 1


FINE: dict[str, Callable[[], Program]] = {
    "one fiber has it": lambda: io.zip_par(io.defer(random.Random(1).random), io.pure(1)),
    "each has its own": lambda: io.zip_par([io.defer(random.Random(n).random) for n in range(200)]),
    "each its own, in turn": lambda: io.traverse(
        range(70), lambda n: io.parallel(io.defer(random.Random(n).random))
    ),
    "made in the fiber": lambda: io.zip_par([io.random_generator.map(draw)] * 5),
    "a system generator": lambda: io.zip_par([io.defer(random.SystemRandom().random)] * 5),
    "a function of a module": lambda: io.zip_par([io.defer(lambda: random.random())] * 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FINE)
def test_generator_that_one_fiber_has_alone_is_not_warned_of(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_cluster(FINE[name]())
    assert warnings(caplog) == []
    assert simulate(FINE[name]()).copied == ()


def test_generator_shared_in_one_process_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dice = random.Random(1)
    result = io.zip_par([io.defer(lambda: dice.random())] * 8).run(None, 2)
    assert isinstance(result, Ok)
    assert len({*result.success}) == 8
    assert warnings(caplog) == []


def test_generator_of_a_fiber_that_travels_again_is_not_noted_again() -> None:
    host: Any = SimpleNamespace(copied=lambda fibers, generators: seen.append(generators))
    seen: list[Any] = []
    fiber = Fiber(1, 1, io.defer(SHARED.random), None)
    PickleFibers([fiber], lambda *_: True, lambda _: ()).run(host)
    fiber.epoch = 1
    PickleFibers([fiber], lambda *_: True, lambda _: ()).run(host)
    assert seen == [[SHARED]]


@pytest.mark.slow
def test_generator_that_moves_with_its_own_fiber_is_not_warned_of() -> None:
    def draw_twice(dice: random.Random) -> Program:
        return io.defer(dice.random).then(io.sleep(0.001), io.defer(dice.random), io.sleep(0.001))

    program = io.zip_par([io.random_generator.flat_map(draw_twice)] * 3)
    for seed in range(5):
        assert simulate(program, seed=seed, components=MOVE_ON_WAKE).copied == ()


# -- which generators have left before --------------------------------------------------------


def test_departures_know_a_generator_that_has_left() -> None:
    departures = Departures()
    one, other = random.Random(1), random.Random(1)
    assert departures.note([one]) == []
    assert departures.note([other]) == []
    assert departures.note([other, one]) == [other, one]


def test_departures_keep_no_more_than_a_few() -> None:
    departures = Departures()
    first = random.Random(0)
    departures.note([first])
    for _ in range(100):
        departures.note([random.Random(1)])
        assert departures.note([first]) == [first]
    departures.note([random.Random(1) for _ in range(1_000)])
    assert len(departures._left) < 100


def test_generators_of_fibers_in_one_pickle_are_told_apart() -> None:
    shared, own = random.Random(1), random.Random(1)

    def fibers(*each: random.Random) -> list[Fiber]:
        return [Fiber(n, 1, io.defer(one.random), None) for n, one in enumerate(each)]

    assert shared_by_fibers(fibers(shared, own), []) is None
    found = shared_by_fibers(fibers(own, shared, shared), [])
    assert found is not None
    assert (found[0].id, found[1]) == (2, shared)
    found = shared_by_fibers(fibers(own, shared), [shared])
    assert found is not None
    assert (found[0].id, found[1]) == (1, shared)


# -- their state ------------------------------------------------------------------------------


def test_generator_state_is_that_of_a_copy_until_one_draws(generator: Any) -> None:
    twin = pickle.loads(pickle.dumps(generator))
    assert state_of(twin) == state_of(generator)
    method = getattr(twin, "random", None) or twin.random_raw
    method()
    assert state_of(twin) != state_of(generator)


def test_system_generator_has_no_state() -> None:
    assert state_of(random.SystemRandom()) is None


@io.do
async def draws_in_an_awaited_program() -> float:
    generator = await io.random_generator
    await io.defer(generator.random)
    await io.sleep(0.001)
    return generator.random()


def test_function_whose_generator_others_have_used_is_not_deterministic_after_a_move() -> None:
    result = simulate(
        io.zip_par([draws_in_an_awaited_program()] * 2), components=MOVE_ON_WAKE
    ).result
    assert isinstance(result, Panic)
    assert isinstance(result.exceptions[0].exception, NotDeterministic)
    assert "found other values in generator" in str(result.exceptions[0].exception)
