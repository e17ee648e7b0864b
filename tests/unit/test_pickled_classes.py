"""Classes of scripts: each is made once in a process, and stays as it is there."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio.core.pickling.dumping import dump
from distio.protocol.pieces import joined
from tests.harness.scripts import Elsewhere, Script, script_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


ORDERS = """
class Order:
    taken = 0
    notes = []
    def __init__(self, number): self.number = number
    def price(self): return 10
def cook(number): return Order(number)
"""


def test_class_arrives_once_and_its_objects_are_of_it(script: Script) -> None:
    home, there = script(ORDERS), Elsewhere()
    first, cook = there.gets((home.Order(1), home.cook))
    second = there.gets(home.Order(2))
    assert type(first) is type(second) is type(cook(3))
    assert type(first) is not home.Order
    assert (first.number, second.number, first.price()) == (1, 2, 10)


def test_object_that_comes_home_is_of_the_class_at_home(script: Script) -> None:
    home, there = script(ORDERS), Elsewhere()
    cook = there.gets(home.cook)
    assert type(there.sends(cook(1))) is home.Order
    assert there.sends(cook) is home.cook
    assert there.sends(type(cook(1))) is home.Order


def test_class_at_home_is_left_alone_by_an_arriving_value(script: Script) -> None:
    home, there = script(ORDERS), Elsewhere()
    cook = there.gets(home.cook)
    home.Order.taken, home.Order.price = 5, lambda self: 12
    type(cook(1)).rebate = 0.9
    back = there.sends(cook(1))
    assert (home.Order.taken, back.price()) == (5, 12)
    assert not hasattr(home.Order, "rebate")


def test_class_that_came_before_is_left_alone_by_an_arriving_value(script: Script) -> None:
    home, there = script(ORDERS), Elsewhere()
    first = there.gets(home.Order(1))
    type(first).taken = 7
    assert type(there.gets(home.Order(2))).taken == 7


@pytest.mark.parametrize(
    "edit",
    [
        lambda home: setattr(home.Order, "price", lambda self: 12),
        lambda home: setattr(home, "Order", type("Order", (), {"price": lambda self: 12})),
    ],
    ids=["a method is replaced", "the class is defined again"],
)
def test_class_that_was_edited_is_the_new_one_for_values_sent_afterwards(
    script: Script, edit: Any
) -> None:
    home, there = script(ORDERS + "def price(): return Order.price(None)"), Elsewhere()
    assert there.gets(home.price)() == 10
    edit(home)
    assert there.gets(home.price)() == 12


def test_class_whose_container_was_changed_is_the_new_one(script: Script) -> None:
    home, there = script(ORDERS + "def notes(): return Order.notes"), Elsewhere()
    assert there.gets(home.notes)() == []
    home.Order.notes.append("hot")
    assert there.gets(home.notes)() == ["hot"]


def test_variable_that_was_changed_is_seen_by_methods_that_arrive_afterwards(
    script: Script,
) -> None:
    home = script(
        "table = 1\nclass Row:\n    def get(self): return table\ndef get(): return Row().get()"
    )
    there = Elsewhere()
    before = there.gets(home.get)
    home.table = 2
    after = there.gets(home.get)
    assert (before(), after(), before()) == (1, 2, 1)


def test_classes_arrive_with_bases_slots_and_super(script: Script) -> None:
    home = script(
        """
        import abc
        class Shape(abc.ABC):
            __slots__ = ("name",)
            @abc.abstractmethod
            def area(self): ...
            def told(self): return f"{self.name}: {self.area()}"
        class Square(Shape):
            __slots__ = ("__side",)
            def __init__(self, side): self.__side, self.name = side, "square"
            def area(self): return self.__side ** 2
            def told(self): return super().told() + "!"
            @property
            def side(self): return self.__side
            @classmethod
            def unit(cls): return cls(1)
            @staticmethod
            def corners(): return 4
        @Shape.register
        class Circle: pass
        """
    )
    there = Elsewhere()
    square, shape, circle = there.gets((home.Square(3), home.Shape, home.Circle))
    assert (square.told(), square.side, type(square).unit().side) == ("square: 9!", 3, 1)
    assert (square.corners(), isinstance(square, shape)) == (4, True)
    assert issubclass(circle, shape)
    assert not hasattr(square, "__dict__")
    with pytest.raises(TypeError, match="abstract"):
        shape()


def test_subclass_that_arrives_does_not_call_init_subclass_again(script: Script) -> None:
    home = script(
        """
        told = []
        class Plugin:
            known = {}
            def __init_subclass__(cls, /, key, **kwargs):
                super().__init_subclass__(**kwargs)
                Plugin.known[key] = cls
        class Tea(Plugin, key="tea"): pass
        class Slim(Plugin, key="slim"):
            __slots__ = ("a",)
        class Text(Plugin, str, key="text"): pass
        """
    )
    there = Elsewhere()
    plugin, tea = there.gets((home.Plugin, home.Tea))
    assert sorted(plugin.known) == ["slim", "tea", "text"]
    assert plugin.known["tea"] is tea
    assert tea.__bases__ == (plugin,)
    assert there.sends(tea) is home.Tea
    assert home.Plugin.known["tea"] is home.Tea


def test_metaclass_of_the_user_is_not_called_again(script: Script) -> None:
    home = script(
        """
        class Meta(type):
            made = []
            def __new__(meta, name, bases, names, *, colour):
                cls = super().__new__(meta, name, bases, names)
                cls.colour = colour
                meta.made.append(name)
                return cls
            def __init__(cls, name, bases, names, **kwargs): pass
        class Thing(metaclass=Meta, colour="red"): pass
        """
    )
    thing = Elsewhere().gets(home.Thing)
    assert (thing.colour, type(thing).made, type(thing).__name__) == ("red", ["Thing"], "Meta")


def test_generic_classes_protocols_and_named_tuples_arrive(script: Script) -> None:
    home = script(
        """
        import dataclasses, typing
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, inside: T): self.inside = inside
        @typing.runtime_checkable
        class Holds(typing.Protocol):
            inside: int
        class Point(typing.NamedTuple):
            x: int
            y: int = 2
        class Guest(typing.TypedDict):
            name: str
        @dataclasses.dataclass(frozen=True, slots=True)
        class Cell:
            row: int
            notes: list = dataclasses.field(default_factory=list)
            column: int = 3
        def make(): return Box[int](1), Point(1), Guest(name="Ada"), Cell(5)
        """
    )
    there = Elsewhere()
    make, holds, cell = there.gets((home.make, home.Holds, home.Cell))
    box, point, guest, made = make()
    assert isinstance(box, holds)
    assert (point, point._asdict(), guest) == ((1, 2), {"x": 1, "y": 2}, {"name": "Ada"})
    assert made == cell(5)
    assert dataclasses.replace(made, row=6).row == 6
    assert dataclasses.fields(cell)[0].default is dataclasses.MISSING
    assert there.sends((box, point, made))[1:] == (home.Point(1), home.Cell(5))


ENUMS = """
import enum
class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.4e23, 3.3e6)
    TERRA = (5.97e24, 6.37e6)
    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius
    @property
    def gravity(self): return self.mass / self.radius**2
class Colour(str, enum.Enum):
    def __new__(cls, value, label):
        member = str.__new__(cls, value.upper())
        member._value_, member.label = value, label
        return member
    RED = "r", "Red"
    BLUE = "b", "Blue"
class Right(enum.Flag):
    READ = 1
    WRITE = 2
    ALL = 3
class Number(enum.IntEnum):
    ONE = 1
    TWO = enum.auto()
class Odd(enum.Enum):
    LIST = [1]
    CALL = staticmethod(len)
"""


def test_enum_keeps_the_attributes_of_its_members_and_its_aliases(script: Script) -> None:
    home, there = script(ENUMS), Elsewhere()
    planet, colour = there.gets((home.Planet, home.Colour))
    assert planet.TERRA is planet.EARTH
    assert list(planet) == [planet.EARTH, planet.MARS]
    assert list(planet.__members__) == ["EARTH", "MARS", "TERRA"]
    assert planet.MARS.gravity == home.Planet.MARS.gravity
    assert planet((6.4e23, 3.3e6)) is planet.MARS
    assert (colour.RED.label, colour("b"), str.__str__(colour.BLUE)) == ("Red", colour.BLUE, "B")
    with pytest.raises(ValueError, match="not a valid"):
        colour("x")


def test_enums_of_flags_and_numbers_stay_flags_and_numbers(script: Script) -> None:
    home, there = script(ENUMS), Elsewhere()
    right, number, odd = there.gets((home.Right, home.Number, home.Odd))
    assert right.READ | right.WRITE is right.ALL
    assert right.READ in right.ALL
    assert (number.TWO + 1, number.ONE < number.TWO, number["TWO"].value) == (3, True, 2)
    assert odd([1]) is odd.LIST


def test_enum_members_are_the_same_objects_there_and_back(script: Script) -> None:
    home, there = script(ENUMS), Elsewhere()
    right = home.Right
    for member in [*home.Planet, *home.Colour, *home.Number, right.READ, right.READ | right.WRITE]:
        arrived = there.gets(member)
        assert arrived is there.gets([member])[0]
        assert there.sends(arrived) is member


def test_class_by_value_is_found_by_its_name_in_a_worker(script: Script) -> None:
    home, there = script(ORDERS), Elsewhere()
    name = home.__name__
    there.space.is_worker = True
    payload = joined(dump(home.Order(4)).whole())
    del sys.modules[name]
    order = there.opens(payload)
    assert type(pickle.loads(pickle.dumps(order))) is type(order)
    assert sys.modules[name].Order is type(order)


@pytest.mark.parametrize("compares", ["", "__hash__ = lambda cls: 1"])
def test_classes_that_their_metaclass_takes_for_equal_are_two(
    script: Script, compares: str
) -> None:
    home = script(
        f"""
        class Alike(type):
            def __eq__(cls, other): return isinstance(other, Alike)
            {compares}
        class One(metaclass=Alike): value = 1
        class Other(metaclass=Alike): value = 2
        """
    )
    there = Elsewhere()
    one, other = there.gets((home.One, home.Other))
    assert (one.value, other.value) == (1, 2)
    assert there.gets(home.One) is one
    assert there.sends(other) is home.Other


def test_class_without_a_module_arrives(script: Script) -> None:
    home = script(
        """
        class Meta(type): __module__ = None
        class Placeless:
            __module__ = None
            value = 3
        class Made(metaclass=Meta): pass
        class Failure(Exception): __module__ = None
        """
    )
    objects = home.Placeless(), home.Made(), home.Failure("why")
    placeless, made, failure = Elsewhere().gets(objects)
    assert (placeless.value, type(type(made)).__name__, failure.args) == (3, "Meta", ("why",))
