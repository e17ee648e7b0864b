"""Objects arrive as they are, whatever the constructor of their class takes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from distio import io
from distio.core.pickling.dumping import dump
from tests.harness.effort import bytecodes
from tests.harness.scripts import Elsewhere, Script, script_in

SCRIPT = """
from collections import Counter, OrderedDict, UserString, deque, namedtuple
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from numpy import ndarray, arange

class Vector(tuple):
    def __new__(cls, *parts): return super().__new__(cls, parts)

class Pair(tuple):
    __slots__ = ()
    def __new__(cls, x, y=0): return super().__new__(cls, (x, y))

class Sum(tuple):
    def __new__(cls, x, y):
        made = super().__new__(cls, (x, y))
        made.sum = x + y
        return made

class Doubled(float):
    def __new__(cls, value): return super().__new__(cls, value * 2)

class Money(int):
    def __new__(cls, amount, currency="EUR"):
        made = super().__new__(cls, amount)
        made.currency = currency
        return made

class Joined(str):
    def __new__(cls, one, other): return super().__new__(cls, one + other)

class Zeros(bytes):
    def __new__(cls, count): return super().__new__(cls, bytes(count))

class Choice(frozenset):
    def __new__(cls, *items): return super().__new__(cls, items)

class Bag(set):
    def __init__(self, *items, name):
        super().__init__(items)
        self.name = name

class Tally(Counter):
    def __init__(self, name, words):
        super().__init__(words.split())
        self.name = name

class Recent(deque):
    def __init__(self, *, most): super().__init__([1, 2, 3], most)

class Ordered(OrderedDict):
    def __init__(self, one, other): super().__init__(a=one, b=other)

class Share(Fraction):
    def __new__(cls, of, among, name):
        made = super().__new__(cls, of, among)
        return made

class Day(date):
    def __new__(cls, text): return super().__new__(cls, *map(int, text.split("-")))

class Required:
    def __new__(cls, x):
        made = super().__new__(cls)
        made.x = x
        return made
    def __eq__(self, other): return vars(self) == vars(other)

class Keyword(Required):
    def __new__(cls, *, x): return super().__new__(cls, x)

class Table(dict):
    def __new__(cls, name): return super().__new__(cls)
    def __init__(self, name): super().__init__(name=name)

class Base:
    def __init__(self, x): self.x = x
    def __reduce__(self): return type(self), (self.x,)
    def __eq__(self, other): return vars(self) == vars(other)

class Derived(Base):
    def __init__(self, x, y): super().__init__(x + y)

class Given(tuple):
    def __new__(cls, a, b): return super().__new__(cls, (b, a))
    def __getnewargs__(self): return self[1], self[0]

class Ratio:
    __slots__ = ("above", "below")
    def __new__(cls, above, below):
        made = super().__new__(cls)
        made.above, made.below = above, below
        return made
    def __getnewargs__(self): return self.above, self.below
    def __getstate__(self): return None
    def __eq__(self, other): return (self.above, self.below) == (other.above, other.below)

class Passing(set):
    def __init__(self, *args): super().__init__(*args)

Named = namedtuple("Named", "a b")

class Price(Decimal): pass
class Moment(datetime): pass
class Frozen(set):
    def __getstate__(self): return {"kept": self.kept}
class Info(ndarray): pass

def with_unit(obj):
    obj.unit = "EUR"
    return obj

class Only:
    made = None
    def __new__(cls):
        if cls.made is None: cls.made = super().__new__(cls)
        return cls.made

class Marker:
    def __new__(cls, name): return super().__new__(cls)

MARKER = Marker("m")
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Any]:
    with script_in(tmp_path) as script:
        yield made_of(script)


def made_of(script: Script) -> Any:
    return script(SCRIPT)


@pytest.mark.parametrize(
    "made",
    [
        "Vector(1, 2)",
        "Vector()",
        "Pair(1, 2)",
        "Sum(1, 2)",
        "Doubled(1.5)",
        "Money(5, 'USD')",
        "Joined('a', 'b')",
        "Zeros(3)",
        "Choice(1, 2)",
        "Bag(1, 2, name='bag')",
        "Tally('words', 'a b a')",
        "Recent(most=2)",
        "Ordered(1, 2)",
        "Share(1, 3, 'cake')",
        "Day('2026-01-02')",
        "Required(3)",
        "Keyword(x=3)",
        "Table('t')",
        "Derived(1, 2)",
        "Given(1, 2)",
        "Ratio(1, 2)",
        "Passing([1, 2])",
        "Named(1, 2)",
    ],
)
def test_object_arrives_as_it_is_whatever_its_constructor_takes(home: Any, made: str) -> None:
    obj = eval(made, vars(home))
    _, arrived = Elsewhere().gets((type(obj), obj))
    assert type(arrived).__name__ == type(obj).__name__
    assert vars(arrived) == vars(obj) if hasattr(obj, "__dict__") else True
    there = Elsewhere()
    assert there.sends(there.gets(obj)) == obj


@pytest.mark.parametrize(
    "made",
    [
        "Price('1.5')",
        "Moment(2026, 1, 2)",
        "Share(1, 3, 'cake')",
        "Tally('words', 'a b a')",
        "Choice(1, 2)",
        "Recent(most=2)",
        "Vector(1, 2)",
        "arange(3).view(Info)",
        "arange(90_000).view(Info)",
    ],
)
def test_attributes_that_a_subclass_has_added_arrive(home: Any, made: str) -> None:
    obj = home.with_unit(eval(made, vars(home)))
    arrived = Elsewhere().gets(obj)
    assert arrived.unit == "EUR"
    assert vars(arrived) == vars(obj)
    assert type(arrived).__name__ == type(obj).__name__
    there = Elsewhere()
    back = there.sends(there.gets(obj))
    assert (back == obj).all() if isinstance(obj, numpy.ndarray) else back == obj


def test_attributes_that_a_class_leaves_out_stay(home: Any) -> None:
    frozen = home.Frozen([1])
    frozen.kept, frozen.left_out = 1, 2
    assert vars(Elsewhere().gets(frozen)) == {"kept": 1}


def test_attributes_of_an_installed_class_are_its_own_business(tmp_path: Path) -> None:
    mapped = numpy.memmap(tmp_path / "numbers", dtype="f4", mode="w+", shape=(3,))
    mapped[:] = [1, 2, 3]
    assert Elsewhere().gets(mapped).tolist() == [1, 2, 3]


def test_only_object_of_its_class_is_the_only_one_there(home: Any) -> None:
    f, arrived = Elsewhere().gets((home.Only, home.Only()))
    assert f() is arrived


def test_marker_whose_constructor_takes_a_name_is_found_by_its_name(home: Any) -> None:
    f = eval("lambda: MARKER", vars(home))
    f, arrived = Elsewhere().gets((f, home.MARKER))
    assert f() is arrived


def test_object_of_an_installed_class_arrives_though_pickle_alone_cannot_make_it() -> None:
    kind = numpy.finfo(float)
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(kind))
    assert Elsewhere().gets(kind).eps == kind.eps


def test_operation_costs_little_more_than_what_it_calls() -> None:
    program = io.defer(os.getpid)
    dump(program)
    assert bytecodes(lambda: dump(program)) < 2 * bytecodes(lambda: dump(os.getpid))
