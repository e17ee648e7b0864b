"""Fibers and outcomes as bytes, and why some can't be pickled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from distio import IO, Errors, Ok, Panic, Result, TracedException, io
from distio.core import outcomes
from distio.core.fiber import Fiber, Handle
from distio.core.ops.bounded import ChunkResult
from distio.core.ops.scopes import _Item
from distio.core.ops.unary import UnaryOp
from distio.core.outcomes import Packed, dump_outcome, load_outcome
from distio.core.pickling.dumping import dump
from distio.core.snapshot import dump_fibers, load_fibers
from distio.errors import Cancelled, Deadlock, ForeignException, NotPicklable, WorkerLost
from distio.protocol.pieces import joined

Program = IO[Any, Any, Any]

LOCK = threading.Lock()


def there_and_back(outcome: Result[Any, Any]) -> Result[Any, Any]:
    return load_outcome(dump_outcome(outcome).payload)


def sent(exception: BaseException) -> TracedException:
    outcome = there_and_back(Panic([TracedException(exception, "the trace")], ["e"]))
    assert isinstance(outcome, Panic)
    assert outcome.errors == ["e"]
    (traced,) = outcome.exceptions
    assert traced.stack_trace == "the trace"
    return traced


class Plain(Exception):
    pass


class HoldsALock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class Unspeakable(HoldsALock):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("outcome", [Ok([1, {"a": None}]), Errors(["x", 2]), Ok(None)])
def test_outcome_travels(outcome: Result[Any, Any]) -> None:
    assert there_and_back(outcome) == outcome
    assert Packed(dump_outcome(outcome)[0]).open() == outcome


@pytest.mark.parametrize(
    ("values", "is_plain"), [([1, "a", None], True), ([1, (2, 3)], False), ([1, sum], False)]
)
def test_values_of_a_chunk_that_hold_no_others_are_pickled_by_the_plain_pickler(
    values: list[Any], is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumped: list[Any] = []

    def note(obj: Any) -> Any:
        dumped.append(obj)
        return dump(obj)

    monkeypatch.setattr(outcomes, "dump", note)
    opened: Any = load_outcome(dump_outcome(Ok(ChunkResult(values, [], 0.5))).payload)
    assert (opened.success.values, opened.success.seconds) == (values, 0.5)
    assert bool(dumped) is not is_plain


def test_outcome_of_plain_items_travels_without_its_class_which_takes_long_to_make() -> None:
    dumped = dump_outcome(Ok(ChunkResult([1], [], 0.5)))
    assert b"distio.result" not in joined(dumped.payload)
    assert dumped.kind == "ok"
    opened = load_outcome(dumped.payload)
    assert isinstance(opened, Ok)
    assert opened.success.values == [1]


def test_exception_in_an_outcome_travels_whole() -> None:
    assert repr(sent(KeyError("k")).exception) == "KeyError('k')"
    assert type(sent(Plain("p")).exception) is Plain
    assert sent(Deadlock("d")).exception.args == ("d",)
    assert str(sent(WorkerLost("w", "r")).exception) == str(WorkerLost("w", "r"))
    assert type(sent(SystemExit(3)).exception) is SystemExit


def test_cancellation_in_an_outcome_travels_with_its_cause_and_notes() -> None:
    mere: Panic[Any, Any] = Panic(
        [TracedException(Cancelled("1.1"), "fiber 1.1 was cancelled")], []
    )
    arrived_mere = there_and_back(mere)
    assert arrived_mere == mere
    assert isinstance(arrived_mere, Panic)
    assert arrived_mere.exceptions[0].stack_trace == "fiber 1.1 was cancelled"
    assert len(dump_outcome(mere).payload) < 100  # a run may have a million of these
    traced: Panic[Any, Any] = Panic([TracedException(Cancelled("1.1"), "Traceback …")], [])
    arrived_traced = there_and_back(traced)
    assert isinstance(arrived_traced, Panic)
    assert arrived_traced.exceptions[0].stack_trace == "Traceback …"
    told = Cancelled("1.2")
    told.add_note("by the user")
    told.__cause__ = ValueError("why")
    arrived = sent(told).exception
    assert arrived == told
    assert arrived.__notes__ == ["by the user"]
    assert repr(arrived.__cause__) == "ValueError('why')"


def test_exception_that_cannot_be_pickled_keeps_its_text() -> None:
    foreign = sent(HoldsALock("locked")).exception
    assert isinstance(foreign, ForeignException)
    assert foreign.type_name == f"{__name__}.HoldsALock"
    assert foreign.message == "locked"


def test_exception_that_cannot_be_pickled_and_has_no_text_is_foreign() -> None:
    foreign = sent(Unspeakable("u")).exception
    assert isinstance(foreign, ForeignException)
    assert "RuntimeError" in foreign.message


def test_exception_that_cannot_be_pickled_leaves_the_others_whole() -> None:
    traced = [TracedException(HoldsALock("l"), ""), TracedException(KeyError("k"), "")]
    outcome = there_and_back(Panic(traced, []))
    assert isinstance(outcome, Panic)
    kinds = [type(each.exception) for each in outcome.exceptions]
    assert kinds == [ForeignException, KeyError]


def test_outcome_that_cannot_be_pickled_is_a_panic_that_says_why() -> None:
    outcome = there_and_back(Ok({"config": [1, threading.Lock()]}))
    assert isinstance(outcome, Panic)
    exception = outcome.exceptions[0].exception
    assert isinstance(exception, NotPicklable)
    assert "outcome" in str(exception)
    assert "_thread.lock" in str(exception)
    assert "'config'" in str(exception)


def test_errors_that_cannot_be_pickled_are_a_panic_that_says_why() -> None:
    outcome = there_and_back(Errors([threading.Lock()]))
    assert isinstance(outcome, Panic)
    assert "_thread.lock" in str(outcome.exceptions[0].exception)


def _explode() -> NoReturn:
    raise ValueError("not here")


class Explosive:
    def __reduce__(self) -> Any:
        return _explode, ()


def test_outcome_that_cannot_be_unpickled_is_a_panic() -> None:
    outcome = there_and_back(Ok(Explosive()))
    assert isinstance(outcome, Panic)
    assert str(outcome.exceptions[0].exception) == "not here"
    assert isinstance(load_outcome(b"garbage"), Panic)
    assert isinstance(load_outcome(b""), Panic)


def test_dump_returns_the_handles_that_leave() -> None:
    first: Handle[Any, Any, Any] = Handle(1)
    second: Handle[Any, Any, Any] = Handle(2)
    assert dump_outcome(Ok(({"a": first}, [second]))).handles == [first, second]
    assert dump_outcome(Ok(1)).handles == ()
    captured = Fiber(5, 1, io.defer_io(lambda: io.wait(first)), second)
    assert set(dump_fibers([captured])[1]) == {first, second}


def test_dump_returns_the_handles_inside_exceptions() -> None:
    handle: Handle[Any, Any, Any] = Handle(3)
    leaving = dump_outcome(Panic([TracedException(Plain(handle), "")], []))
    assert leaving.handles == [handle]
    assert leaving.keys == [3]


def test_handle_arrives_as_an_id() -> None:
    handle: Handle[Any, Any, Any] = Handle(3)
    handle.outcome = Ok(LOCK)
    handle.location = LOCK
    outcome = there_and_back(Ok(handle))
    assert isinstance(outcome, Ok)
    assert outcome.success == handle
    assert outcome.success.outcome is None
    assert outcome.success.location is None


def test_fibers_travel_together_with_their_ids() -> None:
    fibers = [Fiber(n, 9, io.read.zip(io.pure(n)), "c") for n in (1, 2)]
    payload, _ = dump_fibers(fibers)
    copies = load_fibers(9, [(1, 4), (2, 5)], payload)
    assert [(copy.id, copy.run, copy.epoch, copy.context) for copy in copies] == [
        (1, 9, 4, "c"),
        (2, 9, 5, "c"),
    ]


def every(operation: type[UnaryOp]) -> Iterator[type[UnaryOp]]:
    for each in operation.__subclasses__():
        yield each
        yield from every(each)


def test_operations_that_may_be_frames_have_names_of_their_own() -> None:
    """Their frames are written by name alone."""
    names = [operation.__name__ for operation in every(UnaryOp)]
    assert len({*names}) == len(names)


def test_frame_of_an_item_of_zip_par_is_written_by_its_name() -> None:
    """pickle asks Python code about each class and object, and that costs more than the rest."""
    fiber = Fiber(1, 1, io.pure(None), None)
    fiber.next, fiber.stack = None, [_Item(None, 3, None)]
    payload, _ = dump_fibers([fiber])
    assert b"_Item" in joined(payload)
    assert b"scopes" not in joined(payload)
    (loaded,) = load_fibers(1, [(1, 1)], payload)
    assert type(loaded.stack[0]) is _Item


# -- why something stays ----------------------------------------------------------------------


def reason(program: Program, context: Any = None) -> str:
    with pytest.raises(NotPicklable) as caught:
        dump_fibers([Fiber(1, 1, program, context)])
    return str(caught.value)


def captures_a_lock() -> Callable[[], Any]:
    my_lock = threading.Lock()
    return lambda: my_lock


def uses_a_global() -> Callable[[], Any]:
    # a function that no module has travels by value, with its globals
    return lambda: LOCK


class Service:
    def __init__(self) -> None:
        self.connection = threading.Lock()

    def serve(self) -> None:
        pass


def test_reason_names_a_captured_variable() -> None:
    text = reason(io.defer(captures_a_lock()))
    assert "captures_a_lock" in text
    assert "'my_lock'" in text
    assert "_thread.lock" in text
    assert __file__ in text


def test_reason_names_a_captured_variable_deep_in_the_program() -> None:
    program = io.pure(1).map(str).then(io.defer(captures_a_lock())).attempt().zip(io.pure(2))
    assert "'my_lock'" in reason(program)


def test_reason_names_a_captured_function_and_its_captured_variable() -> None:
    inner = captures_a_lock()
    text = reason(io.defer(lambda: inner()))
    assert "'inner'" in text
    assert "'my_lock'" in text


def test_reason_names_a_global_variable() -> None:
    namespace: dict[str, Any] = {"SHARED": LOCK}
    exec("def uses_it():\n    return SHARED", namespace)
    text = reason(io.defer(namespace["uses_it"]))
    assert "uses_it" in text
    assert "global variable 'SHARED'" in text


def test_reason_names_an_attribute() -> None:
    text = reason(io.pure(Service()))
    assert "attribute 'connection' of" in text
    assert "Service" in text
    text = reason(io.defer(Service().serve))
    assert "method" in text
    assert "'connection'" in text


def test_reason_looks_through_nested_containers() -> None:
    text = reason(io.pure({"a": [1, ("x", {"b": threading.Lock()})]}))
    assert "key 'a'" in text
    assert "key 'b'" in text
    assert "_thread.lock" in text


def test_reason_names_a_default_argument() -> None:
    def f(lock: Any = LOCK) -> Any:
        return lock

    text = reason(io.defer(f))
    assert "test_reason_names_a_default_argument" in text
    assert "default of a parameter" in text


def test_reason_names_a_keyword_only_default() -> None:
    def f(*, lock: Any = LOCK) -> Any:
        return lock

    assert "default of a parameter" in reason(io.defer(f))


def test_reason_finds_an_argument_and_a_context() -> None:
    assert "operation Defer" in reason(io.defer(print, threading.Lock()))
    assert "_thread.lock" in reason(io.pure(1), {"lock": threading.Lock()})


def test_reason_walks_a_list_that_contains_itself_once() -> None:
    loop: list[Any] = [LOCK]
    loop.insert(0, loop)
    assert "can't be pickled" in reason(io.pure(loop)) or "cannot pickle" in reason(io.pure(loop))


def test_reason_for_what_is_nested_too_deeply_is_short_and_says_what_to_do() -> None:
    @dataclass
    class Link:
        next: Link | None

    chain = None
    for _ in range(100_000):
        chain = Link(chain)
    text = reason(io.pure(chain))
    assert text.count("attribute 'next'") == 1
    assert text.endswith("nested too deeply for pickle; its parts can travel in a list, say)")
