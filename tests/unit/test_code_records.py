"""Records of the code that a pickle names: made with it, and compared where it is opened."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic_core
import pytest

from distio import io
from distio.core.fiber import Fiber
from distio.core.pickling import code_records
from distio.core.pickling.code_records import (
    CodeRecord,
    Comparison,
    Records,
    compare,
    records_in,
    stands_in_for,
)
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.core.snapshot import dump_chunk, load_fibers
from distio.errors import MatchError
from distio.protocol.pieces import joined
from distio.result import Ok
from tests.conftest import PATIENCE

SHOP = """
from distio import io

RATE = 2

def charge(order):
    return order * RATE

def approve(order):
    return io.pure(charge(order))

def unused(order):
    return None

class Order:
    def __init__(self, price):
        self.price = price

    def total(self):
        return charge(self.price)

def later(order):
    return io.pure(order).flat_map(lambda it: approve(it))
"""

Write = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module, and import it anew, as another process would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code_records, "_stand_ins", {})

    def write_and_import(text: str | None, name: str = "shop_of_test") -> Any:
        file = tmp_path / f"{name}.py"
        sys.modules.pop(name, None)
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        # threads of other tests may have imported something in the moment before: what was listed
        # then counts as the same, for so long the clock of files stands still
        importlib.invalidate_caches()
        if text is None:
            return None
        made = ModuleType(name)  # whatever the cache of bytecode says
        made.__spec__ = importlib.machinery.ModuleSpec(name, None, origin=str(file))
        made.__file__ = str(file)
        exec(compile(text, str(file), "exec"), vars(made))
        sys.modules[name] = made
        return made

    yield write_and_import
    sys.modules.pop("shop_of_test", None)


def dumped(program: Any) -> Dumped:
    return dump_chunk([Fiber(1, 1, program, None)], writer=Writer(attaches=True))


def records(program: Any) -> Records:
    made = dumped(program)
    return records_in(joined(made.attachments[made.code])) if made.code else Records([], [])


def names(program: Any) -> set[str]:
    return {str(each).partition(".")[2] for each in records(program).code}


def test_pickle_records_what_it_names_and_what_that_uses(write: Write) -> None:
    shop = write(SHOP)
    assert names(io.defer_io(shop.approve, 1)) == {"approve", "charge"}
    assert names(io.pure(shop.Order(1))) == {"Order", "charge"}


def test_pickle_of_a_closure_records_what_its_code_names(write: Write) -> None:
    shop = write(SHOP)
    assert names(shop.later(1)) == {"approve", "charge"}
    assert names(shop.later(1)) == {"approve", "charge"}  # its bundle is kept, and used again
    assert names(shop.later(1)) == {"approve", "charge"}


def test_pickle_that_names_nothing_of_the_user_has_no_manifest() -> None:
    assert not dumped(io.pure("a").map(str.upper)).code
    assert not dumped(io.defer(importlib.import_module, "json")).code


def test_pickles_that_name_the_same_share_a_manifest(write: Write) -> None:
    shop = write(SHOP)
    first, second = (dumped(io.defer_io(shop.approve, n)) for n in (1, 2))
    assert first.code == second.code


def test_comparison_with_the_same_code_finds_nothing(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write("# words\n" + SHOP.replace("RATE = 2", "RATE = 3"))
    assert compare(before) == Comparison()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("io.pure(charge", "io.pure(2 * charge", {"approve": "changed"}),
        ("order * RATE", "order + RATE", {"charge": "changed"}),
        ("def approve", "def admit", {"approve": "gone"}),
        ("def unused(order)", "def unused(order, more)", {}),
    ],
)
def test_comparison_finds_what_has_changed_and_what_is_gone(
    write: Write, old: str, new: str, expected: dict[str, str]
) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write(SHOP.replace(old, new))
    found = compare(before).differences
    assert {each.record.name: each.state for each in found} == expected


def test_comparison_names_who_uses_what_has_changed(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write(SHOP.replace("order * RATE", "order + RATE"))
    (found,) = compare(before).differences
    assert str(found) == ("shop_of_test.charge, which shop_of_test.approve uses, has changed")


def test_comparison_finds_that_a_module_is_gone(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write(None)
    found = compare(before).differences
    assert {each.state for each in found} == {"gone"}
    assert "ModuleNotFoundError" in str(found[0])


@pytest.mark.slow
def test_comparison_waits_for_a_module_that_another_thread_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = "slow_shop_of_test"
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, "slow_shop", (begun, go_on), raising=False)
    text = "import sys\nsys.slow_shop[0].set()\nsys.slow_shop[1].wait()\ndef f():\n    pass\n"
    (tmp_path / f"{name}.py").write_text(text)
    importing = threading.Thread(target=importlib.import_module, args=[name])
    importing.start()
    assert begun.wait(PATIENCE)
    made: list[Comparison] = []
    record = Records([CodeRecord(name, "f", "")], [[0]])
    comparing = threading.Thread(target=lambda: made.append(compare(record)))
    comparing.start()
    comparing.join(0.05)  # it would be over by now if it didn't wait
    go_on.set()
    importing.join()
    comparing.join()
    del sys.modules[name]
    assert made == [Comparison()]


# -- what stands in ---------------------------------------------------------------------------


def opened(made: Dumped, stand_ins: Any) -> Any:
    (fiber,) = load_fibers(1, [(1, 1)], made.payload, {}, dict(made.attachments), (), (), stand_ins)
    return fiber.next


def test_fiber_of_before_gets_what_stands_in_for_a_changed_function(write: Write) -> None:
    made = dumped(io.defer_io(write(SHOP).approve, 1))
    shop = write(SHOP.replace("def approve(order):", "def approve(order, by):"))
    stand_in = stands_in_for("shop_of_test.approve")(lambda order: shop.approve(order, "nobody"))
    found = compare(records_in(joined(made.attachments[made.code])))
    assert not found.differences
    assert opened(made, found.stand_ins).f is stand_in


def test_stand_in_for_a_function_covers_what_that_uses(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write(SHOP.replace("order * RATE", "order + RATE"))
    stands_in_for("shop_of_test.approve")(lambda order: None)
    assert not compare(before).differences


def test_stand_in_for_a_digest_stands_in_for_no_other(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    digest = next(each.digest for each in before.code if each.name == "approve")
    write(SHOP.replace("io.pure(charge", "io.pure(2 * charge"))
    stands_in_for("shop_of_test.approve", "0" * 16)(lambda order: None)
    assert compare(before).differences
    exact = stands_in_for("shop_of_test.approve", digest)(lambda order: None)
    assert compare(before).stand_ins == {("shop_of_test", "approve"): exact}


def test_stand_in_is_not_used_for_code_that_is_the_same(write: Write) -> None:
    before = records(io.defer_io(write(SHOP).approve, 1))
    write(SHOP)
    stands_in_for("shop_of_test.approve")(lambda order: None)
    assert compare(before) == Comparison()


def test_stand_in_for_a_name_without_module_is_refused() -> None:
    with pytest.raises(MatchError, match="names no module"):
        stands_in_for("approve")


def test_stand_in_is_used_in_a_closure_of_before(write: Write) -> None:
    made = dumped(write(SHOP).later(1))
    write(SHOP.replace("io.pure(charge", "io.pure(2 * charge"))
    stands_in_for("shop_of_test.approve")(lambda order: io.pure(("as before", order)))
    stand_ins = compare(records_in(joined(made.attachments[made.code]))).stand_ins
    with use_space(ObjectSpace()):  # as in another process
        program = opened(made, stand_ins)
    assert program.run(None) == Ok(("as before", 1))


def test_record_of_an_object_that_is_found_by_name_is_that_of_its_class() -> None:
    program = io.pure(pydantic_core.PydanticUndefined)  # it has no `__qualname__`
    assert dumped(program).named == {
        id(pydantic_core.PydanticUndefinedType): pydantic_core.PydanticUndefinedType
    }
