"""Which programs are the same: by what they do, in whatever process and on whatever line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distio import io
from distio.core.pickling.program import program_digest

FACTOR = 3


def test_digest_is_that_of_what_a_function_has_captured() -> None:
    def made(n: Any) -> Any:
        return io.defer(lambda: n)

    assert program_digest(made(1)) == program_digest(made(1))
    assert program_digest(made(1)) != program_digest(made(2))
    assert program_digest(made(1)) != program_digest(made(True))


def test_digest_is_that_of_default_values() -> None:
    def made(n: int) -> Any:
        def default(value: int = n) -> int:
            return value

        return default

    assert program_digest(made(1)) != program_digest(made(2))


def test_digest_of_a_set_does_not_depend_on_an_order() -> None:
    assert program_digest([{1, 17, 33}]) == program_digest([{33, 17, 1}])
    assert program_digest([{1, 17}]) != program_digest([{1, 18}])
    assert program_digest([{1}]) != program_digest([frozenset({1})])


def test_digest_of_what_holds_itself_is_found() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert program_digest(even) == program_digest(even)
    assert program_digest(even) != program_digest(odd)


@pytest.mark.slow
def test_digest_of_a_deep_program_is_found() -> None:
    program = io.pure(0)
    for _ in range(20_000):
        program = program.map(lambda n: n + 1)
    assert len(program_digest(program)) == 16


def test_what_cannot_be_pickled_has_no_digest() -> None:
    with pytest.raises(Exception, match="generator"):
        program_digest(n for n in range(3))


# -- scripts, each run by processes of their own ----------------------------------------------

SCRIPT = """
import dataclasses, enum, functools, helper
from distio import io
from distio.core.pickling.program import program_digest

FACTOR = 3
UNUSED = 1
NAMES = {"alpha", "beta", "gamma", "delta", "epsilon"}

class Refused(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@dataclasses.dataclass
class Point:
    x: int
    tags: set = dataclasses.field(default_factory=set)
    def norm(self):
        return self.x * FACTOR

@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@io.do
async def main():
    if "x" in {"p", "q", "r", "s"} or Color.RED in {Color.RED, Color.BLUE}:
        await io.sleep(1)
    return fib(3), Point(1, {"a", "b", "c"}).norm(), sorted(NAMES), helper.double(2)

def inner(k):
    class Local:
        FIELDS = ("size", "count",)
        def value(self):
            self.one = self.two = self.three = k
    return lambda: Local().value()

FAILURES = io.error(Refused(4)).catch(lambda errors: io.panic(Refused(5)))

print(program_digest((io.zip_par(main(), io.defer(inner(2)), FAILURES), Point(5, NAMES))).hex())
"""
HELPER = "def double(n):\n    return 2 * n\n"


def digest_of_script(place: Path, script: str = SCRIPT, helper: str = HELPER, seed: int = 0) -> str:
    place.mkdir(exist_ok=True)
    (place / "job.py").write_text(script)
    (place / "helper.py").write_text(helper)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, str(place / "job.py")],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return ended.stdout


@pytest.mark.slow
def test_digest_of_a_script_is_the_same_in_every_process(tmp_path: Path) -> None:
    digests = {digest_of_script(tmp_path / "here", seed=seed) for seed in range(3)}
    digests.add(digest_of_script(tmp_path / "elsewhere", seed=7))
    assert len(digests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [("\nimport", "\n# a comment\n\nimport"), ("UNUSED = 1", "UNUSED = 2")],
    ids=["other lines", "a variable that is not used"],
)
def test_digest_of_a_script_does_not_see(before: str, after: str, tmp_path: Path) -> None:
    changed = SCRIPT.replace(before, after, 1)
    assert changed != SCRIPT
    assert digest_of_script(tmp_path, changed, seed=1) == digest_of_script(tmp_path, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FACTOR = 3", "FACTOR = 4"),
        ('"delta"', '"zeta"'),
        ("await io.sleep(1)", "await io.sleep(2)"),
        ("fib(n - 1) + fib(n - 2)", "fib(n - 1) - fib(n - 2)"),
        ("self.x * FACTOR", "self.x + FACTOR"),
        ("io.error(Refused(4))", "io.error(Refused(6))"),
        ("io.panic(Refused(5))", "io.panic(Refused(6))"),
        ("BLUE = 2", "BLUE = 3"),
        ('"r", "s"', '"r", "t"'),
        ("self.three = k", "self.four = k"),
        ('"count",)', '"number",)'),
    ],
)
def test_digest_of_a_script_sees_a_change(before: str, after: str, tmp_path: Path) -> None:
    changed = SCRIPT.replace(before, after)
    assert changed != SCRIPT
    assert digest_of_script(tmp_path, changed) != digest_of_script(tmp_path)


@pytest.mark.slow
def test_digest_of_a_script_sees_a_change_in_a_module_beside_it(tmp_path: Path) -> None:
    helper = HELPER.replace("2 * n", "3 * n")
    assert digest_of_script(tmp_path, helper=helper) != digest_of_script(tmp_path)


KINDS = """
import collections, datetime, decimal, functools, logging, operator, pathlib, re, typing, uuid
from contextvars import ContextVar
from distio import io, resource, schedule
from distio.core.pickling.program import program_digest

T = typing.TypeVar("T")
LOG = logging.getLogger("job")
VARIABLE = ContextVar("VARIABLE", default=3)

class Refused(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code

class Box(typing.Generic[T]):
    __slots__ = ("value",)
    def __init__(self, value):
        self.value = value

class Pair(typing.NamedTuple):
    x: int
    y: int = 0

class Meta(type):
    pass

class Shape(metaclass=Meta):
    @property
    def area(self):
        return 1
    @classmethod
    def made(cls):
        return cls()
    @functools.cached_property
    def cached(self):
        return 5

def numbers(n):
    yield from range(n)

@functools.singledispatch
def show(x):
    return "any"

@show.register
def _(x: int):
    return "int"

@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def work(x):
    return LOG.name, VARIABLE.get(), show(x), list(numbers(2)), fib(3)

KINDS = [
    io.error(Refused(4)), io.panic(Refused(5)), io.defer(work, 1), io.pure(Box({"a", "b", "c"})),
    io.pure(Pair(1)), io.pure(datetime.date(2026, 1, 1)), io.pure(re.compile("a+")),
    io.pure(pathlib.PurePath("x")), io.defer(functools.partial(work, 2)), io.pure(Shape()),
    io.pure(collections.defaultdict(list, a=[1])), io.pure(collections.Counter("abca")),
    io.defer(Shape().made), io.defer(work, 3).retry(schedule.recurs(3)),
    resource.lock("door").with_(io.pure(1)), io.pure(uuid.UUID(int=5)), io.pure({Refused}),
    io.pure(1).map(lambda x: x + 1), io.pure({}).map(operator.itemgetter("a")),
    io.pure(decimal.Decimal("1.5")), io.pure(frozenset({Pair(1), Pair(2), Pair(3)})),
    io.pure(ExceptionGroup("both", [Refused(1), ValueError(2)])), io.pure(Box), io.pure(Box[int]),
]
for each in KINDS:
    print(program_digest(each).hex())
"""


AS_A_MODULE = """
import cloudpickle, sys, types
module = types.ModuleType("of_another_name")
sys.modules[module.__name__] = module
cloudpickle.register_pickle_by_value(module)
exec({!r}, vars(module))
"""


@pytest.mark.slow
def test_digests_of_all_kinds_of_values_are_the_same_in_every_process(tmp_path: Path) -> None:
    digests = digest_of_script(tmp_path, KINDS, seed=1)
    assert len(set(digests.split())) == len(digests.split()) > 20
    assert digest_of_script(tmp_path, KINDS, seed=2) == digests
    assert digest_of_script(tmp_path, "# elsewhere\n" + KINDS, seed=3) == digests
    assert digest_of_script(tmp_path, AS_A_MODULE.format(KINDS), seed=4) == digests


def test_digest_is_the_same_whether_equal_texts_are_one_object_or_two() -> None:
    one, other = ("".join(["two ", "words"]) for _ in range(2))
    assert program_digest([one, one]) == program_digest([one, other])
    assert program_digest([one.encode()] * 2) == program_digest([one.encode(), other.encode()])
    assert program_digest([one]) != program_digest([one.encode()])


@pytest.mark.parametrize("order", ["C", "F"])
def test_digest_of_a_program_with_a_large_array_tells_arrays_apart(order: Any) -> None:
    array = np.arange(100_000.0).reshape(100, 1000).copy(order)
    first, same = program_digest([array]), program_digest([array.copy(order)])
    array[-1] = 0.0

    assert first == same != program_digest([array])
