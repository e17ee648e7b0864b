"""Resources are closed: once, in reverse order, whatever happens in between."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import IO, Errors, Ok, Panic, Resource, Result, io, resource
from distio.errors import DomainErrors, MatchError, MultipleExceptions
from distio.result import ComputationStatus
from tests.conftest import Run

Program = IO[Any, Any, Any]
Log = list[str]


def opens(log: Log, name: str, *, fails: str = "") -> Resource[Any, Any, str]:
    """A resource that notes when it is opened and closed; "open" or "close" can fail."""

    def open_it() -> Program:
        return io.error(f"open {name}") if fails == "open" else io.pure(name)

    def close_it(it: str, status: ComputationStatus) -> Program:
        log.append(f"close {it} {status.name}")
        return io.error(f"close {it}") if fails == "close" else io.pure(None)

    def note(it: str) -> str:
        log.append(f"open {it}")
        return it

    return resource.from_open_close_io(io.defer_io(open_it).map(note), close_it)


USES: dict[str, tuple[Program, str]] = {
    "ok": (io.pure("used"), "SUCCEEDED"),
    "errors": (io.error("use"), "FAILED"),
    "panic": (io.defer(lambda: 1 // 0), "FAILED"),
}


@pytest.mark.parametrize("use", USES)
def test_resource_is_closed_once_and_told_how_its_use_ended(run_in_process: Run, use: str) -> None:
    log: Log = []
    program, status = USES[use]
    used = run_in_process(opens(log, "a").with_(program))
    assert type(used) is type(run_in_process(program))
    assert log == ["open a", f"close a {status}"]


def test_resource_is_opened_anew_by_each_use(run_in_process: Run) -> None:
    log: Log = []
    a = opens(log, "a")
    assert run_in_process(a.use(lambda it: a.use(lambda again: io.pure(it + again)))) == Ok("aa")
    assert log == ["open a", "open a", "close a SUCCEEDED", "close a SUCCEEDED"]


SEVERAL: dict[str, Callable[[Any, Any, Any], Resource[Any, Any, Any]]] = {
    "zip": lambda a, b, c: resource.zip(a, b, c),
    "method zip": lambda a, b, c: a.zip(b, c),
    "flat_map": lambda a, b, c: a.flat_map(lambda _: b.flat_map(lambda _: c)),
    "then": lambda a, b, c: a.then(b).then(c),
    "traverse": lambda a, b, c: resource.traverse([a, b, c], lambda each: each),
    "finally_": lambda a, b, c: a.finally_(lambda _: b).then(c),
}


@pytest.mark.parametrize("how", SEVERAL)
def test_resources_are_closed_in_reverse_order(run_in_process: Run, how: str) -> None:
    log: Log = []
    all_three = SEVERAL[how](*[opens(log, name) for name in "abc"])
    assert run_in_process(all_three.with_(io.pure("used"))) == Ok("used")
    assert [line[:7].strip() for line in log] == [
        *["open a", "open b", "open c"],
        *["close c", "close b", "close a"],
    ]


@pytest.mark.parametrize("how", [*SEVERAL, "zip_par"])
def test_resources_opened_before_a_failure_are_closed(run_in_process: Run, how: str) -> None:
    log: Log = []
    three = opens(log, "a"), opens(log, "b"), opens(log, "c", fails="open")
    made = resource.zip_par(three) if how == "zip_par" else SEVERAL[how](*three)
    result = run_in_process(made.with_(io.pure("never")))
    assert result == Errors(["open c"])
    closes = [line for line in log if line.startswith("close")]
    assert sorted(closes) == ["close a FAILED", "close b FAILED"]
    assert sorted(log)[2:] == ["open a", "open b"]


def test_failures_of_closing_are_added_to_those_of_the_use(run_in_process: Run) -> None:
    log: Log = []
    both = opens(log, "a", fails="close").then(opens(log, "b", fails="close"))
    assert run_in_process(both.with_(io.pure(1))) == Errors(["close b", "close a"])
    failed = run_in_process(both.with_(io.error("use")))
    assert isinstance(failed, Errors)
    assert failed.errors == ["close b", "close a", "use"]
    panicked = run_in_process(both.with_(io.defer(lambda: 1 // 0)))
    assert isinstance(panicked, Panic)
    assert [type(each.exception) for each in panicked.exceptions] == [ZeroDivisionError]
    assert panicked.errors == ["close b", "close a"]


def test_wrappers_of_a_resource_apply_to_opening_and_closing_and_not_to_the_use(
    run_in_process: Run,
) -> None:
    def shout(error: str) -> str:
        return error.upper()

    closes_badly = opens([], "a", fails="close").map_error(shout)
    result = run_in_process(closes_badly.with_(io.error("use")))
    assert isinstance(result, Errors)
    assert sorted(result.errors) == ["CLOSE A", "use"]
    assert run_in_process(
        opens([], "a", fails="open").map_error(shout).with_(io.pure(1))
    ) == Errors(["OPEN A"])
    seen: list[Any] = []
    reads = resource.from_open_close_io(
        io.read, lambda it, status: io.read.map(lambda now: seen.append((it, now)))
    )
    assert run_in_process(reads.contra_map_read(str).with_(io.read), 5) == Ok(5)
    assert seen == [("5", "5")]


# -- context managers -------------------------------------------------------------------------


def exits(use: Program) -> tuple[Result[Any, Any], BaseException | None]:
    seen: list[BaseException | None] = []

    class Manager:
        def __enter__(self) -> str:
            return "entered"

        def __exit__(self, kind: Any, exception: BaseException | None, trace: Any) -> None:
            assert (exception is None) == (kind is None)
            seen.append(exception)

    result = resource.from_with(io.defer(Manager)).with_(use).run(None)
    (exception,) = seen
    return result, exception


def test_context_manager_sees_the_real_exception() -> None:
    assert exits(io.pure(1)) == (Ok(1), None)
    boom = ValueError("boom")

    def fail() -> None:
        raise boom

    result, exception = exits(io.defer(fail))
    assert exception is boom
    assert boom.__traceback__ is not None
    assert isinstance(result, Panic)
    _, exception = exits(io.errors("a", "b"))
    assert isinstance(exception, DomainErrors)
    assert exception.errors == ["a", "b"]
    _, exception = exits(io.panic(ValueError(1), KeyError(2)))
    assert isinstance(exception, MultipleExceptions)


def test_context_manager_may_swallow_a_failure(run: Run) -> None:
    calm = resource.from_with(io.defer(suppress, ZeroDivisionError))
    assert run(calm.with_(io.defer(lambda: 1 // 0))) == Ok(None)
    other = run(calm.with_(io.defer(lambda: [][0])))
    assert isinstance(other, Panic)


def test_transaction_is_rolled_back_on_failure() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        database.execute("create table t (n int)")
        transaction = resource.from_with(io.pure(database))
        insert = io.defer(database.execute, "insert into t values (1)")
        assert isinstance(transaction.with_(insert.then(io.error("no"))).run(None), Errors)
        assert database.execute("select count(*) from t").fetchone() == (0,)
        assert isinstance(transaction.with_(insert).run(None), Ok)
        assert database.execute("select count(*) from t").fetchone() == (1,)


def test_exception_of_a_context_managers_exit_is_not_lost(run: Run) -> None:
    @contextmanager
    def breaks() -> Any:
        yield "it"
        raise KeyError("exit")

    result = run(resource.from_with(io.defer(breaks)).use(io.pure))
    assert isinstance(result, Panic)
    assert [type(each.exception) for each in result.exceptions] == [KeyError]


class Session:
    """As clients and pools are: it can be made and closed on a loop only."""

    def __init__(self, log: list[Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.log = log

    async def __aenter__(self) -> Session:
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, kind: Any, exception: BaseException | None, trace: Any) -> bool:
        await asyncio.sleep(0)
        self.log.append((self.loop is asyncio.get_running_loop(), exception))
        return isinstance(exception, KeyError)


def test_async_context_manager_is_closed_on_the_loop_that_opened_it() -> None:
    log: list[Any] = []
    session = resource.from_async_with(Session, log)
    assert session.use(lambda opened: io.pure(opened.log)).run(None) == Ok(log)
    assert log == [(True, None)]

    async def connect() -> Session:
        return Session(log)

    assert resource.from_async_with(connect).with_(io.pure(5)).run(None) == Ok(5)
    assert log.pop() == (True, None)
    asyncio.run(session.with_(io.error("no")).run_async(None))
    assert log[1:] == [(True, DomainErrors(["no"]))]


def test_async_context_manager_sees_the_failure_and_may_swallow_it() -> None:
    log: list[Any] = []
    session = resource.from_async_with(Session, log)
    broken, missing = ValueError("broken"), KeyError("missing")
    assert isinstance(session.with_(io.panic(broken)).run(None), Panic)
    assert session.with_(io.panic(missing)).run(None) == Ok(None)
    assert log == [(True, broken), (True, missing)]


def test_managers_of_the_other_kind_are_told_what_opens_them(run: Run) -> None:
    def said(used: Program) -> str:
        result = run(used)
        assert isinstance(result, Panic)
        return str(result.exceptions[0].exception)

    wrong: Any = suppress
    assert "; resource.from_with is for `with`" in said(
        resource.from_async_with(wrong).use(io.pure)
    )
    lock: Any = io.defer(asyncio.Lock)
    assert "resource.from_async_with(f, *args)" in said(resource.from_with(lock).use(io.pure))


# -- all of them ------------------------------------------------------------------------------


def test_resources_are_opened_and_closed_in_every_place(run: Run) -> None:
    five = resource.from_open_close(lambda: 5, lambda it, status: None)
    doubled = five.map(lambda n: n * 2).zip(resource.read).map(tuple)
    assert run(io.zip_par([doubled.use(io.pure)] * 3), "context") == Ok([(10, "context")] * 3)


@pytest.mark.slow
def test_resources_by_the_ten_thousand_are_opened_and_closed() -> None:
    log: Log = []
    many = resource.traverse(range(10_000), lambda n: opens(log, str(n)))
    assert many.map(len).use(io.pure).run(None) == Ok(10_000)
    assert len(log) == 20_000
    assert log[-1] == "close 0 SUCCEEDED"


def test_value_that_is_no_resource_is_named(run: Run) -> None:
    programs: tuple[IO[Any, Any, Any], ...] = (
        resource.pure(1).flat_map(lambda _: 5).use(io.pure),  # type: ignore[arg-type,return-value]
        resource.zip(resource.pure(1), 5).use(io.pure),  # type: ignore[call-overload]
        resource.from_io_resource(io.pure(5)).use(io.pure),  # type: ignore[arg-type]
    )
    for program in programs:
        result = run(program)
        assert isinstance(result, Panic)
        (traced,) = result.exceptions
        assert isinstance(traced.exception, MatchError)
        assert "expected a Resource" in str(traced.exception)
        assert "but got 5 of type int" in str(traced.exception)


TREES = st.recursive(
    st.sampled_from(["", "open", "close"]),
    lambda inner: st.tuples(st.sampled_from([*SEVERAL]), inner, inner, inner),
    max_leaves=9,
)


def grown(log: Log, tree: Any) -> Resource[Any, Any, Any]:
    if isinstance(tree, str):
        return opens(log, str(len(log)), fails=tree)
    how, *inner = tree
    return SEVERAL[how](*[resource.defer_resource(grown, log, each) for each in inner])


@pytest.mark.slow
@given(TREES, st.sampled_from([*USES]))
def test_resources_of_any_tree_are_closed_in_reverse_order(tree: Any, use: str) -> None:
    log: Log = []
    grown(log, tree).with_(USES[use][0]).run(None)
    still_open: list[str] = []
    for line in log:
        method, name, *_ = line.split()
        if method == "open":
            still_open.append(name)
        else:
            assert still_open.pop() == name
    assert not still_open
