"""Objects of the standard library travel that Python can't pickle, if others like them will do."""

from __future__ import annotations

import ctypes
import multiprocessing
import struct
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.scripts import Elsewhere, Script, script_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


# -- variables of threads, formats, facts about Python ----------------------------------------


def test_thread_local_object_arrives_empty_and_is_one_for_all_functions(script: Script) -> None:
    home = script(
        """
        import threading
        own = threading.local()
        own.value = "home"
        def get(): return getattr(own, "value", None)
        def set(value): own.value = value
        """
    )
    get, set_ = Elsewhere().gets((home.get, home.set))
    assert get() is None
    set_("there")
    assert (get(), home.get()) == ("there", "home")


def test_thread_local_object_of_a_subclass_is_made_anew(script: Script) -> None:
    home = script(
        """
        import threading
        class Own(threading.local):
            def __init__(self): self.values = []
        own = Own()
        own.values.append(1)
        """
    )
    assert Elsewhere().gets(home.own).values == []


def test_thread_local_object_that_takes_arguments_stays(script: Script) -> None:
    home = script(
        """
        import threading
        class Own(threading.local):
            def __init__(self, values): self.values = values
        own = Own([])
        """
    )
    with pytest.raises(TypeError, match="missing a required argument: 'values'"):
        Elsewhere().gets(home.own)


def test_format_of_bytes_arrives() -> None:
    assert Elsewhere().gets(struct.Struct("<IH")).pack(1, 2) == struct.pack("<IH", 1, 2)


def test_facts_about_python_are_those_of_the_process_they_come_to() -> None:
    assert Elsewhere().gets((sys.version_info, sys.flags)) == (sys.version_info, sys.flags)


def test_weak_dictionary_has_what_else_arrives(script: Script) -> None:
    home = script("class Value: pass")
    kept, other = home.Value(), home.Value()
    by_name = weakref.WeakValueDictionary(kept=kept, other=other)
    by_value = weakref.WeakKeyDictionary({kept: 1, other: 2})
    values, names, arrived = Elsewhere().gets((by_name, by_value, kept))
    assert dict(values) == {"kept": arrived}
    assert dict(names) == {arrived: 1}


def test_weak_reference_arrives_with_what_else_arrives(script: Script) -> None:
    home = script(
        """
        import weakref
        class Node:
            def __init__(self, parent=None):
                self.children = []
                self.parent = parent and weakref.ref(parent)
                if parent: parent.children.append(self)
            def up(self): return self.parent().children
        root = Node()
        leaf = Node(root)
        """
    )
    root = Elsewhere().gets(home.root)
    assert root.children[0].parent() is root
    leaf, root = Elsewhere().gets((home.leaf, home.root))
    assert leaf.parent() is root
    assert leaf in root.children
    assert Elsewhere().gets(home.leaf).parent() is None
    method, root = Elsewhere().gets((weakref.WeakMethod(home.leaf.up), home.root))
    assert method()() is root.children


def test_pipe_of_multiprocessing_stays_and_the_message_says_what_to_do() -> None:
    for end in (ends := multiprocessing.Pipe()):
        with pytest.raises(TypeError, match="use a queue of multiprocessing"):
            Elsewhere().gets(end)
    for end in ends:
        end.close()


# -- types of C -------------------------------------------------------------------------------

TYPES = """
import ctypes as c

class Point(c.Structure):
    _fields_ = [("x", c.c_int), ("y", c.c_double)]
    def sum(self): return self.x + self.y

class Packed(c.BigEndianStructure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("a", c.c_uint8), ("b", c.c_uint32), ("c", c.c_uint16)]

class Either(c.Union):
    _fields_ = [("whole", c.c_int), ("bytes", c.c_ubyte * 4)]

class Node(c.Structure):
    pass

Node._fields_ = [("next", c.POINTER(Node)), ("point", Point), ("values", c.c_int * 4)]

class Unnamed(c.Structure):
    _anonymous_ = ("either",)
    _fields_ = [("either", Either), ("k", c.c_int)]

class Three(c.c_float * 3):
    def first(self): return self[0]

values = (c.c_int * 3)(1, 2, 3)
Callback = c.CFUNCTYPE(c.c_int, c.c_int)
library = c.CDLL(None)
"""


def linked(home: Any) -> Any:
    node = home.Node()
    node.values[1] = 4
    node.next = ctypes.pointer(home.Node(None, home.Point(1, 2.5)))
    return ctypes.sizeof(home.Node), node.values[1], node.next.contents.point.sum()


@pytest.mark.parametrize(
    ("names", "uses"),
    [
        ("Point", lambda home: (home.Point(1, 2.5).sum(), ctypes.sizeof(home.Point))),
        ("Packed", lambda home: (bytes(home.Packed(1, 2, 3)), ctypes.sizeof(home.Packed))),
        ("Either", lambda home: list(home.Either(whole=258).bytes)),
        ("(Node, Point)", linked),
        ("Unnamed", lambda home: home.Unnamed(k=3).whole),
        ("Three", lambda home: home.Three(1.5, 2, 3).first()),
        ("values", lambda home: list(home.values)),
        ("Callback", lambda home: home.Callback(lambda n: n + 1)(4)),
    ],
)
def test_type_of_c_arrives(script: Script, names: str, uses: Any) -> None:
    home = script(TYPES)
    variables: dict[str, Any] = home.__dict__
    f = eval(f"lambda: {names}", variables)
    there = Elsewhere().gets(f)
    assert uses(SimpleNamespace(**there.__globals__)) == uses(home)


def test_library_in_c_stays_and_the_message_says_what_to_do(script: Script) -> None:
    home = script(TYPES)
    with pytest.raises(TypeError, match="load it in the function that calls it"):
        Elsewhere().gets(home.library)
