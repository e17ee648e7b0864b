"""A script's variables in a process: which fibers share them, and when they are freed."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distio.core.pickling.dumping import dump
from distio.core.pickling.leftovers import release
from distio.core.pickling.loading import load
from distio.core.pickling.payloads import LARGE_BUNDLE, LARGE_VALUE, Writer
from distio.core.pickling.spaces import current_space
from distio.protocol.pieces import joined
from tests.harness.scripts import Elsewhere, Script, script_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


LAZY = """
model = None
loads = 0
def load():
    global loads
    loads += 1
    return object()
def predict(n):
    global model
    if model is None:
        model = load()
    return model
def loaded(): return loads
"""


def test_variable_that_a_function_sets_is_seen_by_functions_that_arrive_later(
    script: Script,
) -> None:
    home, there = script(LAZY), Elsewhere()
    models = {there.gets(home.predict)(n) for n in range(5)}
    assert len(models) == 1
    assert there.gets(home.loaded)() == 1  # another function of the same module
    assert (home.model, home.loads) == (None, 0)


def test_process_has_variables_of_its_own(script: Script) -> None:
    home, first, second = script(LAZY), Elsewhere(), Elsewhere()
    assert first.gets(home.predict)(1) is not second.gets(home.predict)(1)


def test_change_is_seen_in_one_of_two_modules_that_define_the_same(script: Script) -> None:
    code = "limit = 1\ndef get(): return limit"
    first, second, there = script(code), script(code), Elsewhere()
    assert [there.gets(home.get)() for home in (first, second)] == [1, 1]
    second.limit = 2
    assert [there.gets(home.get)() for home in (first, second)] == [1, 2]


def test_variable_that_was_changed_at_home_makes_a_generation_of_its_own(script: Script) -> None:
    home, there = script("words = []\nlimit = 1\ndef get(): return words, limit"), Elsewhere()
    before = there.gets(home.get)
    assert there.gets(home.get).__globals__ is before.__globals__
    home.words.append("tea")
    after = there.gets(home.get)
    assert (before(), after()) == (([], 1), (["tea"], 1))
    home.limit = 2
    assert there.gets(home.get)() == (["tea"], 2)


def test_functions_that_need_other_variables_share_those_that_both_need(script: Script) -> None:
    home = script("a, b, c = [], [], []\ndef f(): return a, b\ndef g(): return b, c")
    there = Elsewhere()
    f, g = there.gets(home.f), there.gets(home.g)
    assert f()[1] is g()[0]


def test_variable_that_was_changed_in_a_process_stays_there_when_a_fiber_moves_on(
    script: Script,
) -> None:
    home, first, second = script("words = []\ndef get(): return words"), Elsewhere(), Elsewhere()
    second.gets(home.get)().append("cake")
    get = first.gets(home.get)
    get().append("tea")
    from distio.core.pickling.spaces import use_space

    with use_space(first.space):
        payload = joined(dump(get).whole())
    assert second.opens(payload)() == ["cake"]
    assert home.words == []


def test_threads_that_open_the_same_payload_make_each_class_once(script: Script) -> None:
    home, there = script("class A: ...\ndef get(): return A"), Elsewhere()
    payloads = [joined(dump(value).whole()) for value in (home.get, [home.A], home.A())]
    ready = threading.Barrier(6)
    seen: list[type] = []

    def work(payload: bytes) -> None:
        ready.wait()
        value = there.opens(payload)
        kind = value() if callable(value) and not isinstance(value, type) else value
        seen.append(
            kind[0] if isinstance(kind, list) else kind if isinstance(kind, type) else type(kind)
        )

    threads = [threading.Thread(target=work, args=(payload,)) for payload in payloads * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1


# -- freeing ----------------------------------------------------------------------------------

TABLE = """
class Table:
    pass
table = Table()
table.rows = bytes(100)
class Row:
    def __init__(self, n): self.n = n
    def get(self): return table.rows[self.n]
    @property
    def again(self): return self.get()
class Special(Row):
    def get(self): return super().get()
def row(n): return Special(n).again
def look(n): return row(n)
"""


def test_namespace_is_freed_with_the_run_without_a_collection(script: Script) -> None:
    home, there = script(TABLE), Elsewhere()
    look = there.gets(home.look)
    assert look(1) == 0
    table = weakref.ref(look.__globals__["table"])
    gc.disable()
    try:
        del look
        assert table() is not None
        there.ends_the_run()
        assert table() is None
    finally:
        gc.enable()
    assert there.gets(home.look)(2) == 0


def test_namespace_is_freed_though_bundles_were_made_of_it(script: Script) -> None:
    text = "class Row: ...\ndef row(n): return [Row, n, look]\ndef look(n): return row(n)"
    home, there = script(text), Elsewhere()
    look = there.gets(home.look)
    for _ in range(4):
        there.sends(look)
    assert [made.uses for made in there.space.bundles.values()] == [3]
    row = weakref.ref(look.__globals__["row"])
    gc.disable()
    try:
        del look
        there.ends_the_run()
        assert row() is None
        assert not there.space.bundles
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "keep",
    [
        lambda look: look,
        lambda look: look.__globals__["Special"](1),
        lambda look: look.__globals__["Special"].get,
        lambda look: [look.__globals__],
    ],
    ids=["a function", "an object", "a method", "the namespace"],
)
def test_namespace_that_is_in_use_is_left_alone(script: Script, keep: Any) -> None:
    home, there = script(TABLE), Elsewhere()
    kept = keep(there.gets(home.look))
    there.ends_the_run()
    if callable(kept):
        assert kept(1) == 0 if kept.__name__ == "look" else kept
    elif isinstance(kept, list):
        assert kept[0]["look"](1) == 0
    else:
        assert kept.again == 0
        assert isinstance(kept, type(there.gets(home.Special(1))))


def test_namespace_is_kept_as_long_as_one_of_two_runs_uses_it(script: Script) -> None:
    home, there = script(TABLE), Elsewhere()
    first_run, there.bundles = there.bundles, {}
    there.bundles = first_run
    there.gets(home.look)
    first_run, there.bundles = there.bundles, {}
    table = weakref.ref(there.gets(home.look).__globals__["table"])
    second_run, there.bundles = there.bundles, first_run
    there.ends_the_run()
    assert table() is not None
    there.bundles = second_run
    there.ends_the_run()
    assert table() is None


def test_release_keeps_a_namespace_that_is_referred_to_from_outside() -> None:
    names: dict[str, Any] = {"__name__": "here", "__builtins__": __builtins__}
    exec("def f(): return g\ndef g(): return f\nclass A:\n    def m(self): return f", names)
    kept = names["f"]
    holder = [names]
    del names
    assert not release(holder)
    assert kept() is kept.__globals__["g"]
    del kept
    assert release(holder)
    assert holder == []


# -- attachments ------------------------------------------------------------------------------


def test_bundle_that_is_large_is_attached_and_named(script: Script) -> None:
    home = script(f"table = bytes({LARGE_BUNDLE})\ndef get(n): return table[n]")
    dumped, again = dump([home.get, 1]), dump([home.get, 2])
    assert len(dumped.payload) < 200
    assert len(dumped.attachments) == 1
    assert dumped.attachments == again.attachments
    assert Elsewhere().opens(joined(dumped.whole()))[1] == 1


def test_bundle_that_is_small_travels_with_its_payload(script: Script) -> None:
    home = script("table = bytes(10)\ndef get(n): return table[n]")
    assert dump(home.get).attachments == {}


LARGE: list[Any] = [
    bytes(LARGE_VALUE),
    "ü" * LARGE_VALUE,
    bytearray(LARGE_VALUE),
    np.arange(LARGE_VALUE),
]


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_large_value_is_attached_in_any_place(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_space(), "buffers", None)  # a cluster of tests may be there
    writer = Writer(attaches=True)
    dumped = dump([1, {"a": value, "b": (value, "small")}], writer=writer)
    again = dump(("other", value), writer=writer)
    assert len(dumped.payload) < 500
    assert list(again.attachments) == list(dumped.attachments)
    for payload, attachments in (
        (joined(dumped.whole()), {}),
        (dumped.payload, dumped.attachments),
    ):
        _, arrived = load(payload, None, attachments)
        assert type(arrived["a"]) is type(value)
        assert bytes(arrived["a"], *_encoding(value)) == bytes(value, *_encoding(value))
        assert arrived["b"][0] is arrived["a"]


def _encoding(value: Any) -> tuple[str, ...]:
    return ("utf-8",) if isinstance(value, str) else ()


def test_large_values_come_back_in_their_places() -> None:
    values = [bytes([n]) * (LARGE_VALUE + n) for n in range(5)]
    mixed = [values[3], "a", values[0], list(range(50_000)), values[3], b"z" * 70_000, values[1]]
    dumped = dump(mixed, writer=Writer(attaches=True))
    assert load(dumped.payload, None, dumped.attachments) == mixed
    assert len(dumped.attachments) >= 4


def test_dump_that_fails_leaves_nothing_in_its_writer() -> None:
    writer = Writer(attaches=True)
    with pytest.raises(TypeError):
        dump([bytes(LARGE_VALUE), threading.Lock()], writer=writer)
    assert load(dump(5, writer=writer).payload) == 5
