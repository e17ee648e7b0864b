"""Names of fibers: which fiber has which name when, and where people read it."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, Errors, MatchError, Ok, io
from distio.coordination.member import Member
from distio.coordination.status.words import describe_fibers
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.ops.base import Next
from distio.core.snapshot import dump_fibers, load_fibers
from tests.conftest import Run
from tests.harness.members import Node

Program = IO[Any, Any, Any]


class Name(IO[Any, Any, Any]):
    """The name of the fiber itself."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = fiber.name
        return None


NAME = Name()


def test_fiber_has_its_name_while_the_named_program_runs(run: Run) -> None:
    program = io.zip(NAME, io.zip(NAME, NAME.named("inner"), NAME).named("outer"), NAME)
    assert run(program) == Ok((None, ("outer", "inner", "outer"), None))


def test_named_as_a_function_and_as_a_method_are_the_same(run: Run) -> None:
    assert run(io.named("fetch", NAME)) == run(NAME.named("fetch")) == Ok("fetch")


def test_fiber_has_its_earlier_name_again_after_a_failure(run: Run) -> None:
    failed = io.error("no").named("inner").attempt()
    assert run(io.named("outer", failed.then(NAME))) == Ok("outer")


def test_fiber_has_its_earlier_name_again_after_a_cancellation(run: Run) -> None:
    late = io.sleep(1_000_000).named("late").timeout(0.01, NAME)
    assert run(late.named("limited")) == Ok("limited")


def test_child_has_no_name_of_its_parent(run: Run) -> None:
    assert run(io.named("parent", io.zip_par(NAME, NAME.named("own")))) == Ok((None, "own"))


def test_name_travels_with_its_fiber() -> None:
    fiber = Fiber(1, 1, io.sleep(1).then(NAME).named("inner").zip(NAME).named("outer"), None)
    step(fiber)
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(1, [(1, 1)], payload)
    assert copy.name == "inner"
    copy.value = None  # the fiber has slept
    step(copy)
    assert copy.outcome() == Ok(("inner", "outer"))


def test_named_program_is_printed_and_travels(run: Run) -> None:
    program = NAME.named("fetch")
    assert repr(program) == "IO(….Named('fetch'))"
    assert run(io.parallel(program).flat_map(io.wait)) == Ok([Ok("fetch")])


@pytest.mark.parametrize("name", ["", None, 5, b"bytes"])
def test_name_that_is_empty_or_no_str_is_a_match_error(name: Any) -> None:
    with pytest.raises(MatchError, match="named: expected a name, but got"):
        io.named(name, NAME)
    with pytest.raises(MatchError, match="named: expected a name, but got"):
        NAME.named(name)
    with pytest.raises(MatchError, match="named: expected an IO"):
        io.named("fetch", name)


# -- where people read a name -----------------------------------------------------------------


def test_log_names_the_fiber_that_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    fails = io.error("lost").named("fetch")
    assert io.parallel(fails, fails.attempt().then(io.error("late"))).map(len).run(None) == Ok(2)
    first, second = [record.getMessage() for record in caplog.records]
    assert first == f"fiber 1.1 (fetch) failed, and nobody waited for it: {Errors(['lost'])!r}"
    assert second == f"fiber 1.2 failed, and nobody waited for it: {Errors(['late'])!r}"


def test_description_of_a_fiber_has_its_name() -> None:
    member = Member(1)
    node = Node(member)
    root = member.start_root(io.named("main", io.sleep(5)).then(NAME), None)
    assert repr(root) == "<running fiber 1.0>"
    member.queue(root)
    assert node.work()
    assert describe_fibers(member.state, root.run) == "fiber 1.0 (main) sleeps"
    assert repr(root) == "<running fiber 1.0 (main)>"
