"""Digests of code: what counts as a change, and what doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from distio.core.pickling.code_digests import digest_of_code

FUNCTION = """
def f(x, *, y=2):
    return x + y + 3
"""


def module(text: str, name: str = "shop") -> Any:
    made = sys.modules[name] = types.ModuleType(name)  # where dataclasses look for it
    try:
        exec(compile(text, f"{name}.py", "exec"), vars(made))
    finally:
        del sys.modules[name]
    return made


def digest(text: str, name: str = "f") -> str:
    return digest_of_code(getattr(module(text), name))


@pytest.mark.parametrize(
    "same",
    [
        "\n\n\n" + FUNCTION,
        FUNCTION.replace("return", "# says what it does\n    return"),
        FUNCTION.replace("return", '"""What it does."""\n    return'),
        FUNCTION.replace("x + y + 3", "(x +\n        y + 3)"),
        FUNCTION + "\nother = 5\n",
        FUNCTION.replace("(x, *, y=2)", "(x: int, *, y: int = 2) -> int"),
    ],
)
def test_digest_of_the_same_function_in_other_words_is_the_same(same: str) -> None:
    assert digest(same) == digest(FUNCTION)


@pytest.mark.parametrize(
    "other",
    [
        FUNCTION.replace("3", "4"),
        FUNCTION.replace("3", "3.0"),
        FUNCTION.replace("+ 3", "- 3"),
        FUNCTION.replace("y=2", "y=3"),
        FUNCTION.replace("*, ", ""),
        FUNCTION.replace("x + y", "print(x) or y"),
        "async " + FUNCTION.strip(),
        FUNCTION.replace("return x", "yield x"),
    ],
)
def test_digest_of_a_function_that_does_something_else_is_another(other: str) -> None:
    assert digest(other) != digest(FUNCTION)


SPREAD = """
def f(items, by):
    found = []
    for item in items:
        try:
            if item in by and item != by: found.append((item, by, items))
        except KeyError as error:
            return [found, error]
    return [x for x in found if x] or by
"""


def test_digest_of_a_function_that_is_spread_over_more_lines_is_the_same() -> None:
    spread = SPREAD.replace(
        "and item != by: found", "and (\n item\n != by\n):\n                found"
    )
    spread = spread.replace("(item, by, items)", "(\n item,\n by,\n items,\n)")
    # (a comprehension with a condition isn't: 3.12 compiles it in another way then)
    assert spread != SPREAD
    assert digest(spread) == digest(SPREAD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KeyError", "IndexError"),
        ("item != by", "by != item"),
        ("            return [found", "            raise\n    return [found"),
        ("if x]", "if not x]"),
        ("    return [x", "        found.clear()\n    return [x"),
        ("    return [x", "    found.clear()\n    return [x"),
    ],
)
def test_digest_of_a_function_with_another_step_is_another(old: str, new: str) -> None:
    assert digest(SPREAD.replace(old, new)) != digest(SPREAD)


def test_digest_of_a_function_with_a_docstring_and_none_is_that_without_docstring() -> None:
    bare = "def f(x):\n    if x:\n        return None\n    return 7, 'a'\n"
    documented = bare.replace("    if", "    '''Words.'''\n    if")
    assert digest(bare) == digest(documented)


def test_digest_tells_apart_functions_that_differ_in_an_inner_function() -> None:
    text = (
        "def f(x):\n    def inner(y):\n        '''Words.'''\n        return y + 1\n"
        "    return inner\n"
    )
    assert digest(text) == digest(text.replace("Words", "Other words"))
    assert digest(text) != digest(text.replace("y + 1", "y + 2"))


WRAPPED = """
from functools import lru_cache, wraps

def twice(f):
    @wraps(f)
    def again(*args):
        f(*args)
        return f(*args)
    return again

@twice
def f(x):
    return x + 1

@lru_cache
def cached(x):
    return x + 1
"""


@pytest.mark.parametrize("name", ["f", "cached"])
def test_digest_of_a_decorated_function_is_that_of_what_it_wraps(name: str) -> None:
    assert digest(WRAPPED, name)
    assert digest(WRAPPED, name) == digest(WRAPPED.replace("x + 1", "(x + 1)"), name)
    assert digest(WRAPPED, name) != digest(WRAPPED.replace("x + 1", "x + 2"), name)


def test_digest_of_a_function_of_do_is_that_of_the_async_function() -> None:
    text = "from distio import io\n\n@io.do\nasync def f(x):\n    return await io.pure(x)\n"
    assert digest(text) != digest(text.replace("pure(x)", "pure(-x)"))


CLASS = """
from dataclasses import dataclass

@dataclass
class f:
    price: int
    count: int = 1

    @property
    def total(self):
        return self.price * self.count

    @staticmethod
    def of(text):
        return text

    sold = 0
"""


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ("sold = 0", "sold = 5", True),
        ("def total(self):", "def total(self):\n        '''Words.'''", True),
        ("price * self", "price + self", False),
        ("return text", "return [text]", False),
        ("count: int = 1", "count: int = 2", False),
        ("price: int", "prize: int", False),
        ("class f:", "class f(dict):", False),
    ],
)
def test_digest_of_a_class_counts_its_methods_bases_and_fields(
    old: str, new: str, is_same: bool
) -> None:
    assert (digest(CLASS) == digest(CLASS.replace(old, new))) is is_same


@pytest.mark.slow
def test_digest_is_the_same_in_each_process(tmp_path: Path) -> None:
    text = "def f(x):\n    return x in {'a', 'b', 'c', 1, None} and {**x}\n"
    (tmp_path / "elsewhere.py").write_text("\n\n" + text)
    program = (
        "from distio.core.pickling.code_digests import digest_of_code\n"
        "import elsewhere\n"
        "print(digest_of_code(elsewhere.f))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {digest(text)}


def test_code_that_a_test_tool_has_rewritten_has_no_digest() -> None:
    made = module(FUNCTION).f
    code = made.__code__
    made.__code__ = code.replace(co_names=(*code.co_names, "@pytest_ar"))
    assert digest_of_code(made) == ""


def test_digest_of_a_function_whose_code_is_replaced_is_another() -> None:
    made, other = module(FUNCTION).f, module(FUNCTION.replace("3", "4")).f
    before = digest_of_code(made)
    made.__code__ = other.__code__
    assert digest_of_code(made) not in ("", before)
    assert digest_of_code(made) == digest_of_code(other)


DIGESTS = """
import attr
from distio.core.pickling.code_digests import digest_of_code
print(digest_of_code(attr.Attribute))
"""


@pytest.mark.slow
def test_digest_of_a_class_whose_hash_a_library_has_made_is_the_same_in_each_process() -> None:
    """The generated method has the hash of a text as a constant."""
    found = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found != {"\n"}
