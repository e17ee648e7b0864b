"""Functions that travel by value are the same functions when they arrive."""

from __future__ import annotations

import dis
import functools
import importlib
import linecache
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from distio import Ok, io
from distio.core.fiber import Fiber
from distio.core.pickling.code import codes_in, facts_of, globals_in, reduce_code
from distio.core.pickling.functions import is_bare, is_free, reduce_self_contained
from distio.core.snapshot import dump_fibers, load_fibers
from tests.harness.scripts import Elsewhere, Script, script_in

GLOBAL = 5


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


def there_and_back(*functions: Callable[..., Any]) -> list[Any]:
    fibers = [Fiber(n, 0, io.defer(f), None) for n, f in enumerate(functions)]
    loaded = load_fibers(0, [(fiber.id, 0) for fiber in fibers], dump_fibers(fibers)[0])
    return [fiber.next.f for fiber in loaded]  # type: ignore[union-attr]  # a Defer


# -- self-contained functions -----------------------------------------------------------------


def is_self_contained(f: Any) -> bool:
    facts = facts_of(f.__code__)
    return is_free(facts, f.__globals__) and is_bare(f, facts)


def counter(n: int) -> Callable[..., Any]:
    return lambda step=2: sorted([n + step, n])


def factorial_maker() -> Callable[[int], int]:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    return factorial


def test_small_closure_arrives_with_its_values_and_its_names() -> None:
    first, second = there_and_back(counter(1), counter(10))
    assert (first(), first(5), second()) == ([1, 3], [1, 6], [10, 12])
    assert first.__code__ is second.__code__
    assert (first.__name__, first.__module__) == ("<lambda>", __name__)
    assert first.__qualname__ == "counter.<locals>.<lambda>"


def test_function_that_captures_nothing_has_no_closure_there() -> None:
    (f,) = there_and_back(lambda: 1)
    assert f.__closure__ is None


def test_functions_that_are_not_self_contained_arrive_and_work() -> None:
    captured = [1, 2]

    def annotated(x: int = GLOBAL) -> int:
        return x + GLOBAL

    def keyword(*, x=3):  # type: ignore[no-untyped-def]  # with annotations it would be another case
        return x

    nested = lambda: (lambda: GLOBAL)()  # noqa: E731 (a lambda is what is tested)
    functions: list[Callable[..., Any]] = [
        annotated,
        keyword,
        nested,
        lambda: captured,
        factorial_maker(),
    ]
    arrived = there_and_back(*functions)
    assert [f() for f in arrived[:4]] == [10, 3, 5, [1, 2]]
    assert arrived[4](5) == 120


@pytest.mark.parametrize(
    "text",
    [
        "lambda: GLOBAL",
        "lambda: (lambda: GLOBAL)",
        "lambda: __name__",
        "lambda: globals()",
        "lambda: eval('GLOBAL')",
    ],
)
def test_function_that_reads_a_global_is_not_self_contained(text: str) -> None:
    f = eval(text, {"GLOBAL": 1, "__name__": "here"})
    assert not is_self_contained(f)


def test_function_that_imports_is_not_self_contained(script: Script) -> None:
    home = script(
        "def make():\n    def f():\n        import json\n        return json\n    return f"
    )
    assert not is_self_contained(home.make())


def test_function_that_has_captured_objects_is_not_reduced_the_short_way() -> None:
    captured: list[int] = []
    f = eval("lambda captured: (lambda: captured)", {"__name__": "here"})(captured)
    assert is_self_contained(f)
    assert reduce_self_contained(f, facts_of(f.__code__), f.__code__) is None
    assert io.defer(there_and_back(f)[0]).run(None) == Ok([])


# -- captured variables and attributes --------------------------------------------------------


def test_functions_that_share_a_variable_share_it_there(script: Script) -> None:
    home = script(
        """
        def counter():
            count = 0
            def up():
                nonlocal count
                count += 1
            def get():
                return count
            return up, get
        """
    )
    up, get = Elsewhere().gets(home.counter())
    up()
    up()
    assert get() == 2


def test_function_keeps_attributes_defaults_annotations_and_names(script: Script) -> None:
    home = script(
        """
        def f(a, b=[1], *, c=2) -> "int":
            "what it does"
            return a, b, c
        f.tries = {"left": 3}
        f.__qualname__ = f.__name__ = "renamed"
        def silent(): "not any more"
        silent.__doc__ = None
        """
    )
    f, silent = Elsewhere().gets((home.f, home.silent))
    assert (f(0), f.tries, f.__doc__) == ((0, [1], 2), {"left": 3}, "what it does")
    assert (f.__name__, f.__qualname__, f.__module__) == ("renamed", "renamed", home.__name__)
    assert f.__annotations__ == {"return": "int"}
    assert silent.__doc__ is None


def test_annotations_that_are_text_can_be_evaluated_there(script: Script) -> None:
    home = script(
        """
        import threading
        class Point: ...
        Locks = threading.Lock()
        class Line:
            start: "Point"
        def f(a: "Point", b: "list[Line]") -> "str": ...
        """
    )
    f, line = Elsewhere().gets((home.f, home.Line))
    hints = typing.get_type_hints(f)
    assert (hints["a"].__name__, hints["return"]) == ("Point", str)
    names = {"Point": hints["a"]}
    assert typing.get_type_hints(line, names) == {"start": hints["a"]}


@pytest.mark.parametrize(
    "body",
    [
        "globals()['HIDDEN']",
        "eval('HIDDEN + 0')",
        "vars(__import__('sys').modules[__name__])['HIDDEN']",
        "__import__('sys').modules[__name__].HIDDEN",
        "__import__('inspect').getmodule(f).HIDDEN",
        "f.__globals__['HIDDEN']",
        "__import__('sys')._getframe().f_globals['HIDDEN']",
        "(lambda: HIDDEN)()",
        "[HIDDEN for _ in '1'][0]",
    ],
)
def test_variable_that_is_reached_in_any_way_is_there(script: Script, body: str) -> None:
    home, there = script(f"HIDDEN = 7\ndef f(): return {body}"), Elsewhere()
    assert there.gets(home.f)() == 7


@pytest.mark.parametrize(
    "body",
    [
        "1j.imag.HIDDEN",
        "[].HIDDEN()",
        "super(int, 1).HIDDEN",
        "[each.HIDDEN for each in ()]",
        "type('', (), {}).HIDDEN",
    ],
)
def test_variable_with_the_name_of_an_attribute_stays(script: Script, body: str) -> None:
    home, there = (
        script(f"import threading\nHIDDEN = threading.Lock()\ndef f(): {body}"),
        Elsewhere(),
    )
    assert "HIDDEN" not in there.gets(home.f).__globals__


def test_method_that_sets_an_attribute_arrives_without_the_variable_of_its_name(
    script: Script,
) -> None:
    home = script(
        """
        import threading
        lock = threading.Lock()
        class Tally:
            lock = None
            def __init__(self, size):
                self.lock = size
                del self.lock
        """
    )
    assert Elsewhere().gets(home.Tally)(3).lock is None


def code_of_modules(*names: str) -> Iterator[CodeType]:
    for name in names:
        path = Path(importlib.import_module(name).__file__ or "")
        yield from codes_in(compile(path.read_text(), str(path), "exec"))


def test_names_of_globals_are_those_that_the_disassembler_tells() -> None:
    names = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"}
    names.add("LOAD_FROM_DICT_OR_GLOBALS")
    # some of these name so many that the index of a name takes a second byte
    for code in code_of_modules("typing", "decimal", "_pydecimal", "tarfile", "socket"):
        within = [each for one in codes_in(code) for each in dis.get_instructions(one)]
        told = dict.fromkeys(each.argval for each in within if each.opname in names)
        assert list(globals_in(code)) == list(told)


def test_function_knows_its_package_and_spec(script: Script) -> None:
    home = script("def f(): return __package__, __spec__.name, __spec__.parent, __file__, __name__")
    home.__package__ = "shop"
    home.__spec__ = __import__("importlib").machinery.ModuleSpec("shop.job", None)
    there = Elsewhere()
    expected = ("shop", "shop.job", "shop", home.__file__, home.__name__)
    # a module with a spec is imported, unless its functions can't be found by name
    f = there.gets(lambda: home.f)()
    assert f() == expected


# -- where a function comes from --------------------------------------------------------------


def test_traceback_shows_file_and_line_of_a_script(script: Script) -> None:
    home = script("def share(cakes, guests):\n    return cakes / guests\n")
    f = Elsewhere().gets(home.share)
    with pytest.raises(ZeroDivisionError) as caught:
        f(12, 0)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno) == (home.__file__, 2)
    assert (frame.name, frame.line) == ("share", "return cakes / guests")


def test_source_lines_travel_with_the_code(script: Script) -> None:
    home = script("\n\ndef f():\n    return [\n        1,\n    ]\n\n\ng = lambda: 3\n")
    reduced = [reduce_code(f.__code__) for f in (home.f, home.g)]
    Path(home.__file__).unlink()
    linecache.checkcache()
    assert linecache.getlines(home.__file__) == []
    for made, first, line in zip(reduced, (3, 9), ("def f():\n", "g = lambda: 3\n")):
        assert made is not None
        load, arguments = made
        code = load(*arguments)
        assert (code.co_filename, code.co_firstlineno) == (home.__file__, first)
        linecache.checkcache()
        assert linecache.getline(home.__file__, first) == line
    del linecache.cache[home.__file__]


def test_source_lines_of_several_functions_of_a_missing_file_are_kept(monkeypatch: Any) -> None:
    from distio.core.pickling.code import _remember_lines

    monkeypatch.delitem(linecache.cache, "<cell 7>", raising=False)
    _remember_lines("<cell 7>", 4, ["four\n", "five\n"])
    _remember_lines("<cell 7>", 1, ["one\n"])
    linecache.checkcache("<cell 7>")
    lines = [linecache.getline("<cell 7>", number) for number in range(1, 7)]
    assert lines == ["one\n", "\n", "\n", "four\n", "five\n", ""]
    monkeypatch.delitem(linecache.cache, "<cell 7>")


def test_code_is_reduced_to_the_same_bytes_however_often_it_is_referred_to() -> None:
    code = compile("def f(): return ('a long constant', 12345678)", "<text>", "exec")
    first = reduce_code(code)
    kept = [*code.co_consts, *code.co_consts[0].co_consts] * 3
    assert reduce_code(code) == first
    assert kept


# -- objects that pickle takes by their name --------------------------------------------------

NAMED = """
import functools, typing
calls = []
@functools.cache
def squared(n):
    calls.append(n)
    return n * n
@functools.lru_cache(maxsize=2, typed=True)
def told(n): return str(n)
UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T", bound=int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
class Menu:
    def __init__(self, price): self.price = price
    @functools.lru_cache
    def total(self, guests): return self.price * guests
    @functools.cached_property
    def double(self): return 2 * self.price
    @functools.singledispatchmethod
    def kind(self, value): return "something"
    @kind.register
    def _(self, value: int): return "a number"
@functools.singledispatch
def shown(value): return "something"
@shown.register
def _(value: int): return "a number"
@functools.wraps(squared)
def wrapped(n): return squared(n) + 1
partial = functools.partial(squared, 4)
class Only:
    def __reduce__(self): return "ONLY"
ONLY = Only()
ONLY.state = 3
NOTHING = object()
class Unset: ...
UNSET = Unset()
def of_nothing(value=NOTHING): return value is NOTHING
"""


def test_caches_dispatchers_and_partials_work_there(script: Script) -> None:
    home, there = script(NAMED), Elsewhere()
    squared, told, menu, shown, wrapped, partial = there.gets(
        (home.squared, home.told, home.Menu(3), home.shown, home.wrapped, home.partial)
    )
    assert (squared(3), squared(3), squared.cache_info().hits) == (9, 9, 1)
    assert (told.cache_parameters(), told(1)) == ({"maxsize": 2, "typed": True}, "1")
    assert (menu.total(2), menu.double, menu.kind(1), menu.kind("")) == (
        6,
        6,
        "a number",
        "something",
    )
    assert (shown(1), shown("x")) == ("a number", "something")
    assert (wrapped(3), wrapped.__name__, partial()) == (10, "squared", 16)
    assert home.squared.cache_info().currsize == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["UserId", "T", "P", "Ts", "ONLY", "NOTHING", "UNSET", "squared"])
def test_object_with_a_name_is_one_object_there_and_itself_at_home(
    script: Script, name: str
) -> None:
    home = script(NAMED + f"\ndef get(): return {name}")
    there = Elsewhere()
    get, value = there.gets((home.get, getattr(home, name)))
    assert get() is value
    assert value is not getattr(home, name)
    assert there.sends(value) is getattr(home, name)


@pytest.mark.slow
def test_sentinel_is_the_same_as_argument_default_and_global(script: Script) -> None:
    home, there = script(NAMED), Elsewhere()
    of_nothing, nothing = there.gets((home.of_nothing, home.NOTHING))
    assert of_nothing(nothing)
    assert of_nothing()
    assert not of_nothing(object())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_type_parameters_arrive(script: Script) -> None:
    home = script("def first[T](items: list[T]) -> T: return items[0]\ntype Pair[X] = tuple[X, X]")
    first, pair = Elsewhere().gets((home.first, home.Pair))
    assert first([3]) == 3
    assert [str(each) for each in first.__type_params__] == ["T"]
    assert pair.__name__ == "Pair"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated late from 3.14")
def test_annotations_that_cannot_be_evaluated_yet_are_evaluated_there(
    script: Script,
) -> None:
    home = script(
        """
        def outer():
            def inner(x: Later): return 7
            class Local:
                Part = int
                part: Part
                more: Later
                def method(self, part: Part) -> Part: return part
            return inner, Local
        inner, Local = outer()
        def give(): return inner, Local
        """
    )
    inner, local = Elsewhere().gets((home.inner, home.Local))
    assert inner(1) == 7
    assert local().method.__annotations__ == {"part": int, "return": int}
    vars(sys.modules[home.__name__])["Later"] = str
    get = Elsewhere().gets(home.give)
    inner, local = get()
    assert inner.__annotations__ == {"x": str}
    assert local.__annotations__ == {"part": int, "more": str}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_alias_in_the_body_of_a_class_is_evaluated_there(script: Script) -> None:
    home = script(
        """
        import abc
        class Shape(abc.ABC):
            Number = int
            type Side = Number
            type Sides[T] = list[T] | Number
            def sides[T: Number](self, first: T) -> T: return first
        """
    )
    shape = Elsewhere().gets(home.Shape)
    assert shape.Side.__value__ is int
    assert shape().sides.__type_params__[0].__bound__ is int
    assert str(shape.Sides.__value__) == "list[T] | int"


def test_functions_of_functools_are_imported() -> None:
    assert there_and_back(functools.reduce)[0] is functools.reduce
