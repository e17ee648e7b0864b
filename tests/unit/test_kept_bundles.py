"""A bundle is made once, and anew when anything in it was changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from distio.core.pickling.dumping import dump
from distio.core.pickling.spaces import current_space
from distio.protocol.pieces import joined
from tests.harness.scripts import Elsewhere, Script, script_in

TEXT = """
import json, math, dataclasses
from distio import io

limit = 3
words = ["tea"]
table = {"a": [1]}
numbers = {1}
pair = (1, [2])
program = io.pure(1).map(lambda x: x + limit)
log = __import__("logging").getLogger("a script")

def maker():
    n = 1
    def inner():
        return n
    return inner
inner = maker()

def helper(x=1, *, y=2):
    return x + y + limit
helper.unit = "m"

class Base:
    factor = 2
class Box(Base):
    size = 1
    kinds = ["a"]
    def area(self): return self.size * self.factor * limit
    @staticmethod
    def zero(): return 0
    @classmethod
    def name(cls): return cls.__name__
    @property
    def double(self): return self.size * 2
@dataclasses.dataclass
class Point:
    x: int = 1
    y: "int" = 2

def f():
    box = Box()
    return (
        limit, list(words), repr(table), sorted(numbers), repr(pair), inner(), helper(),
        helper.unit, box.area(), box.zero(), box.name(), box.double, list(box.kinds),
        repr(Point()), len("abc"), math.floor(2.5), json.dumps([1]), program.run(None).unsafe_get(),
        log.name,
    )
g = lambda: f()
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


def times_made(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    from distio.core.pickling import bundles

    made, original = list[int](), bundles._definitions

    def counted(scope: Any, writer: Any) -> Any:
        made.append(1)
        return original(scope, writer)

    with monkeypatch.context() as patch:
        patch.setattr(bundles, "_definitions", counted)
        action()
    return len(made)


def set_cell(home: Any) -> None:
    home.inner.__closure__[0].cell_contents = 7


def set_code(home: Any) -> None:
    home.helper.__code__ = (lambda x=1, *, y=2: 50).__code__


def set_method(home: Any) -> None:
    home.Box.area = lambda self: -1


def set_property(home: Any) -> None:
    home.Box.double = property(lambda self: -2)


def shadow_builtin(home: Any) -> None:
    home.len = lambda _: 99


CHANGES: dict[str, Callable[[Any], object]] = {
    "a variable": lambda home: setattr(home, "limit", 4),
    "a list": lambda home: home.words.append("cake"),
    "a dict": lambda home: home.table.update(b=2),
    "a list in a dict": lambda home: home.table["a"].append(2),
    "a list in a tuple": lambda home: home.pair[1].append(3),
    "a set": lambda home: home.numbers.add(2),
    "what a function has captured": set_cell,
    "code": set_code,
    "defaults": lambda home: setattr(home.helper, "__defaults__", (10,)),
    "defaults by name": lambda home: home.helper.__kwdefaults__.update(y=20),
    "an attribute of a function": lambda home: setattr(home.helper, "unit", "km"),
    "an attribute of a class": lambda home: setattr(home.Box, "size", 5),
    "an attribute of a base class": lambda home: setattr(home.Base, "factor", 5),
    "a list of a class": lambda home: home.Box.kinds.append("b"),
    "a method": set_method,
    "a static method": lambda home: setattr(home.Box, "zero", staticmethod(lambda: -1)),
    "a property": set_property,
    "the name of a class": lambda home: setattr(home.Box, "__name__", "Chest"),
    "a builtin that is shadowed": shadow_builtin,
    "a variable that was another function": lambda home: setattr(home, "inner", lambda: 8),
    "a program": lambda home: setattr(home, "program", home.io.pure(9)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_is_seen_in_the_next_pickle(
    change: Callable[[Any], object], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = script(TEXT)
    before = home.f()
    for _ in range(4):
        assert Elsewhere().gets(home.g)() == before
    assert times_made(lambda: dump(home.g), monkeypatch) == 0
    change(home)
    after = home.f()
    assert after != before
    for _ in range(4):
        assert Elsewhere().gets(home.g)() == after
    assert times_made(lambda: dump(home.g), monkeypatch) == 0


def test_variable_that_is_deleted_is_missing_in_the_next_pickle(script: Script) -> None:
    home = script("a = 1\nf = lambda: a")
    for _ in range(4):
        assert Elsewhere().gets(home.f)() == 1
    del home.a
    with pytest.raises(NameError):
        Elsewhere().gets(home.f)()


def test_function_of_a_module_that_was_replaced_there_travels_by_value(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "replaced_there.py").write_text("def f(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    home = script("from replaced_there import f\ng = lambda: f()")
    for _ in range(4):
        assert Elsewhere().gets(home.g)() == 1
    monkeypatch.setattr(sys.modules["replaced_there"], "f", lambda: 2)
    assert Elsewhere().gets(home.g)() == 1
    monkeypatch.delitem(sys.modules, "replaced_there")


def test_module_that_is_registered_to_travel_by_value_does_so(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registered_late.py").write_text("def f(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    home = script("import registered_late\ng = lambda: registered_late.f()")
    sizes = {len(joined(dump(home.g).whole())) for _ in range(4)}
    module = sys.modules["registered_late"]
    cloudpickle.register_pickle_by_value(module)
    try:
        payload = joined(dump(home.g).whole())
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        monkeypatch.delitem(sys.modules, "registered_late")
    assert len(payload) > max(sizes)
    assert {len(joined(dump(home.g).whole())) for _ in range(2)} != {len(payload)}


def test_object_that_may_change_without_a_trace_is_pickled_each_time(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = script("class A: ...\na = A()\nf = lambda: getattr(a, 'x', 0)")
    for n in range(5):
        home.a.x = n
        assert times_made(lambda: dump(home.f), monkeypatch) == 1
        assert Elsewhere().gets(home.f)() == n


def test_message_names_a_function_of_the_pickle_that_needs_the_module(script: Script) -> None:
    home = script("import json\nfirst = lambda: json.dumps\ndef make(): return lambda: json.loads")
    for _ in range(4):
        dump(home.first)
    assert b"make.<locals>.<lambda>" in joined(dump(home.make()).whole())


def test_bundles_that_are_kept_are_few(script: Script) -> None:
    home = script("\n".join(f"v{n} = {n}\nf{n} = lambda: v{n}" for n in range(200)))
    for n in range(200):
        dump(getattr(home, f"f{n}"))
        dump(getattr(home, f"f{n}"))
    assert len(current_space().bundles) <= 64
