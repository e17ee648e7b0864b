"""Code travels once: functions refer to it by its digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Queue, io
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import Bundle, load
from distio.core.pickling.payloads import Dumped, Writer
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.core.snapshot import dump_chunk, load_fibers
from distio.protocol.pieces import Bytes, joined
from distio.protocol.requests import PrimitiveRef
from tests.harness.scripts import Script, script_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with script_in(tmp_path) as make:
        yield make


def apart(value: Any) -> Dumped:
    return dump(value, writer=Writer(attaches=True))


class Member:
    """Another process, which keeps what came with the payloads of one run."""

    def __init__(self) -> None:
        self.space = ObjectSpace()
        self.bundles: dict[bytes, Bundle] = {}
        self.attachments: dict[bytes, Bytes] = {}

    def opens(self, dumped: Dumped) -> Any:
        """The opened payload, if all that lies apart comes along the first time only."""
        fresh = dumped.attachments.keys() - self.attachments.keys()
        self.attachments.update({digest: dumped.attachments[digest] for digest in fresh})
        return self.opens_without(dumped)

    def opens_without(self, dumped: Dumped) -> Any:
        with use_space(self.space):
            return load(dumped.payload, self.bundles, self.attachments)

    def sends(self, value: Any) -> Dumped:
        with use_space(self.space):
            return apart(value)


def adder(n: int) -> Callable[[int], int]:
    return lambda x: x + n


def counting() -> tuple[Callable[[], None], Callable[[], int]]:
    n = 0

    def add() -> None:
        nonlocal n
        n += 1

    return add, lambda: n


def test_functions_of_one_code_name_it_by_one_digest() -> None:
    first, second = apart(adder(1)), apart([adder(2), adder(3)])
    assert len(first.attachments) == 1
    assert first.attachments == second.attachments
    (code,) = first.attachments.values()
    assert b"adder.<locals>.<lambda>" in joined(code)
    assert b"adder" not in joined(first.payload)


def test_code_that_came_is_there_for_later_payloads() -> None:
    there = Member()
    assert there.opens(apart(adder(1)))(10) == 11
    later = apart([adder(2), adder(3)])
    assert [f(10) for f in there.opens_without(later)] == [12, 13]


def test_code_that_never_came_is_missed() -> None:
    with pytest.raises(LookupError):
        Member().opens_without(apart(adder(1)))


def test_code_that_came_goes_on_under_its_digest(script: Script) -> None:
    home, there = script("limit = 3\nmake = lambda n: lambda x: (x + n, limit)"), Member()
    sent = apart(home.make(1))
    arrived = there.opens(sent)
    again = there.sends(arrived)
    assert again.attachments == sent.attachments
    assert Member().opens(again)(1) == (2, 3)


def test_dump_that_is_to_be_opened_alone_holds_its_code(script: Script) -> None:
    home = script("limit = 3\nmake = lambda n: lambda x: (x + n, limit)")
    dumped = dump([home.make(1), adder(1)])
    assert not dumped.attachments
    bound, free = load(joined(dumped.whole()))
    assert (bound(1), free(1)) == ((2, 3), 2)


def test_functions_share_variables_and_refer_to_themselves_though_code_is_apart() -> None:
    def countdown(n: int) -> list[int]:
        return [n, *countdown(n - 1)] if n else []

    (add, get), down = Member().opens(apart((counting(), countdown)))
    add()
    add()
    assert get() == 2
    assert down(3) == [3, 2, 1]


def test_cell_that_is_not_bound_yet_stays_so() -> None:
    names: dict[str, Any] = {}
    exec("def make():\n def get(): return late\n return get\n late = 1", names)
    with pytest.raises(NameError):
        Member().opens(apart(names["make"]()))()


def test_attribute_of_one_of_two_functions_of_one_code_arrives() -> None:
    first, second = adder(1), adder(2)
    second.unit = "m"  # type: ignore[attr-defined]  # a function has any attributes
    arrived = Member().opens(apart([first, second]))
    assert [vars(f) for f in arrived] == [{}, {"unit": "m"}]


def test_names_defaults_and_module_arrive_though_code_is_apart() -> None:
    plain = lambda x=1: x  # noqa: E731 (a lambda is what is tested)
    renamed = lambda: 0  # noqa: E731 (the same)
    renamed.__name__, renamed.__qualname__ = "f", "<f>"
    arrived = Member().opens(apart([plain, renamed]))
    assert [f.__defaults__ for f in arrived] == [(1,), None]
    assert [(f.__name__, f.__qualname__, f.__module__) for f in arrived] == [
        (plain.__name__, plain.__qualname__, __name__),
        ("f", "<f>", __name__),
    ]


def test_queue_that_functions_have_captured_arrives_once() -> None:
    queue: Queue[int] = Queue(PrimitiveRef(5, "queue"))
    dumped = apart([lambda: queue, lambda x: (x, queue)])
    first, second = Member().opens(dumped)
    assert first() == queue
    assert second(1)[1] is first()
    assert [each.key for each in dumped.references] == [5]


def test_bundle_is_shared_by_functions_and_named_alike_however_often_it_was_made(
    script: Script,
) -> None:
    text = "limit, words = 3, 'w' * 1_000\nmake = lambda n: lambda x: (x + n, limit, words[0])"
    home, there = script(text), Member()
    sent = [apart(home.make(n)) for n in range(6)]
    assert all(each.attachments == sent[0].attachments for each in sent)
    assert {len(each.payload) for each in sent} == {len(sent[0].payload)}
    arrived = [there.opens(each) for each in sent]
    assert [f(1) for f in arrived] == [(1 + n, 3, "w") for n in range(6)]
    assert len({id(f.__globals__) for f in arrived}) == 1
    assert len({id(f.__code__) for f in arrived}) == 1


@io.do
async def twice(queue: Queue[int]) -> int:
    return 2 * await queue.take()


def test_function_of_direct_style_that_nobody_can_import_arrives(script: Script) -> None:
    home = script(
        """
        from distio import io
        def maker(n):
            @io.do
            async def f(again):
                return n if again else await f(True)
            return f
        @io.do
        async def named():
            return 5
        """
    )
    local, changed = home.maker(3), home.maker(4)
    changed.unit = "m"
    first, second, third = Member().opens(apart([local, changed, home.named]))
    assert first(False).run(None).unsafe_get() == 3
    assert second(False).run(None).unsafe_get() == 4
    assert second.unit == "m"
    assert third().run(None).unsafe_get() == 5
    assert (first.__qualname__, first.__wrapped__.__name__) == ("maker.<locals>.f", "f")


def test_frames_of_a_fiber_are_made_again() -> None:
    program: Any = io.sleep(1)
    fiber = Fiber(1, 0, program.map(adder(1)).flat_map(lambda n: io.pure(n)), None)
    fiber.request = step(fiber)
    dumped = dump_chunk([fiber], writer=Writer(attaches=True))
    (arrived,) = load_fibers(0, [(1, 1)], dumped.payload, {}, dumped.attachments)
    assert [type(frame).__name__ for frame in arrived.stack] == ["FlatMap", "Map"]
    arrived.value = 4
    step(arrived)
    assert arrived.outcome().unsafe_get() == 5
